//! The link goes from one dyno to the next: on SIGTERM without a gap to speak of, after a death or a
//! partition within `lease.ttl` and a second, and never to two at once.
//!
//! `BLACKSKY_HANDOVERS=200 BLACKSKY_TAKEOVERS=50 cargo test --features simulator --test it handover --
//! --nocapture --test-threads 1` runs the long ones and prints their figures; `BLACKSKY_TTL` sets the ttl.

use std::sync::Arc;
use std::time::Duration;

use blacksky::sim::{Event, Handle, Server, What};
use sqlx::{Connection, PgConnection};
use tokio::time::Instant;

use crate::dyno_life::{PATIENCE, PHONE, answers, never_lost, pair, slug};
use crate::support::dyno::{App, Dyno, Slug};
use crate::support::eventually::eventually;
use crate::support::proxy::{Proxy, Traffic};
use crate::support::sim;

fn setting(name: &str, default: &str) -> String {
    std::env::var_os(name).and_then(|value| value.into_string().ok()).unwrap_or_else(|| default.to_owned())
}

fn count(name: &str, default: &str) -> u32 {
    setting(name, default).parse().expect("a number")
}

fn ttl() -> Duration {
    Duration::from_secs(setting("BLACKSKY_TTL", "2s").trim_end_matches('s').parse().expect("whole seconds"))
}

fn with_ttl(slug: Slug) -> Slug {
    slug.env("BLACKSKY_LEASE_TTL", setting("BLACKSKY_TTL", "2s"))
}

/// Dynos that say they are ready.
async fn ready(slug: &Slug) -> i64 {
    let mut database = PgConnection::connect(&slug.env["DATABASE_URL"]).await.expect("connects");
    let ready = "SELECT count(*) FROM blacksky.dyno WHERE ready AND expires_at > clock_timestamp()";
    sqlx::query_scalar(ready).fetch_one(&mut database).await.expect("asks")
}

/// The dyno whose link is open.
async fn holder(app: &App) -> Arc<Dyno> {
    let mut found = None;
    eventually("a dyno with an open link", PATIENCE, async || {
        for dyno in app.dynos() {
            if dyno.link().await == "open" {
                found = Some(dyno);
            }
        }
        found.is_some()
    })
    .await;
    found.expect("just found")
}

/// Waits until the dyno that does not hold the link is ready.
async fn until_two_are_ready(app: &App, slug: &Slug) -> Arc<Dyno> {
    eventually("two ready dynos", PATIENCE, async || ready(slug).await == 2).await;
    let holder = holder(app).await;
    for dyno in app.dynos() {
        if dyno.name != holder.name {
            dyno.until("standby", PATIENCE).await;
        }
    }
    holder
}

async fn closed(phone: &Handle, after: u64) -> Event {
    let closes = |event: &Event| matches!(event.what, What::Closed { .. });
    phone.wait_for_event("end of the old link", after, PATIENCE, closes).await.expect("it ends")
}

async fn logged_in(phone: &Handle, after: u64) -> Event {
    let opens = |event: &Event| matches!(event.what, What::LoggedIn { .. });
    phone.wait_for_event("new link", after, PATIENCE * 2, opens).await.expect("it opens")
}

fn figures(what: &str, mut times: Vec<Duration>) -> Duration {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    println!("{what}: {} times, median {:?}, p99 {:?}, max {:?}", times.len(), at(0.5), at(0.99), at(1.0));
    at(0.99)
}

