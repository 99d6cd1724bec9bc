//! Messages that programs want sent: accepted once, kept in order, sealed.

use std::time::Duration;

use blacksky::store::{Accepted, NewOutgoing, OutgoingStatus, Store, StoreError};
use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{Bench, on_both};

on_both!(
    what_is_accepted_waits_in_order_until_it_has_ended,
    a_key_is_one_message,
    a_key_asked_for_by_many_at_once_is_one_message,
    sessions_have_outboxes_of_their_own,
    only_so_many_wait,
    whoever_waits_is_told,
    nothing_of_it_reads_under_another_key,
);

fn time(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + seconds, 0).expect("a time")
}

async fn put(store: &Store, session: &str, id: &str, key: Option<&str>, content: &str) -> Accepted {
    let new = NewOutgoing { id, key, content, file: None, at: time(0) };
    store.put_outgoing(session, new).await.expect("writes")
}

async fn waiting(store: &Store, session: &str) -> Vec<(String, String)> {
    let all = store.outgoing(session, 100).await.expect("reads");
    all.into_iter().map(|one| (one.id, one.content)).collect()
}

fn pair(id: &str, content: &str) -> (String, String) {
    (id.to_owned(), content.to_owned())
}

async fn what_is_accepted_waits_in_order_until_it_has_ended(bench: &Bench) {
    let store = bench.open().await;
    for (id, content) in [("C", "one"), ("A", "two"), ("B", "three")] {
        assert_eq!(put(&store, "main", id, None, content).await, Accepted::New);
    }
    assert_eq!(waiting(&store, "main").await, [pair("C", "one"), pair("A", "two"), pair("B", "three")]);
    assert_eq!(store.outgoing("main", 2).await.expect("reads").len(), 2);
    store.end_outgoing("main", "C", None, time(5)).await.expect("writes");
    store.end_outgoing("main", "A", Some("Refused(479)"), time(6)).await.expect("writes");
    assert_eq!(waiting(&store, "main").await, [pair("B", "three")]);
    let status = async |id: &str| store.outgoing_status("main", id).await.expect("reads");
    let ended = |sent, at, detail: &str| {
        Some(OutgoingStatus {
            created_at: time(0),
            ended_at: Some(time(at)),
            sent: Some(sent),
            detail: detail.into(),
        })
    };
    assert_eq!(status("C").await, ended(true, 5, ""));
    assert_eq!(status("A").await, ended(false, 6, "Refused(479)"));
    let queued = OutgoingStatus { created_at: time(0), ended_at: None, sent: None, detail: String::new() };
    assert_eq!(status("B").await, Some(queued));
    assert_eq!(status("D").await, None);
    // What has ended stays as it is.
    store.end_outgoing("main", "C", Some("late"), time(9)).await.expect("writes");
    assert_eq!(status("C").await, ended(true, 5, ""));
}

async fn a_key_is_one_message(bench: &Bench) {
    let store = bench.open().await;
    assert_eq!(put(&store, "main", "A", Some("k"), "one").await, Accepted::New);
    assert_eq!(put(&store, "main", "B", Some("k"), "one").await, Accepted::Known { id: "A".into() });
    assert_eq!(put(&store, "main", "C", Some("k"), "other").await, Accepted::Differs);
    assert_eq!(put(&store, "main", "D", Some("l"), "one").await, Accepted::New);
    // Also after it was sent.
    store.end_outgoing("main", "A", None, time(1)).await.expect("writes");
    assert_eq!(put(&store, "main", "E", Some("k"), "one").await, Accepted::Known { id: "A".into() });
    assert_eq!(waiting(&store, "main").await, [pair("D", "one")]);
}

async fn a_key_asked_for_by_many_at_once_is_one_message(bench: &Bench) {
    let store = bench.open().await;
    let ids: Vec<String> = (0..8).map(|n| format!("ID{n}")).collect();
    let asking = ids.iter().map(|id| async {
        let new = NewOutgoing { id, key: Some("k"), content: "one", file: None, at: time(0) };
        loop {
            match store.put_outgoing("main", new).await {
                Ok(accepted) => return accepted,
                // Says so itself: try again.
                Err(StoreError::Unavailable { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    });
    let answers = futures_util::future::join_all(asking).await;
    let [(winner, _)] = &waiting(&store, "main").await[..] else { panic!("one message") };
    assert_eq!(answers.iter().filter(|answer| **answer == Accepted::New).count(), 1, "{answers:?}");
    let known = Accepted::Known { id: winner.clone() };
    assert_eq!(answers.iter().filter(|answer| **answer == known).count(), 7, "{answers:?}");
}

async fn sessions_have_outboxes_of_their_own(bench: &Bench) {
    let store = bench.open().await;
    assert_eq!(put(&store, "main", "A", Some("k"), "one").await, Accepted::New);
    assert_eq!(put(&store, "other", "A", Some("k"), "two").await, Accepted::New);
    store.end_outgoing("main", "A", None, time(1)).await.expect("writes");
    assert_eq!(waiting(&store, "main").await, []);
    assert_eq!(waiting(&store, "other").await, [pair("A", "two")]);
}

async fn only_so_many_wait(bench: &Bench) {
    let store = bench.open().await;
    let none = if bench.file().is_some() { "x''" } else { "''" };
    let fill = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
        INSERT INTO {}outbox (session, id, digest, created_at, value) SELECT 'main', 'ID' || i, NONE, 0, NONE FROM n";
    assert_eq!(bench.meddle(&fill.replace("NONE", none)).await, 10_000);
    assert_eq!(put(&store, "main", "A", Some("k"), "one").await, Accepted::Full);
    assert_eq!(put(&store, "other", "A", None, "another bot's").await, Accepted::New);
    // One that has ended makes room.
    store.end_outgoing("main", "ID7", None, time(1)).await.expect("writes");
    assert_eq!(put(&store, "main", "A", Some("k"), "one").await, Accepted::New);
    // What is there already is known although there is no room.
    assert_eq!(put(&store, "main", "B", Some("k"), "one").await, Accepted::Known { id: "A".into() });
    assert_eq!(put(&store, "main", "B", None, "two").await, Accepted::Full);
}

async fn whoever_waits_is_told(bench: &Bench) {
    let (holder, other) = (bench.open().await, bench.open().await);
    // SQLite has one process, so one store.
    let asker = if holder.is_shared() { &other } else { &holder };
    let mut notices = holder.notices();
    let listener = holder.clone();
    let _listening = AbortOnDropHandle::new(tokio::spawn(async move {
        listener.listen(CancellationToken::new()).await;
    }));
    // The listener's first word: anything may have changed.
    if holder.is_shared() {
        notices.outbox("main").await;
    }
    put(asker, "other", "A", None, "not for us").await;
    put(asker, "main", "A", None, "one").await;
    tokio::time::timeout(Duration::from_secs(3), notices.outbox("main")).await.expect("is told");
}

async fn nothing_of_it_reads_under_another_key(bench: &Bench) {
    let store = bench.open_with_key(Some("the first key of thirty-two letters")).await;
    put(&store, "main", "A", None, "a text that nobody may see").await;
    assert_eq!(waiting(&store, "main").await.len(), 1);
    let other = bench.open_with_key(Some("another key of thirty-two letters")).await;
    let refused = other.outgoing("main", 10).await.expect_err("does not read");
    assert!(matches!(refused, StoreError::Unreadable { .. }), "{refused}");
    assert!(!format!("{refused} {refused:?}").contains("a text"), "{refused:?}");
}
