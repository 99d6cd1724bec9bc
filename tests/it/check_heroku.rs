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

/// A folder in git with these files, all of them tracked.
fn repository(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("in the folder")).expect("made");
        std::fs::write(path, text).expect("written");
    }
    for words in [&["init", "-q"][..], &["add", "-A"]] {
        let git = std::process::Command::new("git").arg("-C").arg(folder.path()).args(words).status();
        assert!(git.expect("git is there").success());
    }
    folder
}

#[test]
fn sessions_in_git_are_refused_at_the_line_that_names_them() {
    let hosted =
        "[bots.main]\nkind = \"hosted\"\ncommand = [\"node\", \"index.js\"]\nsession_dir = \"auth\"\n";
    let folder =
        repository(&[("blacksky.toml", hosted), ("auth/creds.json", "{}"), ("auth/key-1.json", "{}")]);
    let (code, _, err) = Blacksky::in_folder(folder.path()).arg("check").output();
    assert_eq!(code, 78, "{err}");
    assert!(err.contains("blacksky.toml:4:15") && err.contains("git rm -r --cached -- auth"), "{err}");

    // A SQLite file holds the session of a native bot.
    let native = "[database]\nurl = \"sqlite:bot.db\"\n";
    let folder = repository(&[("blacksky.toml", native), ("bot.db", "SQLite format 3")]);
    let (code, _, err) = Blacksky::in_folder(folder.path()).arg("check").output();
    assert_eq!(code, 78, "{err}");
    assert!(err.contains("blacksky.toml:2:7") && err.contains("git has session files (bot.db)"), "{err}");

    let folder = repository(&[("blacksky.toml", native), ("other/creds.json", "{}")]);
    assert_eq!(
        Blacksky::in_folder(folder.path()).arg("check").output().0,
        0,
        "not a session of a native bot"
    );
}

#[test]
fn the_procfile_that_is_there_is_read_and_named() {
    let eco = "[heroku]\ndyno = \"eco\"\n";
    let folder =
        repository(&[("blacksky.toml", eco), ("Procfile", "web: blacksky run\nworker: node jobs.js\n")]);
    let command = || Blacksky::in_folder(folder.path()).arg("check").arg("--heroku");
    let (code, _, err) = command().output();
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("--> Procfile:2:1") && err.contains("1488 hours"), "{err}");
    let json: Value = serde_json::from_str(&command().arg("--json").output().1).expect("JSON");
    let problem =
        json["problems"].as_array().and_then(|all| all.iter().find(|one| one["file"] == "Procfile"));
    assert_eq!(problem.map(|problem| &problem["line"]), Some(&Value::from(2)), "{json}");

    std::fs::write(folder.path().join("Procfile"), "worker: blacksky run\n").expect("written");
    let (code, _, err) = command().output();
    assert_eq!(code, 78, "{err}");
    assert!(err.contains("there is no `web` process") && err.contains("H14"), "{err}");
    // Without --heroku nobody asks for a Procfile.
    assert_eq!(Blacksky::in_folder(folder.path()).arg("check").output().0, 0);
}