/// From the end of the old link to the login of the new one, as WhatsApp sees it.
async fn hand_over(sim: &Server, quantity: usize, rounds: u32) -> Vec<Duration> {
    let phone = sim.handle();
    let slug = slug(sim).await.env("BLACKSKY_LEASE_HANDOVER_WAIT", "15s");
    let app = App::start(slug.clone(), quantity).await;
    pair(&app, sim).await;
    let mut gaps = Vec::new();
    for round in 0..rounds {
        let old = if quantity == 2 { until_two_are_ready(&app, &slug).await } else { holder(&app).await };
        let before = phone.last_event();
        let old = app.cycle(&old.name);
        let closed = closed(&phone, before).await;
        let opened = logged_in(&phone, closed.seq).await;
        gaps.push(Duration::from_millis(u64::try_from(opened.at - closed.at).expect("later")));
        let end = old.ended(PATIENCE).await;
        assert!(end.status.success(), "{end:?} {}", old.log());
        assert!(old.log().contains("another dyno is ready"), "{}", old.log());
        if round % 10 == 0 {
            answers(&phone, &format!("round{round}")).await;
        }
    }
    never_lost(&phone, &app);
    app.set_env("BLACKSKY_LEASE_HANDOVER_WAIT", "0s");
    holder(&app).await;
    app.shut_down().await;
    gaps
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ready_standby_goes_on_at_once() {
    let gaps = hand_over(&sim::simulator(), 2, count("BLACKSKY_HANDOVERS", "3")).await;
    let p99 = figures("hand-over to a ready standby", gaps);
    // Other tests run at the same time; the figure alone is for the long run.
    assert!(p99 < Duration::from_millis(1000), "{p99:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_that_boots_only_then_is_waited_for() {
    let gaps = hand_over(&sim::simulator(), 1, count("BLACKSKY_HANDOVERS", "3")).await;
    let p99 = figures("hand-over to a successor that boots", gaps);
    assert!(p99 < Duration::from_millis(1000), "{p99:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_takes_over_from_a_killed_dyno() {
    let (sim, slug) = paired().await;
    let phone = sim.handle();
    // Killed again and again: the platform would wait before it starts another.
    let slug = with_ttl(slug).rules(|rules| rules.cool_off = Some(Duration::ZERO));
    let app = App::start(slug.clone(), 2).await;
    let mut times = Vec::new();
    for round in 0..count("BLACKSKY_TAKEOVERS", "2") {
        let old = until_two_are_ready(&app, &slug).await;
        let before = phone.last_event();
        let began = Instant::now();
        old.kill();
        logged_in(&phone, before).await;
        times.push(began.elapsed());
        answers(&phone, &format!("round{round}")).await;
    }
    let worst = times.iter().max().copied().expect("one");
    figures("take-over after kill -9", times);
    assert!(worst <= ttl() + Duration::from_secs(1), "{worst:?}");
    never_lost(&phone, &app);
    app.set_env("BLACKSKY_LEASE_HANDOVER_WAIT", "0s");
    app.shut_down().await;
}

/// A linked account whose app was scaled to none.
async fn paired() -> (Server, Slug) {
    let sim = sim::simulator();
    let slug = slug(&sim).await.env("BLACKSKY_LEASE_HANDOVER_WAIT", "0s");
    let app = App::start(slug.clone(), 1).await;
    pair(&app, &sim).await;
    assert!(app.shut_down().await.iter().all(|end| end.status.success()));
    (sim, slug)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_dyno_loses_its_link_and_says_nothing_when_it_wakes() {
    let (sim, slug) = paired().await;
    let phone = sim.handle();
    let old = Dyno::start(&slug, "web.1");
    old.until("open", PATIENCE).await;
    let new = Dyno::start(&slug, "web.2");
    new.until("standby", PATIENCE).await;

    let before = phone.last_event();
    let began = Instant::now();
    old.pause();
    // It lies in the stopped process's socket, to be read, stored and answered when that wakes.
    phone.send_text(crate::dyno_life::FRIEND, PHONE, "!ping asleep").expect("sent");
    let opened = logged_in(&phone, before).await;
    assert!(began.elapsed() <= ttl() + Duration::from_secs(1), "{:?}", began.elapsed());
    let replied = phone.wait_for_text(crate::dyno_life::FRIEND, "pong asleep", PATIENCE).await;
    assert!(replied.is_ok(), "{}", new.log());

    old.resume();
    old.until("standby", PATIENCE).await;
    answers(&phone, "awake").await;
    new.until("open", PATIENCE).await;
    let dials = phone.events(opened.seq, Duration::ZERO).await;
    let dials: Vec<_> = dials.iter().filter(|event| matches!(event.what, What::Dialled { .. })).collect();
    assert!(dials.is_empty(), "it dialled: {dials:?} {}", old.log());
    let (counters, keys) = (phone.counters(), phone.ratchets());
    assert_eq!(
        (counters.registrations, counters.duplicates, counters.decrypt_failures),
        (1, 0, 0),
        "{}",
        old.log()
    );
    assert!(keys.reused.is_empty(), "{:?}", keys.reused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dyno_cut_off_from_the_database_closes_its_link_before_another_opens_it() {
    let (sim, slug) = paired().await;
    let phone = sim.handle();
    let url = url::Url::parse(&slug.env["DATABASE_URL"]).expect("a URL");
    let port = url.port().expect("a port");
    let proxy = Proxy::start(([127, 0, 0, 1], port).into()).await;
    let through = slug.env["DATABASE_URL"].replace(&format!(":{port}/"), &format!(":{}/", proxy.port()));
    let old = Dyno::start(&slug.clone().env("DATABASE_URL", through), "web.1");
    old.until("open", PATIENCE).await;
    let new = Dyno::start(&slug, "web.2");
    new.until("standby", PATIENCE).await;

    let before = phone.last_event();
    let began = Instant::now();
    proxy.set(Traffic::Hold);
    let closed = closed(&phone, before).await;
    let opened = logged_in(&phone, before).await;
    assert!(began.elapsed() <= ttl() + Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(closed.seq < opened.seq, "two links at once: {closed:?} {opened:?}");
    assert_eq!(phone.counters().replaced, 0);
    answers(&phone, "other side").await;

    // All that it had sent arrives now.
    proxy.set(Traffic::Pass);
    old.until("standby", PATIENCE).await;
    answers(&phone, "together").await;
    let (counters, keys) = (phone.counters(), phone.ratchets());
    assert_eq!((counters.registrations, counters.replaced, counters.decrypt_failures), (1, 0, 0));
    assert!(keys.reused.is_empty(), "{:?}", keys.reused);
}

#[tokio::test(flavor = "multi_thread")]
async fn alone_it_waits_its_time_and_a_second_signal_ends_the_wait() {
    let (sim, slug) = paired().await;
    let phone = sim.handle();
    let old = Dyno::start(&slug.clone().env("BLACKSKY_LEASE_HANDOVER_WAIT", "1s"), "web.1");
    old.until("open", PATIENCE).await;
    let before = phone.last_event();
    let began = Instant::now();
    old.term();
    closed(&phone, before).await;
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
    let end = old.ended(PATIENCE).await;
    assert!(end.status.success() && began.elapsed() < Duration::from_secs(8), "{end:?} {}", old.log());
    assert!(old.log().contains("no other dyno became ready in time"), "{}", old.log());

    // It stops by itself at the second signal that is not the echo of the first.
    let old = Dyno::start(&slug.clone().env("BLACKSKY_LEASE_HANDOVER_WAIT", "15s"), "web.1");
    old.until("open", PATIENCE).await;
    let began = Instant::now();
    old.term();
    eventually("a second signal is heard", PATIENCE, async || {
        old.term();
        old.log().contains("second signal")
    })
    .await;
    let end = old.ended(PATIENCE).await;
    assert!(end.status.success() && began.elapsed() < Duration::from_secs(10), "{end:?} {}", old.log());
    assert!(old.log().contains("released"), "{}", old.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_has_nothing_to_hand_over() {
    let (sim, slug) = paired().await;
    let slug = slug.env("BLACKSKY_LEASE_HANDOVER_WAIT", "15s");
    let holder = Dyno::start(&slug, "web.1");
    holder.until("open", PATIENCE).await;
    let standby = Dyno::start(&slug, "web.2");
    standby.until("standby", PATIENCE).await;
    eventually("two ready dynos", PATIENCE, async || ready(&slug).await == 2).await;
    let began = Instant::now();
    standby.term();
    let end = standby.ended(PATIENCE).await;
    assert!(end.status.success() && began.elapsed() < Duration::from_secs(5), "{end:?} {}", standby.log());
    eventually("it is not registered any more", PATIENCE, async || ready(&slug).await == 1).await;
    assert_eq!(holder.link().await, "open");
    assert_eq!(sim.handle().counters().registrations, 1);
}
