//! Restarts in a row while messages flow: half SIGTERM, half kill -9 at random moments.
//!
//! `BLACKSKY_RESTARTS=100 BLACKSKY_TTL=2s cargo test --features simulator --test it restarts -- --nocapture`
//! runs the long one and prints its figures.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::support::blacksky::{Blacksky, Process};
use crate::support::eventually::eventually;
use crate::support::postgres;
use crate::support::sim;
use blacksky::sim::{Handle, Server};

pub const PHONE: &str = "4915100000001";
const FRIEND: &str = "4915100000002";

fn setting(name: &str, default: &str) -> String {
    std::env::var_os(name).and_then(|value| value.into_string().ok()).unwrap_or_else(|| default.to_owned())
}

/// Links the bot once and answers once.
pub async fn pair(sim: &Server, process: &Process) {
    let mut qr = String::new();
    eventually("a QR on the page", Duration::from_secs(20), async || {
        qr = process.qr().await.unwrap_or_default();
        !qr.is_empty()
    })
    .await;
    sim.handle().scan(&qr, PHONE).expect("the QR of the page can be scanned");
    process.until("open", Duration::from_secs(20)).await;
}

/// What the simulator saw of one word.
pub fn traces(phone: &Handle, word: &str) -> String {
    let (ping, pong) = (format!("!ping {word}"), format!("pong {word}"));
    let sent: Vec<_> = phone.sent().into_iter().filter(|sent| sent.text == ping).collect();
    let received: Vec<_> = phone
        .received()
        .into_iter()
        .filter(|received| received.error.is_some() || received.text.as_deref() == Some(&pong))
        .collect();
    format!("sent {sent:?}, received {received:?}, {:?}", phone.counters())
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_lose_neither_login_nor_messages_nor_keys() {
    let restarts: u32 = setting("BLACKSKY_RESTARTS", "6").parse().expect("a number");
    let ttl = setting("BLACKSKY_TTL", "2s");
    let only_kills = setting("BLACKSKY_ONLY_KILLS", "no") == "yes";
    let seed: u64 = setting("BLACKSKY_SEED", "1").parse().expect("a number");
    println!("seed {seed}, {restarts} restarts, lease.ttl {ttl}");
    let mut random = StdRng::seed_from_u64(seed);

    let database = postgres::database().await;
    let sim = sim::simulator();
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(
        folder.path().join("blacksky.toml"),
        "[bots.main]\nprefix = \"!\"\n[bots.main.commands]\nping = \"pong {args}\"\n",
    )
    .expect("written");
    let start = || {
        Blacksky::in_folder(folder.path())
            .env("DATABASE_URL", database.as_str())
            .env("BLACKSKY_DATABASE_TLS", "disable")
            .env("BLACKSKY_SECRET_KEY", "a secret key for the restart test")
            .env("BLACKSKY_LEASE_TTL", ttl.as_str())
            .run(&sim.url())
    };
    let mut process = start();
    pair(&sim, &process).await;

    let phone = sim.handle();
    let mut words = Vec::new();
    let mut to_open = Vec::new();
    for round in 0..restarts {
        // Messages flow all the time; the signal falls at a random moment among them.
        let burst = random.random_range(1..6_u32);
        for n in 0..burst {
            let word = format!("r{round}n{n}");
            phone.send_text(FRIEND, PHONE, &format!("!ping {word}")).expect("sent");
            words.push(word);
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..150))).await;
        if only_kills || random.random_bool(0.5) {
            process.kill();
        } else {
            process.term();
            assert!(process.ended(Duration::from_secs(30)).await.success(), "{}", process.log());
        }
        let begun = tokio::time::Instant::now();
        process = start();
        process.until("open", Duration::from_secs(90)).await;
        to_open.push(begun.elapsed());
        assert_eq!(phone.counters().registrations, 1, "a new QR was shown; log:\n{}", process.log());
    }

    // Acknowledged means handled: every message must get its reply in the end.
    for word in &words {
        let reply = phone.wait_for_text(FRIEND, &format!("pong {word}"), Duration::from_secs(60)).await;
        assert!(
            reply.is_ok(),
            "{word} was never answered: {}; log:\n{}",
            traces(&phone, word),
            process.log()
        );
    }
    let counters = phone.counters();
    let keys = phone.ratchets();
    to_open.sort();
    println!(
        "{restarts} restarts: registrations {}, messages {} all answered, replies {} ({} duplicates by id), \
         decrypt failures {}, retry receipts {}, message keys {} reused {}, start to open median {:?} max {:?}",
        counters.registrations,
        words.len(),
        counters.messages_received,
        counters.duplicates,
        counters.decrypt_failures,
        counters.retry_receipts,
        keys.message_keys,
        keys.reused.len(),
        to_open[to_open.len() / 2],
        to_open.last().expect("at least one restart"),
    );
    assert_eq!(counters.registrations, 1);
    assert_eq!(counters.decrypt_failures, 0);
    assert_eq!(counters.retry_receipts, 0);
    assert!(keys.reused.is_empty(), "{:?}", keys.reused);
}
