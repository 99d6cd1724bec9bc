//! A database that is far away: every round trip takes half a second.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::scene::{Scene, report};
use crate::support::postgres::{cluster, database};
use crate::support::proxy::{Proxy, Traffic};

/// In each direction.
const SLOW: Traffic = Traffic::Delay(Duration::from_millis(250));

async fn far(proxy: &Proxy) -> String {
    database().await.replace(&format!(":{}/", cluster().await.port), &format!(":{}/", proxy.port()))
}

async fn proxy() -> Proxy {
    Proxy::start(SocketAddr::from(([127, 0, 0, 1], cluster().await.port))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_second_a_query_is_slow_and_works() {
    let proxy = proxy().await;
    let mut scene = Scene::linked(far(&proxy).await).await;

    proxy.set(SLOW);
    let begun = Instant::now();
    scene.talk(3);
    scene.all_answered().await;
    let answered = begun.elapsed();
    let reconnects = scene.reconnects().await;
    report("500 ms a query while open: 3 answers", &format!("links lost: {reconnects}"), answered);

    let begun = Instant::now();
    scene.restart().await;
    scene.until("open").await;
    report("500 ms a query: SIGTERM to open", "nothing", begun.elapsed());
    let begun = Instant::now();
    scene.talk(1);
    scene.all_answered().await;
    report("500 ms a query: one answer", "nothing", begun.elapsed());
    let log = scene.process().log();
    assert!(!log.contains("lease ran out") && !log.contains("lease was lost"), "{log}");
    proxy.set(Traffic::Pass);
    scene.end().await;
}
