//! Linking by a typed code with both clients.

use blacksky::sim::{ScanError, What};

use crate::support::node::NodeBot;
use crate::support::sim::{PATIENCE, RustClient, assert_clean, echo, simulator};

const ACCOUNT: &str = "15550001007";
const CONTACT: &str = "15550002007";

#[tokio::test(flavor = "multi_thread")]
async fn the_node_client_links_by_code() {
    let folder = tempfile::tempdir().unwrap();
    let server = simulator();
    let handle = server.handle();
    assert!(matches!(handle.link("ABCD-1234", ACCOUNT).await, Err(ScanError::NoCode)));
    let mut bot = NodeBot::with_env(&server.url(), folder.path(), &[("PAIR_NUMBER", ACCOUNT)]);
    let code = bot.next("code").await["code"].as_str().unwrap().to_owned();
    handle.wait_for_code(ACCOUNT, PATIENCE).await.unwrap();
    assert!(matches!(handle.link("short", ACCOUNT).await, Err(ScanError::Code)));
    handle.link(&code, ACCOUNT).await.unwrap();
    bot.next("open").await;
    echo(&handle, CONTACT, ACCOUNT, "by code").await;
    assert_clean(&handle);
    bot.stop().await;
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_client_links_by_code_and_not_by_a_wrong_one() {
    let folder = tempfile::tempdir().unwrap();
    let server = simulator();
    let handle = server.handle();
    let mut client = RustClient::linking(&server.url(), &folder.path().join("session.db"), ACCOUNT).await;
    let code = client.code().await;
    handle.wait_for_code(ACCOUNT, PATIENCE).await.unwrap();
    let wrong: String = code.chars().map(|c| if c == '1' { '2' } else { '1' }).collect();
    handle.link(&wrong, ACCOUNT).await.unwrap();
    let refused = handle
        .wait_for_event("a refusal", 0, PATIENCE, |e| matches!(e.what, What::PairingRefused { .. }))
        .await
        .unwrap();
    assert!(format!("{:?}", refused.what).contains("the code was wrong"), "{refused:?}");
    assert_eq!(handle.counters().pairings, 0);

    client.stop().await;
    let mut client = RustClient::linking(&server.url(), &folder.path().join("other.db"), ACCOUNT).await;
    let code = client.code().await;
    handle.wait_for_code(ACCOUNT, PATIENCE).await.unwrap();
    handle.link(&code, ACCOUNT).await.unwrap();
    handle.wait_for_login(ACCOUNT, PATIENCE).await.unwrap();
    echo(&handle, CONTACT, ACCOUNT, "by code").await;
    assert_clean(&handle);
    client.stop().await;
    server.shutdown().await.unwrap();
}
