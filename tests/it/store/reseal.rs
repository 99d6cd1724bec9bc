//! A change of the secret key while the session is in use.

use std::sync::Arc;
use std::time::Duration;

use blacksky::config;
use blacksky::store::{Accepted, Backed, InboxMessage, NewOutgoing, Resealer, Store};
use bytes::Bytes;
use chrono::DateTime;
use wacore::store::traits::{DeviceStore, SignalStore};

use super::{Bench, TTL, lease, on_both, owner};

on_both!(
    a_new_key_reaches_every_value_while_the_session_is_written,
    what_was_stored_before_there_was_a_key_is_sealed,
    one_that_lost_its_lease_seals_nothing,
    an_old_key_of_somebody_elses_session_is_not_said_to_be_unused,
);

const OLD: &str = "the old secret key of this test";
const NEW: &str = "the new secret key of this test";
const PEERS: usize = 250;

fn both() -> String {
    format!("{NEW},{OLD}")
}

fn peer(n: usize) -> String {
    format!("1555{n:05}@s.whatsapp.net")
}

fn message(n: usize) -> InboxMessage {
    InboxMessage {
        chat: peer(n),
        sender: peer(n),
        id: format!("ID{n}"),
        at: DateTime::UNIX_EPOCH,
        push_name: String::new(),
        text: format!("text {n}"),
    }
}

/// A session with some of everything, and as much of it in an archived generation.
async fn fill(store: &Store) {
    let held = lease(store, "a").await;
    for archived in [true, true, false] {
        let session = store.session(&held);
        session.create().await.expect("creates");
        let ratchets: Vec<(Arc<str>, Bytes)> =
            (0..PEERS).map(|n| (peer(n).into(), Bytes::from(format!("ratchet {n}")))).collect();
        session.put_sessions_batch(&ratchets).await.expect("writes");
        session.put_inbox(&(0..5).map(message).collect::<Vec<_>>()).await.expect("writes");
        if archived {
            session.archive().await.expect("archives");
        }
    }
    for n in 0..5 {
        let (id, content) = (format!("OUT{n}"), format!("text {n}"));
        let at = DateTime::UNIX_EPOCH;
        let new = NewOutgoing { id: &id, key: None, content: &content, file: None, at };
        assert_eq!(store.put_outgoing("main", new).await.expect("writes"), Accepted::New);
    }
    assert!(store.begin_file("main", "file", 100, DateTime::UNIX_EPOCH).await.expect("writes"));
    for part in 0..5 {
        store.put_piece("main", "file", part, b"piece").await.expect("writes");
    }
    // A backup is of a linked device.
    let mut device = store.session(&held).load().await.expect("loads").expect("is there");
    device.pn = Some("15550001@s.whatsapp.net".parse().expect("an address"));
    store.session(&held).save(&device).await.expect("writes");
    let backed = store.back_up("main", Some(&held), &backups()).await.expect("backs up");
    assert!(matches!(backed, Backed::Written(_)), "{backed:?}");
    store.release(&held).await.expect("releases");
}

fn backups() -> config::Backup {
    config::Config::parse(std::path::Path::new("blacksky.toml"), Vec::new(), &config::NoEnvironment)
        .expect("the defaults are good")
        .config
        .backup
}

/// Values that are plain or sealed under another key than those written with `key`.
async fn foreign_to(bench: &Bench, key: &str) -> u64 {
    // The first bytes of a value written with the key tell what they must be.
    let store = bench.open_with_key(Some(key)).await;
    let held = store.acquire("probe", &owner("probe"), TTL).await.expect("wins");
    store.session(&held).put_session(&peer(0), b"x").await.expect("writes");
    let mut foreign = 0;
    for table in ["session_row", "inbox", "backup", "outbox", "media_piece"] {
        let (nine, probe) = if bench.file().is_some() {
            ("substr(value, 1, 9)", "SELECT substr(r.value, 1, 9)")
        } else {
            ("substring(value FROM 1 FOR 9)", "SELECT substring(r.value FROM 1 FOR 9)")
        };
        let column = match table {
            "backup" => "taken_at",
            "outbox" => "created_at",
            "media_piece" => "part",
            _ => "at",
        };
        let sql = format!(
            "UPDATE {{}}{table} SET {column} = {column} WHERE {nine} <> ({probe} FROM {{}}session_row AS r \
             JOIN {{}}generation AS g ON g.id = r.generation WHERE g.session = 'probe')"
        );
        foreign += bench.meddle(&sql).await;
    }
    bench.meddle("DELETE FROM {}session_row WHERE generation IN (SELECT id FROM {}generation WHERE session = 'probe')").await;
    store.release(&held).await.expect("releases");
    foreign
}

