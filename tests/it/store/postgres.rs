//! What only PostgreSQL can show: a pause between check and commit, the lease's clock, connections.

use std::time::Duration;

use blacksky::config::{Database, DatabaseLocation, Secret, Tls};
use blacksky::store::{Store, StoreError};
use futures_util::future::join_all;
use sqlx::{Connection, PgConnection};
use wacore::store::traits::SignalStore;

use super::{Bench, TTL, config, lease, owner};
use crate::support::eventually::eventually;
use crate::support::postgres::cluster;

const SOON: Duration = Duration::from_secs(10);
const PEER: &str = "15550001@s.whatsapp.net";
/// Number of the advisory lock on which the paused write waits.
const PAUSE: i64 = 42;

async fn connect(bench: &Bench) -> PgConnection {
    PgConnection::connect(&bench.url()).await.expect("connects")
}

async fn run(connection: &mut PgConnection, sql: &'static str) {
    sqlx::raw_sql(sql).execute(connection).await.expect("runs");
}

async fn yes(connection: &mut PgConnection, sql: &'static str) -> bool {
    sqlx::query_scalar(sql).fetch_one(connection).await.expect("asks")
}

/// From now on a write of a row stops after it has passed the fence and before it commits, until
/// the connection that this returns gives its lock up.
async fn pause_writes(bench: &Bench) -> PgConnection {
    let mut gate = connect(bench).await;
    run(
        &mut gate,
        "CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql
             AS 'BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NEW; END';
         CREATE TRIGGER pause BEFORE INSERT ON blacksky.session_row FOR EACH ROW EXECUTE FUNCTION pause();
         SELECT pg_advisory_lock(42)",
    )
    .await;
    gate
}

const WRITE_PAUSED: &str = "SELECT EXISTS (SELECT 1 FROM pg_locks
    WHERE locktype = 'advisory' AND NOT granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))";
