//! The real program takes backups and gives a session back from one.
//!
//! `BLACKSKY_BACKUP_PEERS=10000 cargo test --features simulator --test it how_long_a_large -- --nocapture` measures.

use std::path::Path;
use std::time::Duration;

use blacksky::config::{Backup, Keep, Period, Size};
use blacksky::sim::Server;
use blacksky::store::{Backed, Store};
use serde_json::Value;
use tokio::time::Instant;
use wacore::store::Device;
use wacore::store::traits::{DeviceStore, SignalStore};

use crate::restarts::pair;
use crate::store::{Bench, lease};
use crate::support::blacksky::{Blacksky, Process};
use crate::support::eventually::eventually;
use crate::support::sim::{PATIENCE, assert_clean, simulator};

const PHONE: &str = "4915100000001";
const FRIEND: &str = "4915100000002";
const LONG: Duration = Duration::from_secs(30);

/// A bot's home: a folder with its file, and a database.
struct Home {
    bench: Bench,
    folder: tempfile::TempDir,
}

impl Home {
    fn new(bench: Bench, interval: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = format!(
            "[bots.main]\nprefix = \"!\"\n[bots.main.commands]\nping = \"pong {{args}}\"\n\
             [backup]\ninterval = \"{interval}\"\n[lease]\nttl = \"2s\"\n[database]\ntls = \"disable\"\n"
        );
        std::fs::write(folder.path().join("blacksky.toml"), file).expect("written");
        Self { bench, folder }
    }

    fn blacksky(&self) -> Blacksky {
        let url = match self.bench.file() {
            Some(file) => format!("sqlite:{}", file.display()),
            None => self.bench.url(),
        };
        // The key of `Bench`.
        Blacksky::in_folder(self.folder.path())
            .env("DATABASE_URL", url)
            .env("BLACKSKY_SECRET_KEY", "0123456789abcdef0123456789abcdef")
    }

    fn run(&self, sim: &Server) -> Process {
        self.blacksky().run(&sim.url())
    }

    /// Runs `session …`: exit code, stdout, stderr.
    async fn session(&self, args: &[&str]) -> (i32, String, String) {
        let command = args.iter().fold(self.blacksky().arg("session"), |command, arg| command.arg(*arg));
        tokio::task::spawn_blocking(move || command.output()).await.expect("runs")
    }

    /// The same with `--json`, which must succeed.
    async fn json(&self, args: &[&str]) -> Value {
        let (code, out, err) = self.session(&[args, &["--json"]].concat()).await;
        assert_eq!(code, 0, "{args:?}: {out}{err}");
        serde_json::from_str(&out).unwrap_or_else(|_| panic!("no JSON: {out}"))
    }

    /// The numbers of the backups of `main`, newest first.
    async fn backups(&self) -> Vec<i64> {
        let shown = self.json(&["show", "main"]).await;
        let all = shown["backups"].as_array().expect("a list").clone();
        all.iter().filter_map(|backup| backup["id"].as_i64()).collect()
    }
}

async fn answers(sim: &Server, process: &Process, word: &str) {
    let phone = sim.handle();
    let id = phone.send_text(FRIEND, PHONE, &format!("!ping {word}")).expect("sent");
    let reply = phone.wait_for_text(FRIEND, &format!("pong {word}"), LONG).await;
    assert!(reply.is_ok(), "{word} was not answered; log:\n{}", process.log());
    phone.wait_for_acknowledgement(&id, PATIENCE).await.expect("acknowledged");
}

async fn stop(mut process: Process) {
    process.term();
    assert!(process.ended(LONG).await.success(), "{}", process.log());
}

