//! blacksky as a dyno: what Heroku does to it, and what its visitors see meanwhile.

use std::time::Duration;

use blacksky::sim::{Handle, Server, What};
use tokio::sync::watch;

use crate::support::dyno::{App, Limits, Router, Slug, State, Table};
use crate::support::eventually::eventually;
use crate::support::postgres;
use crate::support::sim;
use crate::support::site::TestSite;

pub const PATIENCE: Duration = Duration::from_secs(30);
pub const TOKEN: &str = "the admin token of the dyno tests";
pub const PHONE: &str = "4915100000001";
pub const FRIEND: &str = "4915100000002";
pub const TOML: &str = "[bots.main]\nprefix = \"!\"\n[bots.main.commands]\nping = \"pong {args}\"\n";

/// blacksky with a fresh database.
pub async fn slug(sim: &Server) -> Slug {
    Slug::blacksky(TOML, &sim.url())
        .database(&postgres::database().await)
        .env("BLACKSKY_ADMIN_TOKEN", TOKEN)
        .env("BLACKSKY_LEASE_TTL", "2s")
}

/// Links the bot as its owner does: with the token, through the router.
pub async fn pair(app: &App, sim: &Server) {
    pair_with(app, sim, PHONE).await;
}

/// The same with the phone of another number.
pub async fn pair_with(app: &App, sim: &Server, number: &str) {
    let mut qr = String::new();
    eventually("a QR through the router", PATIENCE, async || {
        qr = app.qr(TOKEN).await.unwrap_or_default();
        !qr.is_empty()
    })
    .await;
    sim.handle().scan(&qr, number).expect("the QR can be scanned");
    app.until("open", PATIENCE).await;
}

pub async fn answers(phone: &Handle, word: &str) {
    phone.send_text(FRIEND, PHONE, &format!("!ping {word}")).expect("sent");
    let reply = phone.wait_for_text(FRIEND, &format!("pong {word}"), PATIENCE).await;
    assert!(reply.is_ok(), "{word} is not answered: {:?}", phone.counters());
}

/// The highest number of links that were connected at the same time.
pub async fn links_at_once(phone: &Handle) -> usize {
    let mut open = std::collections::BTreeSet::new();
    let mut most = 0;
    for event in phone.events(0, Duration::from_secs(1)).await {
        match event.what {
            What::Dialled { connection } => {
                open.insert(connection);
            }
            What::Closed { connection, .. } => {
                open.remove(&connection);
            }
            _ => {}
        }
        most = most.max(open.len());
    }
    most
}

