//! What the links did: written again and again, read for all sessions, pruned by age and number.

use blacksky::store::{HourCount, KeptRows, Store, Stretch, Traffic};
use chrono::{DateTime, TimeDelta, Utc};

use super::{Bench, on_both};

on_both!(
    a_stretch_grows_and_keeps_what_was_seen,
    counts_of_all_processes_are_added_and_written_twice_without_harm,
    the_last_days_are_known_in_figures,
    old_rows_and_surplus_rows_go_in_batches,
);

fn at(minute: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + minute * 60, 0).expect("a time")
}

fn stretch(session: &str, process: i64, from: i64, until: i64, state: &str, reason: Option<&str>) -> Stretch {
    Stretch {
        session: session.to_owned(),
        at: at(from),
        process,
        until: at(until),
        state: state.to_owned(),
        reason: reason.map(str::to_owned),
        text: reason.map(|reason| format!("It was {reason}.")),
        tries: 3,
        dyno: "web.1".to_owned(),
    }
}

fn all() -> Vec<String> {
    vec!["main".to_owned(), "other".to_owned()]
}

async fn note(store: &Store, stretches: &[Stretch]) {
    store.note_history(stretches, &[]).await.expect("writes");
}

async fn a_stretch_grows_and_keeps_what_was_seen(bench: &Bench) {
    let store = bench.open().await;
    note(&store, &[]).await;
    let first = stretch("main", 1, 0, 10, "connecting", None);
    note(&store, std::slice::from_ref(&first)).await;
    let grown = Stretch { reason: Some("silence".into()), ..stretch("main", 1, 0, 20, "backing_off", None) };
    let open = stretch("main", 1, 20, 21, "open", None);
    let other = stretch("other", 2, 5, 30, "open", None);
    // Twice in one writing, and an older word after a newer one.
    note(&store, &[grown.clone(), open.clone(), open.clone(), other.clone()]).await;
    note(&store, &[Stretch { until: at(12), ..grown.clone() }]).await;
    let found = store.history(&all(), at(0)).await.expect("reads");
    assert_eq!(found, [grown.clone(), other.clone(), open.clone()]);
    // Those that were over before are not asked for.
    assert_eq!(store.history(&all(), at(21)).await.expect("reads"), [other.clone(), open.clone()]);
    assert_eq!(store.history(&["other".to_owned()], at(0)).await.expect("reads"), [other]);
    // Two processes may begin at the same time.
    note(&store, &[Stretch { process: 2, ..open.clone() }]).await;
    assert_eq!(store.history(&all(), at(21)).await.expect("reads").len(), 3);
}

async fn counts_of_all_processes_are_added_and_written_twice_without_harm(bench: &Bench) {
    let store = bench.open().await;
    let count = |process, hour: i64, received, sent| HourCount {
        session: "main".to_owned(),
        hour: at(hour * 60),
        process,
        received,
        sent,
    };
    let first = [count(1, 0, 10, 2), count(2, 0, 5, 1), count(1, 1, 7, 0)];
    for _ in 0..2 {
        store.note_history(&[], &first).await.expect("writes");
    }
    store.note_history(&[], &[count(1, 1, 9, 4)]).await.expect("writes");
    // A word that comes late takes nothing back.
    store.note_history(&[], &[count(1, 1, 8, 3)]).await.expect("writes");
    let found = store.traffic(&all(), at(0)).await.expect("reads");
    let of = |hour: i64| found.get(&("main".to_owned(), at(hour * 60))).copied();
    assert_eq!(of(0), Some(Traffic { received: 15, sent: 3 }));
    assert_eq!(of(1), Some(Traffic { received: 9, sent: 4 }));
    assert_eq!(store.traffic(&all(), at(60)).await.expect("reads").len(), 1);
}

async fn the_last_days_are_known_in_figures(bench: &Bench) {
    let store = bench.open().await;
    note(
        &store,
        &[
            stretch("main", 1, 0, 100, "open", None),
            stretch("main", 1, 100, 110, "backing_off", Some("silence")),
            stretch("main", 1, 110, 200, "open", None),
            stretch("main", 1, 200, 201, "backing_off", Some("silence")),
            stretch("main", 2, 300, 301, "parked", Some("failure_403")),
        ],
    )
    .await;
    let totals = store.totals(&all(), at(50)).await.expect("reads");
    let main = &totals["main"];
    assert_eq!((main.since, main.open), (Some(at(50)), TimeDelta::minutes(50 + 90)));
    assert_eq!(main.reasons, [("failure_403".to_owned(), 1), ("silence".to_owned(), 2)].into());
    assert_eq!(totals.len(), 1);
}

async fn old_rows_and_surplus_rows_go_in_batches(bench: &Bench) {
    let store = bench.open().await;
    let rows: Vec<Stretch> = (0..50).map(|n| stretch("main", 1, n, n + 1, "open", None)).collect();
    let counts: Vec<HourCount> = (0..30)
        .map(|n| HourCount { session: "main".into(), hour: at(n * 60), process: 1, received: 1, sent: 1 })
        .collect();
    store.note_history(&rows, &counts).await.expect("writes");
    note(&store, &[stretch("other", 1, 0, 1, "open", None)]).await;
    let prune = async |since: i64, rows, batch| {
        store.prune_history("main", KeptRows { since: at(since), rows }, batch).await.expect("prunes")
    };
    assert_eq!(prune(-100, 1000, 10).await, 0);
    // The first ten of twenty that are older.
    assert_eq!(prune(20, 1000, 10).await, 10);
    assert_eq!(prune(20, 1000, 100).await, 9, "the one that ended just then stays");
    let left = async || store.history(&all(), at(-100)).await.expect("reads");
    assert_eq!(left().await.iter().filter(|one| one.session == "main").count(), 31);
    assert_eq!(prune(-100, 25, 100).await, 6);
    assert_eq!(prune(-100, 25, 100).await, 0);
    let rest = left().await;
    assert_eq!(rest.iter().filter(|one| one.session == "main").map(|one| one.at).min(), Some(at(25)));
    assert!(rest.iter().any(|one| one.session == "other"), "each session for itself");
    assert_eq!(store.traffic(&all(), at(-100)).await.expect("reads").len(), 25);
}
