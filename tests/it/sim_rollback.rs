//! What a restored backup of a session does, with a real client: the simulator sees the
//! message key that is used twice, and heals a session that the client can no longer read.

use std::path::Path;

use crate::support::sim::{PATIENCE, RustClient, assert_clean, echo, pair_rust, simulator};

const ACCOUNT: &str = "15550001008";
const CONTACT: &str = "15550002008";

/// Makes `to` the same as `from`.
fn copy(from: &Path, to: &Path) {
    if to.exists() {
        std::fs::remove_dir_all(to).unwrap();
    }
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_uses_a_key_twice_and_cannot_read_what_came_later() {
    let folder = tempfile::tempdir().unwrap();
    let (session, backup) = (folder.path().join("session"), folder.path().join("backup"));
    std::fs::create_dir(&session).unwrap();
    let file = session.join("session.db");
    let server = simulator();
    let handle = server.handle();
    let client = pair_rust(&server, &file, ACCOUNT).await;
    echo(&handle, CONTACT, ACCOUNT, "one").await;
    echo(&handle, CONTACT, ACCOUNT, "two").await;
    client.stop().await;
    copy(&session, &backup);

    // The first history: one more text on the same sending chain, then a new chain.
    let client = RustClient::start(&server.url(), &file).await;
    handle.wait_for_login(ACCOUNT, PATIENCE).await.unwrap();
    client.send(CONTACT, "first history").await;
    handle.wait_for_text(CONTACT, "first history", PATIENCE).await.unwrap();
    echo(&handle, CONTACT, ACCOUNT, "three").await;
    client.stop().await;
    assert_clean(&handle);

    // The second begins where the backup was taken.
    copy(&backup, &session);
    let client = RustClient::start(&server.url(), &file).await;
    handle.wait_for_login(ACCOUNT, PATIENCE).await.unwrap();
    client.send(CONTACT, "second history").await;
    handle.wait_for_counters("a failed decryption", PATIENCE, |c| c.decrypt_failures > 0).await.unwrap();
    let reused = handle.ratchets().reused;
    assert!(reused.iter().any(|r| r.device == format!("{ACCOUNT}:1@s.whatsapp.net")), "{reused:?}");

    // What the contact says now is out of the client's reach until it is encrypted anew.
    let id = handle.send_text(CONTACT, ACCOUNT, "four").unwrap();
    handle.wait_for_text(CONTACT, "echo: four", PATIENCE).await.unwrap();
    handle.wait_for_acknowledgement(&id, PATIENCE).await.unwrap();
    let sent = handle.sent().into_iter().find(|sent| sent.id == id).unwrap();
    assert!(sent.retries >= 1, "{sent:?}");
    assert!(handle.counters().retry_receipts >= 1);
    client.stop().await;
    server.shutdown().await.unwrap();
}
