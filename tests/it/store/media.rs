//! Files for messages: they come in pieces, stay while a message waits for them, and their room is bounded.

use blacksky::store::{Accepted, KeptFile, NewOutgoing, Store, StoreError};
use chrono::{DateTime, Utc};

use super::{Bench, lease, on_both};

on_both!(
    a_file_comes_in_pieces_and_is_read_in_pieces,
    a_message_needs_a_file_that_is_complete,
    a_file_stays_while_a_message_waits_for_it,
    their_room_is_bounded,
    a_key_is_known_before_the_file_is_asked_for,
    no_piece_reads_under_another_key_or_in_another_place,
    a_reference_opens_for_its_own_session_and_under_its_own_key,
);

const DAY: i64 = 24 * 60 * 60;

fn time(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + seconds, 0).expect("a time")
}

fn png(size: u64) -> KeptFile {
    KeptFile { size, mimetype: "image/png".into() }
}

/// A file of one piece.
async fn file(store: &Store, id: &str, at: i64) {
    assert!(store.begin_file("main", id, 100, time(at)).await.expect("writes"));
    store.put_piece("main", id, 0, b"piece").await.expect("writes");
    store.finish_file("main", id, &png(5)).await.expect("writes");
}

async fn put(store: &Store, id: &str, file: &str, at: i64) -> Accepted {
    let new = NewOutgoing { id, key: None, content: "content", file: Some(file), at: time(at) };
    store.put_outgoing("main", new).await.expect("writes")
}

async fn is_there(store: &Store, id: &str) -> bool {
    let (file, piece) = (store.file("main", id).await, store.piece("main", id, 0).await);
    let there = file.expect("reads").is_some();
    assert_eq!(there, piece.expect("reads").is_some(), "{id}: its pieces go with it");
    there
}

async fn a_file_comes_in_pieces_and_is_read_in_pieces(bench: &Bench) {
    let (store, other) = (bench.open().await, bench.open().await);
    assert!(store.begin_file("main", "a", 1000, time(0)).await.expect("writes"));
    for (part, bytes) in [(0, "one"), (1, "two"), (1, "two again")] {
        store.put_piece("main", "a", part, bytes.as_bytes()).await.expect("writes");
    }
    assert_eq!(store.file("main", "a").await.expect("reads"), None, "it is not complete");
    store.finish_file("main", "a", &png(12)).await.expect("writes");
    assert_eq!(other.file("main", "a").await.expect("reads"), Some(png(12)));
    for (part, bytes) in [(0, Some("one")), (1, Some("two again")), (2, None)] {
        let piece = other.piece("main", "a", part).await.expect("reads");
        assert_eq!(piece.as_deref(), bytes.map(str::as_bytes));
    }
    // Of one session only.
    assert_eq!(store.file("other", "a").await.expect("reads"), None);
    store.drop_file("main", "a").await.expect("writes");
    assert!(!is_there(&store, "a").await);
    let gone = store.finish_file("main", "a", &png(12)).await.expect_err("nothing to finish");
    assert!(matches!(gone, StoreError::Unavailable { .. }), "{gone}");
}

async fn a_message_needs_a_file_that_is_complete(bench: &Bench) {
    let store = bench.open().await;
    assert_eq!(put(&store, "A", "a", 0).await, Accepted::NoFile);
    assert!(store.begin_file("main", "a", 100, time(0)).await.expect("writes"));
    assert_eq!(put(&store, "A", "a", 0).await, Accepted::NoFile);
    store.finish_file("main", "a", &png(5)).await.expect("writes");
    assert_eq!(put(&store, "A", "a", 0).await, Accepted::New);
    let waiting = store.outgoing("main", 10).await.expect("reads");
    assert_eq!(waiting[0].file.as_deref(), Some("a"));
}

async fn a_file_stays_while_a_message_waits_for_it(bench: &Bench) {
    let store = bench.open().await;
    for id in ["waited", "used", "unused"] {
        file(&store, id, 0).await;
    }
    assert_eq!(put(&store, "A", "waited", 0).await, Accepted::New);
    assert_eq!(put(&store, "B", "used", DAY / 2).await, Accepted::New);
    store.end_outgoing("main", "B", None, time(DAY / 2)).await.expect("writes");
    store.drop_file("main", "waited").await.expect("writes");
    store.prune_files(time(DAY + 1)).await.expect("writes");
    assert!(is_there(&store, "waited").await, "a message waits for it");
    assert!(is_there(&store, "used").await, "it was used half a day ago");
    assert!(!is_there(&store, "unused").await);
    store.end_outgoing("main", "A", None, time(DAY + 1)).await.expect("writes");
    store.prune_files(time(2 * DAY)).await.expect("writes");
    assert!(!is_there(&store, "waited").await && !is_there(&store, "used").await);
}

