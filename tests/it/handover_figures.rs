//! How long a bot is away when its dyno goes: by SIGTERM, by kill -9, by a stop, by a cut from the database.
//! Measured where it counts, at the server: the end of the old link to the login of the new one.
//!
//! `BLACKSKY_HANDOVERS=200 BLACKSKY_TAKEOVERS=50 BLACKSKY_TTL=2s cargo test --features simulator --test it
//! handover_figures -- --nocapture --test-threads=1` runs the long one and prints its figures.

use std::time::Duration;

use blacksky::sim::{Handle, Server, What};
use sqlx::{Connection, PgConnection, Row};
use tokio::time::Instant;

use crate::dyno_life::{FRIEND, PATIENCE, PHONE, TOKEN, TOML, never_lost, pair};
use crate::restarts::traces;
use crate::support::dyno::{App, Slug};
use crate::support::eventually::eventually;
use crate::support::figures;
use crate::support::proxy::{Proxy, Traffic};
use crate::support::{postgres, sim};

const HAND_OVER: &str = "hand-over";
const TAKE_OVER: &str = "take-over";
/// What a take-over may take beyond `lease.ttl`.
const BEYOND_TTL: Duration = Duration::from_secs(1);
/// The goal of a hand-over with a ready successor; a debug build among other tests gets more.
const GAP: i64 = if cfg!(debug_assertions) { 1_000 } else { 250 };

fn setting(name: &str, default: &str) -> String {
    std::env::var_os(name).and_then(|value| value.into_string().ok()).unwrap_or_else(|| default.to_owned())
}

fn ttl() -> Duration {
    humantime::parse_duration(&setting("BLACKSKY_TTL", "2s")).expect("a duration")
}

/// A bot with a database, and what is measured of it.
struct Bench {
    sim: Server,
    phone: Handle,
    database: String,
    words: Vec<String>,
}

impl Bench {
    async fn new() -> Self {
        let sim = sim::simulator();
        Self { phone: sim.handle(), sim, database: postgres::database().await, words: Vec::new() }
    }

    /// Dynos on the database at `url`; one that crashed is replaced at once.
    fn slug(&self, url: &str) -> Slug {
        Slug::blacksky(TOML, &self.sim.url())
            .database(url)
            .env("BLACKSKY_ADMIN_TOKEN", TOKEN)
            .env("BLACKSKY_LEASE_TTL", setting("BLACKSKY_TTL", "2s"))
            .env("DEBUG", setting("BLACKSKY_FIGURES_DEBUG", "false"))
            .rules(|rules| rules.cool_off = Some(Duration::ZERO))
    }

    /// Who holds the lease, as `web.1 of my-app/…`.
    async fn holder(&self) -> String {
        let mut admin = PgConnection::connect(&self.database).await.expect("connects");
        let row = sqlx::query("SELECT owner FROM blacksky.session").fetch_one(&mut admin).await;
        row.expect("one session").get(0)
    }

    /// The name of the dyno that holds the lease.
    async fn active(&self) -> String {
        self.holder().await.split([' ', '/']).next().unwrap_or_default().to_owned()
    }

