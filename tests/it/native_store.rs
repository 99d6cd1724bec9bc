//! The native bot when its store misbehaves: never a fresh identity, never a link without the lease.

use std::path::Path;
use std::time::Duration;

use blacksky::bot::handle::Request;
use blacksky::link::{LinkState, Parked};
use blacksky::sim::Server;
use sqlx::{Connection, Executor, SqliteConnection};
use tokio::time::Instant;

use crate::support::native::{Home, NativeBot};
use crate::support::sim::{PATIENCE, assert_clean, simulator};

const ACCOUNT: &str = "15550001201";
const CONTACT: &str = "15550002201";

/// Another connection to the same file, as a saboteur has it.
async fn saboteur(file: &Path) -> SqliteConnection {
    SqliteConnection::connect(&format!("sqlite:{}", file.display())).await.expect("the file opens")
}

async fn paired(server: &Server, home: &Home) -> NativeBot {
    let mut bot = NativeBot::start(server, home).await;
    bot.pair(server, ACCOUNT).await;
    bot
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_takes_no_writes_closes_the_link_and_loses_nothing() {
    let (home, server) = (Home::sqlite(), simulator());
    let handle = server.handle();
    let mut bot = paired(&server, &home).await;
    handle.send_text(CONTACT, ACCOUNT, "!say before").unwrap();
    handle.wait_for_text(CONTACT, "you said before", PATIENCE).await.unwrap();

    let mut saboteur = saboteur(&home.file).await;
    saboteur.execute("BEGIN EXCLUSIVE").await.expect("the lock");
    let message = handle.send_text(CONTACT, ACCOUNT, "!say meanwhile").unwrap();
    let began = Instant::now();
    let status = bot.until_state(LinkState::WaitingForDatabase).await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(status.last_disconnect.expect("a reason").reason, "database");
    assert!(status.advice.is_some());
    let sent = handle.sent().into_iter().find(|sent| sent.id == message).expect("sent");
    assert_eq!(sent.acknowledged_at, None, "acknowledged before it was written");

    saboteur.execute("ROLLBACK").await.expect("unlocked");
    bot.until_state(LinkState::Open).await;
    handle.wait_for_text(CONTACT, "you said meanwhile", PATIENCE).await.unwrap();
    handle.wait_for_acknowledgement(&message, PATIENCE).await.unwrap();
    assert_eq!(handle.counters().registrations, 1, "no second QR");
    assert_clean(&handle);
    bot.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_cannot_be_read_is_not_replaced() {
    let (home, server) = (Home::sqlite(), simulator());
    let handle = server.handle();
    let bot = paired(&server, &home).await;
    bot.stop().await;
    let mut saboteur = saboteur(&home.file).await;
    // Kind 1 is the device.
    let kept: Vec<u8> = sqlx::query_scalar("SELECT value FROM session_row WHERE kind = 1")
        .fetch_one(&mut saboteur)
        .await
        .expect("the device's row");
    let damage = |value: Vec<u8>| sqlx::query("UPDATE session_row SET value = ? WHERE kind = 1").bind(value);
    damage(kept[..kept.len() / 2].to_vec()).execute(&mut saboteur).await.expect("damaged");

    let mut bot = NativeBot::start(&server, &home).await;
    let status = bot.until_state(LinkState::Parked(Parked::SessionUnreadable)).await;
    assert!(status.advice.is_some());
    bot.ask(Request::ShowNewQr);
    bot.ask(Request::ReconnectNow);
    let parked = LinkState::Parked(Parked::SessionUnreadable);
    bot.until("a second look", |bot| bot.state == parked && bot.since > status.since).await;
    assert_eq!(handle.counters().registrations, 1, "a fresh identity asked for a QR");

    // Mended by hand, it is the old session.
    damage(kept).execute(&mut saboteur).await.expect("mended");
    bot.ask(Request::ReconnectNow);
    bot.until_state(LinkState::Open).await;
    assert_eq!(handle.counters().registrations, 1);
    bot.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_epoch_takes_the_link_away_at_the_next_write() {
    let (home, server) = (Home::sqlite(), simulator());
    let handle = server.handle();
    let mut bot = paired(&server, &home).await;
    let mut saboteur = saboteur(&home.file).await;
    saboteur.execute("UPDATE session SET epoch = epoch + 1").await.expect("a newer epoch");
    let message = handle.send_text(CONTACT, ACCOUNT, "!ping").unwrap();
    let status = bot.until("the link taken away", |bot| bot.last_disconnect.is_some()).await;
    assert_eq!(status.last_disconnect.expect("a reason").reason, "lease_lost");
    // Nobody else wants it: it is won again, and the message comes again.
    bot.until("a reconnect", |bot| bot.reconnects == 1).await;
    handle.wait_for_text(CONTACT, "pong", PATIENCE).await.unwrap();
    handle.wait_for_acknowledgement(&message, PATIENCE).await.unwrap();
    assert_clean(&handle);
    bot.stop().await;
}
