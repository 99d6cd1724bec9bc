//! Several native bots on one session: one link, whoever stops or dies.

use std::time::Duration;

use blacksky::config::{Lease, Period};
use blacksky::link::LinkState;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

use crate::support::native::{Home, NativeBot, Setup};
use crate::support::sim::{PATIENCE, assert_clean, simulator};

const ACCOUNT: &str = "15550001301";
const CONTACT: &str = "15550002301";
const TTL: Duration = Duration::from_secs(2);

fn setup(owner: &'static str) -> Setup {
    let lease = Lease { ttl: Period(TTL), renew: Period(TTL / 4), handover_wait: Period(Duration::ZERO) };
    Setup { owner, lease, ..Setup::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_opens_the_link_when_the_holder_stops_on_sqlite() {
    a_standby_opens_the_link_when_the_holder_stops(Home::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_opens_the_link_when_the_holder_stops_on_postgres() {
    a_standby_opens_the_link_when_the_holder_stops(Home::postgres().await).await;
}

async fn a_standby_opens_the_link_when_the_holder_stops(home: Home) {
    let server = simulator();
    let mut first = NativeBot::start_with(&server, &home, setup("one")).await;
    first.pair(&server, ACCOUNT).await;
    let mut second = NativeBot::start_with(&server, &home, setup("two")).await;
    second.until_state(LinkState::Standby).await;
    first.stop().await;
    let began = Instant::now();
    second.until_state(LinkState::Open).await;
    assert!(began.elapsed() < TTL, "given up, not run out: {:?}", began.elapsed());
    let counters = server.handle().counters();
    assert_eq!((counters.registrations, counters.replaced), (1, 0));
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_takes_over_from_the_dead_within_ttl_and_a_second() {
    let (home, server) = (Home::postgres().await, simulator());
    let mut first = NativeBot::start_with(&server, &home, setup("one")).await;
    first.pair(&server, ACCOUNT).await;
    let mut second = NativeBot::start_with(&server, &home, setup("two")).await;
    second.until_state(LinkState::Standby).await;
    first.kill().await;
    let began = Instant::now();
    second.until_state(LinkState::Open).await;
    assert!(began.elapsed() <= TTL + Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(server.handle().counters().registrations, 1);
    second.stop().await;
}

/// Stopped and killed at random moments while messages flow: no second QR, no message lost, no key used
/// twice.
#[tokio::test(flavor = "multi_thread")]
async fn random_ends_lose_nothing() {
    const ROUNDS: u32 = 12;
    let (home, server) = (Home::postgres().await, simulator());
    let handle = server.handle();
    let mut bot = NativeBot::start_with(&server, &home, setup("one")).await;
    bot.pair(&server, ACCOUNT).await;
    let mut dice = StdRng::seed_from_u64(20_261_124);
    let mut sent = Vec::new();
    for round in 0..ROUNDS {
        for message in 0..6 {
            let text = format!("{round}.{message}");
            sent.push((text.clone(), handle.send_text(CONTACT, ACCOUNT, &format!("!say {text}")).unwrap()));
            tokio::time::sleep(Duration::from_millis(dice.random_range(0..15))).await;
        }
        if dice.random_bool(0.5) {
            bot.stop().await;
        } else {
            bot.kill().await;
        }
        // The same owner wins its lease again at once, as a restarted process does not: see the other test.
        bot = NativeBot::start_with(&server, &home, setup("one")).await;
        bot.until_state(LinkState::Open).await;
    }
    for (text, id) in &sent {
        handle.wait_for_text(CONTACT, &format!("you said {text}"), PATIENCE).await.unwrap();
        handle.wait_for_acknowledgement(id, PATIENCE).await.unwrap();
    }
    assert_eq!(handle.counters().registrations, 1, "a second QR");
    assert_clean(&handle);
    bot.stop().await;
}
