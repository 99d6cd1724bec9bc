//! `blacksky gen` as a person runs it.

use std::fs;
use std::path::Path;

use crate::support::blacksky::Blacksky;

fn gen_in(folder: &Path, args: &[&str]) -> (i32, String, String) {
    let command = Blacksky::in_folder(folder).arg("gen");
    args.iter().fold(command, |command, arg| command.arg(*arg)).output()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn files_are_written_checked_and_kept_when_edited() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    fs::write(file("blacksky.toml"), "[bots.main]\n").unwrap();

    let (code, stdout, stderr) = gen_in(folder.path(), &["--print"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("# Procfile\nweb: ./target/release/blacksky run\n"), "{stdout}");
    assert_eq!(names(folder.path()), ["blacksky.toml"], "--print writes nothing");

    let (code, stdout, _) = gen_in(folder.path(), &["--check"]);
    assert_eq!(code, 1);
    assert!(stdout.contains("+web: "), "{stdout}");
    assert_eq!(names(folder.path()), ["blacksky.toml"], "--check writes nothing");

    let (code, stdout, stderr) = gen_in(folder.path(), &[]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("wrote Procfile") && stdout.contains("wrote app.json"), "{stdout}");
    assert_eq!(names(folder.path()), [".blacksky-gen", "Procfile", "app.json", "blacksky.toml"]);
    let made = fs::read_to_string(file("Procfile")).unwrap();
    let (code, _, stderr) = gen_in(folder.path(), &["--check"]);
    assert_eq!((code, stderr.as_str()), (0, ""));

    fs::write(file("Procfile"), format!("{made}clock: ./clock\n")).unwrap();
    let (code, stdout, stderr) = gen_in(folder.path(), &["--check"]);
    assert_eq!(code, 1);
    assert!(stdout.contains("-clock: ./clock") && !stdout.contains("app.json (on disk)"), "{stdout}");
    assert!(stderr.contains("run blacksky gen"), "{stderr}");
    let (code, _, stderr) = gen_in(folder.path(), &[]);
    assert_eq!(code, 1);
    assert!(stderr.contains("Procfile") && stderr.contains("--force"), "{stderr}");
    assert!(fs::read_to_string(file("Procfile")).unwrap().contains("clock"));

    let (code, _, stderr) = gen_in(folder.path(), &["--force"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(fs::read_to_string(file("Procfile")).unwrap(), made);
}

#[test]
fn config_vars_of_this_machine_have_no_say() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("blacksky.toml"), "").unwrap();
    let (_, plain, _) = gen_in(folder.path(), &["--print"]);
    let (code, stdout, stderr) = Blacksky::in_folder(folder.path())
        .arg("gen")
        .arg("--print")
        .env("DATABASE_URL", "postgres://u:p@localhost/d")
        .env("BLACKSKY_SECRET_KEY", "0123456789abcdef")
        .env("BLACKSKY_HEROKU_PROCESS", "worker")
        .env("BLACKSKY_APP_NAME", "of-the-environment")
        .env("SESSION_ID", "elsewhere")
        .env("DYNO", "web.1")
        .output();
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(stdout, plain);
}

#[test]
fn a_wrong_file_and_a_wrong_command_line() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(gen_in(folder.path(), &[]).0, 78, "there is no blacksky.toml");
    fs::write(folder.path().join("blacksky.toml"), "[heroku]\nprocess = \"wbe\"\n").unwrap();
    let (code, _, stderr) = gen_in(folder.path(), &[]);
    assert_eq!(code, 78);
    assert!(stderr.contains("did you mean \"web\"?"), "{stderr}");
    assert_eq!(names(folder.path()), ["blacksky.toml"]);
    assert_eq!(gen_in(folder.path(), &["--check", "--print"]).0, 64);
}
