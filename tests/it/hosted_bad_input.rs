//! Hosted bots that cannot work: what their owner sees, and that nothing is lost.
//!
//! `BLACKSKY_FLOOD_MB=1024 cargo test --features simulator --test it hosted_bad_input -- --nocapture` floods longer.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::support::blacksky::{Blacksky, Process};
use crate::support::eventually::eventually;
use crate::support::http;

/// A link nobody listens at: no bot here comes so far.
const LINK: &str = "ws://127.0.0.1:9/ws/chat";
const TOKEN: &str = "the admin token of the bad bots";
const PATIENCE: Duration = Duration::from_secs(40);

/// A folder with this bot's command, a list in TOML.
fn folder(command: &str, more: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let toml = format!("[bots.main]\nkind = \"hosted\"\ncommand = {command}\nstop_grace = \"1s\"\n{more}");
    std::fs::write(folder.path().join("blacksky.toml"), toml).expect("written");
    folder
}

fn shell(script: &str) -> String {
    format!("['sh', '-c', '{script}']")
}

fn run(folder: &Path) -> Process {
    Blacksky::in_folder(folder).env("BLACKSKY_ADMIN_TOKEN", TOKEN).run(LINK)
}

async fn until_child(process: &Process, state: &str) {
    eventually(&format!("the bot is {state}"), PATIENCE, async || {
        process
            .status()
            .await
            .is_some_and(|status| status["bots"]["main"]["hosted"]["child"]["state"] == state)
    })
    .await;
}

async fn page(process: &Process, token: bool) -> String {
    let mut request = http::client().get(process.url("/"));
    if token {
        request = request.bearer_auth(TOKEN);
    }
    request.send().await.expect("an answer").text().await.expect("a text")
}

async fn ends(mut process: Process) -> String {
    process.term();
    let status = process.ended(PATIENCE).await;
    let log = process.log();
    assert!(status.success(), "{status}: {log}");
    assert!(!log.contains("panicked"), "{log}");
    log
}

#[tokio::test]
async fn a_command_that_is_not_there() {
    let folder = folder("['no-such-program', 'index.js']", "");
    let process = run(folder.path());
    until_child(&process, "not_started").await;
    let page = page(&process, true).await;
    assert!(page.contains("no-such-program"), "{page}");
    let log = ends(process).await;
    assert!(log.contains("no-such-program") && log.contains("bots.main.command"), "{log}");
}

#[tokio::test]
async fn one_that_ends_at_once_is_parked_with_its_last_lines_behind_the_token() {
    let folder = folder(&shell("echo \"Cannot find module baileys\" >&2; exit 3"), "");
    let process = run(folder.path());
    until_child(&process, "crash_loop").await;
    let status = process.status().await.expect("a status");
    assert_eq!(status["bots"]["main"]["hosted"]["child"]["restarts"], 4, "{status}");
    assert!(!status.to_string().contains("Cannot find module"), "{status}");
    assert!(page(&process, true).await.contains("Cannot find module baileys"));
    assert!(!page(&process, false).await.contains("Cannot find module"));
    let log = ends(process).await;
    assert!(log.contains("Cannot find module baileys"), "{log}");
}

#[tokio::test]
async fn one_that_never_binds_its_port() {
    let folder = folder(&shell("exec sleep 600"), "");
    let process = run(folder.path());
    until_child(&process, "running").await;
    let begun = Instant::now();
    let answer = http::client().get(process.url("/hello")).send().await.expect("an answer");
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(answer.status(), 503);
    let text = answer.text().await.expect("a text");
    assert!(text.contains("PORT"), "{text}");
    assert_eq!(http::client().get(process.url("/healthz")).send().await.expect("an answer").status(), 200);
    ends(process).await;
}

#[tokio::test]
async fn one_that_writes_without_end() {
    let megabytes = std::env::var_os("BLACKSKY_FLOOD_MB").and_then(|text| text.into_string().ok());
    let megabytes: u64 = megabytes.map_or(64, |text| text.parse().expect("a number"));
    let flood = format!("yes all work and no play | head -c {megabytes}M; echo over; exec sleep 600");
    let folder = folder(&shell(&flood), "");
    let process = run(folder.path());
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    let over = tokio::time::timeout(5 * PATIENCE, async {
        while !process.log().contains("over") {
            let asked = Instant::now();
            let answer = http::client().get(process.url("/healthz")).send().await.expect("an answer");
            assert_eq!(answer.status(), 200);
            slowest = slowest.max(asked.elapsed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(over.await.is_ok(), "the bot is held up by its own output");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap_or_default();
    let peak: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or_default();
    assert!(peak < 100 * 1024, "{peak} kB");
    let log = ends(process).await;
    println!(
        "{megabytes} MB of output in {:.1?}: {} kB of log, slowest answer {slowest:.1?}, most memory {peak} kB",
        begun.elapsed(),
        log.len() / 1024
    );
    assert!(log.len() < 4 << 20, "{} bytes of log", log.len());
}

#[tokio::test]
async fn one_that_writes_what_is_no_text() {
    let folder = folder(
        &shell("head -c 300000 /dev/urandom; echo; printf \"\\\\033[2Jover\\\\n\"; exec sleep 600"),
        "",
    );
    let process = run(folder.path());
    eventually("it is read to its end", PATIENCE, async || process.log().contains("over")).await;
    let log = ends(process).await;
    let wild = log.chars().find(|letter| letter.is_control() && !['\n', '\t'].contains(letter));
    assert_eq!(wild, None, "control characters reach the terminal");
}

#[tokio::test]
async fn a_session_folder_that_cannot_be_written() {
    let folder = folder(&shell("exec sleep 600"), "session_dir = '/proc/sessions'\n");
    let (code, _, words) = Blacksky::in_folder(folder.path()).arg("check").output();
    if code == 0 {
        let process = run(folder.path());
        eventually("it is said", PATIENCE, async || page(&process, true).await.contains("/proc/sessions"))
            .await;
        assert!(ends(process).await.contains("/proc/sessions"));
    } else {
        assert!(words.contains("session_dir"), "{words}");
    }
}

#[tokio::test]
async fn no_place_for_the_preload_and_temporary_files() {
    let folder = folder(&shell("exec sleep 600"), "");
    let process = Blacksky::in_folder(folder.path())
        .env("TMPDIR", "/proc")
        .env("BLACKSKY_ADMIN_TOKEN", TOKEN)
        .run(LINK);
    eventually("it is parked", PATIENCE, async || process.state().await == "parked").await;
    assert!(page(&process, true).await.contains("TMPDIR"));
    assert!(ends(process).await.contains("set TMPDIR to a folder that can be written"));
}
