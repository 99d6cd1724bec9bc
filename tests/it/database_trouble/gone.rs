//! The server, or some of its connections, gone.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tokio::time::Instant;

use super::scene::{Scene, report};
use crate::support::eventually::eventually;
use crate::support::postgres::{self, Cluster, Shutdown, answers};

/// The link closes this long after the first write that fails, at the latest; and the page shows it.
const CLOSED_WITHIN: Duration = Duration::from_millis(3_000);

/// A server of its own, ready.
async fn own() -> (Cluster, String) {
    let server = tokio::task::spawn_blocking(Cluster::start).await.expect("starts");
    let url = server.url("postgres");
    answers(&url).await;
    (server, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_closes_the_link_until_it_starts_again() {
    let (server, url) = own().await;
    let mut scene = Scene::linked(url.clone()).await;
    for how in [Shutdown::Fast, Shutdown::Immediate] {
        server.restart(how, Duration::from_secs(5));
        eventually("it has stopped", Duration::from_secs(10), async || {
            PgConnection::connect(&url).await.is_err()
        })
        .await;
        let begun = Instant::now();
        scene.talk(3);
        scene.until("waiting_for_database").await;
        let closed = begun.elapsed();
        assert!(closed < CLOSED_WITHIN, "{closed:?}");
        assert_eq!(scene.last_disconnect().await, "database");
        let said =
            scene.until_said(&["Waiting for the database", "nothing listens at the host and port"]).await;
        scene.talk(3);
        answers(&url).await;
        let back = scene.until("open").await;
        scene.all_answered().await;
        report(&format!("stopped ({how:?}), link closed after {closed:.1?}"), &said, back);
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quick_restart_of_the_server_does_not_cost_the_link() {
    let (server, url) = own().await;
    let mut scene = Scene::linked(url.clone()).await;
    let begun = Instant::now();
    server.restart(Shutdown::Fast, Duration::ZERO);
    scene.talk(3);
    scene.all_answered().await;
    let reconnects = scene.reconnects().await;
    report("restarted", &format!("links lost: {reconnects}"), begun.elapsed());
    // Nobody was waiting for it long enough to give up.
    if begun.elapsed() < Duration::from_millis(1_400) {
        assert_eq!(reconnects, 0, "the link was closed; log:\n{}", scene.process().log());
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_ended_one_by_one_are_replaced_unseen() {
    let url = postgres::database().await;
    let mut scene = Scene::linked(url.clone()).await;
    let mut admin = PgConnection::connect(&url).await.expect("connects");
    let begun = Instant::now();
    let mut ended = 0;
    for _ in 0..25 {
        // Writes are under way while one is ended.
        scene.talk(2);
        let one: i64 = sqlx::query_scalar(
            "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity
             WHERE application_name = 'blacksky' AND datname = current_database()
             ORDER BY random() LIMIT 1) AS one",
        )
        .fetch_one(&mut admin)
        .await
        .expect("ends one");
        ended += one;
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    scene.all_answered().await;
    let reconnects = scene.reconnects().await;
    report(&format!("{ended} connections ended"), &format!("links lost: {reconnects}"), begun.elapsed());
    assert!(ended >= 5, "{ended}");
    assert_eq!(reconnects, 0, "the link was closed; log:\n{}", scene.process().log());
    scene.end().await;
}
