use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;

fn record<'r>(message: &str, fields: Vec<(&'r str, Value)>) -> Record<'r> {
    Record {
        at: "2026-01-02T03:04:05.678901Z".into(),
        level: "WARN",
        message: Value::text(message),
        fields: fields.into_iter().map(|(name, value)| (name.into(), value)).collect(),
        target: "blacksky::bot",
        dyno: Some("web.1"),
    }
}

fn parsed(line: &str) -> Json {
    assert!(line.len() <= LONGEST && line.ends_with("}\n"), "{}", line.len());
    assert_eq!(line.lines().count(), 1);
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn an_ordinary_record_is_whole_in_both_formats() {
    let fields = || {
        vec![
            ("bot", Value::written(&format_args!("main"))),
            ("reason", Value::text("a \"b\" \\ c")),
            ("count", Value::Plain("3".into())),
            ("ok", Value::Plain("true".into())),
            ("share", Value::float(f64::NAN)),
            ("level", Value::text("mine")),
        ]
    };
    let json = parsed(&record("The link\nended", fields()).line(LogFormat::Json));
    let wanted = serde_json::json!({
        "timestamp": "2026-01-02T03:04:05.678901Z", "level": "WARN", "message": "The link\nended", "bot": "main",
        "reason": "a \"b\" \\ c", "count": 3, "ok": true, "share": "NaN", "level_": "mine",
        "target": "blacksky::bot", "dyno": "web.1",
    });
    assert_eq!(json, wanted);
    assert_eq!(
        record("The link\nended", fields()).line(LogFormat::Text),
        "2026-01-02T03:04:05.678901Z  WARN The link\\nended bot=main reason=\"a \\\"b\\\" \\\\ c\" count=3 ok=true \
         share=\"NaN\" level=\"mine\"\n"
    );
}

#[test]
fn a_megabyte_is_cut_with_a_mark_and_leaves_the_other_fields_alone() {
    let huge = "line one\nline \"two\" \u{1b}[31m".repeat(50_000);
    let fields = |value| vec![("huge", value), ("reason", Value::text("silence"))];
    let json = parsed(&record("short", fields(Value::text(&huge))).line(LogFormat::Json));
    let cut = json["huge"].as_str().expect("text");
    assert!(cut.starts_with("line one\nline \"two\"") && cut.len() > 5_000, "{}", cut.len());
    assert!(cut.ends_with(&format!("… (cut, {} bytes)", huge.len())), "{cut}");
    assert_eq!((&json["message"], &json["reason"]), (&"short".into(), &"silence".into()));

    let text = record("short", fields(Value::written(&format_args!("{huge}")))).line(LogFormat::Text);
    assert!(text.len() <= LONGEST && text.lines().count() == 1, "{}", text.len());
    assert!(text.contains(&format!("… (cut, {} bytes) reason=\"silence\"", huge.len())));
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn many_long_fields_share_the_line() {
    let names: Vec<String> = (0..60).map(|n| format!("field_{n}")).collect();
    let fields = names.iter().map(|name| (name.as_str(), Value::text(&"ü".repeat(4_000)))).collect();
    let json = parsed(&record(&"m".repeat(20_000), fields).line(LogFormat::Json));
    for name in &names {
        assert!(json[name].as_str().expect("text").ends_with("… (cut, 8000 bytes)"), "{json}");
    }
    let names: Vec<String> = (0..900).map(|n| format!("a_long_name_of_a_field_{n}")).collect();
    let fields = names.iter().map(|name| (name.as_str(), Value::Plain("123456789".into()))).collect();
    let json = parsed(&record("too many", fields).line(LogFormat::Json));
    assert_eq!((&json["message"], &json["target"]), (&"too many".into(), &"blacksky::bot".into()));
}

proptest! {
    #[test]
    fn whatever_is_said_is_one_whole_line(
        message in "(\\PC|[\\x00-\\x1f\"\\\\\u{2028}]){0,60}",
        value in "(\\PC|[\\x00-\\x1f\"\\\\\u{202e}]){0,40}",
        times in prop_oneof![1..4_usize, 100..1_000_usize],
    ) {
        let value = value.repeat(times);
        for written in [Value::text(&value), Value::written(&format_args!("{value}"))] {
            let json = parsed(&record(&message, vec![("value", written.clone())]).line(LogFormat::Json));
            prop_assert_eq!(json["message"].as_str(), Some(message.as_str()));
            let shown = json["value"].as_str().expect("text");
            let kept = shown.rsplit_once(MARK).filter(|(_, mark)| mark.starts_with(" (cut, "));
            match kept {
                Some((kept, _)) if shown != value => prop_assert!(value.starts_with(kept)),
                _ => prop_assert_eq!(shown, value.as_str()),
            }
            let text = record(&message, vec![("value", written)]).line(LogFormat::Text);
            prop_assert!(text.len() <= LONGEST && text.lines().count() == 1 && text.ends_with('\n'));
            prop_assert!(!text.trim_end_matches('\n').chars().any(char::is_control));
        }
    }
}