const TAKE_OVER_WAITS: &str = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%AS (%INSERT INTO blacksky.session AS s%')";
const WRITE_WAITS: &str = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%session_row%')";
const EXPIRED: &str = "SELECT expires_at <= clock_timestamp() FROM blacksky.session WHERE id = 'main'";

#[tokio::test]
async fn a_take_over_waits_for_a_write_under_way_and_then_sees_it() {
    let bench = Bench::postgres().await;
    let (old, new) = (bench.open().await, bench.open().await);
    let held = old.acquire("main", &owner("old"), Duration::from_millis(100)).await.expect("wins");
    let session = old.session(&held);
    let mut gate = pause_writes(&bench).await;

    let write = tokio::spawn({
        let session = session.clone();
        async move { session.put_session(PEER, b"written before the take-over").await }
    });
    eventually("the write is paused", SOON, async || yes(&mut gate, WRITE_PAUSED).await).await;
    eventually("the lease has run out", SOON, async || yes(&mut gate, EXPIRED).await).await;
    let take_over = tokio::spawn(async move {
        let lease = new.acquire("main", &owner("new"), TTL).await?;
        let read = new.session(&lease).get_session(PEER).await;
        Ok::<_, StoreError>((lease, read))
    });
    eventually("the take-over waits", SOON, async || yes(&mut gate, TAKE_OVER_WAITS).await).await;
    assert!(!write.is_finished() && !take_over.is_finished());
    sqlx::query("SELECT pg_advisory_unlock($1)").bind(PAUSE).execute(&mut gate).await.expect("unlocks");

    write.await.expect("ends").expect("commits before the take-over");
    let (lease, read) = take_over.await.expect("ends").expect("wins");
    assert!(lease.epoch > held.epoch);
    assert_eq!(read.expect("reads").as_deref(), Some(&b"written before the take-over"[..]));
    let error = session.put_session(PEER, b"late").await.expect_err("is fenced");
    assert!(matches!(StoreError::within(&error), Some(StoreError::Fenced)), "{error:?}");
}

#[tokio::test]
async fn a_write_that_meets_a_take_over_waits_and_is_fenced() {
    let bench = Bench::postgres().await;
    let store = bench.open().await;
    let session = store.session(&lease(&store, "old").await);
    session.put_session(PEER, b"first").await.expect("writes");
    let mut other = connect(&bench).await;
    run(&mut other, "BEGIN; UPDATE blacksky.session SET epoch = epoch + 1, owner = 'new'").await;
    let write = tokio::spawn({
        let session = session.clone();
        async move { session.put_session(PEER, b"late").await }
    });
    let mut watcher = connect(&bench).await;
    eventually("the write waits", SOON, async || yes(&mut watcher, WRITE_WAITS).await).await;
    run(&mut other, "COMMIT").await;
    let error = write.await.expect("ends").expect_err("is fenced");
    assert!(matches!(StoreError::within(&error), Some(StoreError::Fenced)), "{error:?}");
    let read = session.get_session(PEER).await.expect("reads");
    assert_eq!(read.as_deref(), Some(&b"first"[..]));
}

#[tokio::test]
async fn renewals_pass_a_write_under_way() {
    let bench = Bench::postgres().await;
    let store = bench.open().await;
    let held = lease(&store, "a").await;
    let session = store.session(&held);
    let mut gate = pause_writes(&bench).await;
    let write = tokio::spawn(async move { session.put_session(PEER, b"slow").await });
    eventually("the write is paused", SOON, async || yes(&mut gate, WRITE_PAUSED).await).await;
    let renewed = store.renew(std::slice::from_ref(&held), TTL).await.expect("renews");
    assert_eq!(renewed, [held]);
    assert!(!write.is_finished());
    run(&mut gate, "SELECT pg_advisory_unlock(42)").await;
    write.await.expect("ends").expect("writes");
}

#[tokio::test]
async fn a_write_that_gets_no_answer_breaks_its_handle() {
    let bench = Bench::postgres().await;
    let store = bench.open().await;
    let held = lease(&store, "a").await;
    let session = store.session(&held);
    let mut gate = pause_writes(&bench).await;
    let begun = tokio::time::Instant::now();
    session.put_session(PEER, b"hangs").await.expect_err("gives up");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(matches!(session.failure().await, StoreError::Unavailable { .. }));
    session.get_session(PEER).await.expect("reading is harmless");
    session.put_sender_key("g", b"k").await.expect_err("the handle is broken");
    run(&mut gate, "SELECT pg_advisory_unlock(42)").await;
    // A new epoch waits for the write that hung, so its outcome is known.
    let again = store.session(&store.acquire("main", &owner("a"), TTL).await.expect("wins"));
    let first = again.get_session(PEER).await.expect("reads");
    again.put_session(PEER, b"new").await.expect("writes");
    assert_eq!(again.get_session(PEER).await.expect("reads").as_deref(), Some(&b"new"[..]));
    assert!(first.is_none() || first.as_deref() == Some(&b"hangs"[..]));
}

#[tokio::test]
async fn a_lease_runs_out_on_the_databases_clock() {
    let bench = Bench::postgres().await;
    let (first, second) = (bench.open().await, bench.open().await);
    let ttl = Duration::from_millis(400);
    let begun = tokio::time::Instant::now();
    let held = first.acquire("main", &owner("a"), ttl).await.expect("wins");
    match second.acquire("main", &owner("b"), ttl).await {
        Err(StoreError::Held { owner, until }) => {
            assert_eq!(owner, "a");
            let left = until - blacksky::runtime::clock::now();
            assert!(left <= chrono::TimeDelta::milliseconds(401), "{left}");
        }
        other => panic!("{other:?}"),
    }
    eventually("b takes over", SOON, async || second.acquire("main", &owner("b"), TTL).await.is_ok()).await;
    assert!(begun.elapsed() >= ttl, "{:?}", begun.elapsed());
    assert_eq!(first.renew(&[held], TTL).await.expect("answers"), []);
}

#[tokio::test]
async fn dead_connections_are_replaced_without_an_error() {
    let bench = Bench::postgres().await;
    let store = bench.open().await;
    let held = lease(&store, "a").await;
    let session = store.session(&held);
    let writes = (0..20).map(|n| {
        let session = session.clone();
        async move { session.put_session(&format!("{n}@s"), b"before").await }
    });
    assert!(join_all(writes).await.iter().all(Result::is_ok));
    let mut admin = connect(&bench).await;
    let cut: i64 = sqlx::query_scalar(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE application_name = 'blacksky' AND datname = current_database()",
    )
    .fetch_one(&mut admin)
    .await
    .expect("cuts");
    assert!((2..=4).contains(&cut), "{cut}");
    session.put_session("0@s", b"after").await.expect("writes");
    assert_eq!(session.get_session("0@s").await.expect("reads").as_deref(), Some(&b"after"[..]));
    assert_eq!(store.renew(std::slice::from_ref(&held), TTL).await.expect("renews"), [held]);
}

#[tokio::test]
async fn a_dyno_uses_no_more_connections_than_it_may() {
    let bench = Bench::postgres().await;
    let store = bench.open().await;
    let session = store.session(&lease(&store, "a").await);
    let mut watcher = connect(&bench).await;
    let writes = join_all((0..200).map(|n| {
        let session = session.clone();
        async move { session.put_session(&format!("{n}@s"), b"x").await }
    }));
    let most = async {
        let mut most = 0i64;
        for _ in 0..20 {
            let now: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity
                 WHERE application_name = 'blacksky' AND datname = current_database()",
            )
            .fetch_one(&mut watcher)
            .await
            .expect("counts");
            most = most.max(now);
        }
        most
    };
    // The store of the bench's own migration may still be closing.
    let (done, most) = tokio::join!(writes, most);
    assert!(done.iter().all(Result::is_ok));
    assert!((2..=4).contains(&most), "{most}");
}

