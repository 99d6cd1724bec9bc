//! The registration of dynos, and who may go on for whom.

use std::time::Duration;

use blacksky::config::{Lease, Period};
use blacksky::store::{Dyno, Keeper, Store};
use chrono::DateTime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{Bench, TTL, on_both, owner};
use crate::support::eventually::eventually;

on_both!(a_dyno_is_there_until_it_leaves, a_dyno_that_stops_is_not_ready_any_more);

const SOON: Duration = Duration::from_secs(10);
const SHORT: Lease = Lease {
    ttl: Period(Duration::from_millis(1000)),
    renew: Period(Duration::from_millis(200)),
    handover_wait: Period(Duration::ZERO),
};

fn dyno(name: &str, sessions: &[&str]) -> Dyno {
    Dyno {
        owner: owner(&format!("{name}/1")),
        name: name.to_owned(),
        booted_at: DateTime::from_timestamp_micros(1_764_000_000_123_456).expect("a time"),
        sessions: sessions.iter().map(|session| (*session).to_owned()).collect(),
        ready: true,
    }
}

fn keeper(store: &Store, dyno: &Dyno) -> (Keeper, AbortOnDropHandle<()>) {
    let keeper = Keeper::new(store.clone(), dyno.owner.clone(), SHORT);
    let running = keeper.clone();
    (keeper, AbortOnDropHandle::new(tokio::spawn(async move { running.run(CancellationToken::new()).await })))
}

async fn a_dyno_is_there_until_it_leaves(bench: &Bench) {
    let store = bench.open().await;
    let one = dyno("web.1", &["main", "other"]);
    store.register(&one, TTL).await.expect("registers");
    store.register(&one, TTL).await.expect("once more");
    assert_eq!(store.dynos().await.expect("lists"), std::slice::from_ref(&one));
    store.unregister(&owner("web.2/1")).await.expect("is no error");
    store.unregister(&one.owner).await.expect("leaves");
    assert_eq!(store.dynos().await.expect("lists"), []);
}

async fn a_dyno_that_stops_is_not_ready_any_more(bench: &Bench) {
    let store = bench.open().await;
    let one = dyno("web.1", &["main"]);
    let (keeper, _running) = keeper(&store, &one);
    keeper.register(one.clone()).await;
    keeper.leave().await;
    let listed = store.dynos().await.expect("lists");
    assert_eq!(listed, [Dyno { ready: false, ..one.clone() }]);
    // A late word of its start changes nothing.
    keeper.register(one).await;
    assert_eq!(store.dynos().await.expect("lists"), listed);
    keeper.unregister().await;
    assert_eq!(store.dynos().await.expect("lists"), []);
}

#[tokio::test]
async fn a_dyno_that_dies_is_gone_after_its_time_and_one_that_lives_is_not() {
    let bench = Bench::postgres().await;
    let store = bench.open().await;
    let (dead, alive) = (dyno("web.1", &["main"]), dyno("web.2", &["main"]));
    let (keeper_of_alive, _running) = keeper(&store, &alive);
    keeper_of_alive.register(alive.clone()).await;
    store.register(&dead, SHORT.ttl.get()).await.expect("registers");
    assert_eq!(store.dynos().await.expect("lists").len(), 2);
    eventually("the dead one is gone", SOON, async || store.dynos().await.expect("lists") == [alive.clone()])
        .await;
    // The beat that keeps it keeps its leases as well.
    let kept = keeper_of_alive.acquire("main").await.expect("wins");
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < SHORT.ttl.get() * 2 {
        assert_eq!(store.dynos().await.expect("lists"), std::slice::from_ref(&alive));
        assert!(!kept.lost().is_cancelled());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Its row is removed by the next one that comes.
    store.register(&dyno("web.3", &[]), TTL).await.expect("registers");
    assert_eq!(bench.meddle("DELETE FROM {}dyno").await, 2);
}

#[tokio::test]
async fn a_successor_is_ready_serves_the_session_and_does_not_stop_itself() {
    let bench = Bench::postgres().await;
    let (first, second) = (bench.open().await, bench.open().await);
    let leaving = dyno("web.1", &["main"]);
    let (keeper, _running) = keeper(&first, &leaving);
    keeper.register(leaving).await;
    second.register(&dyno("web.2", &["another"]), TTL).await.expect("registers");
    second.register(&Dyno { ready: false, ..dyno("web.3", &["main"]) }, TTL).await.expect("registers");
    keeper.leave().await;
    let none = tokio::time::timeout(Duration::from_millis(1500), keeper.successor("main")).await;
    assert!(none.is_err(), "{none:?}");
    second.register(&dyno("web.3", &["main"]), TTL).await.expect("registers");
    let found = tokio::time::timeout(SOON, keeper.successor("main")).await;
    assert_eq!(found.expect("found"), "web.3");
}

#[tokio::test]
async fn one_that_was_there_before_gets_time_to_hear_that_it_stops_too() {
    let bench = Bench::postgres().await;
    let (first, second) = (bench.open().await, bench.open().await);
    let (one, two) = (dyno("web.1", &["main"]), dyno("web.2", &["main"]));
    let (keeper, _running) = keeper(&first, &one);
    keeper.register(one).await;
    second.register(&two, TTL).await.expect("registers");
    keeper.leave().await;
    let begun = tokio::time::Instant::now();
    // It stops at the same time, a little later.
    tokio::time::sleep(Duration::from_millis(200)).await;
    second.register(&Dyno { ready: false, ..two }, TTL).await.expect("registers");
    let none = tokio::time::timeout(Duration::from_millis(1500), keeper.successor("main")).await;
    assert!(none.is_err(), "{none:?}");
    // One that comes new is taken at once.
    second.register(&dyno("web.4", &["main"]), TTL).await.expect("registers");
    let found = tokio::time::timeout(SOON, keeper.successor("main")).await;
    assert_eq!(found.expect("found"), "web.4");
    assert!(begun.elapsed() < SOON);
}
