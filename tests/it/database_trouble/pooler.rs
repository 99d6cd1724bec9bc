//! PgBouncer between blacksky and the database: session mode works, any other is refused at the start.

use std::time::Duration;

use blacksky::config::{DatabaseLocation, Secret};
use blacksky::store::Store;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::scene::{Scene, report};
use crate::store::config;
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::{cluster, database};

/// The same URL through a pooler.
async fn through(pooler: &PgBouncer, url: &str) -> String {
    url.replace(&format!(":{}/", cluster().await.port), &format!(":{}/", pooler.port))
}

#[tokio::test(flavor = "multi_thread")]
async fn session_mode_works() {
    let pooler = PgBouncer::start(cluster().await.port, "pool_mode = session").await;
    let mut scene = Scene::linked(through(&pooler, &database().await).await).await;
    scene.restart().await;
    scene.until("open").await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transaction_mode_is_refused_whatever_the_size_of_its_pool() {
    for settings in [
        "pool_mode = transaction",
        "pool_mode = transaction\nserver_round_robin = 1\nmin_pool_size = 2\ndefault_pool_size = 2",
        "pool_mode = transaction\nserver_round_robin = 1\nmin_pool_size = 5",
        "pool_mode = transaction\ndefault_pool_size = 1",
        "pool_mode = statement",
    ] {
        let pooler = PgBouncer::start(cluster().await.port, settings).await;
        let url = through(&pooler, &database().await).await;
        let config = config(DatabaseLocation::Postgres(Secret::new(url.as_str())));
        // Others use the pool as well.
        let others: Vec<_> =
            (0..3).map(|_| AbortOnDropHandle::new(tokio::spawn(keep_busy(url.clone())))).collect();
        for _ in 0..10 {
            let error = Store::open(&config).await.expect_err("is refused").to_string();
            assert!(error.contains("a connection pooler in transaction mode"), "{settings}: {error}");
            assert!(
                error.contains("DATABASE_CONNECTION_POOL_URL") && !error.contains("127.0.0.1"),
                "{error}"
            );
        }
        drop(others);
    }
}

async fn keep_busy(url: String) {
    // It refuses what sqlx sends by itself.
    let options = url.parse::<PgConnectOptions>().expect("a URL").extra_float_digits(None);
    let mut connection = PgConnection::connect_with(&options).await.expect("connects");
    loop {
        // Not prepared: this pooler forgets.
        let _ = sqlx::raw_sql("SELECT 1").execute(&mut connection).await;
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_itself_is_never_taken_for_a_pooler() {
    let url = database().await;
    let config = config(DatabaseLocation::Postgres(Secret::new(url.as_str())));
    for _ in 0..6 {
        let opening = (0..10).map(|_| async { Store::open(&config).await.expect("opens").close().await });
        futures_util::future::join_all(opening).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_says_what_to_set_and_the_direct_url_works() {
    let pooler = PgBouncer::start(cluster().await.port, "pool_mode = transaction").await;
    let direct = database().await;
    let mut scene = Scene::linked(direct.clone()).await;
    scene.url = through(&pooler, &direct).await;
    scene.restart().await;
    let said = scene.until_said(&["a connection pooler in transaction mode", "set DATABASE_URL"]).await;
    scene.until("waiting_for_database").await;
    let begun = Instant::now();
    scene.url = direct;
    scene.restart().await;
    scene.until("open").await;
    report("a pooler in transaction mode, restarted with the direct URL", &said, begun.elapsed());
    scene.end().await;
}
