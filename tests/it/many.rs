//! Many bots: spread over the dynos by their leases, and again when a dyno comes or goes.
//!
//! `BLACKSKY_MANY=500 BLACKSKY_TTL=10s cargo test --release --features simulator --test it many -- --nocapture`
//! prints the figures of a crowd; `BLACKSKY_IDLE=60` is how many seconds it is watched at rest.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use blacksky::sim::{Handle, Server};
use serde_json::Value;
use tokio::time::Instant;

use crate::dyno_life::{FRIEND, TOKEN};
use crate::support::dyno::{App, Dyno, Slug};
use crate::support::eventually::eventually;
use crate::support::figures;
use crate::support::{http, postgres, qr, sim};

const PATIENCE: Duration = Duration::from_secs(60);

fn setting(name: &str, default: u64) -> u64 {
    let value = std::env::var_os(name).and_then(|value| value.into_string().ok());
    value.map_or(default, |value| value.trim_end_matches('s').parse().expect("a number"))
}

fn name(number: usize) -> String {
    format!("b{number:03}")
}

fn phone(number: usize) -> String {
    format!("4915200{number:06}")
}

/// The file: one more section is one more bot.
fn file(count: usize) -> String {
    let mut toml = String::new();
    for number in 0..count {
        let name = name(number);
        write!(toml, "[bots.{name}]\nsession = \"{name}\"\nprefix = \"!\"\n[bots.{name}.commands]\nping = \"pong {{args}}\"\n")
            .expect("a String takes all");
    }
    toml
}

/// What a dyno says of each bot, by name.
async fn bots(dyno: &Dyno) -> BTreeMap<String, Value> {
    let status = dyno.status().await.unwrap_or_default();
    let bots = status["bots"].as_object().cloned().unwrap_or_default();
    bots.into_iter().collect()
}

/// How many bots have their open link at this dyno.
async fn held(dyno: &Dyno) -> usize {
    let open = |bot: &Value| bot["state"] == "open" && bot["dyno"]["role"] != "standby";
    bots(dyno).await.values().filter(|bot| open(bot)).count()
}

/// The same of each dyno.
async fn spread(app: &App) -> Vec<usize> {
    let mut counts = Vec::new();
    for dyno in app.dynos() {
        counts.push(held(&dyno).await);
    }
    counts
}

/// Scans every QR of the page, each with the phone of its bot, until all are linked.
async fn pair_all(app: &App, sim: &Server, count: usize) {
    let handle = sim.handle();
    let mut scanned = BTreeMap::new();
    let dyno = app.dyno("web.1");
    eventually("every bot is linked", PATIENCE * 5, async || {
        let request = http::client().get(dyno.url("/")).bearer_auth(TOKEN);
        let Ok(page) = request.send().await else { return false };
        let html = page.text().await.unwrap_or_default();
        for card in html.split("<article").skip(1) {
            let number = (0..count).find(|number| card.contains(&format!("bot-{}-name", name(*number))));
            let (Some(number), Some(code)) = (number, qr::on_page(card)) else { continue };
            if scanned.get(&number) != Some(&code) && handle.scan(&code, &phone(number)).is_ok() {
                scanned.insert(number, code);
            }
        }
        held(&dyno).await == count
    })
    .await;
}

async fn until_spread(app: &App, wanted: &[usize]) {
    let mut last = Vec::new();
    let begun = Instant::now();
    while last != wanted {
        assert!(begun.elapsed() < PATIENCE * 2, "{last:?} is not {wanted:?}");
        last = spread(app).await;
    }
}