async fn talks_is_copied_is_emptied_and_comes_back(bench: Bench) {
    let (home, sim) = (Home::new(bench, "1s"), simulator());
    let process = home.run(&sim);
    pair(&sim, &process).await;
    answers(&sim, &process, "one").await;

    // Every interval, as long as something changed; a session at rest gets no new row.
    eventually("backups on the page", LONG, async || {
        let status = process.status().await.unwrap_or_default();
        status["bots"]["main"]["last_backup"]["bytes"].as_u64().is_some_and(|bytes| bytes > 500)
    })
    .await;
    let taken = |status: Value, key: &str| {
        status["bots"]["main"]["last_backup"][key].as_str().unwrap_or_default().to_owned()
    };
    eventually("three looks at an unchanged session", LONG, async || {
        let status = process.status().await.unwrap_or_default();
        let at = |key| chrono::DateTime::parse_from_rfc3339(&taken(status.clone(), key)).ok();
        at("checked_at")
            .zip(at("taken_at"))
            .is_some_and(|(checked, at)| checked - at > chrono::TimeDelta::seconds(2))
    })
    .await;
    let at_rest = home.backups().await;
    assert!(!at_rest.is_empty() && at_rest.len() <= 4, "{at_rest:?}");

    // One taken by hand while the bot runs: nothing changed, so none is written.
    assert_eq!(home.json(&["backup", "main"]).await["written"], false);
    let (code, _, err) = home.session(&["restore", "main", "--yes"]).await;
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("is in use by") && err.contains("heroku ps:scale web=0"), "{err}");
    let (code, _, err) = home.session(&["forget", "main", "--yes"]).await;
    assert!(code == 1 && err.contains("is in use by"), "{err}");
    answers(&sim, &process, "two").await;
    stop(process).await;
    let stopped = home.backups().await;
    assert!(stopped.len() > at_rest.len(), "SIGTERM took one: {stopped:?} after {at_rest:?}");

    // A database from which the session is gone.
    for table in ["session_row", "inbox", "generation", "session"] {
        home.bench.meddle(&format!("DELETE FROM {{}}{table}")).await;
    }
    assert_eq!(home.json(&["list"]).await[0]["generation"], Value::Null);
    let restored = home.json(&["restore", "main", "--yes"]).await;
    assert_eq!(restored["restored"]["id"], stopped[0]);
    assert_eq!(restored["fresh"], Value::Null);
    let process = home.run(&sim);
    process.until("open", LONG).await;
    answers(&sim, &process, "three").await;
    assert_eq!(sim.handle().counters().registrations, 1, "no second QR");
    // The backup was of the last moment: nothing was rolled back.
    assert_clean(&sim.handle());
    stop(process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_comes_back_into_an_emptied_postgres() {
    talks_is_copied_is_emptied_and_comes_back(Bench::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_comes_back_into_an_emptied_sqlite() {
    talks_is_copied_is_emptied_and_comes_back(Bench::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_backup_links_without_a_qr_and_heals() {
    let (home, sim) = (Home::new(Bench::sqlite().await, "1d"), simulator());
    let process = home.run(&sim);
    pair(&sim, &process).await;
    answers(&sim, &process, "one").await;
    stop(process).await;
    let older = home.backups().await[0].to_string();
    let process = home.run(&sim);
    process.until("open", LONG).await;
    // Both ratchets move on.
    answers(&sim, &process, "two").await;
    answers(&sim, &process, "three").await;
    stop(process).await;

    let (code, _, err) = home.session(&["restore", "main", "--from", &older]).await;
    assert_eq!(code, 64, "{err}");
    assert!(err.contains("ratchets") && err.contains("add --yes"), "{err}");
    let restored = home.json(&["restore", "main", "--from", &older, "--yes"]).await;
    assert_eq!(restored["restored"]["id"].to_string(), older);
    assert_eq!(restored["fresh"]["id"], home.backups().await[0], "the session of now is a backup too");

    let process = home.run(&sim);
    process.until("open", LONG).await;
    let phone = sim.handle();
    // What was said with ratchets of later is renegotiated.
    phone.send_text(FRIEND, PHONE, "!ping four").expect("sent");
    phone.wait_for_text(FRIEND, "pong four", LONG).await.unwrap_or_else(|_| panic!("{}", process.log()));
    assert_eq!(phone.counters().registrations, 1, "no second QR");
    stop(process).await;
    // Forgotten, it asks for a QR; restored, it does not.
    home.json(&["forget", "main", "--yes"]).await;
    let process = home.run(&sim);
    process.until("pairing", LONG).await;
    stop(process).await;
    home.json(&["restore", "main", "--yes"]).await;
    let process = home.run(&sim);
    process.until("open", LONG).await;
    assert_eq!(phone.counters().registrations, 2, "the one that was asked for after the forgetting");
    stop(process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_and_nothing_is_lost() {
    let (home, store) = filled(Bench::postgres().await, "4915100000009").await;
    let before = store.copy("main").await.expect("copies").expect("there").digest();
    assert_eq!(home.json(&["backup", "main"]).await["written"], true);
    let other = store.acquire("other", &crate::store::owner("a"), LONG).await.expect("wins");
    let device =
        Device { pn: Some("4915100000008:3@s.whatsapp.net".parse().expect("a jid")), ..Device::new() };
    store.session(&other).save(&device).await.expect("saves");
    store.release(&other).await.expect("releases");
    let others = home.json(&["backup", "other"]).await["backup"]["id"].to_string();
    let own = home.backups().await[0].to_string();

    let rows: [(&[&str], i32, &str); 6] = [
        (&["show", "mian"], 1, "there is no bot and no session \"mian\"; bots of the file: main"),
        (&["restore", "main", "--yes", "--from", "999"], 1, "there is no backup 999 of \"main\""),
        (&["restore", "main", "--yes", "--from", "newest"], 64, "--from takes the number of a backup"),
        (&["restore", "main", "--yes", "--from", &others], 1, "is of the session \"other\", not of \"main\""),
        (&["restore", "nobody", "--yes"], 1, "there is no bot and no session"),
        (&["forget", "main"], 64, "add --yes"),
    ];
    for (args, code, words) in rows {
        let (found, out, err) = home.session(args).await;
        assert!(found == code && err.contains(words), "{args:?}: {found} {out}{err}");
    }
    // No phone number on any page of it.
    for args in [&["list"][..], &["show", "main"], &["list", "--json"], &["show", "main", "--json"]] {
        let (code, out, err) = home.session(args).await;
        assert!(code == 0 && !format!("{out}{err}").contains("49151"), "{args:?}: {out}{err}");
    }

    // Moved to another session by hand, damaged, sealed under a key that is lost.
    home.bench.meddle(&format!("UPDATE {{}}backup SET session = 'main' WHERE id = {others}")).await;
    let (code, _, err) = home.session(&["restore", "main", "--yes", "--from", &others]).await;
    assert!(code == 1 && err.contains("cannot be read: it is damaged"), "{err}");
    home.bench
        .meddle(&format!(
            "UPDATE {{}}backup SET value = substring(value FROM 1 FOR length(value) - 1) WHERE id = {own}"
        ))
        .await;
    let (code, _, err) = home.session(&["restore", "main", "--yes", "--from", &own]).await;
    assert!(code == 1 && err.contains(&format!("backup {own} cannot be read: it is damaged")), "{err}");
    let lost = home
        .blacksky()
        .env("BLACKSKY_SECRET_KEY", "another key of some length")
        .arg("session")
        .arg("restore")
        .arg("main")
        .arg("--yes");
    let (code, _, err) = tokio::task::spawn_blocking(move || lost.output()).await.expect("runs");
    assert!(code == 1 && err.contains("another secret key"), "{err}");
    let after = store.copy("main").await.expect("copies").expect("there");
    assert_eq!(after.digest(), before);
    assert_eq!(after.header.generation, 1, "nothing was replaced");
}

/// A database with a linked session that no bot runs.
async fn filled(bench: Bench, account: &str) -> (Home, Store) {
    let home = Home::new(bench, "1d");
    let store = home.bench.open().await;
    let held = lease(&store, "a").await;
    let session = store.session(&held);
    let device =
        Device { pn: Some(format!("{account}:3@s.whatsapp.net").parse().expect("a jid")), ..Device::new() };
    session.save(&device).await.expect("saves");
    session.put_session("1@s.whatsapp.net", b"ratchet").await.expect("writes");
    store.release(&held).await.expect("releases");
    (home, store)
}

fn keep(recent: u32, max_size: u64) -> Backup {
    Backup {
        interval: Period::seconds(300),
        keep: Keep { recent, hourly: 0, daily: 0 },
        max_size: Size::bytes(max_size),
    }
}

async fn keep_and_max_size_hold(bench: Bench) {
    let (_home, store) = filled(bench, "4915100000007").await;
    let held = lease(&store, "b").await;
    let mut written = Vec::new();
    for round in 0..8_u8 {
        // Does not compress.
        let noise: Vec<u8> = (0..10_000).map(|_| rand::random()).collect();
        store
            .session(&held)
            .put_session("1@s.whatsapp.net", &[&noise[..], &[round]].concat())
            .await
            .expect("writes");
        match store.back_up("main", Some(&held), &keep(4, 1 << 30)).await.expect("backs up") {
            Backed::Written(info) => written.push(info.id),
            other => panic!("{other:?}"),
        }
    }
    let ids = async || -> Vec<i64> {
        store.backups(Some("main")).await.expect("reads").iter().map(|backup| backup.id).collect()
    };
    written.reverse();
    assert_eq!(ids().await, written[..4]);
    // Unchanged, so none is written, but the rules are applied.
    let thin = async |max_size| {
        let backed = store.back_up("main", Some(&held), &keep(4, max_size)).await.expect("looks");
        assert!(matches!(backed, Backed::Unchanged(_)), "{backed:?}");
    };
    thin(25_000).await;
    assert_eq!(ids().await, written[..2]);
    thin(1).await;
    assert_eq!(ids().await, written[..1], "never the last one");
    store.backup("main", written[0]).await.expect("opens");
    // Whoever lost the lease writes none and removes none.
    let taken = store.acquire("main", &held.owner, LONG).await.expect("wins anew");
    store.session(&taken).put_session("1@s.whatsapp.net", b"later").await.expect("writes");
    let lost = store.back_up("main", Some(&held), &keep(4, 1 << 30)).await;
    assert!(matches!(lost, Err(blacksky::store::StoreError::Fenced)), "{lost:?}");
    assert_eq!(ids().await, written[..1]);
}

#[tokio::test]
async fn keep_and_max_size_hold_on_postgres() {
    keep_and_max_size_hold(Bench::postgres().await).await;
}

#[tokio::test]
async fn keep_and_max_size_hold_on_sqlite() {
    keep_and_max_size_hold(Bench::sqlite().await).await;
}

async fn old_generations_go(bench: Bench) {
    let (home, store) = filled(bench, "4915100000006").await;
    let held = lease(&store, "b").await;
    let copy = store.copy("main").await.expect("copies").expect("there");
    for _ in 0..5 {
        store.restore(&held, &copy).await.expect("restores");
    }
    let count = async || store.generations("main").await.expect("reads").len();
    store.back_up("main", Some(&held), &keep(4, 1 << 30)).await.expect("backs up");
    assert_eq!(count().await, 6, "archived today");
    let days = if home.bench.file().is_some() {
        "archived_at - 31 * 86400000000"
    } else {
        "archived_at - interval '31 days'"
    };
    home.bench.meddle(&format!("UPDATE {{}}generation SET archived_at = {days}")).await;
    for left in [5, 4, 4] {
        store.back_up("main", Some(&held), &keep(4, 1 << 30)).await.expect("looks");
        assert_eq!(count().await, left);
    }
    assert_eq!(
        home.bench.meddle("UPDATE {}session_row SET at = at WHERE kind = 1").await,
        4,
        "rows went along"
    );
}

#[tokio::test]
async fn old_generations_go_on_postgres() {
    old_generations_go(Bench::postgres().await).await;
}

#[tokio::test]
async fn old_generations_go_on_sqlite() {
    old_generations_go(Bench::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn how_long_a_large_session_takes() {
    let peers = std::env::var_os("BLACKSKY_BACKUP_PEERS").and_then(|value| value.into_string().ok());
    let peers: usize = peers.map_or(300, |peers| peers.parse().expect("a number"));
    for bench in [Bench::postgres().await, Bench::sqlite().await] {
        let (_home, store) = filled(bench, "4915100000005").await;
        let held = lease(&store, "b").await;
        let session = store.session(&held);
        // A record of a real session is about 2 kB, nearly all of it keys.
        let record = || bytes::Bytes::from((0..2048).map(|_| rand::random()).collect::<Vec<u8>>());
        let all: Vec<_> =
            (0..peers).map(|peer| (format!("{peer}@s.whatsapp.net").into(), record())).collect();
        for batch in all.chunks(500) {
            session.put_sessions_batch(batch).await.expect("writes");
        }
        let config = keep(4, 1 << 30);
        let began = Instant::now();
        let Backed::Written(info) = store.back_up("main", Some(&held), &config).await.expect("backs up")
        else {
            panic!("nothing was written")
        };
        let backup = began.elapsed();
        let began = Instant::now();
        let again = store.back_up("main", Some(&held), &config).await.expect("looks");
        assert_eq!(
            again,
            Backed::Unchanged(blacksky::store::BackupInfo {
                checked_at: match &again {
                    Backed::Unchanged(info) => info.checked_at,
                    other => panic!("{other:?}"),
                },
                ..info.clone()
            })
        );
        let unchanged = began.elapsed();
        let began = Instant::now();
        let copy = store.backup("main", info.id).await.expect("opens");
        store.restore(&held, &copy).await.expect("restores");
        let restore = began.elapsed();
        println!(
            "{} with {peers} signal sessions: backup {backup:?}, look at an unchanged one {unchanged:?}, restore \
             {restore:?}, {} bytes, {} rows",
            store.kind(),
            info.size,
            info.rows
        );
        // The device, and the session of peer 1 only once.
        assert_eq!(info.rows, peers as u64 + 1);
        assert_eq!(store.copy("main").await.expect("copies").expect("there").digest(), info.digest);
    }
}

#[tokio::test]
async fn a_database_without_tables_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("blacksky.toml"), "").expect("written");
    let list = |folder: &Path| Blacksky::in_folder(folder).arg("session").arg("list");
    let command = list(folder.path()).env("DATABASE_URL", "sqlite:x.db");
    let (code, _, err) = tokio::task::spawn_blocking(move || command.output()).await.expect("runs");
    assert!(code == 69 && err.contains("blacksky migrate"), "{code} {err}");
}
