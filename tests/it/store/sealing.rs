//! Values at rest: sealed, bound to their row, and never replaced when they do not open.

use blacksky::config::{Database, DatabaseLocation, Secret};
use blacksky::store::{Store, StoreError};
use wacore::store::traits::{DeviceStore, SignalStore};

use super::{Bench, config, lease, on_both};

on_both!(
    nothing_secret_is_readable_in_the_database,
    a_wrong_key_is_said_and_replaces_nothing,
    a_lost_key_is_said_and_replaces_nothing,
    a_key_may_be_set_later,
    a_damaged_device_is_not_a_missing_one,
    a_damaged_ratchet_is_set_aside,
    a_moved_ratchet_does_not_open,
);

const PEER: &str = "15550001@s.whatsapp.net";

async fn nothing_secret_is_readable_in_the_database(bench: &Bench) {
    let store = bench.open().await;
    let session = store.session(&lease(&store, "a").await);
    session.put_session(PEER, b"PLAINTEXT-RATCHET").await.expect("writes");
    let like = if bench.file().is_some() {
        "instr(value, CAST('PLAINTEXT' AS BLOB)) > 0"
    } else {
        "position('PLAINTEXT'::bytea IN value) > 0"
    };
    let count = format!("UPDATE {{}}session_row SET at = at WHERE {like}");
    assert_eq!(bench.meddle(&count).await, 0);
    // The same look does find an unsealed one.
    let plain = bench.open_with_key(None).await;
    store.release(&lease(&store, "a").await).await.expect("releases");
    plain.session(&lease(&plain, "b").await).put_session(PEER, b"PLAINTEXT").await.expect("writes");
    assert_eq!(bench.meddle(&count).await, 1);
}

async fn a_wrong_key_is_said_and_replaces_nothing(bench: &Bench) {
    refuses(bench, Some("another key, of another dyno"), "sealed under another secret key").await;
}

async fn a_lost_key_is_said_and_replaces_nothing(bench: &Bench) {
    refuses(bench, None, "set BLACKSKY_SECRET_KEY").await;
}

async fn refuses(bench: &Bench, key: Option<&str>, words: &str) {
    let store = bench.open().await;
    let held = lease(&store, "a").await;
    let session = store.session(&held);
    session.create().await.expect("creates");
    session.put_session(PEER, b"ratchet").await.expect("writes");
    let device = session.load().await.expect("loads").expect("is there");
    store.release(&held).await.expect("releases");

    let other = bench.open_with_key(key).await;
    let held = lease(&other, "b").await;
    let session = other.session(&held);
    let error = session.exists().await.expect_err("does not open");
    let text = StoreError::within(&error).expect("the store's error").to_string();
    assert!(text.contains("the stored device cannot be read"), "{text}");
    assert!(text.contains(words), "{text}");
    assert!(other.session(&held).load().await.is_err(), "does not open");
    other.session(&held).get_session(PEER).await.expect_err("does not open");
    // What whatsapp-rust would do if it took the row for missing.
    session.create().await.expect("keeps what is there");
    other.session(&held).exists().await.expect_err("still does not open");
    other.release(&held).await.expect("releases");

    let session = store.session(&lease(&store, "a").await);
    let again = session.load().await.expect("loads").expect("is there");
    assert_eq!(again.registration_id, device.registration_id);
    assert_eq!(session.get_session(PEER).await.expect("reads").as_deref(), Some(&b"ratchet"[..]));
}

async fn a_key_may_be_set_later(bench: &Bench) {
    let plain = bench.open_with_key(None).await;
    let held = lease(&plain, "a").await;
    plain.session(&held).put_session(PEER, b"ratchet").await.expect("writes");
    plain.release(&held).await.expect("releases");
    let store = bench.open().await;
    let session = store.session(&lease(&store, "b").await);
    assert_eq!(session.get_session(PEER).await.expect("reads").as_deref(), Some(&b"ratchet"[..]));
}