async fn all_answer(handle: &Handle, count: usize, word: &str) {
    for number in 0..count {
        handle.send_text(FRIEND, &phone(number), &format!("!ping {word}{number}")).expect("sent");
    }
    for number in 0..count {
        let reply = handle.wait_for_text(FRIEND, &format!("pong {word}{number}"), PATIENCE).await;
        assert!(reply.is_ok(), "bot {number} does not answer {word}: {:?}", handle.counters());
    }
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Processor time that a process has used, in hundredths of a second.
fn processor_time(dyno: &Dyno) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", dyno.pid())).unwrap_or_default();
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect::<Vec<_>>());
    fields.map_or(0, |fields| fields[11..13].iter().filter_map(|field| field.parse::<u64>().ok()).sum())
}

fn told(stat: &str, value: f64) {
    figures::note("many", "native", stat, value);
}

async fn at_rest(dyno: &Arc<Dyno>, seconds: u64) {
    if seconds == 0 {
        return;
    }
    let before = processor_time(dyno);
    // What is measured is a span of time.
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let used = processor_time(dyno) - before;
    told("processor at rest, %", used as f64 / seconds as f64);
    told("memory at rest, MB", megabytes(dyno.memory().0));
    println!(
        "at rest: {used} hundredths of a second of one processor in {seconds} s, {:.1} MB",
        megabytes(dyno.memory().0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bots_are_spread_over_the_dynos_and_again_when_one_comes_or_goes() {
    let count = usize::try_from(setting("BLACKSKY_MANY", 6)).expect("fits");
    let ttl = setting("BLACKSKY_TTL", 2);
    let sim = sim::simulator();
    let handle = sim.handle();
    let slug = Slug::blacksky(&file(count), &sim.url())
        .database(&postgres::database().await)
        .env("BLACKSKY_ADMIN_TOKEN", TOKEN)
        .env("BLACKSKY_LEASE_TTL", format!("{ttl}s"));
    let app = App::start(slug, 1).await;
    app.until_up().await;
    pair_all(&app, &sim, count).await;
    // A code that changed while it was scanned may have been scanned again.
    let registrations = handle.counters().registrations;
    let first = app.dyno("web.1");
    println!(
        "{count} bots linked; {:.1} MB, most {:.1} MB",
        megabytes(first.memory().0),
        megabytes(first.memory().1)
    );
    told("bots", count as f64);
    all_answer(&handle, count, "one").await;
    told("memory at most, MB", megabytes(first.memory().1));
    println!(
        "all answered once: {:.1} MB, most {:.1} MB",
        megabytes(first.memory().0),
        megabytes(first.memory().1)
    );
    at_rest(&first, setting("BLACKSKY_IDLE", 0)).await;

    // A new process with stored sessions.
    let begun = Instant::now();
    let old = app.cycle("web.1");
    old.ended(PATIENCE).await;
    until_spread(&app, &[count]).await;
    println!("restart: all open {:.2?} after SIGTERM to the old dyno", begun.elapsed());
    told("restart, s", begun.elapsed().as_secs_f64());

    let begun = Instant::now();
    app.scale(2);
    app.until_up().await;
    until_spread(&app, &[count - count / 2, count / 2]).await;
    println!("a second dyno: even after {:.2?}", begun.elapsed());
    told("even, s", begun.elapsed().as_secs_f64());
    all_answer(&handle, count, "two").await;

    let begun = Instant::now();
    app.dyno("web.2").kill();
    eventually("all links are open", PATIENCE * 2, async || {
        spread(&app).await.iter().sum::<usize>() == count
    })
    .await;
    println!("one killed: all open again after {:.2?} (lease.ttl {ttl} s)", begun.elapsed());
    // The platform has started another.
    until_spread(&app, &[count - count / 2, count / 2]).await;
    println!("and even again with its successor after {:.2?}", begun.elapsed());
    all_answer(&handle, count, "three").await;

    let (counters, keys) = (handle.counters(), handle.ratchets());
    assert_eq!(counters.registrations, registrations, "a new QR was shown");
    assert_eq!(counters.replaced, 0, "two links of one bot were open at once");
    assert_eq!(counters.decrypt_failures, 0);
    assert!(keys.reused.is_empty(), "{:?}", keys.reused);
    app.shut_down().await;
}
