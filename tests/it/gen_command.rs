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

/// Keeps what it was told in a folder and answers as Heroku's own program does.
const HEROKU: &str = r#"#!/bin/sh
echo "$*" | sed 's/\(SECRET_KEY\|ADMIN_TOKEN\)=.*/\1=…/' >> "$STATE/calls"
[ "$1" = "$FAILS" ] && exit 1
case "$1" in
  config:get) [ -e "$STATE/$2" ] && cat "$STATE/$2"; exit 0 ;;
  config:set) echo "${2#*=}" > "$STATE/${2%%=*}" ;;
  addons) [ -e "$STATE/addons" ] && cat "$STATE/addons"; exit 0 ;;
  addons:create) echo "${2%%:*} (some-name-123)  ${2#*:}" >> "$STATE/addons" ;;
  info) echo "auto_cert_mgmt=false"; echo "web_url=https://my-app-1234567890ab.herokuapp.com/?a=b" ;;
esac
"#;

/// Runs the lines in a shell that stops at the first one that fails, with [`HEROKU`] in place of the program.
fn run_lines(lines: &str, state: &Path, fails: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    for (name, text) in [("heroku", HEROKU), ("git", "#!/bin/sh\necho git \"$*\" >> \"$STATE/calls\"\n")] {
        let program = state.join(name);
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut path = state.as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    let output = std::process::Command::new("sh")
        .args(["-e", "-c", lines])
        .env("PATH", path)
        .env("STATE", state)
        .env("FAILS", fails)
        .output()
        .unwrap();
    assert!(output.status.success(), "{lines}\n{}", String::from_utf8_lossy(&output.stderr));
    let calls = fs::read_to_string(state.join("calls")).unwrap();
    fs::remove_file(state.join("calls")).unwrap();
    calls
}

#[test]
fn the_lines_for_an_existing_app_run_and_change_no_secret_the_second_time() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("blacksky.toml"), "[heroku]\ndyno = \"eco\"\n").unwrap();
    let (code, lines, stderr) = gen_in(folder.path(), &["--commands"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(names(folder.path()), ["blacksky.toml"], "--commands writes nothing");

    let state = tempfile::tempdir().unwrap();
    for fails in ["config:get", "addons"] {
        let calls = run_lines(&lines, state.path(), fails);
        let sets = if fails == "addons" { "addons:create" } else { "SECRET_KEY=…" };
        assert!(!calls.contains(sets), "what is there was not told, so it stays: {calls}");
    }
    let state = tempfile::tempdir().unwrap();
    let calls = run_lines(&lines, state.path(), "");
    for call in [
        "stack:set heroku-24",
        "addons:create heroku-postgresql:essential-0",
        "config:set BLACKSKY_SECRET_KEY=…",
        "git push heroku HEAD:main",
        "ps:scale web=1:eco",
    ] {
        assert!(calls.lines().any(|line| line == call), "{call} is not among\n{calls}");
    }
    let read = |name: &str| fs::read_to_string(state.path().join(name)).unwrap();
    let key = read("BLACKSKY_SECRET_KEY");
    assert_eq!(key.trim().len(), 64);
    assert_eq!(read("HEROKU_APP_URL").trim(), "https://my-app-1234567890ab.herokuapp.com/?a=b");

    let again = run_lines(&lines, state.path(), "");
    assert!(!again.contains("addons:create") && !again.contains("SECRET_KEY=…"), "{again}");
    assert_eq!(read("BLACKSKY_SECRET_KEY"), key, "the sessions could not be read under another one");

    // They are also told when app.json is written, and not when nothing changed.
    let told = gen_in(folder.path(), &[]).1;
    assert!(told.ends_with(&lines), "{told}");
    assert!(!gen_in(folder.path(), &[]).1.contains("heroku "));
    assert_eq!(gen_in(folder.path(), &["--commands", "--check"]).0, 64);
}
