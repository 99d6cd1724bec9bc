//! The unmodified published Node client (Baileys) against the simulator, and both clients
//! with each other.

use crate::support::node::{NodeBot, pair_node};
use crate::support::sim::{PATIENCE, assert_clean, echo, pair_rust, simulator};

const ACCOUNT: &str = "15550001002";
const OTHER: &str = "15550001003";
const CONTACT: &str = "15550002002";

#[tokio::test(flavor = "multi_thread")]
async fn pairs_echoes_and_comes_back_without_a_qr() {
    let folder = tempfile::tempdir().unwrap();
    let session = folder.path().join("session");
    let server = simulator();
    let handle = server.handle();

    let bot = pair_node(&server, &session, ACCOUNT, &[]).await;
    echo(&handle, CONTACT, ACCOUNT, "one").await;
    echo(&handle, CONTACT, ACCOUNT, "two").await;
    bot.stop().await;

    let waiting = handle.send_text(CONTACT, ACCOUNT, "while away").unwrap();
    let mut bot = NodeBot::start(&server.url(), &session);
    bot.next("open").await;
    handle.wait_for_text(CONTACT, "echo: while away", PATIENCE).await.unwrap();
    handle.wait_for_acknowledgement(&waiting, PATIENCE).await.unwrap();
    echo(&handle, CONTACT, ACCOUNT, "three").await;
    assert_eq!(bot.times("qr"), 0);

    let copies = handle.received().into_iter().filter(|r| r.copy_for.as_deref() == Some(CONTACT)).count();
    assert_eq!(copies, 4);
    assert_eq!((handle.counters().pairings, handle.counters().registrations), (1, 1));
    assert_clean(&handle);
    bot.stop().await;
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn both_clients_text_each_other_through_the_simulator() {
    let folder = tempfile::tempdir().unwrap();
    let server = simulator();
    let handle = server.handle();
    let mut node = pair_node(&server, &folder.path().join("session"), ACCOUNT, &[]).await;
    let rust = pair_rust(&server, &folder.path().join("session.db"), OTHER).await;

    // Each text comes back as an echo that the other's phone and device see.
    node.send(OTHER, "from node");
    node.text("echo: from node").await;
    handle.wait_for_text(ACCOUNT, "echo: from node", PATIENCE).await.unwrap();
    rust.send(ACCOUNT, "from rust").await;
    node.text("from rust").await;
    handle.wait_for_text(OTHER, "echo: from rust", PATIENCE).await.unwrap();
    rust.until_text("echo: from rust").await;

    assert_clean(&handle);
    node.stop().await;
    rust.stop().await;
    server.shutdown().await.unwrap();
}