async fn a_new_key_reaches_every_value_while_the_session_is_written(bench: &Bench) {
    let store = bench.open_with_key(Some(OLD)).await;
    fill(&store).await;
    let device = {
        let held = lease(&store, "a").await;
        let device = store.session(&held).load().await.expect("loads").expect("is there");
        store.release(&held).await.expect("releases");
        device
    };
    assert!(foreign_to(bench, NEW).await > 3 * PEERS as u64);

    let store = bench.open_with_key(Some(&both())).await;
    let held = lease(&store, "b").await;
    let session = store.session(&held);
    let mut resealer = Resealer::new(store.clone(), owner("b"), vec!["main".into()]);
    // The bot writes its ratchets all the while; what it wrote last must stay.
    let writer = async {
        for round in 0..3 {
            for n in (0..PEERS).step_by(7) {
                session
                    .put_session(&peer(n), format!("round {round} of {n}").as_bytes())
                    .await
                    .expect("writes");
            }
        }
    };
    let seal = async {
        loop {
            if let Some(sealing) = resealer.pass().await.expect("passes") {
                return sealing;
            }
        }
    };
    let (sealing, ()) = tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(seal, writer) })
        .await
        .expect("it comes to an end");
    assert!(sealing.old_keys_unused(), "{sealing:?}");
    assert_eq!((sealing.damaged, sealing.lost.len()), (0, 0));
    assert_eq!(foreign_to(bench, NEW).await, 0);
    store.release(&held).await.expect("releases");

    // The old key is gone, and nothing with it.
    let store = bench.open_with_key(Some(NEW)).await;
    let held = lease(&store, "c").await;
    let session = store.session(&held);
    let again = session.load().await.expect("loads").expect("is there");
    assert_eq!(again.registration_id, device.registration_id);
    for n in 0..PEERS {
        let expected = if n % 7 == 0 { format!("round 2 of {n}") } else { format!("ratchet {n}") };
        let found = session.get_session(&peer(n)).await.expect("reads");
        assert_eq!(found.as_deref(), Some(expected.as_bytes()), "{n}");
    }
    assert_eq!(session.unhandled(10).await.expect("reads"), (0..5).map(message).collect::<Vec<_>>());
    let backup = store.backups(Some("main")).await.expect("lists")[0].id;
    assert!(store.backup("main", backup).await.expect("opens under the new key").is_linked());
}

async fn what_was_stored_before_there_was_a_key_is_sealed(bench: &Bench) {
    fill(&bench.open_with_key(None).await).await;
    let store = bench.open_with_key(Some(NEW)).await;
    let held = lease(&store, "b").await;
    let sealing = Resealer::new(store.clone(), owner("b"), vec!["main".into()]).pass().await.expect("passes");
    assert!(sealing.expect("all is done").resealed > 3 * PEERS as u64);
    store.release(&held).await.expect("releases");
    assert_eq!(foreign_to(bench, NEW).await, 0);
    // Nothing is ever unsealed.
    let plain = bench.open_with_key(None).await;
    lease(&plain, "c").await;
    let mut resealer = Resealer::new(plain, owner("c"), vec!["main".into()]);
    assert!(!resealer.has_key());
    assert_eq!(resealer.pass().await.expect("passes"), None);
    assert_eq!(foreign_to(bench, NEW).await, 0);
}

async fn one_that_lost_its_lease_seals_nothing(bench: &Bench) {
    fill(&bench.open_with_key(Some(OLD)).await).await;
    let store = bench.open_with_key(Some(&both())).await;
    let mut resealer = Resealer::new(store.clone(), owner("b"), vec!["main".into()]);
    assert_eq!(resealer.pass().await.expect("passes"), None, "it holds nothing");
    let held = lease(&store, "b").await;
    store.release(&held).await.expect("releases");
    let other = bench.open_with_key(Some(OLD)).await;
    lease(&other, "c").await;
    assert_eq!(resealer.pass().await.expect("passes"), None, "another one holds it");
    assert_eq!(foreign_to(bench, OLD).await, 0);
}

async fn an_old_key_of_somebody_elses_session_is_not_said_to_be_unused(bench: &Bench) {
    let old = bench.open_with_key(Some(OLD)).await;
    let held = old.acquire("retired", &owner("a"), TTL).await.expect("wins");
    old.session(&held).put_session(&peer(0), b"ratchet").await.expect("writes");
    old.release(&held).await.expect("releases");
    let store = bench.open_with_key(Some(&both())).await;
    lease(&store, "b").await;
    let sealing = Resealer::new(store.clone(), owner("b"), vec!["main".into()]).pass().await.expect("passes");
    let sealing = sealing.expect("all of its own is done");
    assert!(!sealing.old_keys_unused());
    assert_eq!(sealing.elsewhere.get("retired"), Some(&1));
}
