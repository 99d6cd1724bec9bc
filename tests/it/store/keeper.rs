//! The keeper against a real database: it keeps a lease past its ttl, and tells when it cannot.

use std::time::Duration;

use blacksky::config::{Lease, Period};
use blacksky::store::{Keeper, StoreError};
use tokio_util::sync::CancellationToken;

use super::{Bench, TTL, on_both, owner};

on_both!(a_kept_lease_outlives_its_ttl, a_lease_that_is_gone_is_told);

const SHORT: Lease = Lease {
    ttl: Period(Duration::from_millis(1000)),
    renew: Period(Duration::from_millis(200)),
    handover_wait: Period(Duration::ZERO),
};

async fn a_kept_lease_outlives_its_ttl(bench: &Bench) {
    let (store, other) = (bench.open().await, bench.open().await);
    let keeper = Keeper::new(store.clone(), owner("a"), SHORT);
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (keeper, stop) = (keeper.clone(), stop.clone());
        async move { keeper.run(stop).await }
    });
    let kept = keeper.acquire("main").await.expect("wins");
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < SHORT.ttl.get() * 2 {
        let asked = other.acquire("main", &owner("b"), TTL).await;
        assert!(matches!(asked, Err(StoreError::Held { .. })), "{asked:?}");
        assert!(!kept.lost().is_cancelled());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    keeper.release(&kept.lease).await.expect("releases");
    assert!(kept.lost().is_cancelled());
    other.acquire("main", &owner("b"), TTL).await.expect("wins at once");
    stop.cancel();
    running.await.expect("ends");
}

async fn a_lease_that_is_gone_is_told(bench: &Bench) {
    let store = bench.open().await;
    let keeper = Keeper::new(store.clone(), owner("a"), SHORT);
    let kept = keeper.acquire("main").await.expect("wins");
    // As if another dyno had it: the keeper learns of it at its next renewal.
    store.release(&kept.lease).await.expect("releases");
    let running = tokio::spawn({
        let keeper = keeper.clone();
        async move { keeper.run(CancellationToken::new()).await }
    });
    tokio::time::timeout(Duration::from_millis(600), kept.lost().cancelled()).await.expect("is told");
    running.abort();
}

#[tokio::test]
async fn a_database_that_hangs_costs_the_lease_before_it_runs_out() {
    let bench = Bench::postgres().await;
    let (store, mut admin) = (
        bench.open().await,
        <sqlx::PgConnection as sqlx::Connection>::connect(&bench.url()).await.expect("connects"),
    );
    let keeper = Keeper::new(store.clone(), owner("a"), SHORT);
    let begun = tokio::time::Instant::now();
    let kept = keeper.acquire("main").await.expect("wins");
    sqlx::raw_sql("BEGIN; SELECT 1 FROM blacksky.session FOR UPDATE")
        .execute(&mut admin)
        .await
        .expect("locks");
    let running = tokio::spawn({
        let keeper = keeper.clone();
        async move { keeper.run(CancellationToken::new()).await }
    });
    tokio::time::timeout(Duration::from_secs(5), kept.lost().cancelled()).await.expect("is told");
    let after = begun.elapsed();
    // 1 s less a fifth, and not before.
    assert!((Duration::from_millis(790)..Duration::from_millis(950)).contains(&after), "{after:?}");
    running.abort();
}
