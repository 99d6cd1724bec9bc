//! What was kept long enough goes, in batches, and what still has to be done never does.

use blacksky::runtime::clock;
use blacksky::store::{InboxMessage, JobEnd, JobKey, JobOutcome, KeptRows, NewOutgoing, StoreError};
use chrono::{DateTime, TimeDelta, Utc};

use super::{Bench, lease, on_both, owner};

on_both!(
    handled_messages_go_and_open_ones_stay,
    ended_messages_of_the_outbox_go_and_queued_ones_stay,
    old_runs_and_their_output_go_and_the_last_run_stays,
    a_dyno_without_the_lease_removes_nothing_of_a_session,
);

fn at(minute: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + minute * 60, 0).expect("a time")
}

fn all_of_them() -> KeptRows {
    KeptRows { since: at(-1_000_000), rows: 1_000_000 }
}

fn message(n: usize) -> InboxMessage {
    InboxMessage {
        chat: "c".into(),
        sender: "s".into(),
        id: format!("{n}"),
        at: at(0),
        push_name: "Ada".into(),
        text: "hello".into(),
    }
}

async fn handled_messages_go_and_open_ones_stay(bench: &Bench) {
    let store = bench.open().await;
    let session = store.session(&lease(&store, "a").await);
    let messages: Vec<_> = (0..30).map(message).collect();
    session.put_inbox(&messages).await.expect("writes");
    for n in 0..20 {
        session.mark_handled("c", "s", &format!("{n}")).await.expect("marks");
    }
    assert_eq!(session.prune_inbox(all_of_them(), 100).await.expect("prunes"), 0);
    // Those beyond the newest 12, first five and then the rest.
    let twelve = KeptRows { rows: 12, ..all_of_them() };
    assert_eq!(session.prune_inbox(twelve, 5).await.expect("prunes"), 5);
    assert_eq!(session.prune_inbox(twelve, 100).await.expect("prunes"), 3);
    assert_eq!(session.prune_inbox(twelve, 100).await.expect("prunes"), 0);
    // The first eight are forgotten, the others known.
    assert_eq!(session.put_inbox(&messages).await.expect("writes"), 8);
    // By age: all that was handled, and nothing else.
    let none = KeptRows { since: clock::now() + TimeDelta::hours(1), rows: 1000 };
    assert_eq!(session.prune_inbox(none, 100).await.expect("prunes"), 12);
    assert_eq!(session.unhandled(100).await.expect("reads").len(), 18);
}

async fn ended_messages_of_the_outbox_go_and_queued_ones_stay(bench: &Bench) {
    let store = bench.open().await;
    for n in 0..10 {
        let id = format!("M{n}");
        let new = NewOutgoing { id: &id, key: None, content: "hello", file: None, at: at(n) };
        store.put_outgoing("main", new).await.expect("writes");
        if n < 8 {
            store.end_outgoing("main", &id, None, at(n)).await.expect("writes");
        }
    }
    let prune = async |since, rows, batch| {
        store.prune_outbox("main", KeptRows { since: at(since), rows }, batch).await.expect("prunes")
    };
    assert_eq!(prune(-100, 1000, 100).await, 0);
    assert_eq!(prune(3, 1000, 2).await, 2);
    assert_eq!(prune(3, 1000, 2).await, 1);
    assert_eq!(prune(-100, 3, 100).await, 2);
    assert_eq!(prune(1000, 1000, 100).await, 3);
    assert_eq!(store.outgoing("main", 100).await.expect("reads").len(), 2, "queued ones stay");
}

async fn old_runs_and_their_output_go_and_the_last_run_stays(bench: &Bench) {
    let store = bench.open().await;
    let me = owner("a");
    let key =
        |job: &str, minute, asked| JobKey { app: "app".into(), job: job.into(), due_at: at(minute), asked };
    let run = async |key: JobKey| {
        assert!(store.start_job(&key, &me, key.due_at).await.expect("writes"));
        let output = "wrote\n".to_owned();
        let end = JobEnd { at: key.due_at, outcome: JobOutcome::Ok, detail: "ok".into(), output };
        store.end_job(&key, &end).await.expect("writes");
    };
    for minute in 0..20 {
        run(key("often", minute, false)).await;
        run(key("often", minute, true)).await;
    }
    run(key("seldom", 0, false)).await;
    let runs = async || store.job_runs("app").await.expect("reads");
    let kept = |since, rows| KeptRows { since: at(since), rows };
    let (all, many) = (all_of_them(), 1000);
    assert_eq!(store.prune_jobs("app", all, all, many).await.expect("prunes"), 0);
    assert_eq!(store.prune_jobs("other", kept(100, 1), all, many).await.expect("prunes"), 0, "another app");
    // Ten of each, in batches of at most 15.
    assert_eq!(store.prune_jobs("app", kept(-100, 10), all, 15).await.expect("prunes"), 15);
    assert_eq!(store.prune_jobs("app", kept(-100, 10), all, 15).await.expect("prunes"), 5);
    assert_eq!(runs().await.len(), 10 + 10 + 1);
    // What they wrote goes before they do.
    assert_eq!(store.prune_jobs("app", all, kept(15, many), many).await.expect("prunes"), 5 + 5 + 1);
    let silent = runs().await.iter().filter(|run| run.end.as_ref().expect("ended").output.is_empty()).count();
    assert_eq!(silent, 11);
    // However old: by the last one is known what was missed.
    assert_eq!(store.prune_jobs("app", kept(1000, 50), all, many).await.expect("prunes"), 18);
    let left = runs().await;
    let left: Vec<_> = left.iter().map(|run| (run.key.job.as_str(), run.key.due_at, run.key.asked)).collect();
    assert_eq!(left, [("often", at(19), true), ("often", at(19), false), ("seldom", at(0), false)]);
    let last = store.job_last_due("app", "seldom", &me, at(100)).await.expect("reads");
    assert_eq!(last, Some(at(0)));
}

async fn a_dyno_without_the_lease_removes_nothing_of_a_session(bench: &Bench) {
    let store = bench.open().await;
    let old = store.session(&lease(&store, "a").await);
    old.put_inbox(&[message(1)]).await.expect("writes");
    old.mark_handled("c", "s", "1").await.expect("marks");
    // The same owner again: a new epoch.
    let new = store.session(&lease(&store, "a").await);
    let none = KeptRows { since: clock::now() + TimeDelta::hours(1), rows: 1000 };
    assert!(matches!(old.prune_inbox(none, 100).await, Err(StoreError::Fenced)));
    assert_eq!(new.prune_inbox(none, 100).await.expect("prunes"), 1);
}
