//! Messages into a webhook whose receiver fails half the time and is killed, while the dyno is killed too: none
//! is lost, none out of order within its chat; those that come twice are counted.
//!
//! `BLACKSKY_HOOK_MESSAGES=10000 BLACKSKY_HOOK_KILLS=20 cargo test --features simulator --test it webhook_kills --
//! --nocapture` runs the long one and prints its figures.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::restarts::pair;
use crate::support::blacksky::Blacksky;
use crate::support::listener::{Answer, Listener};
use crate::support::{postgres, sim};

const PHONE: &str = crate::restarts::PHONE;
/// Chats, so that some are served beside each other.
const CHATS: usize = 20;

fn setting(name: &str, default: u64) -> u64 {
    let set = std::env::var_os(name).and_then(|value| value.into_string().ok());
    set.map_or(default, |value| value.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_on_both_sides_lose_and_disorder_nothing() {
    let messages = setting("BLACKSKY_HOOK_MESSAGES", 120);
    let kills = setting("BLACKSKY_HOOK_KILLS", 2);
    let seed = setting("BLACKSKY_SEED", 1);
    println!("seed {seed}, {messages} messages, {kills} kills of each side");
    let mut random = StdRng::seed_from_u64(seed);

    // Half of the posts are not answered well: a quarter is refused, a quarter kept and refused all the same.
    let (refused, kept_and_refused) = (AtomicU64::new(0), AtomicU64::new(0));
    let dice = std::sync::Mutex::new(StdRng::seed_from_u64(seed + 1));
    let stored = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = stored.clone();
    let counts = std::sync::Arc::new((refused, kept_and_refused));
    let counted = counts.clone();
    let mut listener = Listener::start(move |post| {
        let dice: u8 = dice.lock().expect("not poisoned").random_range(0..4);
        if dice != 0 {
            kept.lock().expect("not poisoned").push((
                post.body["message"]["chat"].as_str().unwrap_or_default().to_owned(),
                post.text().to_owned(),
                post.header("x-blacksky-delivery").to_owned(),
            ));
        }
        match dice {
            0 => {
                counted.0.fetch_add(1, Ordering::Relaxed);
                Answer::Refuse(500, None)
            }
            1 => {
                counted.1.fetch_add(1, Ordering::Relaxed);
                Answer::Refuse(503, None)
            }
            _ => Answer::Take,
        }
    });

    listener.work_for(Duration::from_millis(30));

    let database = postgres::database().await;
    let sim = sim::simulator();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = format!(
        "[bots.main]\nwebhook = \"{}\"\nwebhook_secret = \"a secret of the kill test\"\n",
        listener.url()
    );
    std::fs::write(folder.path().join("blacksky.toml"), file).expect("written");
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

    let phone = sim.handle();
    let mut sent: Vec<u64> = vec![0; CHATS];
    let rounds = kills.max(1);
    for round in 0..rounds {
        for n in 0..messages {
            if n % rounds != round {
                continue;
            }
            let chat = random.random_range(0..CHATS);
            let from = format!("49152000000{chat:02}");
            phone.send_text(&from, PHONE, &format!("{:06}", sent[chat])).expect("sent");
            sent[chat] += 1;
        }
        if kills == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(50..800))).await;
        listener.kill();
        tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
        if random.random_bool(0.5) {
            listener.revive();
            process.kill();
        } else {
            process.kill();
            listener.revive();
        }
        process = start();
        process.until("open", Duration::from_secs(90)).await;
        // Some of the backlog goes out before the next round.
        tokio::time::sleep(Duration::from_millis(random.random_range(0..2000))).await;
    }

    // All of it arrives in the end, in whatever time the waits between the tries take.
    let deadline = begun + Duration::from_secs(60 + messages / 5);
    let wanted: u64 = sent.iter().sum();
    loop {
        let distinct: HashSet<(String, String)> = stored
            .lock()
            .expect("not poisoned")
            .iter()
            .map(|(chat, text, _): &(String, String, String)| (chat.clone(), text.clone()))
            .collect();
        let waiting = process.bot().await["webhook"]["waiting"].as_u64();
        if distinct.len() as u64 == wanted && waiting == Some(0) {
            break;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "lost {}: {} of {wanted} came, {waiting:?} wait; log:\n{}",
            wanted - distinct.len() as u64,
            distinct.len(),
            process.log()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    let stored = stored.lock().expect("not poisoned").clone();
    let mut seen: HashSet<(&str, &str)> = HashSet::new();
    let mut ids: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    let mut next: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut duplicates, mut disordered, mut renamed) = (0_u64, 0_u64, 0_u64);
    for (chat, text, id) in &stored {
        if !seen.insert((chat, text)) {
            duplicates += 1;
            renamed += u64::from(ids.get(&(chat.as_str(), text.as_str())) != Some(&id.as_str()));
            continue;
        }
        ids.insert((chat, text), id);
        let place = next.entry(chat).or_default();
        disordered += u64::from(text.parse() != Ok(*place));
        *place += 1;
    }
    let lost = wanted - seen.len() as u64;
    println!(
        "{wanted} messages in {CHATS} chats, {kills} kills of the receiver and {kills} of the dyno, in {:?}: lost {lost}, \
         out of order within a chat {disordered}, duplicates {duplicates} ({} posts kept but answered 503), \
         {} posts refused with 500, registrations {}",
        begun.elapsed(),
        counts.1.load(Ordering::Relaxed),
        counts.0.load(Ordering::Relaxed),
        phone.counters().registrations,
    );
    assert_eq!((lost, disordered, renamed), (0, 0, 0));
    let bot = process.bot().await;
    assert_eq!(bot["webhook"]["dead"], 0, "{bot}");
}
