//! What holders publish and what is asked of them, over both back-ends: on SQLite, which belongs to one
//! process, nothing of it happens.

use std::time::Duration;

use blacksky::runtime::clock;
use blacksky::store::{Lease, Publication, PublishedQr, Store};
use chrono::{DateTime, SubsecRound, Utc};

use super::{Bench, lease, on_both, owner};

on_both!(
    a_status_is_read_by_others_while_the_lease_lasts,
    only_the_holder_publishes,
    a_status_of_an_older_epoch_is_not_read,
    a_request_is_taken_once_by_the_holder_and_answered,
    an_old_request_is_left,
);

const HOUR: Duration = Duration::from_secs(3600);
const PAYLOAD: &str = "2@payload-of-a-qr,AAAA,BBBB";

fn news(status: &str, qr: Option<DateTime<Utc>>) -> Publication {
    Publication {
        session: "main".to_owned(),
        status: status.to_owned(),
        qr: qr.map(|expires_at| PublishedQr { payload: PAYLOAD.to_owned(), expires_at }),
        loud: true,
    }
}

async fn publish(store: &Store, held: &Lease, status: &str) -> bool {
    let written = store.publish(&held.owner, &[news(status, None)]).await.expect("publishes");
    assert!(written.is_empty() || written == ["main"], "{written:?}");
    !written.is_empty()
}

/// Owner and words of what is published.
async fn read(store: &Store) -> Option<(String, String)> {
    let mut all = store.published(&["main".to_owned(), "other".to_owned()]).await.expect("reads");
    assert!(all.len() <= 1, "{all:?}");
    all.pop().map(|one| (one.owner.0, one.status))
}

fn words(owner: &str, status: &str) -> Option<(String, String)> {
    Some((owner.to_owned(), status.to_owned()))
}

async fn a_status_is_read_by_others_while_the_lease_lasts(bench: &Bench) {
    let (first, second) = (bench.open().await, bench.open().await);
    let held = lease(&first, "web.1").await;
    assert_eq!(read(&second).await, None);
    let shared = first.is_shared();
    assert_eq!(publish(&first, &held, "one").await, shared);
    assert_eq!(read(&second).await, words("web.1", "one").filter(|_| shared));
    publish(&first, &held, "two").await;
    assert_eq!(read(&second).await, words("web.1", "two").filter(|_| shared));
    if shared {
        let age = second.published(&["main".to_owned()]).await.expect("reads")[0].age;
        assert!(age < Duration::from_secs(30), "{age:?}");
        bench.meddle("UPDATE {}session SET expires_at = clock_timestamp()").await;
    } else {
        first.release(&held).await.expect("releases");
    }
    assert_eq!(read(&second).await, None, "the lease is over");
    assert!(!publish(&first, &held, "late").await, "nor does its owner publish any more");
}

async fn only_the_holder_publishes(bench: &Bench) {
    let (first, second) = (bench.open().await, bench.open().await);
    let before = lease(&first, "web.1").await;
    publish(&first, &before, "old").await;
    first.release(&before).await.expect("releases");
    assert_eq!(read(&second).await, None, "given up");
    let after = lease(&second, "web.2").await;
    publish(&second, &after, "new").await;
    assert!(!publish(&first, &before, "stale").await);
    assert_eq!(read(&first).await, words("web.2", "new").filter(|_| second.is_shared()));
}

async fn a_status_of_an_older_epoch_is_not_read(bench: &Bench) {
    let store = bench.open().await;
    let before = lease(&store, "web.1").await;
    publish(&store, &before, "old").await;
    let again = lease(&store, "web.1").await;
    assert!(again.epoch > before.epoch);
    assert_eq!(read(&store).await, None, "what it said under its earlier lease");
    if store.is_shared() {
        // Even if a statement of a newer epoch came first, an older one does not replace it.
        bench.meddle("UPDATE {}status SET epoch = epoch + 3600000000").await;
        assert!(!publish(&store, &again, "older").await);
    }
}