#[tokio::test]
async fn commits_are_synchronous_and_statements_bounded_whatever_the_database_says() {
    let bench = Bench::postgres().await;
    let mut admin = connect(&bench).await;
    run(
        &mut admin,
        "DO 'BEGIN EXECUTE format(''ALTER DATABASE %I SET synchronous_commit = off'', current_database()); END';
         CREATE TABLE seen (name text, value text);
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
             INSERT INTO seen SELECT name, setting FROM pg_settings WHERE name IN
             (''synchronous_commit'', ''statement_timeout'', ''idle_in_transaction_session_timeout'');
             RETURN NEW; END';
         CREATE TRIGGER note BEFORE INSERT ON blacksky.session_row FOR EACH ROW EXECUTE FUNCTION note()",
    )
    .await;
    let store = bench.open().await;
    store.session(&lease(&store, "a").await).put_session(PEER, b"x").await.expect("writes");
    let seen: Vec<(String, String)> = sqlx::query_as("SELECT name, value FROM seen ORDER BY name")
        .fetch_all(&mut admin)
        .await
        .expect("reads");
    let expected = [
        ("idle_in_transaction_session_timeout", "3000"),
        ("statement_timeout", "3000"),
        ("synchronous_commit", "on"),
    ];
    assert_eq!(seen, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[tokio::test]
async fn require_takes_a_self_signed_certificate_and_encrypts() {
    let bench = Bench::postgres().await;
    let location = DatabaseLocation::Postgres(Secret::new(bench.url()));
    let store = Store::open(&Database { tls: Tls::Require, ..config(location) }).await.expect("opens");
    lease(&store, "a").await;
    let mut admin = connect(&bench).await;
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE application_name = 'blacksky' AND datname = current_database()";
    assert!(yes(&mut admin, encrypted).await);
}

#[tokio::test]
async fn a_unix_socket_needs_no_tls() {
    let url = cluster().await.socket_url("postgres");
    let location = DatabaseLocation::Postgres(Secret::new(url));
    Store::open(&Database { tls: Tls::Require, ..config(location) }).await.expect("opens");
}
