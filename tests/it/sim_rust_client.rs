//! The unmodified published Rust client against the simulator.

use crate::support::sim::{PATIENCE, RustClient, assert_clean, echo, pair_rust, simulator, simulator_in};

const ACCOUNT: &str = "15550001001";
const CONTACT: &str = "15550002001";

#[tokio::test(flavor = "multi_thread")]
async fn pairs_echoes_and_comes_back_without_a_qr() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("session.db");
    let server = simulator();
    let handle = server.handle();

    let client = pair_rust(&server, &file, ACCOUNT).await;
    echo(&handle, CONTACT, ACCOUNT, "one").await;
    echo(&handle, CONTACT, ACCOUNT, "two").await;
    client.stop().await;

    // What arrives while nobody is connected waits in the queue.
    let waiting = handle.send_text(CONTACT, ACCOUNT, "while away").unwrap();
    let mut client = RustClient::start(&server.url(), &file).await;
    handle.wait_for_text(CONTACT, "echo: while away", PATIENCE).await.unwrap();
    handle.wait_for_acknowledgement(&waiting, PATIENCE).await.unwrap();
    echo(&handle, CONTACT, ACCOUNT, "three").await;
    assert!(!client.asks_to_be_scanned());

    // Its own phone got a copy of each echo.
    let copies = handle.received().into_iter().filter(|r| r.copy_for.as_deref() == Some(CONTACT)).count();
    assert_eq!(copies, 4);
    let counters = handle.counters();
    assert_eq!((counters.pairings, counters.registrations), (1, 1));
    assert!(counters.handshakes_ik >= 1, "the restart remembers the server's key: {counters:?}");
    assert_clean(&handle);
    client.stop().await;
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_simulator_knows_its_devices_and_its_queue() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("session.db");
    let state = folder.path().join("state");
    let server = simulator_in(&state);
    let client = pair_rust(&server, &file, ACCOUNT).await;
    echo(&server.handle(), CONTACT, ACCOUNT, "before").await;
    client.stop().await;
    server.handle().send_text(CONTACT, ACCOUNT, "kept").unwrap();
    server.shutdown().await.unwrap();

    let server = simulator_in(&state);
    let handle = server.handle();
    let client = RustClient::start(&server.url(), &file).await;
    handle.wait_for_text(CONTACT, "echo: kept", PATIENCE).await.unwrap();
    echo(&handle, CONTACT, ACCOUNT, "after").await;
    assert_eq!(handle.counters().registrations, 0);
    assert_eq!(handle.counters().handshakes_ik, 1);
    assert_clean(&handle);
    client.stop().await;
    server.shutdown().await.unwrap();
}
