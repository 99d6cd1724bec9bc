//! A session is carried from one app to another in a file, with the real program.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::support::postgres;
use crate::support::sim::PATIENCE;
use crate::support::stage::{FRIEND, PHONE, Stage, stop};

const HERE: Option<&str> = Some("the secret key of the app here");
const THERE: Option<&str> = Some("the secret key of the app there");
const PASSPHRASE: &str = "correct horse battery";

/// Exit code and everything printed.
struct Outcome {
    code: i32,
    text: String,
}

impl Stage {
    fn session(&self, key: Option<&str>, passphrase: &str, args: &[&str]) -> Outcome {
        let args = [&["session"], args, &["--passphrase-env", "TEST_PASSPHRASE"]].concat();
        let (code, out, err) = self.command(key, &args).env("TEST_PASSPHRASE", passphrase).output();
        let text = format!("{out}{err}");
        for secret in [HERE, THERE, Some(PASSPHRASE)].into_iter().flatten() {
            assert!(!text.contains(secret), "{text}");
        }
        Outcome { code, text }
    }

    fn export(&self, to: &Path, more: &[&str]) -> Outcome {
        let to = to.display().to_string();
        self.session(HERE, PASSPHRASE, &[&["export", "main", "--out", &to], more].concat())
    }

    fn import(&self, from: &Path, passphrase: &str, more: &[&str]) -> Outcome {
        let from = from.display().to_string();
        self.session(THERE, passphrase, &[&["import", from.as_str()], more].concat())
    }

    fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Outcome {
    fn says(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{}", self.text);
        for words in words {
            assert!(self.text.contains(words), "no {words:?} in {}", self.text);
        }
    }
}

async fn is_carried(here: Stage, url: Option<String>) {
    here.link(HERE).await;
    // Comes while the session is in no hands.
    here.sim.handle().send_text(FRIEND, PHONE, "!ping waiting").expect("sent");
    let file = here.out("main.export");
    here.export(&file, &[]).says(0, &["exported \"main\"", "do not run both"]);
    let bytes = std::fs::read(&file).expect("reads");
    assert_eq!(file.metadata().expect("is there").permissions().mode() & 0o777, 0o600);
    for secret in [HERE.unwrap_or_default(), "main", PHONE] {
        assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{secret} is readable");
    }
    let there = here.beside(url);
    there.import(&file, PASSPHRASE, &[]).says(0, &["imported \"main\"", "without a QR code"]);
    let process = there.start(THERE);
    there.works(&process, "carried").await;
    there.sim.handle().wait_for_text(FRIEND, "pong waiting", PATIENCE).await.expect("an answer");
    stop(process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_carried_from_postgresql_to_sqlite() {
    is_carried(Stage::postgres().await, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_carried_from_sqlite_to_postgresql() {
    is_carried(Stage::sqlite(), Some(postgres::database().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_bot_keeps_its_session_unless_a_copy_is_asked_for() {
    let here = Stage::postgres().await;
    here.link(HERE).await;
    let process = here.start(HERE);
    process.until("open", PATIENCE).await;
    let file = here.out("main.export");
    here.export(&file, &[]).says(1, &["is in use by", "--copy"]);
    assert!(!file.exists());
    here.export(&file, &["--copy"]).says(0, &["Do not run both"]);
    assert_eq!(process.state().await, "open", "the bot was not disturbed");
    stop(process).await;

    let there = here.beside(None);
    there.import(&file, PASSPHRASE, &[]).says(64, &["Do not run both", "--yes"]);
    assert!(there.holds_nothing().await, "nothing was written");
    there.import(&file, PASSPHRASE, &["--yes"]).says(0, &["imported \"main\""]);
    let process = there.start(THERE);
    there.works(&process, "copied").await;
    stop(process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_good_export_changes_nothing() {
    let here = Stage::postgres().await;
    here.link(HERE).await;
    let file = here.out("main.export");
    here.export(&file, &[]).says(0, &[]);
    let bytes = std::fs::read(&file).expect("reads");
    let before = here.values().await;
    let there = here.beside(None);

    there
        .import(&file, "another passphrase", &[])
        .says(1, &["main.export", "the passphrase is wrong, or the file is damaged"]);
    there.import(&here.out("none"), PASSPHRASE, &[]).says(1, &["none cannot be read"]);
    let changed = |at: usize, with: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + with.len()].copy_from_slice(with);
        bytes
    };
    let written: [(&str, Vec<u8>, &str); 6] = [
        ("cut", bytes[..bytes.len() / 2].to_vec(), "it is cut short"),
        ("longer", [bytes.as_slice(), b"x"].concat(), "it is damaged"),
        ("foreign", b"PK\x03\x04 this is a zip file".to_vec(), "it is not a session export"),
        ("newer", changed(8, &[0, 9]), "made by a newer blacksky"),
        ("older", changed(8, &[0, 0]), "does not read any more"),
        ("hostile", changed(10, &[0xff; 8]), "asks for"),
    ];
    for (name, bytes, words) in written {
        let path = here.out(name);
        std::fs::write(&path, bytes).expect("writes");
        there.import(&path, PASSPHRASE, &[]).says(1, &[name, words]);
    }
    // No bot of that name there.
    std::fs::write(there.out("blacksky.toml"), "[bots.other]\n").expect("written");
    there
        .import(&file, PASSPHRASE, &[])
        .says(1, &["session \"main\"", "no bot of this file uses", "--session"]);
    there.import(&file, PASSPHRASE, &["--session", "no such name"]).says(64, &["is not a session id"]);
    assert!(there.holds_nothing().await, "nothing was written");

    // Where it comes from it is linked already. The key of that app is not the one that opens its rows, so
    // it does not even read, and is left alone all the same.
    here.import(&file, PASSPHRASE, &[]).says(1, &["is linked in this database already", "--replace"]);
    assert!(before == here.values().await, "something was written");

    // Under the name of another bot it lives on.
    let bot = "[bots.other.commands]\nping = \"pong {args}\"\n";
    std::fs::write(there.out("blacksky.toml"), bot).expect("written");
    there
        .import(&file, PASSPHRASE, &["--session", "other"])
        .says(0, &["imported \"other\"", "without a QR code"]);
    let process = there.start(THERE);
    there.answers("renamed").await;
    assert_eq!(there.sim.handle().counters().registrations, 1, "a second QR");
    stop(process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_leaves_the_session_alone() {
    let here = Stage::postgres().await;
    here.link(HERE).await;
    let before = here.values().await;
    let file = here.out("main.export");
    std::fs::write(&file, "mine").expect("writes");
    here.export(&file, &[]).says(1, &["exists already", "--force"]);
    assert_eq!(std::fs::read(&file).expect("reads"), b"mine");
    here.export(&here.out("no/such/folder"), &[]).says(1, &["does not exist: make it first"]);
    here.export(here.folder.path(), &[]).says(1, &["is a folder"]);
    let to = here.out("short").display().to_string();
    here.session(HERE, "too short", &["export", "main", "--out", &to]).says(64, &["shorter than 12"]);
    here.session(HERE, "", &["export", "main", "--out", &to]).says(64, &["not set or empty"]);
    here.session(HERE, PASSPHRASE, &["export", "nobody", "--out", &to]).says(1, &["no bot and no session"]);
    // A disk that takes no more: a limit of the shell is the same to a writer.
    let program = here
        .command(HERE, &["session", "export", "main", "--out", &to, "--passphrase-env", "TEST_PASSPHRASE"])
        .env("TEST_PASSPHRASE", PASSPHRASE);
    let limited = limited(&program.command());
    limited.says(1, &["the disk is full", "was not written"]);
    let left: Vec<_> =
        std::fs::read_dir(here.folder.path()).expect("lists").flatten().map(|e| e.file_name()).collect();
    assert_eq!(left.len(), 2, "only blacksky.toml and the file that was there: {left:?}");
    assert!(before == here.values().await, "something was written");
    // And the session was given back: the bot starts at once.
    here.export(&file, &["--force"]).says(0, &["exported"]);
    let process = here.start(HERE);
    here.works(&process, "still here").await;
    stop(process).await;
}

/// Runs a command that may write no file of more than 512 bytes.
fn limited(command: &std::process::Command) -> Outcome {
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", r#"trap "" XFSZ; ulimit -f 1; exec "$@""#, "sh"]).arg(command.get_program());
    shell.args(command.get_args()).env_clear().stdin(Stdio::null());
    shell.current_dir(command.get_current_dir().expect("a folder"));
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = shell.output().expect("runs");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Outcome { code: output.status.code().unwrap_or(-1), text }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_replaced_is_backed_up_and_archived() {
    let here = Stage::sqlite();
    here.link(HERE).await;
    let file = here.out("main.export");
    here.export(&file, &[]).says(0, &[]);
    let from = file.display().to_string();
    let import = ["import", from.as_str(), "--replace"];
    here.session(HERE, PASSPHRASE, &import).says(64, &["backed up, archived and replaced", "--yes"]);
    here.session(HERE, PASSPHRASE, &[&import[..], &["--yes"]].concat())
        .says(0, &["as it was before is backup 1"]);
    let (code, shown, _) = here.command(HERE, &["session", "show", "main", "--json"]).output();
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!((code, shown["backups"].as_array().map(Vec::len)), (0, Some(1)), "{shown}");
    assert_eq!(shown["generations"].as_array().map(Vec::len), Some(2), "{shown}");
    let process = here.start(HERE);
    here.works(&process, "replaced").await;
    stop(process).await;
}