    /// Waits until this many dynos, one of them with the link, could go on with the session.
    async fn ready(&self, app: &App, dynos: i64) {
        let begun = Instant::now();
        loop {
            let mut admin = PgConnection::connect(&self.database).await.expect("connects");
            let sql = "SELECT count(*) FROM blacksky.dyno WHERE ready AND expires_at > clock_timestamp()";
            let row = sqlx::query(sql).fetch_one(&mut admin).await.expect("a table of dynos");
            let ready: i64 = row.get(0);
            if ready == dynos {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{ready} dynos are ready, not {dynos}: {}", app.logs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The phone sends something that must be answered in the end, whoever does.
    fn say(&mut self) {
        let word = format!("w{}", self.words.len());
        self.phone.send_text(FRIEND, PHONE, &format!("!ping {word}")).expect("sent");
        self.words.push(word);
    }

    /// The end of the link after event `after` and the login that followed, in Unix milliseconds.
    async fn change(&self, after: u64, deadline: Duration) -> (i64, i64) {
        let login = |event: &blacksky::sim::Event| matches!(event.what, What::LoggedIn { .. });
        let login = self.phone.wait_for_event("a login", after, deadline, login).await.expect("a new link");
        let events = self.phone.events(after, Duration::ZERO).await;
        let end =
            events.iter().find(|event| matches!(event.what, What::Closed { .. }) && event.seq < login.seq);
        // With no end before it, the login has pushed the old link out.
        (end.map_or(login.at, |end| end.at), login.at)
    }

    /// Everything said is answered, nothing is lost.
    async fn settle(&self, app: &App) {
        for word in &self.words {
            let reply = self.phone.wait_for_text(FRIEND, &format!("pong {word}"), PATIENCE).await;
            assert!(reply.is_ok(), "{word} was never answered: {}{}", traces(&self.phone, word), app.logs());
        }
        let counters = self.phone.counters();
        println!(
            "  {} messages all answered, {} replies ({} duplicates by id), {} retry receipts, {} message keys, {} used twice",
            self.words.len(),
            counters.messages_received,
            counters.duplicates,
            counters.retry_receipts,
            self.phone.ratchets().message_keys,
            self.phone.ratchets().reused.len(),
        );
    }
}

/// Prints and gathers them.
fn told(row: &str, what: &str, milliseconds: &mut [i64]) {
    milliseconds.sort_unstable();
    let time = |ms: &i64| Duration::from_millis((*ms).max(0).unsigned_abs());
    figures::times(row, what, &mut milliseconds.iter().map(time).collect::<Vec<_>>());
}

fn now() -> i64 {
    blacksky::runtime::clock::now().timestamp_millis()
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_with_a_ready_successor() {
    let times: usize = setting("BLACKSKY_HANDOVERS", "2").parse().expect("a number");
    let mut bench = Bench::new().await;
    let app = App::start(bench.slug(&bench.database), 1).await;
    pair(&app, &bench.sim).await;
    let mut gaps = Vec::new();
    for _ in 0..times {
        let preboot = app.preboot(|_| ());
        bench.ready(&app, 2).await;
        bench.say();
        let after = bench.phone.last_event();
        let old = app.switch(preboot);
        let (closed, opened) = bench.change(after, PATIENCE).await;
        bench.say();
        gaps.push(opened - closed);
        assert!(old[0].ended(PATIENCE).await.status.success(), "{}", old[0].log());
    }
    told(HAND_OVER, "SIGTERM, successor ready", &mut gaps);
    bench.settle(&app).await;
    never_lost(&bench.phone, &app);
    assert_eq!(app.codes(), []);
    assert!(*gaps.last().expect("one") < GAP, "{gaps:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daily_restart_of_the_active_of_two() {
    let times: usize = setting("BLACKSKY_HANDOVERS", "2").parse().expect("a number");
    let mut bench = Bench::new().await;
    let app = App::start(bench.slug(&bench.database), 1).await;
    pair(&app, &bench.sim).await;
    app.scale(2);
    let mut gaps = Vec::new();
    for _ in 0..times {
        bench.ready(&app, 2).await;
        let active = bench.active().await;
        bench.say();
        let after = bench.phone.last_event();
        let old = app.cycle(&active);
        let (closed, opened) = bench.change(after, PATIENCE).await;
        bench.say();
        gaps.push(opened - closed);
        assert!(old.ended(PATIENCE).await.status.success(), "{}", old.log());
    }
    told(HAND_OVER, "restart of the active of two", &mut gaps);
    bench.settle(&app).await;
    never_lost(&bench.phone, &app);
    assert_eq!(app.codes(), []);
    assert!(*gaps.last().expect("one") < GAP, "{gaps:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_with_a_successor_that_boots_only_then() {
    let times: usize = setting("BLACKSKY_HANDOVERS", "2").parse().expect("a number");
    let mut bench = Bench::new().await;
    let app = App::start(bench.slug(&bench.database), 1).await;
    pair(&app, &bench.sim).await;
    let (mut gaps, mut totals) = (Vec::new(), Vec::new());
    for _ in 0..times {
        bench.say();
        let after = bench.phone.last_event();
        let asked = now();
        let old = app.cycle("web.1");
        let (closed, opened) = bench.change(after, PATIENCE).await;
        bench.say();
        gaps.push(opened - closed);
        totals.push(opened - asked);
        assert!(old.ended(PATIENCE).await.status.success(), "{}", old.log());
    }
    told(HAND_OVER, "SIGTERM, successor boots then", &mut gaps);
    told(HAND_OVER, "SIGTERM to the new link, successor boots then", &mut totals);
    bench.settle(&app).await;
    never_lost(&bench.phone, &app);
    assert_eq!(app.codes(), []);
    assert!(*gaps.last().expect("one") < GAP, "{gaps:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_with_a_standby() {
    let times: usize = setting("BLACKSKY_TAKEOVERS", "1").parse().expect("a number");
    let mut bench = Bench::new().await;
    let app = App::start(bench.slug(&bench.database), 1).await;
    pair(&app, &bench.sim).await;
    app.scale(2);
    let mut gaps = Vec::new();
    for _ in 0..times {
        bench.ready(&app, 2).await;
        let active = bench.active().await;
        bench.say();
        let after = bench.phone.last_event();
        let killed = now();
        app.dyno(&active).kill();
        let (_, opened) = bench.change(after, ttl() * 2 + PATIENCE).await;
        bench.say();
        gaps.push(opened - killed);
    }
    told(TAKE_OVER, "kill -9", &mut gaps);
    figures::note(TAKE_OVER, "kill -9", "lease.ttl", ttl().as_secs_f64() * 1e3);
    bench.settle(&app).await;
    assert_eq!(bench.phone.counters().registrations, 1);
    assert!(bench.phone.ratchets().reused.is_empty());
    let longest = Duration::from_millis(gaps.last().expect("one").unsigned_abs());
    assert!(longest <= ttl() + BEYOND_TTL, "{gaps:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_active_is_stopped_by_the_system_and_wakes() {
    let times: usize = setting("BLACKSKY_TAKEOVERS", "1").parse().expect("a number");
    let mut bench = Bench::new().await;
    let app = App::start(bench.slug(&bench.database), 1).await;
    pair(&app, &bench.sim).await;
    app.scale(2);
    let mut gaps = Vec::new();
    for _ in 0..times {
        bench.ready(&app, 2).await;
        let active = bench.active().await;
        let asleep = app.dyno(&active);
        bench.say();
        let after = bench.phone.last_event();
        let stopped = now();
        asleep.pause();
        let (_, opened) = bench.change(after, ttl() * 2 + PATIENCE).await;
        gaps.push(opened - stopped);
        bench.say();
        let holder = bench.holder().await;
        let seen = asleep.log().len();
        let before = bench.phone.last_event();
        asleep.resume();
        bench.say();
        let noticed = async || {
            let log = asleep.log();
            ["lost", "taken over", "standing by"].iter().any(|word| log[seen..].contains(word))
        };
        eventually("it notices that its lease is gone", PATIENCE, noticed).await;
        assert_eq!(bench.holder().await, holder, "it took the lease back");
        let dialled = |event: &blacksky::sim::Event| matches!(event.what, What::Dialled { .. });
        let dials = bench.phone.events(before, Duration::ZERO).await.into_iter().filter(dialled).count();
        assert_eq!(dials, 0, "it dialled: {}", asleep.log());
    }
    told(TAKE_OVER, "SIGSTOP", &mut gaps);
    bench.settle(&app).await;
    assert_eq!(bench.phone.counters().registrations, 1);
    assert!(bench.phone.ratchets().reused.is_empty());
    let longest = Duration::from_millis(gaps.last().expect("one").unsigned_abs());
    assert!(longest <= ttl() + BEYOND_TTL, "{gaps:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_active_is_cut_off_from_the_database() {
    let times: usize = setting("BLACKSKY_TAKEOVERS", "1").parse().expect("a number");
    let mut bench = Bench::new().await;
    let port = postgres::cluster().await.port;
    // Two apps of one dyno, each with its own way to the database; the names tell them apart.
    let ways = [
        Proxy::start(([127, 0, 0, 1], port).into()).await,
        Proxy::start(([127, 0, 0, 1], port).into()).await,
    ];
    let mut apps = Vec::new();
    for (number, way) in ways.iter().enumerate() {
        let url = bench.database.replace(&format!(":{port}/"), &format!(":{}/", way.port()));
        let slug = bench.slug(&url).env("DYNO", format!("web.{}", number + 1));
        let app = App::start(slug, 1).await;
        if number == 0 {
            pair(&app, &bench.sim).await;
        }
        apps.push(app);
    }
    let mut gaps = Vec::new();
    for _ in 0..times {
        bench.ready(&apps[0], 2).await;
        let active = usize::from(bench.active().await == "web.2");
        let (cut_off, other) = (apps[active].dyno("web.1"), &apps[1 - active]);
        bench.say();
        let after = bench.phone.last_event();
        let cut = now();
        ways[active].set(Traffic::Swallow);
        let (closed, opened) = bench.change(after, ttl() * 2 + PATIENCE).await;
        gaps.push(opened - cut);
        assert!(closed < opened, "the cut-off dyno had not closed its link: {}", cut_off.log());
        bench.say();
        assert_ne!(bench.active().await, format!("web.{}", active + 1));
        ways[active].set(Traffic::Pass);
        ways[active].reset();
        bench.ready(other, 2).await;
        assert_ne!(bench.active().await, format!("web.{}", active + 1), "{}", other.logs());
    }
    told(TAKE_OVER, "cut off from the database", &mut gaps);
    bench.settle(&apps[0]).await;
    never_lost(&bench.phone, &apps[0]);
    let longest = Duration::from_millis(gaps.last().expect("one").unsigned_abs());
    assert!(longest <= ttl() + BEYOND_TTL, "{gaps:?}");
}
