//! Sends by API while the process is killed again and again: none is lost, none arrives twice.
//!
//! `BLACKSKY_API_SENDS=10000 BLACKSKY_API_KILLS=20 cargo test --features simulator --test it api_kills -- --nocapture`
//! runs the long one and prints its figures.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use crate::restarts::pair;
use crate::support::blacksky::Blacksky;
use crate::support::http::client;
use crate::support::{postgres, sim};

/// Programs that send beside each other.
const SENDERS: u64 = 4;
/// Who is written to.
const CHATS: u64 = 20;

fn setting(name: &str, default: u64) -> u64 {
    let set = std::env::var_os(name).and_then(|value| value.into_string().ok());
    set.map_or(default, |value| value.parse().expect("a number"))
}

/// What one sender has got through.
#[derive(Default)]
struct Tally {
    accepted: AtomicU64,
    repeated: AtomicU64,
}

/// Sends texts `sender`, `sender + SENDERS` … each until it is accepted, by the key that makes that safe.
async fn send_all(sender: u64, sends: u64, port: Arc<AtomicU16>, tally: Arc<Tally>) {
    let client = client();
    for n in (sender..sends).step_by(SENDERS as usize) {
        let body = json!({ "to": format!("49152000000{:02}", n % CHATS), "text": format!("send {n:06}") })
            .to_string();
        loop {
            let port = port.load(Ordering::Relaxed);
            let answer = client
                .post(format!("http://127.0.0.1:{port}/api/v1/bots/main/messages"))
                .header("content-type", "application/json")
                .header("idempotency-key", format!("send-{n}"))
                .body(body.clone())
                .send()
                .await;
            match answer.map(|answer| answer.status().as_u16()) {
                Ok(202) => break,
                // Away, not up yet, or too much waits: the same again.
                Ok(429 | 503) | Err(_) => {
                    tally.repeated.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Ok(other) => panic!("{other}"),
            }
        }
        tally.accepted.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_no_send_and_double_none() {
    let sends = setting("BLACKSKY_API_SENDS", 120);
    let kills = setting("BLACKSKY_API_KILLS", 3);
    let seed = setting("BLACKSKY_SEED", 1);
    println!("seed {seed}, {sends} sends, {kills} kills");
    let mut random = StdRng::seed_from_u64(seed);

    let database = postgres::database().await;
    let sim = sim::simulator();
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("blacksky.toml"), "[bots.main]\n").expect("written");
    let start = || {
        Blacksky::in_folder(folder.path())
            .env("DATABASE_URL", database.as_str())
            .env("BLACKSKY_DATABASE_TLS", "disable")
            .env("BLACKSKY_SECRET_KEY", "a secret key for the kill test")
            .env("BLACKSKY_LEASE_TTL", "2s")
            .run(&sim.url())
    };
    let mut process = start();
    pair(&sim, &process).await;
    let begun = tokio::time::Instant::now();

    let port = Arc::new(AtomicU16::new(process.port));
    let tally = Arc::new(Tally::default());
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..SENDERS {
        senders.spawn(send_all(sender, sends, port.clone(), tally.clone()));
    }
    // Kills are spread over the sends.
    for kill in 1..=kills {
        let at = sends * kill / (kills + 1);
        let waited = tokio::time::Instant::now();
        while tally.accepted.load(Ordering::Relaxed) < at {
            assert!(waited.elapsed() < Duration::from_secs(300), "stuck; log:\n{}", process.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..60))).await;
        process.kill();
        process = start();
        port.store(process.port, Ordering::Relaxed);
    }
    while let Some(ended) = senders.join_next().await {
        ended.expect("a sender");
    }
    let accepted_in = begun.elapsed();

    let deadline = tokio::time::Instant::now() + Duration::from_secs(60 + sends / 20);
    let arrived = || {
        let mut texts: BTreeMap<String, u64> = BTreeMap::new();
        for one in sim.handle().received() {
            if let (Some(text), None) = (one.text, one.copy_for) {
                *texts.entry(text).or_default() += 1;
            }
        }
        texts
    };
    while (arrived().len() as u64) < sends {
        let texts = arrived().len();
        assert!(
            tokio::time::Instant::now() < deadline,
            "lost {}: {texts} of {sends} arrived; log:\n{}",
            sends - texts as u64,
            process.log()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let texts = arrived();
    let twice = texts.values().filter(|times| **times > 1).count();
    let ratchets = sim.handle().ratchets();
    let counters = sim.handle().counters();
    println!(
        "{sends} sends by {SENDERS} programs, {kills} kills: accepted in {accepted_in:?} ({} requests repeated), all \
         arrived in {:?}: lost {}, twice {twice}, sent again under the same id {}, keys {} of which {} reused, \
         decrypt failures {}, registrations {}",
        tally.repeated.load(Ordering::Relaxed),
        begun.elapsed(),
        sends - texts.len() as u64,
        counters.duplicates,
        ratchets.message_keys,
        ratchets.reused.len(),
        counters.decrypt_failures,
        counters.registrations,
    );
    assert_eq!((texts.len() as u64, twice, ratchets.reused.len()), (sends, 0, 0));
}
