use proptest::prelude::*;

use super::*;

fn edit(text: &str) -> String {
    String::from_utf8(edited(text.as_bytes(), "").unwrap_or_else(|broken| panic!("{broken}: {text}")))
        .unwrap()
}

#[test]
fn only_the_start_script_changes() {
    for (before, after) in [
        (
            "{\n  \"name\": \"a\",\n  \"scripts\": {\n    \"start\": \"node .\",\n    \"test\": \"x\"\n  }\n}\n",
            "{\n  \"name\": \"a\",\n  \"scripts\": {\n    \"start\": \"blacksky run\",\n    \"test\": \"x\"\n  }\n}\n",
        ),
        (
            "{\r\n\t\"scripts\": {\r\n\t\t\"test\": \"x\"\r\n\t}\r\n}",
            "{\r\n\t\"scripts\": {\r\n\t\t\"test\": \"x\",\r\n\t\t\"start\": \"blacksky run\"\r\n\t}\r\n}",
        ),
        (
            "{\n    \"name\": \"a\",\n    \"private\": true\n}",
            "{\n    \"name\": \"a\",\n    \"private\": true,\n    \"scripts\": {\n        \"start\": \"blacksky run\"\n    }\n}",
        ),
        ("{\n  \"scripts\": {}\n}", "{\n  \"scripts\": {\n    \"start\": \"blacksky run\"\n  }\n}"),
        ("{}", "{\n  \"scripts\": {\n    \"start\": \"blacksky run\"\n  }\n}"),
        (r#"{"a":1}"#, r#"{"a":1,"scripts":{"start":"blacksky run"}}"#),
        (r#"{"scripts":{"b":"c"}}"#, r#"{"scripts":{"b":"c","start":"blacksky run"}}"#),
        // JSON takes the last of two; an escape is the same key.
        (
            r#"{"scripts":{"start":"a"},"scripts":{"start":"b","st\u0061rt":"c"}}"#,
            r#"{"scripts":{"start":"a"},"scripts":{"start":"b","st\u0061rt":"blacksky run"}}"#,
        ),
        (
            "\u{feff}{\"scripts\":{\"start\":[1]}}\n\n",
            "\u{feff}{\"scripts\":{\"start\":\"blacksky run\"}}\n\n",
        ),
    ] {
        assert_eq!(edit(before), after);
        assert_eq!(edit(after), after);
    }
}

#[test]
fn the_dependency_is_added_once_and_never_replaced() {
    let created = r#"{"dependencies":{"blacksky":"^1.2.3"}}"#;
    let depending = |text: &str| String::from_utf8(edited(text.as_bytes(), created).unwrap()).unwrap();
    for (before, after) in [
        (
            "{\n  \"scripts\": {\n    \"start\": \"blacksky run\"\n  },\n  \"dependencies\": {\n    \"ws\": \"8\"\n  }\n}\n",
            "{\n  \"scripts\": {\n    \"start\": \"blacksky run\"\n  },\n  \"dependencies\": {\n    \"ws\": \"8\",\n    \"blacksky\": \"^1.2.3\"\n  }\n}\n",
        ),
        (
            "{\n  \"name\": \"a\"\n}\n",
            "{\n  \"name\": \"a\",\n  \"scripts\": {\n    \"start\": \"blacksky run\"\n  },\n  \"dependencies\": {\n    \"blacksky\": \"^1.2.3\"\n  }\n}\n",
        ),
        // Another version or place of it is somebody's choice.
        (
            r#"{"scripts":{"start":"node ."},"dependencies":{"blacksky":"file:blacksky.tgz"}}"#,
            r#"{"scripts":{"start":"blacksky run"},"dependencies":{"blacksky":"file:blacksky.tgz"}}"#,
        ),
    ] {
        assert_eq!(depending(before), after);
        assert_eq!(depending(after), after);
    }
    let broken = edited(br#"{"dependencies": []}"#, created).unwrap_err().to_string();
    assert!(broken.contains("\"dependencies\" must be an object"), "{broken}");
}

#[test]
fn what_is_no_package_json_is_told_with_its_place() {
    for (text, told) in [
        ("", "1:1: is not JSON: it ends before the value"),
        ("[]", "1:1: must be an object"),
        ("\u{feff}[]", "1:1: must be an object"),
        ("{\n  // mine\n  \"a\": 1}", "2:3: JSON has no comments"),
        ("{\n  \"a\": 1,\n}", "3:1: JSON has no comma before }"),
        ("{\"ä\": 01}", "1:9: is not JSON: this is no number"),
        ("{\"a\": 1} x", "1:10: is no longer JSON"),
        ("{\"a\": \"\n\"}", "1:8: is not JSON: a string must end on its line"),
        ("{\"scripts\": \"x\"}", "1:13: \"scripts\" must be an object"),
        ("{'a': 1}", "1:2: is not JSON: a key in double quotes"),
    ] {
        let broken = edited(text.as_bytes(), "").expect_err(text).to_string();
        assert!(broken.starts_with(&format!("package.json:{told}")), "{text:?}: {broken}");
    }
    assert!(edited(b"{\"a\": \"\xff\"}", "").unwrap_err().to_string().contains("1:8: is not UTF-8"));
    let deep = "[".repeat(100_000);
    assert!(edited(deep.as_bytes(), "").unwrap_err().what.contains("deeply"));
}

/// A JSON text with any layout, any order and repeated keys.
fn json(depth: u32) -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i32>().prop_map(|number| number.to_string()),
        Just("-0.5e+7".to_owned()),
        "\\PC{0,8}".prop_map(|text| serde_json::Value::from(text).to_string()),
        Just("\"\\ud800\\u00e4\\/\"".to_owned()),
    ];
    leaf.prop_recursive(depth, 40, 5, |inner| {
        prop_oneof![
            object(key(), inner.clone()),
            (space(), prop::collection::vec((space(), inner, space()), 0..4)).prop_map(|(empty, items)| {
                let items: Vec<String> = items.into_iter().map(|(a, item, b)| a + &item + &b).collect();
                format!("[{}]", if items.is_empty() { empty } else { items.join(",") })
            }),
        ]
    })
    .boxed()
}

fn key() -> BoxedStrategy<String> {
    prop_oneof![
        "[a-z]{0,6}".prop_map(|key| format!("\"{key}\"")),
        Just("\"scripts\"".to_owned()),
        Just("\"start\"".to_owned()),
        Just("\"\\u0073tart\"".to_owned()),
    ]
    .boxed()
}

fn space() -> BoxedStrategy<String> {
    prop_oneof![Just(String::new()), Just(" ".to_owned()), "[ \t]{0,3}", "(\r\n|\n)[ \t]{0,4}"].boxed()
}

fn object(
    key: BoxedStrategy<String>,
    value: impl Strategy<Value = String> + Clone + 'static,
) -> BoxedStrategy<String> {
    let member = (space(), key, space(), space(), value, space());
    (space(), prop::collection::vec(member, 0..5))
        .prop_map(|(empty, members)| {
            let members: Vec<String> = members
                .into_iter()
                .map(|(a, key, b, c, value, d)| format!("{a}{key}{b}:{c}{value}{d}"))
                .collect();
            format!("{{{}}}", if members.is_empty() { empty } else { members.join(",") })
        })
        .boxed()
}

/// Roots with scripts among other members, or without.
fn package() -> BoxedStrategy<String> {
    let scripts = object(key(), json(2));
    let member = prop_oneof![
        (key(), json(3)).prop_filter("scripts are an object", |(key, _)| key != "\"scripts\""),
        (Just("\"scripts\"".to_owned()), scripts),
    ];
    let member = (space(), member, space(), space(), space());
    (prop_oneof![Just(""), Just("\u{feff}")], space(), space(), prop::collection::vec(member, 0..6), space())
        .prop_map(|(bom, before, empty, members, after)| {
            let members: Vec<String> = members
                .into_iter()
                .map(|(a, (key, value), b, c, d)| format!("{a}{key}{b}:{c}{value}{d}"))
                .collect();
            let inside = if members.is_empty() { empty } else { members.join(",") };
            format!("{bom}{before}{{{inside}}}{after}")
        })
        .boxed()
}

/// Length of the start script as it is written.
fn value_span(text: &str) -> usize {
    match find(text, "scripts", "start") {
        Ok(Found::Value(value)) => value.span.len(),
        _ => 0,
    }
}

fn parsed(text: &str) -> serde_json::Value {
    // serde_json refuses a lone surrogate, which JSON.parse takes.
    let text = text.trim_start_matches('\u{feff}').replace("\\ud800", "");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

proptest! {
    #[test]
    fn every_byte_outside_the_edit_stays(text in package()) {
        let after = edit(&text);
        let mut wanted = parsed(&text);
        if wanted.get("scripts").is_none() {
            wanted["scripts"] = serde_json::json!({});
        }
        wanted["scripts"]["start"] = START.into();
        prop_assert_eq!(parsed(&after), wanted);

        // What differs is one place, and in it nothing but the old value went and ours came.
        let start = text.bytes().zip(after.bytes()).take_while(|(a, b)| a == b).count();
        let (old, new) = (&text.as_bytes()[start..], &after.as_bytes()[start..]);
        let end = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
        let gone = old.len() - end;
        match start_of(text.as_bytes()).unwrap() {
            Some(_) => prop_assert!(gone <= value_span(&text)),
            None => prop_assert_eq!(gone, 0, "{} → {}", text, after),
        }
        prop_assert_eq!(edit(&after), after);
    }

    #[test]
    fn anything_is_answered(text in prop_oneof!["\\PC{0,60}", "[\\[\\]{},:\"0-9a-z \\\\\n/-]{0,60}"]) {
        let ours = edited(text.as_bytes(), "").is_ok();
        let theirs: Result<serde_json::Map<String, serde_json::Value>, _> =
            serde_json::from_str(text.trim_start_matches('\u{feff}'));
        if theirs.is_err() && !text.contains("\\u") {
            prop_assert!(!ours, "{}", text);
        }
    }
}