async fn a_request_is_taken_once_by_the_holder_and_answered(bench: &Bench) {
    let (first, second) = (bench.open().await, bench.open().await);
    let held = lease(&first, "web.1").await;
    let asked = second.ask_holder("main", "reconnect").await.expect("asks");
    if !first.is_shared() {
        assert_eq!(asked, None);
        assert_eq!(first.take_asked(&held.owner, HOUR).await.expect("takes"), []);
        return;
    }
    let id = asked.expect("a number");
    second.ask_holder("main", "qr").await.expect("asks");
    second.ask_holder("other", "reconnect").await.expect("asks");
    assert_eq!(second.take_asked(&owner("web.2"), HOUR).await.expect("takes"), [], "not its session");
    assert_eq!(second.answer_to(id).await.expect("reads"), None);
    let taken = first.take_asked(&held.owner, HOUR).await.expect("takes");
    let actions: Vec<&str> = taken.iter().map(|one| one.action.as_str()).collect();
    assert_eq!((taken[0].id, actions), (id, vec!["reconnect", "qr"]));
    assert_eq!(first.take_asked(&held.owner, HOUR).await.expect("takes"), [], "once");
    assert_eq!(second.answer_to(id).await.expect("reads"), None, "taken is not done");
    first.answer(id, "done").await.expect("answers");
    assert_eq!(second.answer_to(id).await.expect("reads").as_deref(), Some("done"));
}

async fn an_old_request_is_left(bench: &Bench) {
    let store = bench.open().await;
    if !store.is_shared() {
        return;
    }
    let held = lease(&store, "web.1").await;
    let id = store.ask_holder("main", "reconnect").await.expect("asks").expect("a number");
    bench.meddle("UPDATE {}control SET asked_at = asked_at - interval '61 seconds'").await;
    let minute = Duration::from_secs(60);
    assert_eq!(store.take_asked(&held.owner, minute).await.expect("takes"), []);
    bench.meddle("UPDATE {}control SET asked_at = asked_at - interval '10 minutes'").await;
    store.ask_holder("main", "qr").await.expect("asks");
    assert_eq!(bench.meddle(&format!("DELETE FROM {{}}control WHERE id = {id}")).await, 0, "swept away");
}

#[tokio::test]
async fn a_qr_is_stored_sealed_or_not_at_all() {
    let bench = Bench::postgres().await;
    let (first, second) = (bench.open().await, bench.open().await);
    let held = lease(&first, "web.1").await;
    let end = (clock::now() + chrono::TimeDelta::seconds(20)).trunc_subsecs(3);
    first.publish(&held.owner, &[news("x", Some(end))]).await.expect("publishes");
    let qr = second.published(&["main".to_owned()]).await.expect("reads")[0].qr.clone();
    assert_eq!(qr, Some(PublishedQr { payload: PAYLOAD.to_owned(), expires_at: end }));
    let dump = dump(&bench).await;
    let hex: String = PAYLOAD.bytes().map(|byte| format!("{byte:02x}")).collect();
    assert!(dump.contains("\\x01") && !dump.contains(PAYLOAD) && !dump.contains(&hex), "{dump}");

    // Another key opens nothing, and hides nothing else.
    let stranger = bench.open_with_key(Some("another key of some length")).await;
    let seen = stranger.published(&["main".to_owned()]).await.expect("reads").remove(0);
    assert_eq!((seen.status.as_str(), seen.qr), ("x", None));

    // A code that was given another end does not open.
    bench.meddle("UPDATE {}status SET qr_expires_at = qr_expires_at + interval '1 second'").await;
    assert_eq!(second.published(&["main".to_owned()]).await.expect("reads")[0].qr, None);

    // Past its end it is not handed out.
    bench.meddle("UPDATE {}status SET qr_expires_at = clock_timestamp() - interval '1 second'").await;
    assert_eq!(second.published(&["main".to_owned()]).await.expect("reads")[0].qr, None);

    let open = bench.open_with_key(None).await;
    assert!(!open.seals());
    open.publish(&held.owner, &[news("y", Some(end))]).await.expect("publishes");
    assert_eq!(bench.meddle("UPDATE {}status SET qr = qr WHERE qr IS NULL").await, 1, "nothing in clear");
}

async fn dump(bench: &Bench) -> String {
    use sqlx::Connection;
    let mut connection = sqlx::PgConnection::connect(&bench.url()).await.expect("connects");
    sqlx::query_scalar("SELECT string_agg(t::text, E'\\n') FROM blacksky.status AS t")
        .fetch_one(&mut connection)
        .await
        .expect("a dump")
}