async fn their_room_is_bounded(bench: &Bench) {
    let store = bench.open().await;
    let large = 16 << 20;
    let mut taken = 0;
    while store.begin_file("main", &format!("f{taken}"), large, time(0)).await.expect("writes") {
        taken += 1;
    }
    assert_eq!(taken, 12, "200 MB of them");
    // What is as large as it was said to be makes room.
    store.finish_file("main", "f0", &png(5)).await.expect("writes");
    assert_eq!(put(&store, "A", "f0", 0).await, Accepted::New);
    assert!(store.begin_file("main", "more", large, time(0)).await.expect("writes"));
    assert!(!store.begin_file("main", "most", large, time(60)).await.expect("writes"));
    // Later the oldest goes that no message waits for.
    store.finish_file("main", "f1", &png(5)).await.expect("writes");
    assert!(store.begin_file("main", "most", large, time(60)).await.expect("writes"));
    assert!(store.begin_file("main", "later", large, time(11 * 60)).await.expect("writes"));
    assert!(store.file("main", "f0").await.expect("reads").is_some());
}

async fn a_key_is_known_before_the_file_is_asked_for(bench: &Bench) {
    let store = bench.open().await;
    file(&store, "a", 0).await;
    let new = NewOutgoing { id: "A", key: Some("k"), content: "content", file: Some("a"), at: time(0) };
    assert_eq!(store.known_outgoing("main", "k", "content").await.expect("reads"), None);
    assert_eq!(store.put_outgoing("main", new).await.expect("writes"), Accepted::New);
    store.end_outgoing("main", "A", None, time(1)).await.expect("writes");
    store.drop_file("main", "a").await.expect("writes");
    let known = Accepted::Known { id: "A".into() };
    let asked = async |content: &str| store.known_outgoing("main", "k", content).await.expect("reads");
    assert_eq!(asked("content").await, Some(known.clone()));
    assert_eq!(asked("another").await, Some(Accepted::Differs));
    assert_eq!(store.put_outgoing("main", NewOutgoing { id: "B", ..new }).await.expect("writes"), known);
}

async fn no_piece_reads_under_another_key_or_in_another_place(bench: &Bench) {
    let store = bench.open_with_key(Some("the first key of thirty-two letters")).await;
    file(&store, "a", 0).await;
    let other = bench.open_with_key(Some("another key of thirty-two letters")).await;
    let refused = other.piece("main", "a", 0).await.expect_err("does not read");
    assert!(matches!(refused, StoreError::Unreadable { .. }), "{refused}");
    assert_eq!(bench.meddle("UPDATE {}media_piece SET part = 1").await, 1);
    let refused = store.piece("main", "a", 1).await.expect_err("does not read");
    assert!(matches!(refused, StoreError::Unreadable { .. }), "{refused}");
}

async fn a_reference_opens_for_its_own_session_and_under_its_own_key(bench: &Bench) {
    let store = bench.open_with_key(Some("the first key of thirty-two letters")).await;
    let held = lease(&store, "a").await;
    let seal = |store: &Store| store.session(&held).seal_reference("a text");
    let sealed = seal(&store).expect("there is a key");
    assert_eq!(store.open_reference("main", &sealed).as_deref(), Some("a text"));
    assert_eq!(store.open_reference("other", &sealed), None);
    assert_eq!(store.open_reference("main", &sealed[1..]), None);
    assert_ne!(seal(&store).as_ref(), Some(&sealed), "two of them tell nothing of each other");
    let plain = bench.open_with_key(None).await;
    assert_eq!((plain.open_reference("main", &sealed), seal(&plain)), (None, None));
    // What is not sealed is not believed: 0 is the mark of what was stored without a key.
    for store in [&store, &plain] {
        assert_eq!(store.open_reference("main", "AGEgdGV4dA"), None);
    }
}