async fn a_damaged_device_is_not_a_missing_one(bench: &Bench) {
    let store = bench.open().await;
    let held = lease(&store, "a").await;
    store.session(&held).create().await.expect("creates");
    let cut = if bench.file().is_some() { "substr(value, 1, 50)" } else { "substring(value FROM 1 FOR 50)" };
    assert_eq!(bench.meddle(&format!("UPDATE {{}}session_row SET value = {cut} WHERE kind = 1")).await, 1);
    for _ in 0..2 {
        let error = store.session(&held).exists().await.expect_err("does not open");
        assert!(matches!(StoreError::within(&error), Some(StoreError::Unreadable { .. })), "{error:?}");
        assert!(store.session(&held).load().await.is_err(), "does not open");
    }
    // Opens, but is no device; and an empty one.
    for value in ["X'0001'", "X'00017B7D'", "X''"] {
        let value = if bench.file().is_some() {
            value.to_owned()
        } else {
            format!("decode('{}', 'hex')", value.trim_start_matches("X'").trim_end_matches('\''))
        };
        bench.meddle(&format!("UPDATE {{}}session_row SET value = {value} WHERE kind = 1")).await;
        store.session(&held).exists().await.expect_err("is no device");
        assert!(store.session(&held).load().await.is_err(), "is no device");
    }
}

async fn a_damaged_ratchet_is_set_aside(bench: &Bench) {
    let store = bench.open().await;
    let session = store.session(&lease(&store, "a").await);
    session.put_session(PEER, b"ratchet").await.expect("writes");
    let cut = if bench.file().is_some() { "substr(value, 1, 50)" } else { "substring(value FROM 1 FOR 50)" };
    bench.meddle(&format!("UPDATE {{}}session_row SET value = {cut} WHERE kind = 3")).await;
    assert_eq!(session.get_session(PEER).await.expect("reads"), None);
    assert_eq!(bench.meddle("UPDATE {}session_row SET at = at WHERE kind = 1003").await, 1, "it is kept");
    session.put_session(PEER, b"renegotiated").await.expect("writes");
    assert_eq!(session.get_session(PEER).await.expect("reads").as_deref(), Some(&b"renegotiated"[..]));
}

async fn a_moved_ratchet_does_not_open(bench: &Bench) {
    let store = bench.open().await;
    let session = store.session(&lease(&store, "a").await);
    session.put_session(PEER, b"ratchet").await.expect("writes");
    let other =
        if bench.file().is_some() { "CAST('2@s.whatsapp.net' AS BLOB)" } else { "'2@s.whatsapp.net'::bytea" };
    bench.meddle(&format!("UPDATE {{}}session_row SET key = {other} WHERE kind = 3")).await;
    assert_eq!(session.get_session("2@s.whatsapp.net").await.expect("reads"), None);
}

#[tokio::test]
async fn only_an_unsealed_postgres_is_warned_of() {
    let bench = Bench::postgres().await;
    assert_eq!(bench.open().await.warning(), None);
    let warning = bench.open_with_key(None).await.warning().expect("a warning");
    assert!(warning.contains("BLACKSKY_SECRET_KEY"), "{warning}");
    assert_eq!(Bench::sqlite().await.open_with_key(None).await.warning(), None);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "these are my notes, and longer than a header of SQLite would be ".repeat(20))
        .expect("writes");
    let before = std::fs::read(&path).expect("reads");
    let config = Database { secret_key: None::<Secret>, ..config(DatabaseLocation::Sqlite(path.clone())) };
    let error = Store::open(&config).await.expect_err("refuses");
    assert!(error.to_string().contains("not a SQLite database"), "{error}");
    assert_eq!(std::fs::read(&path).expect("reads"), before);
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::sqlite().await;
    let store = bench.open().await;
    lease(&store, "a").await;
    let file = bench.file().expect("a file");
    for entry in std::fs::read_dir(file.parent().expect("a folder")).expect("lists").flatten() {
        let mode = entry.metadata().expect("exists").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", entry.path().display());
    }
}