pub fn never_lost(phone: &Handle, app: &App) {
    let (counters, keys) = (phone.counters(), phone.ratchets());
    assert_eq!(counters.registrations, 1, "a new QR was shown: {}", app.logs());
    assert_eq!(counters.replaced, 0, "two links were open at once: {}", app.logs());
    assert_eq!(counters.decrypt_failures, 0);
    assert!(keys.reused.is_empty(), "{:?}", keys.reused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_on_an_empty_disk_keeps_the_login_and_no_visitor_sees_an_error() {
    let sim = sim::simulator();
    let phone = sim.handle();
    let app = App::start(slug(&sim).await, 1).await;
    // Asked while it boots: the router waits and then answers 200.
    let page = crate::support::http::client().get(app.router().url("/")).send().await.expect("an answer");
    assert_eq!(page.status(), 200);
    pair(&app, &sim).await;
    answers(&phone, "before").await;

    for round in 0..2 {
        let old = app.restart();
        let dyno = app.dyno("web.1");
        let mut slug: Vec<_> = std::fs::read_dir(dyno.folder()).expect("a folder").flatten().collect();
        slug.retain(|entry| entry.file_name() != "blacksky.toml");
        assert!(slug.is_empty(), "the disk was not empty: {slug:?}");
        for old in old {
            let end = old.ended(PATIENCE).await;
            assert!(end.asked && end.status.success(), "{end:?} {}", old.log());
        }
        app.until("open", PATIENCE).await;
        answers(&phone, &format!("after-{round}")).await;
    }

    // The machine is gone: the platform starts another dyno, which waits for the lease to end.
    app.dyno("web.1").kill();
    eventually("it is seen", PATIENCE, async || app.crashes() == 1).await;
    app.until("open", PATIENCE).await;
    answers(&phone, "after-kill").await;

    never_lost(&phone, &app);
    assert_eq!(links_at_once(&phone).await, 1);
    assert_eq!(app.codes(), []);
    let (now, most) = app.dyno("web.1").memory();
    assert!(most < 512 << 20, "{now} {most}");
    // A request during the kill may be cut off; no other is.
    let router = app.router().counts();
    assert!(router.keys().all(|what| ["ok", "H13", "H18", "H21"].contains(what)), "{router:?}");
    assert!(app.shut_down().await.iter().all(|end| end.status.success()));
}

#[tokio::test(flavor = "multi_thread")]
async fn preboot_runs_two_dynos_and_never_two_links() {
    let sim = sim::simulator();
    let phone = sim.handle();
    let app = App::start(slug(&sim).await, 1).await;
    pair(&app, &sim).await;
    answers(&phone, "before").await;

    let deploy = app.deploy_preboot(Duration::from_secs(2), |slug| {
        slug.env.insert("BLACKSKY_LOG_LEVEL".to_owned(), "debug".to_owned());
    });
    let meanwhile = async {
        eventually("the new one runs", PATIENCE, async || app.dynos()[0].state() == State::Up).await;
        let (new, old) = (app.dyno("web.1"), app.leaving());
        assert_eq!(old.len(), 1, "both run");
        assert_eq!(new.name, old[0].name);
        eventually("the new one stands by", PATIENCE, async || new.log().contains("standing by")).await;
        answers(&phone, "overlap").await;
        assert_eq!(old[0].link().await, "open", "the old one keeps the link");
        assert_eq!(app.link().await, "open", "visitors see the old one");
    };
    let (old, ()) = tokio::join!(deploy, meanwhile);
    assert!(old[0].ended(PATIENCE).await.status.success());
    app.until("open", PATIENCE).await;
    answers(&phone, "after").await;
    never_lost(&phone, &app);
    assert_eq!(links_at_once(&phone).await, 1);
    assert_eq!(app.router().errors(), 0, "{:?}", app.router().counts());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sigterm_ends_it_at_once() {
    let sim = sim::simulator();
    let slug = slug(&sim).await.rules(|rules| rules.term_again = Some(Duration::from_millis(1500)));
    let app = App::start(slug, 1).await;
    pair(&app, &sim).await;
    // No successor: waiting for one would take longer. A signal right after the first counts as the same.
    let ends = app.shut_down().await;
    let took = ends[0].took.expect("it was asked");
    assert!(took < Duration::from_secs(4), "{ends:?}");
    assert_eq!(app.codes(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_to_a_dyno_that_is_stopped_by_the_system_is_r12_and_the_successor_takes_over() {
    let sim = sim::simulator();
    let phone = sim.handle();
    let slug = slug(&sim).await.rules(|rules| rules.grace = Duration::from_secs(4));
    let app = App::start(slug, 1).await;
    pair(&app, &sim).await;
    let old = app.dyno("web.1");
    old.pause();
    app.restart();
    app.dyno("web.1").until("open", PATIENCE).await;
    let end = old.ended(PATIENCE).await;
    assert!(!end.status.success(), "{end:?}");
    assert_eq!(app.codes(), [("web.1".to_owned(), crate::support::dyno::Code::R12)]);
    answers(&phone, "after").await;
    // The paused one could not close its socket: the server closes it when the same device logs in.
    assert_eq!(phone.counters().registrations, 1);
    assert!(phone.ratchets().reused.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn comments_keep_an_event_stream_alive_through_the_router() {
    assert!(
        blacksky::web::HEARTBEAT * 2 < Limits::default().idle,
        "one lost comment must not end a stream at Heroku's 55 s"
    );
    let idle = Duration::from_millis(800);
    for (heartbeat, lives) in [(idle / 4, true), (idle * 20, false)] {
        let site = TestSite::start_with(0, None, heartbeat).await;
        let table = Table { quantity: 1, up: vec![site.address.port()], starting: 0 };
        let (_table, routes) = watch::channel(table);
        let router = Router::start(routes, Limits { idle, ..Limits::default() }).await;
        let request = crate::support::http::client().get(router.url("/events"));
        let mut stream = request.send().await.expect("a stream");
        let read = async { while let Ok(Some(_)) = stream.chunk().await {} };
        let ended = tokio::time::timeout(idle * 4, read).await.is_ok();
        assert_eq!((ended, router.count("H15")), (!lives, u64::from(!lives)), "heartbeat {heartbeat:?}");
    }
}
