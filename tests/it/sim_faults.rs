//! Each fault of the simulator as a client sees it. The close codes are those of Baileys,
//! which reports the reason it was given.

use std::time::Duration;

use blacksky::sim::{Action, Fault, StreamErrorChild, What, When};

use crate::support::eventually::eventually;
use crate::support::figures;
use crate::support::node::{NodeBot, pair_node};
use crate::support::sim::{PATIENCE, RustClient, echo, pair_rust, simulator};

const ACCOUNT: &str = "15550001004";
const CONTACT: &str = "15550002004";

fn child(child: StreamErrorChild) -> Action {
    Action::StreamError { code: None, conflict: None, child: Some(child), close: true }
}

/// The next disconnect must have this code, and the bot must be back after it.
async fn closes_with(bot: &mut NodeBot, code: u64, why: &str) {
    let close = bot.next("close").await;
    assert_eq!(close["code"], code, "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_an_open_connection() {
    let folder = tempfile::tempdir().unwrap();
    let server = simulator();
    let handle = server.handle();
    let mut bot = pair_node(&server, folder.path(), ACCOUNT, &[]).await;
    for (action, code) in [
        (Action::Drop, 428),
        (Action::Reset, 428),
        (Action::StreamEnd, 428),
        (Action::Downgrade, 411),
        (Action::stream_error(515), 515),
        (Action::stream_error(516), 516),
        (Action::stream_error(503), 503),
        (Action::stream_error(429), 429),
        (Action::conflict("replaced", None), 440),
        (Action::conflict("replaced", Some(409)), 409),
        (Action::conflict("device_removed", Some(401)), 401),
        (child(StreamErrorChild::Ack), 500),
        (child(StreamErrorChild::XmlNotWellFormed), 500),
    ] {
        let why = format!("{action:?}");
        handle.strike(action);
        closes_with(&mut bot, code, &why).await;
        bot.next("open").await;
    }
    // All that with one session, which still works.
    echo(&handle, CONTACT, ACCOUNT, "still here").await;
    assert_eq!(bot.times("qr"), 1);
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_logins() {
    let folder = tempfile::tempdir().unwrap();
    let server = simulator();
    let handle = server.handle();
    let mut bot = pair_node(&server, folder.path(), ACCOUNT, &[]).await;
    for reason in [400, 401, 402, 403, 405, 406, 409, 411, 500, 503] {
        let action = match reason {
            402 => Action::Failure { reason, code: Some(101), expire: Some(3600) },
            _ => Action::failure(reason),
        };
        handle.inject(Fault::new(action, When::Login));
        handle.strike(Action::Drop);
        closes_with(&mut bot, 428, "the drop").await;
        closes_with(&mut bot, u64::from(reason), "the failure").await;
        bot.next("open").await;
    }
    assert_eq!(handle.counters().login_failures, 10);

    // Until cleared: two attempts fail, and the third, after that, does not.
    handle.inject(Fault::new(Action::failure(503), When::Login).lasting());
    handle.strike(Action::Drop);
    for code in [428, 503, 503] {
        closes_with(&mut bot, code, "a lasting failure").await;
    }
    assert_eq!(handle.faults().len(), 1);
    handle.clear_faults();
    bot.next("open").await;

    // Right after `<success>`.
    handle.inject(Fault::new(Action::stream_error(503), When::Open));
    handle.strike(Action::Drop);
    closes_with(&mut bot, 428, "the drop").await;
    closes_with(&mut bot, 503, "after open").await;
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_noticed_by_the_clients_own_deadlines() {
    let folder = tempfile::tempdir().unwrap();
    let server = simulator();
    let handle = server.handle();
    let env = [("KEEP_ALIVE_MS", "1000"), ("CONNECT_TIMEOUT_MS", "2000")];
    let mut bot = pair_node(&server, folder.path(), ACCOUNT, &env).await;
    // Baileys gives up long before it says so: it waits 30 s for the dead peer to answer its
    // WebSocket close. The end of the silence cuts that short.
    handle.strike(Action::Silence);
    let begun = tokio::time::Instant::now();
    bot.log("connection errored").await;
    figures::times("dead link", "bare Baileys, keep-alive 1 s", &mut [begun.elapsed()]);
    handle.clear_faults();
    closes_with(&mut bot, 408, "an open link that falls silent").await;
    bot.next("open").await;
    let pings = handle.counters().pings;
    handle.wait_for_counters("a ping", PATIENCE, |c| c.pings > pings).await.unwrap();

    handle.inject(Fault::new(Action::Silence, When::Hello));
    handle.strike(Action::Drop);
    closes_with(&mut bot, 428, "the drop").await;
    bot.log("connection errored").await;
    handle.clear_faults();
    closes_with(&mut bot, 408, "no ServerHello").await;
    bot.next("open").await;

    handle.inject(Fault::new(Action::Reset, When::Dial));
    handle.strike(Action::Drop);
    closes_with(&mut bot, 428, "the drop").await;
    closes_with(&mut bot, 408, "a reset dial").await;
    bot.next("open").await;
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_dials_and_a_cut_line_with_the_rust_client() {
    let folder = tempfile::tempdir().unwrap();
    let server = simulator();
    let handle = server.handle();
    let client = pair_rust(&server, &folder.path().join("session.db"), ACCOUNT).await;
    echo(&handle, CONTACT, ACCOUNT, "before").await;
    // Its own back-off grows with each, so they come in one row.
    let refusals = [Action::Reset, Action::Http { status: 429 }, Action::Http { status: 503 }];
    let before = handle.counters();
    for action in refusals.clone() {
        handle.inject(Fault::new(action, When::Dial));
    }
    handle.strike(Action::Drop);
    handle.wait_for_counters("another login", PATIENCE, |c| c.logins > before.logins).await.unwrap();
    assert_eq!(handle.counters().refused, before.refused + refusals.len() as u64);
    echo(&handle, CONTACT, ACCOUNT, "after").await;
    assert_eq!((handle.counters().registrations, handle.counters().replaced), (1, 0));
    client.stop().await;
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_login_replaces_the_first_and_a_removed_device_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("session.db");
    let server = simulator();
    let handle = server.handle();
    let first = pair_rust(&server, &file, ACCOUNT).await;
    echo(&handle, CONTACT, ACCOUNT, "first").await;
    let second = RustClient::start(&server.url(), &file).await;
    handle.wait_for_counters("a replacement", PATIENCE, |c| c.replaced == 1).await.unwrap();
    first.until_event("StreamReplaced").await;

    let seq = handle.last_event();
    assert!(handle.remove_device(ACCOUNT, 1));
    assert!(!handle.remove_device(ACCOUNT, 1));
    second.until_event("LoggedOut").await;
    let third = RustClient::start(&server.url(), &file).await;
    let refused = handle
        .wait_for_event("a refused login", seq, PATIENCE, |e| matches!(e.what, What::LoginRefused { .. }))
        .await;
    assert!(matches!(refused.unwrap().what, What::LoginRefused { reason: 401 }));
    third.until_event("LoggedOut").await;
    for client in [first, second, third] {
        client.stop().await;
    }
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn unacknowledged_messages_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("session.db");
    let server = simulator();
    let handle = server.handle();
    let client = pair_rust(&server, &file, ACCOUNT).await;
    echo(&handle, CONTACT, ACCOUNT, "before").await;
    // whatsapp-rust may drop its first connection after the pairing restart once more, so the
    // text before may have come twice already.
    let redelivered = handle.counters().redeliveries;
    // Written to a connection that reads nothing: nobody confirms it.
    handle.strike(Action::Silence);
    let id = handle.send_text(CONTACT, ACCOUNT, "into the void").unwrap();
    client.stop().await;
    let entry = |id: &str| handle.sent().into_iter().find(|s| s.id == id).unwrap();
    assert_eq!((entry(&id).deliveries, entry(&id).acknowledged_at), (1, None));

    let client = RustClient::start(&server.url(), &file).await;
    handle.wait_for_text(CONTACT, "echo: into the void", PATIENCE).await.unwrap();
    handle.wait_for_acknowledgement(&id, PATIENCE).await.unwrap();
    assert_eq!(entry(&id).deliveries, 2);
    assert_eq!(handle.counters().redeliveries, redelivered + 1);
    // The phone's app-state key may be confirmed a moment later.
    eventually("the queue is empty", PATIENCE, async || handle.accounts()[0].devices[0].queued == 0).await;
    assert!(tokio::time::timeout(Duration::from_secs(5), client.stop()).await.is_ok());
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_garbled_message_is_asked_for_again_and_hides_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let server = simulator();
    let handle = server.handle();
    let client = pair_rust(&server, &folder.path().join("session.db"), ACCOUNT).await;
    echo(&handle, CONTACT, ACCOUNT, "before").await;
    // Damaged once: the client asks again and gets it whole.
    handle.inject(Fault::new(Action::Garble, When::Message));
    handle.send_text(CONTACT, ACCOUNT, "damaged once").unwrap();
    client.until_event("UndecryptableMessage").await;
    handle.wait_for_text(CONTACT, "echo: damaged once", PATIENCE).await.unwrap();
    // Damaged each time: never read, and what others send afterwards is.
    let for_it = Fault { account: Some(ACCOUNT.to_owned()), ..Fault::new(Action::Garble, When::Message) };
    handle.inject(for_it.lasting());
    let asked = handle.counters().retry_receipts;
    assert!(asked >= 1);
    handle.send_text(CONTACT, ACCOUNT, "damaged for ever").unwrap();
    handle
        .wait_for_counters("two requests for it", PATIENCE, |c| c.retry_receipts > asked + 1)
        .await
        .unwrap();
    assert!(!handle.received().iter().any(|r| r.text.as_deref() == Some("echo: damaged for ever")));
    handle.clear_faults();
    echo(&handle, "15550002014", ACCOUNT, "after").await;
    client.stop().await;
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_connection_delays_and_keeps_the_order() {
    let folder = tempfile::tempdir().unwrap();
    let server = simulator();
    let handle = server.handle();
    let client = pair_rust(&server, &folder.path().join("session.db"), ACCOUNT).await;
    echo(&handle, CONTACT, ACCOUNT, "before").await;
    handle.strike(Action::Slow { ms: 700 });
    let began = tokio::time::Instant::now();
    for text in ["one", "two", "three"] {
        handle.send_text(CONTACT, ACCOUNT, text).unwrap();
    }
    client.until_text("one").await;
    assert!(began.elapsed() >= Duration::from_millis(700), "{:?}", began.elapsed());
    client.until_text("three").await;
    handle.clear_faults();
    echo(&handle, CONTACT, ACCOUNT, "after").await;
    client.stop().await;
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_swallows_is_left_by_the_clients_own_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let server = simulator();
    let handle = server.handle();
    let env = [("KEEP_ALIVE_MS", "1000"), ("CONNECT_TIMEOUT_MS", "2000")];
    let mut bot = pair_node(&server, folder.path(), ACCOUNT, &env).await;
    handle.strike(Action::Swallow);
    bot.log("connection errored").await;
    // Nothing comes back from what was swallowed: the connection ends.
    handle.clear_faults();
    closes_with(&mut bot, 408, "an open link that only acknowledges").await;
    bot.next("open").await;
    server.shutdown().await.unwrap();
}
