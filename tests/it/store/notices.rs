//! Notices between two stores on one PostgreSQL.

use std::time::Duration;

use blacksky::store::{Notice, Notices, Store};
use sqlx::{Connection, PgConnection};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{Bench, lease};
use crate::support::eventually::eventually;

const SOON: Duration = Duration::from_secs(10);

fn listen(store: &Store) -> AbortOnDropHandle<()> {
    let store = store.clone();
    AbortOnDropHandle::new(tokio::spawn(async move { store.listen(CancellationToken::new()).await }))
}

async fn next(notices: &mut Notices) -> Notice {
    tokio::time::timeout(SOON, notices.next()).await.expect("a notice")
}

#[tokio::test]
async fn a_release_is_heard_by_every_dyno() {
    let bench = Bench::postgres().await;
    let (first, second) = (bench.open().await, bench.open().await);
    let mut notices = second.notices();
    let _listening = listen(&second);
    assert_eq!(next(&mut notices).await, Notice::Missed, "it has begun");
    let held = lease(&first, "web.1").await;
    first.release(&held).await.expect("releases");
    assert_eq!(next(&mut notices).await, Notice::Lease { session: "main".into() });
    // One that is no longer held tells nothing.
    first.release(&held).await.expect("is no error");
    let held = lease(&first, "web.1").await;
    first.release(&held).await.expect("releases");
    assert_eq!(next(&mut notices).await, Notice::Lease { session: "main".into() });
    let silent = tokio::time::timeout(Duration::from_millis(50), notices.next()).await;
    assert!(silent.is_err(), "{silent:?}");
}

#[tokio::test]
async fn a_listener_that_was_cut_off_begins_again_and_says_so() {
    let bench = Bench::postgres().await;
    let store = bench.open().await;
    let mut notices = store.notices();
    let _listening = listen(&store);
    assert_eq!(next(&mut notices).await, Notice::Missed);
    let mut admin = PgConnection::connect(&bench.url()).await.expect("connects");
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE 'LISTEN %'";
    eventually("the listener's connection is cut", SOON, async || {
        sqlx::query_scalar::<_, i64>(cut).fetch_one(&mut admin).await.expect("asks") == 1
    })
    .await;
    assert_eq!(next(&mut notices).await, Notice::Missed);
    sqlx::raw_sql("NOTIFY blacksky, 'status main'").execute(&mut admin).await.expect("tells");
    assert_eq!(next(&mut notices).await, Notice::Status { session: "main".into() });
}

#[tokio::test]
async fn a_dyno_uses_no_more_connections_than_allowed() {
    let bench = Bench::postgres().await;
    let store = bench.open().await;
    let mut notices = store.notices();
    let _listening = listen(&store);
    assert_eq!(next(&mut notices).await, Notice::Missed);
    // Far more at once than there are connections.
    let held = lease(&store, "a").await;
    let reads: Vec<_> = (0..32)
        .map(|_| {
            let session = store.session(&held);
            tokio::spawn(async move { session.wa_version().await.expect("reads") })
        })
        .collect();
    for read in reads {
        read.await.expect("ends");
    }
    let mut admin = PgConnection::connect(&bench.url()).await.expect("connects");
    let used = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'blacksky' AND pid <> pg_backend_pid()";
    // The bench's own store, which made the tables, closes its connections in the background.
    let mut last = 0;
    eventually("at most four connections", SOON, async || {
        last = sqlx::query_scalar::<_, i64>(used).fetch_one(&mut admin).await.expect("asks");
        last == 4
    })
    .await;
}

#[tokio::test]
async fn sqlite_never_fires_and_ends_when_told() {
    let bench = Bench::sqlite().await;
    let store = bench.open().await;
    let mut notices = store.notices();
    let stop = CancellationToken::new();
    let listening = tokio::spawn({
        let (store, stop) = (store.clone(), stop.clone());
        async move { store.listen(stop).await }
    });
    let held = lease(&store, "a").await;
    store.release(&held).await.expect("releases");
    assert!(tokio::time::timeout(Duration::from_millis(50), notices.next()).await.is_err());
    stop.cancel();
    listening.await.expect("ends");
}
