//! `blacksky migrate` as a release runs it.

use super::Bench;
use crate::support::blacksky::Blacksky;
use crate::support::postgres::{PASSWORD, database};

async fn migrate(url: &str, args: &[&str]) -> (i32, String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("blacksky.toml"), "[database]\ntls = \"disable\"\n").expect("writes");
    let command = args
        .iter()
        .fold(Blacksky::in_folder(folder.path()).env("DATABASE_URL", url).arg("migrate"), |command, arg| {
            command.arg(*arg)
        });
    tokio::task::spawn_blocking(move || command.output()).await.expect("runs")
}

#[tokio::test]
async fn it_makes_the_schema_and_then_has_nothing_to_do() {
    let url = database().await;
    let (code, out, err) = migrate(&url, &[]).await;
    assert_eq!(code, 0, "{err}");
    let version = out.trim().strip_prefix("the postgresql schema was made, version ").expect("made");
    let version: i64 = version.parse().expect("a number");
    let (code, out, err) = migrate(&url, &["--json"]).await;
    let said: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(code, 0, "{err}");
    assert_eq!(said, serde_json::json!({ "database": "postgresql", "from": version, "to": version }));
}

#[tokio::test]
async fn a_wrong_password_is_exit_69_and_not_shown() {
    let url = database().await.replace(PASSWORD, "hunter2");
    let (code, out, err) = migrate(&url, &[]).await;
    assert_eq!(code, 69, "{err}");
    assert!(err.contains("refuses the user or password"), "{err}");
    assert!(!err.contains("hunter2") && out.is_empty(), "{out}{err}");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let bench = Bench::postgres().await;
    bench.meddle("UPDATE {}migration SET version = 7000 WHERE version = 1").await;
    let (code, _, err) = migrate(&bench.url(), &[]).await;
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("version 7000") && err.contains("deploy a newer blacksky"), "{err}");
}
