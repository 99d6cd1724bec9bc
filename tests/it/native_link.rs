//! The native bot against the simulator: pairing, replies, and every way in which a link can end.

use std::time::Duration;

use blacksky::bot::handle::Request;
use blacksky::link::{LinkState, Parked};
use blacksky::runtime::status::BotStatus;
use blacksky::sim::{Action, Fault, When};
use tokio::time::Instant;

use crate::support::native::{Home, NativeBot};
use crate::support::sim::{PATIENCE, assert_clean, simulator};

const ACCOUNT: &str = "15550001101";
const CONTACT: &str = "15550002101";

/// A paired bot with an open link.
async fn open(server: &blacksky::sim::Server, home: &Home) -> NativeBot {
    let mut bot = NativeBot::start(server, home).await;
    bot.pair(server, ACCOUNT).await;
    bot
}

#[tokio::test(flavor = "multi_thread")]
async fn pairs_answers_and_comes_back_without_a_qr_on_sqlite() {
    pairs_answers_and_comes_back(Home::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pairs_answers_and_comes_back_without_a_qr_on_postgres() {
    pairs_answers_and_comes_back(Home::postgres().await).await;
}

async fn pairs_answers_and_comes_back(home: Home) {
    let server = simulator();
    let handle = server.handle();
    let mut bot = open(&server, &home).await;
    handle.send_text(CONTACT, ACCOUNT, "!ping").unwrap();
    handle.wait_for_text(CONTACT, "pong", PATIENCE).await.unwrap();
    handle.send_text(CONTACT, ACCOUNT, "just talking").unwrap();
    handle.send_text(CONTACT, ACCOUNT, "!SAY hello there").unwrap();
    handle.wait_for_text(CONTACT, "you said hello there", PATIENCE).await.unwrap();
    let status = bot.until("three in, two out", |bot| bot.messages_in == 3 && bot.messages_out == 2).await;
    assert_eq!((status.reconnects, status.last_disconnect.is_some()), (0, false));
    let took = bot.stop().await;
    assert!(took < Duration::from_secs(5), "{took:?}");

    // What arrives meanwhile is answered after the restart.
    let waiting = handle.send_text(CONTACT, ACCOUNT, "!say while away").unwrap();
    let mut bot = NativeBot::start(&server, &home).await;
    bot.until_state(LinkState::Open).await;
    handle.wait_for_text(CONTACT, "you said while away", PATIENCE).await.unwrap();
    handle.wait_for_acknowledgement(&waiting, PATIENCE).await.unwrap();
    let counters = handle.counters();
    assert_eq!((counters.registrations, counters.pairings), (1, 1), "no second QR");
    assert_clean(&handle);
    bot.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_noticed_within_period_and_deadline() {
    let (home, server) = (Home::sqlite(), simulator());
    let mut bot = open(&server, &home).await;
    let began = Instant::now();
    server.handle().strike(Action::Silence);
    let status = bot.until("end of the link", |bot| bot.state != LinkState::Open).await;
    // period 1 s + deadline 1 s + 1 s
    assert!(began.elapsed() <= Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(status.last_disconnect.expect("a reason").reason, "silence");
    server.handle().clear_faults();
    let status = bot.until_state(LinkState::Open).await;
    assert_eq!(status.reconnects, 1 + u64::from(status.reconnects > 1), "it came back");
    bot.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_link_stays_open() {
    let (home, server) = (Home::sqlite(), simulator());
    let mut bot = open(&server, &home).await;
    let pings = server.handle().counters().pings;
    // Four periods without a message: probes go out and are answered.
    let more = |counters: &blacksky::sim::Counters| counters.pings >= pings + 4;
    server.handle().wait_for_counters("four probes", PATIENCE, more).await.unwrap();
    let status = bot.until_state(LinkState::Open).await;
    assert_eq!((status.reconnects, status.last_disconnect.is_some()), (0, false));
    bot.stop().await;
}

/// Endings after which the link comes back by itself, and the word for each.
#[tokio::test(flavor = "multi_thread")]
async fn comes_back_after_every_passing_ending() {
    let (home, server) = (Home::sqlite(), simulator());
    let handle = server.handle();
    let mut bot = open(&server, &home).await;
    let kept = |code| Action::StreamError { code: Some(code), conflict: None, child: None, close: false };
    for (action, reason) in [
        (Action::Drop, "eof"),
        (Action::StreamEnd, "stream_end"),
        (Action::stream_error(503), "stream_error_503"),
        (Action::stream_error(500), "stream_error_500"),
        // The server leaves the socket open, and so does whatsapp-rust.
        (kept(503), "stream_error_503"),
        (kept(429), "stream_error_429"),
    ] {
        let before = bot.status().reconnects;
        handle.strike(action.clone());
        let status = bot.until("a reconnect", |bot| bot.reconnects > before).await;
        assert_eq!(status.last_disconnect.expect("a reason").reason, reason, "{action:?}");
    }
    handle.send_text(CONTACT, ACCOUNT, "!ping").unwrap();
    handle.wait_for_text(CONTACT, "pong", PATIENCE).await.unwrap();
    assert_eq!(handle.counters().registrations, 1);
    assert_clean(&handle);
    bot.stop().await;
}

/// A restart of the stream costs no wait and is no disconnect worth a word.
#[tokio::test(flavor = "multi_thread")]
async fn restarts_at_once_after_515() {
    let (home, server) = (Home::sqlite(), simulator());
    let mut bot = open(&server, &home).await;
    server.handle().strike(Action::stream_error(515));
    let status = bot.until("a reconnect", |bot| bot.reconnects == 1).await;
    assert!(status.last_disconnect.is_none());
    bot.stop().await;
}

/// What the server refuses at login, and where that leaves the link.
#[tokio::test(flavor = "multi_thread")]
async fn refused_logins_park_or_back_off() {
    let (home, server) = (Home::sqlite(), simulator());
    let handle = server.handle();
    let mut bot = open(&server, &home).await;
    for (failure, state, reason) in [
        (Action::failure(405), LinkState::Parked(Parked::ClientOutdated), "failure_405"),
        (Action::failure(403), LinkState::Parked(Parked::Refused), "failure_403"),
        (Action::failure(406), LinkState::Parked(Parked::Refused), "failure_406"),
        (Action::failure(409), LinkState::Parked(Parked::Refused), "failure_409"),
        (Action::stream_error(516), LinkState::Parked(Parked::Refused), "stream_error_516"),
    ] {
        handle.inject(Fault::new(failure, When::Login));
        let before = bot.status().reconnects;
        handle.strike(Action::Drop);
        let status = bot.until(reason, |bot| bot.state == state).await;
        assert_eq!(status.last_disconnect.as_ref().expect("a reason").reason, reason);
        assert!(status.advice.is_some(), "{reason} leaves a person without advice");
        // Parked means parked, until a person acts.
        bot.ask(Request::ReconnectNow);
        bot.until("a reconnect", |bot| bot.reconnects > before).await;
    }
    for reason in [500, 503] {
        handle.inject(Fault::new(Action::failure(reason), When::Login));
        let before = bot.status().reconnects;
        handle.strike(Action::Drop);
        let status = bot.until("a reconnect", |bot| bot.reconnects > before).await;
        assert_eq!(status.last_disconnect.expect("a reason").reason, format!("failure_{reason}"));
    }
    assert_eq!(handle.counters().registrations, 1, "no refusal ends a session");
    bot.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_is_waited_out() {
    let (home, server) = (Home::sqlite(), simulator());
    let handle = server.handle();
    let mut bot = open(&server, &home).await;
    let ban = Action::Failure { reason: 402, code: Some(101), expire: Some(2) };
    handle.inject(Fault::new(ban, When::Login));
    handle.strike(Action::Drop);
    let status = bot.until_state(LinkState::Parked(Parked::TemporaryBan)).await;
    let began = Instant::now();
    assert!(status.next_attempt_at.is_some());
    bot.ask(Request::ReconnectNow);
    bot.until_state(LinkState::Open).await;
    assert!(began.elapsed() >= Duration::from_millis(1_900), "{:?}", began.elapsed());
    bot.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_conflicts_park() {
    let (home, server) = (Home::sqlite(), simulator());
    let handle = server.handle();
    let mut bot = open(&server, &home).await;
    for _ in 0..2 {
        let before = bot.status().reconnects;
        handle.strike(Action::conflict("replaced", None));
        let status = bot.until_state(LinkState::BackingOff).await;
        assert_eq!(status.last_disconnect.expect("a reason").reason, "replaced");
        bot.ask(Request::ReconnectNow);
        bot.until("a reconnect", |bot| bot.state == LinkState::Open && bot.reconnects > before).await;
    }
    handle.strike(Action::stream_error(409));
    bot.until_state(LinkState::Parked(Parked::Conflict)).await;
    let dials = handle.counters().dials;
    bot.ask(Request::ReconnectNow);
    bot.until_state(LinkState::Open).await;
    assert_eq!(handle.counters().dials, dials + 1);
    bot.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_device_is_archived_and_pairs_anew() {
    let (home, server) = (Home::sqlite(), simulator());
    let handle = server.handle();
    let mut bot = open(&server, &home).await;
    let device = handle.wait_for_login(ACCOUNT, PATIENCE).await.unwrap();
    assert!(handle.remove_device(ACCOUNT, device));
    bot.pair(&server, ACCOUNT).await;
    assert_eq!(bot.status().last_disconnect.expect("a reason").reason, "device_removed");
    handle.send_text(CONTACT, ACCOUNT, "!ping").unwrap();
    handle.wait_for_text(CONTACT, "pong", PATIENCE).await.unwrap();
    assert_eq!(handle.counters().pairings, 2);
    assert_clean(&handle);
    bot.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_dials_are_retried_with_a_growing_wait() {
    let (home, server) = (Home::sqlite(), simulator());
    let handle = server.handle();
    let mut bot = open(&server, &home).await;
    handle.inject(Fault { times: 3, ..Fault::new(Action::Http { status: 503 }, When::Dial) });
    handle.strike(Action::Drop);
    let refused = |bot: &BotStatus| bot.last_disconnect.as_ref().is_some_and(|end| end.reason == "http_503");
    let first = bot.until("a refused dial", refused).await;
    bot.until("more attempts", |bot| bot.attempt == first.attempt + 2).await;
    bot.until_state(LinkState::Open).await;
    handle.inject(Fault::new(Action::Reset, When::Dial));
    let before = bot.status().reconnects;
    handle.strike(Action::Reset);
    bot.until("a reconnect", |bot| bot.reconnects > before).await;
    bot.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stops_in_time_in_every_state() {
    let server = simulator();
    let handle = server.handle();
    // Waiting for a scan.
    let home = Home::sqlite();
    let mut bot = NativeBot::start(&server, &home).await;
    bot.until_state(LinkState::Pairing).await;
    assert!(bot.stop().await < Duration::from_secs(3));
    // In the middle of a dial that gets no answer.
    handle.inject(Fault::new(Action::Silence, When::Hello).lasting());
    let mut bot = NativeBot::start(&server, &home).await;
    bot.until_state(LinkState::Connecting).await;
    assert!(bot.stop().await < Duration::from_secs(9));
    handle.clear_faults();
    // Open, and the server is silent.
    let home = Home::sqlite();
    let bot = open(&server, &home).await;
    handle.strike(Action::Silence);
    let took = bot.stop().await;
    assert!(took < Duration::from_secs(9), "{took:?}");
    handle.clear_faults();
    // Backing off.
    handle.inject(Fault::new(Action::Http { status: 503 }, When::Dial).lasting());
    let mut bot = NativeBot::start(&server, &home).await;
    bot.until_state(LinkState::BackingOff).await;
    assert!(bot.stop().await < Duration::from_secs(3));
}

/// WhatsApp shows six QR codes for 160 s in all; then the client waits for a person.
#[tokio::test(flavor = "multi_thread")]
async fn a_round_of_qr_codes_ends_and_a_new_one_is_asked_for() {
    let (home, server) = (Home::sqlite(), simulator());
    let mut bot = NativeBot::start(&server, &home).await;
    let first = bot.until("QR", |bot| bot.qr.is_some()).await.qr.expect("a QR");
    for _ in 0..6 {
        let shown = bot.status().qr;
        // whatsapp-rust shows the first one for 60 s and each other one for 20 s.
        let longest = Duration::from_secs(75);
        bot.until_within(longest, "another QR or the end", |bot| bot.qr != shown).await;
        if bot.status().qr.is_none() {
            break;
        }
    }
    let status = bot.until_state(LinkState::Parked(Parked::QrExpired)).await;
    assert!(status.qr.is_none() && status.advice.is_some());
    bot.ask(Request::ShowNewQr);
    bot.pair(&server, ACCOUNT).await;
    assert_eq!(server.handle().counters().pairings, 1);
    assert!(server.handle().scan(&first.payload, ACCOUNT).is_err(), "an old QR still works");
    bot.stop().await;
}
