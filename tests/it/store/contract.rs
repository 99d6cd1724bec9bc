//! Lease, fencing, inbox, archive.

use std::time::Duration;

use blacksky::config::WaVersion;
use blacksky::store::{InboxMessage, JobEnd, JobKey, JobOutcome, StoreError};
use chrono::DateTime;
use wacore::store::traits::{DeviceStore, SignalStore};

use super::{Bench, TTL, lease, on_both, owner};

on_both!(
    migrating_twice_changes_nothing,
    two_migrations_at_once_are_safe,
    a_newer_schema_is_refused,
    a_lease_has_one_holder,
    a_release_lets_the_next_in,
    epochs_only_grow,
    renewing_tells_what_is_still_held,
    another_epoch_fences_the_writer,
    the_same_owner_fences_its_older_handle,
    a_broken_handle_writes_no_more,
    the_inbox_keeps_the_first_of_each_message,
    the_inbox_takes_any_bytes_a_peer_may_send,
    an_archived_session_starts_anew,
    the_last_good_version_is_remembered,
    an_imported_login_is_remembered,
    a_run_of_a_job_has_one_that_does_it,
    a_job_is_known_from_when_it_is_first_seen,
    sessions_do_not_see_each_other,
);

async fn migrating_twice_changes_nothing(bench: &Bench) {
    let store = bench.open().await;
    let again = store.migrate().await.expect("migrates");
    assert!(again.to >= 1);
    assert_eq!(again.from, again.to);
}

async fn two_migrations_at_once_are_safe(bench: &Bench) {
    for table in [
        "session",
        "generation",
        "session_row",
        "inbox",
        "dyno",
        "status",
        "control",
        "backup",
        "imported",
        "job_run",
        "delivery",
        "outbox",
        "history",
        "traffic",
        "media_piece",
        "media",
        "migration",
    ] {
        bench.meddle(&format!("DROP TABLE IF EXISTS {{}}{table}")).await;
    }
    let (first, second) = (bench.open().await, bench.open().await);
    let (first, second) = tokio::join!(first.migrate(), second.migrate());
    assert_eq!(first.expect("migrates").to, second.expect("migrates").to);
    lease(&bench.open().await, "a").await;
}

async fn a_newer_schema_is_refused(bench: &Bench) {
    bench.meddle("UPDATE {}migration SET version = 9999 WHERE version = 1").await;
    let error = bench.open().await.migrate().await.expect_err("refuses");
    assert!(matches!(error, StoreError::NewerSchema { found: 9999, known } if known < 9999), "{error}");
    assert!(error.to_string().contains("deploy a newer blacksky"), "{error}");
}

async fn a_lease_has_one_holder(bench: &Bench) {
    let (first, second) = (bench.open().await, bench.open().await);
    lease(&first, "web.1").await;
    match second.acquire("main", &owner("web.2"), TTL).await {
        Err(StoreError::Held { owner, .. }) => assert_eq!(owner, "web.1"),
        other => panic!("{other:?}"),
    }
}

async fn a_release_lets_the_next_in(bench: &Bench) {
    let (first, second) = (bench.open().await, bench.open().await);
    let held = lease(&first, "web.1").await;
    first.release(&held).await.expect("releases");
    lease(&second, "web.2").await;
    // Too late: it is no error, and takes nothing from the new holder.
    first.release(&held).await.expect("releases");
    assert!(matches!(first.acquire("main", &owner("web.1"), TTL).await, Err(StoreError::Held { .. })));
}

async fn epochs_only_grow(bench: &Bench) {
    let store = bench.open().await;
    let first = lease(&store, "a").await;
    store.release(&first).await.expect("releases");
    // As after a restored dump, or a clock that was set back.
    let ahead = first.epoch + 3_600_000_000;
    bench.meddle(&format!("UPDATE {{}}session SET epoch = {ahead}")).await;
    let second = lease(&store, "a").await;
    assert_eq!(second.epoch, ahead + 1);
}

