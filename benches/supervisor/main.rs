//! blacksky and pm2 around the same Baileys bot (`tests/node/bot.mjs`): start, crash of the bot, restart, stop, memory.
//!
//! ```text
//! npm install --prefix SOME/FOLDER pm2@7.0.4
//! BENCH_PM2=SOME/FOLDER/node_modules/.bin/pm2 cargo bench --features simulator --bench supervisor
//! ```
//!
//! Without BENCH_PM2 and without `pm2` on PATH its rows are left out. `BENCH_ROUNDS` (3) and `BENCH_IDLE_S` (10) make it
//! longer: after some twenty kills a bot that keeps its login in files may have lost it. All times are taken at the simulator, the same for all: a login, and the end of the link before it.

mod supervised;
#[allow(dead_code, unused_imports, reason = "shared with the tests, which use all of it")]
#[path = "../../tests/it/support"]
mod support {
    pub mod eventually;
    pub mod figures;
    pub mod node;
    pub mod postgres;
    pub mod sim;
}

use std::time::Duration;

use blacksky::sim::{Event, Handle, What};
use tokio::time::Instant;

use supervised::{Supervised, Supervisor};
use support::figures::{self, megabytes, number};
use support::sim::PATIENCE;
use support::{node, postgres, sim};

/// What is measured of one of them.
#[derive(Default)]
struct Times {
    start: Vec<Duration>,
    crash: Vec<Duration>,
    restart: Vec<Duration>,
    redeploy: Vec<Duration>,
    stop: Vec<Duration>,
}

/// The end of the link after event `after`, and the login after that, in Unix milliseconds.
async fn change(phone: &Handle, after: u64) -> Duration {
    let login = |event: &Event| matches!(event.what, What::LoggedIn { .. });
    let login = phone.wait_for_event("a login", after, PATIENCE, login).await.expect("a new link");
    let events = phone.events(after, Duration::ZERO).await;
    let ended = |event: &&Event| matches!(event.what, What::Closed { .. }) && event.seq < login.seq;
    let end = events.iter().find(ended).expect("the old link ended before");
    Duration::from_millis((login.at - end.at).unsigned_abs())
}

/// From then to the next login.
async fn login(name: &str, phone: &Handle, after: u64, begun: Instant) -> Duration {
    let login = |event: &Event| matches!(event.what, What::LoggedIn { .. });
    let seen = phone.wait_for_event("a login", after, PATIENCE, login).await;
    assert!(seen.is_ok(), "the bot under {name} does not log in: {:?}", phone.counters());
    begun.elapsed()
}

/// One round; the first of each warms the caches and does not count.
async fn round(one: &mut Supervised, phone: &Handle, counts: bool, idle: Duration, times: &mut Times) {
    let mut keep = |into: fn(&mut Times) -> &mut Vec<Duration>, took: Duration| {
        if counts {
            into(times).push(took);
        }
    };
    let (after, begun) = (phone.last_event(), Instant::now());
    one.start().await;
    keep(|times| &mut times.start, login(one.name, phone, after, begun).await);
    one.settle(phone).await;

    if one.is_supervised() {
        let (after, bot) = (phone.last_event(), one.bot());
        supervised::kill(bot, "KILL").await;
        keep(|times| &mut times.crash, change(phone, after).await);
        one.settle(phone).await;

        let after = phone.last_event();
        if one.restart().await {
            keep(|times| &mut times.restart, change(phone, after).await);
            one.settle(phone).await;
        }

        let after = phone.last_event();
        one.stop().await;
        one.start().await;
        keep(|times| &mut times.redeploy, change(phone, after).await);
        one.settle(phone).await;
    }

    if !idle.is_zero() {
        // What is measured is a span of time.
        tokio::time::sleep(idle).await;
        if let Some(daemon) = one.daemon() {
            let resident = megabytes(daemon, "VmRSS");
            println!("supervisor, {}: itself {resident:.1} MB", one.name);
            figures::note("supervisor", one.name, "itself, MB", resident);
        }
        let resident = megabytes(one.bot(), "VmRSS");
        println!("supervisor, {}: its bot {resident:.1} MB", one.name);
        figures::note("supervisor", one.name, "its bot, MB", resident);
    }
    let begun = Instant::now();
    one.stop().await;
    keep(|times| &mut times.stop, begun.elapsed());
}

#[tokio::main]
async fn main() {
    node::install();
    let root = tempfile::tempdir().expect("a folder");
    let server = sim::simulator();
    let phone = server.handle();
    let database = postgres::database().await;
    let mut all = vec![
        Supervised::new("no supervisor", Supervisor::None, root.path(), "4915100000031"),
        Supervised::new("blacksky, PostgreSQL", Supervisor::Blacksky(database), root.path(), "4915100000032"),
    ];
    match Supervisor::pm2(root.path()) {
        Some(pm2) => all.push(Supervised::new("pm2", pm2, root.path(), "4915100000033")),
        None => println!(
            "supervisor, pm2: left out, since it is not there; npm install --prefix FOLDER pm2@7.0.4, and \
             BENCH_PM2=FOLDER/node_modules/.bin/pm2"
        ),
    }
    for one in &mut all {
        one.link(&server).await;
    }
    let runs = number("BENCH_ROUNDS", 3);
    let idle = Duration::from_secs(number("BENCH_IDLE_S", 10) as u64);
    let mut times: Vec<Times> = all.iter().map(|_| Times::default()).collect();
    for run in 0..=runs {
        for (one, times) in all.iter_mut().zip(&mut times) {
            let idle = if run == runs { idle } else { Duration::ZERO };
            round(one, &phone, run > 0, idle, times).await;
        }
    }
    for (one, mut times) in all.iter().zip(times) {
        for (what, times) in [
            ("start to login", &mut times.start),
            ("bot killed, link away", &mut times.crash),
            ("restart of the bot, link away", &mut times.restart),
            ("stop and start of all, link away", &mut times.redeploy),
            ("stop", &mut times.stop),
        ] {
            if !times.is_empty() {
                figures::times(&format!("supervisor: {what}"), one.name, times);
            }
        }
    }
    drop(all);
    server.shutdown().await.expect("stops");
}
