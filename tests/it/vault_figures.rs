//! How long a change of a hosted bot's session takes to be safe, and a whole session to be back.
//!
//! `BLACKSKY_VAULT_FILES=10000 BLACKSKY_VAULT_CHANGES=200 cargo test --features simulator --test it vault_figures --
//! --nocapture` measures, beside what the disk and the database take for the same alone.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use blacksky::bot::hosted::vault::{MirrorEnd, Restored, Vault};
use blacksky::store::{SessionStore, VaultPut};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::store::{Bench, lease};
use crate::support::figures::{self, number};

/// As large as a session of Baileys with one peer.
const SIZE: usize = 900;
const HOUR: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(20);

fn content(file: usize, version: usize) -> String {
    let mut random = StdRng::seed_from_u64((file as u64) << 32 | version as u64);
    let noise: String = (0..SIZE / 2).map(|_| format!("{:02x}", random.random::<u8>())).collect();
    format!(r#"{{"version":{version},"noise":"{noise}"}}"#)
}

fn name(file: usize) -> String {
    format!("session-4915{file:08}.0.json")
}

fn fill(folder: &Path, files: usize) {
    std::fs::create_dir_all(folder).expect("makes");
    let creds = r#"{"noiseKey":{"public":"AAAA"},"signedIdentityKey":{"public":"AAAA"},"me":{"id":"1555:3@s.whatsapp.net"}}"#;
    std::fs::write(folder.join("creds.json"), creds).expect("writes");
    for file in 1..files {
        std::fs::write(folder.join(name(file)), content(file, 0)).expect("writes");
    }
}

/// The version of a file that the database holds.
async fn stored(session: &SessionStore, file: usize) -> usize {
    let files = session.files().await.expect("reads");
    let found = files.iter().find(|stored| stored.path == name(file).as_bytes()).expect("is stored");
    let value: serde_json::Value = serde_json::from_slice(&found.content).expect("parses");
    usize::try_from(value["version"].as_u64().expect("a number")).expect("small")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_session_is_back_and_equals_what_it_was() {
    let files = number("BLACKSKY_VAULT_FILES", 500);
    let bench = Bench::postgres().await;
    let store = bench.open().await;
    let held = lease(&store, "a").await;
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join("sessions");
    fill(&folder, files);

    let begun = Instant::now();
    let mut vault = Vault::new(store.session(&held), folder.clone(), HOUR);
    assert_eq!(vault.restore().await.expect("takes over"), Restored::TakenOver);
    let taken = begun.elapsed();
    let begun = Instant::now();
    assert_eq!(vault.flush().await.expect("looks").written, 0);
    let looked = begun.elapsed();

    // As on the empty disk of a new dyno. A disk that has just lost as many files would be busy with them.
    let folder = home.path().join("again");
    let mut again = Vault::new(store.session(&lease(&store, "a").await), folder.clone(), HOUR);
    let begun = Instant::now();
    let restored = again.restore().await.expect("restores");
    let back = begun.elapsed();
    assert!(matches!(restored, Restored::Database { files: all, .. } if all == files as u64), "{restored:?}");
    for file in 1..files {
        let found = std::fs::read_to_string(folder.join(name(file))).expect("is there");
        assert_eq!(found, content(file, 0));
    }

    // The limits: the same files written to the disk alone, and read from the database alone.
    let begun = Instant::now();
    fill(&home.path().join("plain"), files);
    let disk = begun.elapsed();
    let held = lease(&store, "a").await;
    let begun = Instant::now();
    assert_eq!(store.session(&held).files().await.expect("reads").len(), files);
    let database = begun.elapsed();
    println!(
        "{files} files: restored in {back:.0?} (only reading and opening them from the database {database:.0?}, \
         only writing them to the disk {disk:.0?}), taken over in {taken:.0?}, an unchanged look {looked:.1?}"
    );
    figures::note("vault restore", "PostgreSQL", "files", files as f64);
    for (stat, took) in [
        ("restored", back),
        ("only read", database),
        ("only written", disk),
        ("taken over", taken),
        ("look", looked),
    ] {
        figures::note("vault restore", "PostgreSQL", stat, took.as_secs_f64() * 1e3);
    }
}

/// A bot changes one of 50 files; the time from its write to its row.
async fn durable(bench: Bench, what: &str) {
    let changes = number("BLACKSKY_VAULT_CHANGES", 5);
    let store = bench.open().await;
    let held = lease(&store, "a").await;
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join("sessions");
    fill(&folder, 50);
    let session = store.session(&held);
    let mut vault = Vault::new(session.clone(), folder.clone(), HOUR);
    vault.restore().await.expect("takes over");
    let (stop, seen) = (CancellationToken::new(), Mutex::new(0_u64));
    let mirror = vault.mirror(stop.clone(), |mirrored| {
        *seen.lock().expect("not poisoned") += mirrored.written;
    });
    let bot = async {
        let write = |file: usize, version: usize| {
            std::fs::write(folder.join(name(file)), content(file, version)).expect("writes");
            Instant::now()
        };
        let until = async |file: usize, version: usize, since: Instant| {
            while stored(&session, file).await < version {
                assert!(since.elapsed() < PATIENCE, "not stored");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            since.elapsed()
        };
        let mut quiet = Vec::new();
        for version in 1..=changes {
            let since = write(1, version);
            quiet.push(until(1, version, since).await);
        }
        figures::times("vault change", &format!("{what}, quiet"), &mut quiet);

        // Another file each 20 ms all the while.
        let (busy, end) = (Mutex::new(Vec::new()), CancellationToken::new());
        let traffic = async {
            let mut version = 0;
            while !end.is_cancelled() {
                version += 1;
                write(2 + version % 40, version);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let measured = async {
            for version in changes + 1..=2 * changes {
                let since = write(1, version);
                let took = until(1, version, since).await;
                busy.lock().expect("not poisoned").push(took);
            }
            end.cancel();
        };
        tokio::join!(traffic, measured);
        let mut busy = busy.into_inner().expect("not poisoned");
        figures::times("vault change", &format!("{what}, under traffic"), &mut busy);
        stop.cancel();
    };
    let (end, ()) = tokio::join!(mirror, bot);
    assert!(matches!(end, MirrorEnd::Stopped), "{end:?}");
    let written = *seen.lock().expect("not poisoned");
    assert!(written >= (2 * changes * SIZE) as u64, "{written}");

    // The limit: the row alone.
    let mut alone = Vec::new();
    for version in 0..changes {
        let (text, begun) = (content(99, version), Instant::now());
        let put = VaultPut { path: b"alone.json", changed_at: 1, content: text.as_bytes(), stored: &[] };
        session.exchange_files(&[put], &[]).await.expect("writes");
        alone.push(begun.elapsed());
    }
    figures::times("vault change", &format!("{what}, one row alone"), &mut alone);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_durable_in_postgres_while_the_bot_goes_on_writing() {
    durable(Bench::postgres().await, "PostgreSQL").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_durable_in_sqlite_while_the_bot_goes_on_writing() {
    durable(Bench::sqlite().await, "SQLite").await;
}
