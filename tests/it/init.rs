//! `blacksky init` in folders as people have them, with the real program and the real git.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::blacksky::Blacksky;

const INDEX: &str =
    "const { state } = await useMultiFileAuthState('./session')\nserver.listen(process.env.PORT || 3000)\n";
const PACKAGE: &str = "{\r\n\t\"name\": \"my-bot\",\r\n\t\"scripts\": {\r\n\t\t\"start\": \"nodemon index.js\",\r\n\t\t\"test\": \"x\"\r\n\t},\r\n\t\"dependencies\": { \"baileys\": \"7.0.0-rc14\" }\r\n}";

fn init(folder: &Path, args: &[&str]) -> (i32, String, String) {
    let command = Blacksky::in_folder(folder).arg("init");
    args.iter().fold(command, |command, arg| command.arg(*arg)).output()
}

fn bot(folder: &Path) {
    fs::write(folder.join("package.json"), PACKAGE).unwrap();
    fs::write(folder.join("index.js"), INDEX).unwrap();
    fs::write(folder.join("Procfile"), "worker: npm start\n").unwrap();
    fs::write(folder.join(".gitignore"), "node_modules").unwrap();
}

fn read(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn git(folder: &Path, args: &[&str]) {
    let status = Command::new("git").arg("-C").arg(folder).args(args).output().unwrap();
    assert!(status.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&status.stderr));
}

#[test]
fn a_bot_gets_its_files_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    bot(path);
    let (code, stdout, stderr) = init(path, &[]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    for told in [
        "node index.js",
        "the Procfile's worker line",
        "named in the sources",
        "baileys 7.0.0-rc14",
        "  3. heroku create",
    ] {
        assert!(stdout.contains(told), "{told}: {stdout}");
    }
    let toml = read(path, "blacksky.toml");
    assert!(toml.contains("command = [\"node\", \"index.js\"]\nsession_dir = \"session\" #"), "{toml}");
    assert_eq!(
        read(path, "Procfile"),
        "web: ./node_modules/.bin/blacksky run\nrelease: ./node_modules/.bin/blacksky migrate\n"
    );
    assert_eq!(read(path, "Procfile.before-blacksky"), "worker: npm start\n");
    assert_eq!(
        read(path, "package.json"),
        PACKAGE
            .replace("nodemon index.js", "blacksky run")
            .replace("rc14\"", "rc14\", \"blacksky\": \"^0.1.0\""),
        "the rest stays"
    );
    let app: Value = serde_json::from_str(&read(path, "app.json")).unwrap();
    assert_eq!(app["buildpacks"][0]["url"], "heroku/nodejs");
    let ignored = read(path, ".gitignore");
    assert!(
        ignored.starts_with("node_modules\n\n# blacksky") && ignored.contains("\n/session/\n"),
        "{ignored}"
    );
    assert!(!ignored.contains("node_modules/"), "it was there: {ignored}");
    assert!(read(path, ".slugignore").contains("/session/"));

    // What was made is good, and says so.
    let (code, _, stderr) = Blacksky::in_folder(path).arg("check").output();
    assert_eq!(code, 0, "{stderr}");
    let (code, _, stderr) = Blacksky::in_folder(path).arg("gen").arg("--check").output();
    assert_eq!((code, stderr.as_str()), (0, ""));

    let (code, _, stderr) = init(path, &[]);
    assert!(code == 1 && stderr.contains("is there already") && stderr.contains("--force"), "{stderr}");
    // By now `npm start` starts blacksky; the command comes from the file that is replaced.
    let before = [".gitignore", ".slugignore", "package.json", "Procfile", "blacksky.toml"]
        .map(|name| read(path, name));
    let (code, stdout, stderr) = init(path, &["--force", "--json"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let json: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(json["found"]["start"]["command"], serde_json::json!(["node", "index.js"]));
    assert_eq!(json["next"].as_array().map(Vec::len), Some(3));
    let after = [".gitignore", ".slugignore", "package.json", "Procfile", "blacksky.toml"]
        .map(|name| read(path, name));
    assert_eq!(before, after, "a second run changes nothing");
}

#[test]
fn session_files_in_git_are_refused_with_the_command_that_takes_them_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    bot(path);
    fs::create_dir(path.join("session")).unwrap();
    fs::write(path.join("session/creds.json"), "{}").unwrap();
    fs::write(path.join("session/.gitkeep"), "").unwrap();
    git(path, &["init", "-q"]);
    git(path, &["add", "."]);
    let (code, _, stderr) = init(path, &[]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("git rm -r --cached -- session\n") && stderr.contains("history"), "{stderr}");
    assert!(!path.join("blacksky.toml").exists() && !path.join("app.json").exists(), "nothing is written");
    // The command as it is printed.
    git(path, &["rm", "-q", "-r", "--cached", "--", "session"]);
    let (code, stdout, stderr) = init(path, &[]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("the login in session is taken over"), "{stdout}");
    git(path, &["add", "."]);
    // Committed all the same, `check` says so.
    git(path, &["add", "-f", "session/creds.json"]);
    let (code, _, stderr) = Blacksky::in_folder(path).arg("check").output();
    assert!(code == 78 && stderr.contains("git has session files (session/creds.json)"), "{code}: {stderr}");
    assert!(stderr.contains("git rm -r --cached -- session"), "{stderr}");
    git(path, &["rm", "-q", "-r", "--cached", "--", "session"]);
    let staged = Command::new("git").arg("-C").arg(path).args(["ls-files", "session"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&staged.stdout), "", ".gitignore keeps it out");
}

#[test]
fn what_cannot_be_done_is_said_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    bot(path);
    fs::write(path.join("package.json"), "{\n  \"scripts\": {},\n}").unwrap();
    let (code, _, stderr) = init(path, &[]);
    assert!(code == 1 && stderr.contains("package.json:3:1"), "{code}: {stderr}");
    let (code, _, stderr) = init(path, &["--interactive"]);
    assert!(code == 64 && stderr.contains("terminal"), "{code}: {stderr}");
    fs::write(path.join("package.json"), PACKAGE).unwrap();
    fs::write(path.join("Procfile.before-blacksky"), "mine").unwrap();
    let (code, _, stderr) = init(path, &[]);
    assert!(code == 1 && stderr.contains("Procfile.before-blacksky is there already"), "{stderr}");
    fs::remove_file(path.join("Procfile.before-blacksky")).unwrap();
    let utf16: Vec<u8> = "\u{feff}node_modules".encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(path.join(".gitignore"), utf16).unwrap();
    let (code, _, stderr) = init(path, &[]);
    assert!(code == 1 && stderr.contains(".gitignore is not UTF-8"), "{stderr}");
    fs::remove_file(path.join(".gitignore")).unwrap();
    fs::remove_file(path.join("index.js")).unwrap();
    let (code, _, stderr) = init(path, &[]);
    assert!(
        code == 1 && stderr.contains("--command") && stderr.contains("index.js is not there"),
        "{stderr}"
    );
    assert!(!path.join("blacksky.toml").exists() && !path.join("app.json").exists());
    let (code, _, stderr) = init(path, &["--command", "npm start"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(read(path, "blacksky.toml").contains("[\"node\", \"index.js\"]"), "the program behind it");
}

#[test]
fn an_empty_folder_gets_a_native_bot() {
    let folder = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) = init(folder.path(), &[]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("blacksky is the bot itself"), "{stdout}");
    let (code, _, stderr) = Blacksky::in_folder(folder.path()).arg("check").output();
    assert_eq!(code, 0, "{stderr}");
    assert!(!folder.path().join("package.json").exists());
}