async fn renewing_tells_what_is_still_held(bench: &Bench) {
    let store = bench.open().await;
    let mine = store.acquire("one", &owner("a"), TTL).await.expect("wins");
    let given_up = store.acquire("two", &owner("a"), TTL).await.expect("wins");
    store.release(&given_up).await.expect("releases");
    let renewed = store.renew(&[mine.clone(), given_up], TTL).await.expect("renews");
    assert_eq!(renewed, [mine]);
}

async fn another_epoch_fences_the_writer(bench: &Bench) {
    let store = bench.open().await;
    let held = lease(&store, "a").await;
    let session = store.session(&held);
    session.put_session("1@s.whatsapp.net", b"old").await.expect("writes");
    bench.meddle("UPDATE {}session SET epoch = epoch + 1").await;
    let error = session.put_session("1@s.whatsapp.net", b"new").await.expect_err("is fenced");
    assert!(matches!(StoreError::within(&error), Some(StoreError::Fenced)), "{error:?}");
    // Fenced as well where no row would change.
    let session = store.session(&held);
    let error = session.delete_session("nobody@s.whatsapp.net").await.expect_err("is fenced");
    assert!(matches!(StoreError::within(&error), Some(StoreError::Fenced)), "{error:?}");
    let session = store.session(&held);
    assert!(matches!(session.put_inbox(&[message("1", 1)]).await, Err(StoreError::Fenced)));
    let session = store.session(&held);
    assert!(matches!(session.mark_handled("c", "s", "1").await, Err(StoreError::Fenced)));
    let session = store.session(&held);
    assert!(matches!(session.archive().await, Err(StoreError::Fenced)));
    let session = store.session(&held);
    assert!(matches!(session.put_wa_version(WaVersion(1, 2, 3)).await, Err(StoreError::Fenced)));
    let left = store.session(&held).get_session("1@s.whatsapp.net").await.expect("reads");
    assert_eq!(left.as_deref(), Some(&b"old"[..]));
}

async fn the_same_owner_fences_its_older_handle(bench: &Bench) {
    let store = bench.open().await;
    let before = store.session(&lease(&store, "a").await);
    let after = store.session(&lease(&store, "a").await);
    assert!(matches!(before.put_inbox(&[message("1", 1)]).await, Err(StoreError::Fenced)));
    assert_eq!(after.put_inbox(&[message("1", 1)]).await.expect("writes"), 1);
}

async fn a_broken_handle_writes_no_more(bench: &Bench) {
    let store = bench.open().await;
    let held = lease(&store, "a").await;
    let session = store.session(&held);
    bench.meddle("UPDATE {}session SET epoch = epoch + 1").await;
    session.put_session("1@s.whatsapp.net", b"lost").await.expect_err("is fenced");
    bench.meddle("UPDATE {}session SET epoch = epoch - 1").await;
    // What the client remembers is ahead of what is stored: nothing of it may follow.
    session.put_session("2@s.whatsapp.net", b"later").await.expect_err("is broken");
    assert!(matches!(session.failure().await, StoreError::Fenced));
    store.session(&held).put_session("2@s.whatsapp.net", b"fine").await.expect("another handle writes");
}

fn message(id: &str, second: i64) -> InboxMessage {
    InboxMessage {
        chat: "c".into(),
        sender: "s".into(),
        id: id.into(),
        at: DateTime::from_timestamp(second, 5000).expect("a time"),
        push_name: "Ann".into(),
        text: format!("text {id}"),
    }
}

async fn the_inbox_keeps_the_first_of_each_message(bench: &Bench) {
    let store = bench.open().await;
    let session = store.session(&lease(&store, "a").await);
    let (first, second) = (message("1", 20), message("2", 10));
    assert_eq!(session.put_inbox(&[first.clone(), second.clone()]).await.expect("writes"), 2);
    let changed = InboxMessage { text: "other".into(), ..first.clone() };
    let elsewhere = InboxMessage { sender: "t".into(), ..first.clone() };
    let new = session.put_inbox(&[changed, elsewhere.clone(), elsewhere.clone()]).await.expect("writes");
    assert_eq!(new, 1);
    let all = session.unhandled(10).await.expect("reads");
    assert_eq!(all, [first.clone(), second.clone(), elsewhere.clone()], "in the order of arrival");
    assert_eq!(session.unhandled(1).await.expect("reads"), std::slice::from_ref(&first));
    session.mark_handled("c", "s", "1").await.expect("marks");
    session.mark_handled("c", "s", "1").await.expect("marks again");
    assert_eq!(session.unhandled(10).await.expect("reads"), [second, elsewhere]);
    // Redelivered after it was handled: known.
    assert_eq!(session.put_inbox(&[first]).await.expect("writes"), 0);
}

