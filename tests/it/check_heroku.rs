//! `blacksky check --heroku`, the real command.

use serde_json::Value;

use crate::support::blacksky::Blacksky;

fn check(file: &str, more: &[&str]) -> (i32, String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("blacksky.toml"), file).expect("written");
    let command = Blacksky::in_folder(folder.path()).arg("check").arg("--heroku");
    more.iter().fold(command, |command, arg| command.arg(*arg)).output()
}

#[test]
fn says_what_is_right_and_what_to_know() {
    let (code, out, err) = check("", &[]);
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains("blacksky.toml is good") && out.contains("note: Heroku runs one basic dyno"),
        "{out}"
    );
}

#[test]
fn two_basic_dynos_are_refused_with_the_size_that_allows_them() {
    let (code, _, err) = check("[heroku]\nquantity = 2\n", &[]);
    assert_eq!(code, 78, "{err}");
    assert!(err.contains("only one basic dyno per process type") && err.contains("standard-1x"), "{err}");
}

#[test]
fn too_many_connections_are_refused_at_their_line() {
    let file = "[heroku]\ndyno = \"standard-1x\"\nquantity = 6\n[database]\nmax_connections = 4\n";
    let (code, _, err) = check(file, &[]);
    assert_eq!(code, 78, "{err}");
    assert!(err.contains("6 × 4 connections are more than the 20 of essential-0"), "{err}");
    assert!(err.contains("blacksky.toml:5:19"), "{err}");
    // The same file is a good one elsewhere.
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("blacksky.toml"), file).expect("written");
    assert_eq!(Blacksky::in_folder(folder.path()).arg("check").output().0, 0);
}

#[test]
fn programs_get_problems_and_notes() {
    let (code, out, _) = check("[heroku]\nprocess = \"worker\"\n", &["--json"]);
    let json: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &json["ok"]), (0, &Value::from(true)), "warnings stop nothing");
    assert_eq!(json["problems"][0]["severity"], "warning");
    assert_eq!(json["problems"][0]["key"], "heroku.process");
    assert_eq!(json["problems"][0]["line"], 2);
    assert!(json["notes"].as_array().is_some_and(|notes| !notes.is_empty()), "{json}");
}