async fn the_inbox_takes_any_bytes_a_peer_may_send(bench: &Bench) {
    let store = bench.open().await;
    let session = store.session(&lease(&store, "a").await);
    let odd = InboxMessage { id: "a\0b\u{1F600}'".into(), text: "\0".into(), ..message("", 1) };
    session.put_inbox(std::slice::from_ref(&odd)).await.expect("writes");
    assert_eq!(session.unhandled(10).await.expect("reads"), std::slice::from_ref(&odd));
    session.mark_handled(&odd.chat, &odd.sender, &odd.id).await.expect("marks");
    assert_eq!(session.unhandled(10).await.expect("reads"), []);
}

async fn an_archived_session_starts_anew(bench: &Bench) {
    let store = bench.open().await;
    let held = lease(&store, "a").await;
    let before = store.session(&held);
    before.create().await.expect("creates");
    before.put_session("1@s.whatsapp.net", b"ratchet").await.expect("writes");
    before.put_inbox(&[message("1", 1)]).await.expect("writes");
    before.archive().await.expect("archives");
    // The client of the ended session can bring nothing back.
    before.put_session("1@s.whatsapp.net", b"late").await.expect_err("is fenced");

    let after = store.session(&held);
    assert!(!after.exists().await.expect("reads"));
    assert_eq!(after.get_session("1@s.whatsapp.net").await.expect("reads"), None);
    assert_eq!(after.unhandled(10).await.expect("reads"), []);
    after.create().await.expect("creates");
    // Nothing was deleted.
    assert_eq!(bench.meddle("UPDATE {}session_row SET at = at WHERE kind = 3").await, 1);
    store.release(&held).await.expect("releases");
    let next = store.session(&lease(&store, "b").await);
    assert!(next.exists().await.expect("reads"), "the next holder sees the new generation");
}

async fn the_last_good_version_is_remembered(bench: &Bench) {
    let store = bench.open().await;
    let session = store.session(&lease(&store, "a").await);
    assert_eq!(session.wa_version().await.expect("reads"), None);
    session.put_wa_version(WaVersion(2, 3000, 1023)).await.expect("writes");
    session.put_wa_version(WaVersion(2, 3000, 1023)).await.expect("writes");
    assert_eq!(session.wa_version().await.expect("reads"), Some(WaVersion(2, 3000, 1023)));
    session.archive().await.expect("archives");
    assert_eq!(session.wa_version().await.expect("reads"), Some(WaVersion(2, 3000, 1023)));
}

async fn an_imported_login_is_remembered(bench: &Bench) {
    let store = bench.open().await;
    let lease = lease(&store, "web.1").await;
    let session = store.session(&lease);
    assert!(!session.is_imported(&[1; 32]).await.expect("asked"));
    session.note_imported(&[1; 32]).await.expect("noted");
    session.note_imported(&[1; 32]).await.expect("noted again");
    assert!(session.is_imported(&[1; 32]).await.expect("asked"));
    assert!(!session.is_imported(&[2; 32]).await.expect("asked"));
    session.archive().await.expect("archived");
    let error = session.note_imported(&[2; 32]).await.expect_err("the bond no longer holds");
    assert!(matches!(error, StoreError::Fenced), "{error}");
    assert!(session.renewed().is_imported(&[1; 32]).await.expect("asked"), "not again after an archive");
}

async fn sessions_do_not_see_each_other(bench: &Bench) {
    let store = bench.open().await;
    let one = store.session(&store.acquire("one", &owner("a"), TTL).await.expect("wins"));
    let two = store.session(&store.acquire("two", &owner("a"), TTL).await.expect("wins"));
    one.put_session("1@s.whatsapp.net", b"one").await.expect("writes");
    assert_eq!(two.get_session("1@s.whatsapp.net").await.expect("reads"), None);
    two.delete_session("1@s.whatsapp.net").await.expect("deletes");
    assert_eq!(one.get_session("1@s.whatsapp.net").await.expect("reads").as_deref(), Some(&b"one"[..]));
    tokio::time::timeout(Duration::from_millis(50), two.failure()).await.expect_err("two is sound");
}

/// On SQLite the lease is a lock of the operating system, so nobody waits for it to run out.
#[tokio::test]
async fn a_crash_leaves_no_lease_on_sqlite() {
    let bench = Bench::sqlite().await;
    let (first, second) = (bench.open().await, bench.open().await);
    let held = lease(&first, "a").await;
    assert!(matches!(second.acquire("main", &owner("b"), TTL).await, Err(StoreError::Held { .. })));
    // The files close as they do when a process dies; nothing is released.
    drop(first);
    let next = lease(&second, "b").await;
    assert!(next.epoch > held.epoch);
}

fn run_of(app: &str, job: &str, second: i64) -> JobKey {
    let due_at = DateTime::from_timestamp(1_800_000_000 + second, 0).expect("a time");
    JobKey { app: app.to_owned(), job: job.to_owned(), due_at, asked: false }
}

async fn a_run_of_a_job_has_one_that_does_it(bench: &Bench) {
    let (first, second) = (bench.open().await, bench.open().await);
    let key = run_of("app", "daily", 0);
    let at = key.due_at;
    let (one, two) = (owner("web.1"), owner("web.2"));
    let (won, lost) = tokio::join!(first.start_job(&key, &one, at), second.start_job(&key, &two, at));
    assert_eq!([won.expect("asks"), lost.expect("asks")].iter().filter(|won| **won).count(), 1);
    // Another app, another job, another time, and somebody who asks at that time.
    for other in [
        run_of("other", "daily", 0),
        run_of("app", "hourly", 0),
        run_of("app", "daily", 1),
        JobKey { asked: true, ..key.clone() },
    ] {
        assert!(second.start_job(&other, &two, at).await.expect("asks"), "{other:?}");
    }
    let end = JobEnd { at, outcome: JobOutcome::Failed, detail: "exit code 1".into(), output: "no\n".into() };
    second.end_job(&key, &end).await.expect("writes");
    let runs = first.job_runs("app").await.expect("reads");
    let order: Vec<_> =
        runs.iter().map(|run| (run.key.job.as_str(), run.key.due_at, run.key.asked)).collect();
    let later = run_of("app", "daily", 1).due_at;
    assert_eq!(
        order,
        [("daily", later, false), ("daily", at, true), ("daily", at, false), ("hourly", at, false)]
    );
    assert_eq!(runs.iter().find(|run| run.key == key).and_then(|run| run.end.clone()), Some(end));
    assert_eq!(runs.iter().filter(|run| run.end.is_none()).count(), 3);
}

async fn a_job_is_known_from_when_it_is_first_seen(bench: &Bench) {
    let store = bench.open().await;
    let me = owner("a");
    let at = |second| run_of("app", "new", second).due_at;
    let last = async |app: &str, second| store.job_last_due(app, "new", &me, at(second)).await.expect("asks");
    // That somebody asked for it says nothing of the clock.
    let asked = JobKey { asked: true, ..run_of("app", "new", 0) };
    assert!(store.start_job(&asked, &me, at(0)).await.expect("writes"));
    assert_eq!(last("app", 1).await, None);
    assert_eq!(last("app", 2).await, Some(at(1)));
    assert_eq!(last("other", 2).await, None, "another app");
    assert_eq!(store.job_runs("app").await.expect("reads").len(), 1, "that is no run");
    assert!(store.start_job(&run_of("app", "new", 3), &me, at(3)).await.expect("writes"));
    assert_eq!(last("app", 4).await, Some(at(3)));
}
