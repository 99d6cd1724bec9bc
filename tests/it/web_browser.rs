//! The page in a real browser.

use blacksky::bot::handle::Request;
use blacksky::link::LinkState;
use blacksky::link::state::Parked;
use blacksky::runtime::clock;
use blacksky::runtime::status::{
    BotHistory, ChildState, DatabaseSize, DatabaseStatus, Disconnect, Holder, HostedStatus, Hour,
    Interruption, Memory, Month, Piece, Qr, RelayWay, WarningKind,
};
use blacksky::web::{self, Paths};
use chrono::TimeDelta;

use crate::support::browser::{Browser, SOON};
use crate::support::eventually::eventually;
use crate::support::site::TestSite;
use crate::web_accessible::eventful;

/// As long as a real one.
fn payload(round: u32) -> String {
    format!(
        "2@{round:02}{},{}=,{}=,{}=",
        "kQ9vT3xPzL7mWb2N".repeat(5),
        "hG4c".repeat(10),
        "aB8r".repeat(10),
        "Zy1u".repeat(10)
    )
}

pub fn show_qr(site: &TestSite, round: u32) {
    site.board.bot("main", |bot| {
        bot.state = LinkState::Pairing;
        bot.attempt = 0;
        bot.qr = Some(Qr { payload: payload(round), expires_at: clock::now() + TimeDelta::seconds(20) });
    });
}

/// A day with interruptions and messages, in a dyno with a plan.
fn past(site: &TestSite) {
    let now = clock::now();
    let ago = |minutes| now - TimeDelta::minutes(minutes);
    let piece = |from, until, state: &str| Piece { from: ago(from), until: ago(until), state: state.into() };
    let interruption = |at, seconds: i64, reason: &str, text: &str, tries| Interruption {
        at: ago(at),
        until: Some(ago(at) + TimeDelta::seconds(seconds)),
        seconds: seconds.unsigned_abs(),
        reason: reason.into(),
        text: text.into(),
        tries,
    };
    let hour = |n: i64| Hour {
        hour: ago(60 * (23 - n)),
        received: [4, 9, 0, 31, 77, 120, 64, 12][n as usize % 8],
        sent: [3, 8, 0, 30, 70, 118, 60, 40][n as usize % 8],
    };
    let silent = "WhatsApp was silent for 35 s, so the connection was taken for dead.";
    let nobody = "No process kept the link: it was stopped, asleep, killed, or without its database.";
    let history = BotHistory {
        at: now,
        since: Some(ago(1440)),
        open_percent: Some(96.73),
        pieces: vec![
            piece(1440, 1100, "open"),
            piece(1100, 1062, "not_kept"),
            piece(1062, 600, "open"),
            piece(600, 592, "backing_off"),
            piece(592, 300, "open"),
            piece(300, 298, "parked"),
            piece(298, 0, "open"),
        ],
        interruptions: vec![
            interruption(300, 120, "replaced", "Another client took over the session.", 0),
            interruption(600, 480, "silence", silent, 6),
            interruption(1100, 2280, "not_kept", nobody, 0),
        ],
        interrupted: 3,
        hours: (0..24).map(hour).collect(),
        month: Month {
            since: Some(ago(26 * 1440)),
            open_percent: Some(99.41),
            reasons: [("silence".to_owned(), 11), ("replaced".to_owned(), 2), ("http_503".to_owned(), 7)]
                .into(),
        },
    };
    site.board.update(|snapshot| {
        let history = std::sync::Arc::new(history);
        snapshot.history = snapshot.bots.keys().map(|name| (name.clone(), history.clone())).collect();
        snapshot.memory = Some(Memory {
            used_bytes: 24 << 20,
            programs_bytes: 14 << 20,
            quota_bytes: 512 << 20,
            tight: false,
        });
        snapshot.database_size = Some(DatabaseSize {
            bytes: 86 << 20,
            limit_bytes: Some(1 << 30),
            plan: Some("essential-0".into()),
            tight: false,
        });
    });
}

pub fn open(site: &TestSite) {
    past(site);
    site.board.bot("main", |bot| {
        bot.state = LinkState::Open;
        bot.since = clock::now() - TimeDelta::minutes(134);
        bot.open_since = Some(bot.since);
        bot.qr = None;
        bot.advice = None;
        bot.last_disconnect = None;
        bot.messages_in = 1284;
        bot.messages_out = 1279;
        bot.attempt = 0;
    });
}

pub fn back_off(site: &TestSite, wait: TimeDelta) {
    site.board.bot("main", |bot| {
        bot.state = LinkState::BackingOff;
        bot.advice = None;
        bot.since = clock::now();
        bot.open_since = None;
        bot.attempt = 3;
        bot.reconnects = 2;
        bot.next_attempt_at = Some(clock::now() + wait);
        bot.last_disconnect = Some(Disconnect {
            at: clock::now() - TimeDelta::seconds(42),
            reason: "silence".into(),
            text: "WhatsApp was silent for 35 s, so the connection was taken for dead.".into(),
        });
        bot.disconnects = [("silence".to_owned(), 2), ("http_503".to_owned(), 5)].into();
        bot.raise(WarningKind::ReconnectLoop, clock::now(), "5 attempts in a row led to no stable link.");
    });
}

pub fn park(site: &TestSite, why: Parked) {
    site.board.bot("main", |bot| {
        bot.state = LinkState::Parked(why);
        bot.advice = blacksky::link::advice::advice(bot.state).map(str::to_owned);
        bot.since = clock::now();
        bot.qr = None;
        bot.open_since = None;
        bot.next_attempt_at = None;
    });
}

/// What the board says was said by web.1, and this is web.2.
pub fn stand_by(site: &TestSite, qr_withheld: bool) {
    site.board.update(|snapshot| snapshot.dyno = Some("web.2".into()));
    site.board.bot("main", |bot| {
        bot.holder = None;
        let bot_of_holder = Box::new(bot.clone());
        bot.holder = Some(Holder { dyno: Some("web.1".into()), bot: bot_of_holder, qr_withheld });
        bot.state = LinkState::Standby;
    });
}

/// A hosted bot: 3 files of session, a relay, a port.
pub fn host(site: &TestSite, change: impl FnOnce(&mut HostedStatus)) {
    site.board.bot("main", |bot| {
        let mut hosted = HostedStatus { port: Some(45123), ..HostedStatus::default() };
        hosted.child.state = ChildState::Running;
        hosted.child.started_at = Some(clock::now() - TimeDelta::minutes(134));
        hosted.vault.files = 812;
        hosted.vault.bytes = 1_240_000;
        hosted.vault.mirrored_at = Some(clock::now() - TimeDelta::seconds(4));
        hosted.relay.way = RelayWay::Through;
        (hosted.relay.dials, hosted.relay.frames_in, hosted.relay.frames_out) = (3, 51_204, 12_877);
        hosted.memory_bytes = Some(142 << 20);
        hosted.memory_limit_bytes = Some(400 << 20);
        change(&mut hosted);
        bot.hosted = Some(hosted);
    });
}

pub fn crash(site: &TestSite) {
    park(site, Parked::BotCrashes);
    host(site, |hosted| {
        hosted.child.state = ChildState::CrashLoop;
        hosted.child.restarts = 5;
        hosted.child.last_exit = Some("ended with code 1 after 0.4 s".into());
        let line = |n| format!("    at Module._compile (node:internal/modules/cjs/loader:1{n:03}:14)");
        hosted.last_lines = vec!["Error: Cannot find module './config'".to_owned()];
        hosted.last_lines.extend((0..49).map(line));
        hosted.memory_bytes = None;
    });
}

async fn until_word(browser: &Browser, word: &str) {
    let what = format!("the page says {word}");
    eventually(&what, SOON, async || browser.text(".pill").await.as_deref() == Some(word)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_is_followed_live_from_pairing_to_open_to_backing_off() {
    let mut site = TestSite::start(None).await;
    let browser = Browser::start().await;
    show_qr(&site, 1);
    browser.open(&site.url("/"), 1280, 900, "light").await;
    browser.until_scanned(&payload(1)).await;
    // Lost if the page were loaded anew.
    browser.run("window.mark = 'same page'").await;

    show_qr(&site, 2);
    browser.until_scanned(&payload(2)).await;
    let seconds = "return parseInt(document.querySelector('[data-until]').textContent)";
    let first = browser.run(seconds).await.as_i64().expect("a countdown");
    assert!((1..=20).contains(&first), "{first}");
    eventually("the countdown goes down", SOON, async || browser.run(seconds).await.as_i64() < Some(first))
        .await;

    open(&site);
    until_word(&browser, "Connected").await;
    assert_eq!(browser.text(".big").await.as_deref(), Some("2 h 14 min"));
    assert_eq!(browser.text("#announce").await.as_deref(), Some("main: Connected"));
    assert!(browser.scan().await.is_none(), "no QR once the link is open");

    back_off(&site, TimeDelta::seconds(30));
    until_word(&browser, "Reconnecting").await;
    let first = browser.run(seconds).await.as_i64().expect("a countdown");
    assert!((20..=30).contains(&first), "{first}");
    eventually("the countdown goes down", SOON, async || browser.run(seconds).await.as_i64() < Some(first))
        .await;
    assert!(browser.text(".facts").await.expect("facts").contains("silent for 35 s"));

    browser.click("[data-key=reconnect]").await;
    assert_eq!(site.asked.recv().await, Some(Request::ReconnectNow));
    browser
        .until(
            "the page says so",
            "return document.querySelector('#toast').textContent.trim() === 'The bot took the request.'",
        )
        .await;

    park(&site, Parked::QrExpired);
    until_word(&browser, "Stopped").await;
    browser.click("[data-key=qr]").await;
    assert_eq!(site.asked.recv().await, Some(Request::ShowNewQr));

    assert_eq!(browser.run("return window.mark").await, "same page");
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_outlives_a_restart_of_blacksky() {
    let site = TestSite::start(None).await;
    let port = site.address.port();
    let browser = Browser::start().await;
    open(&site);
    browser.open(&site.url("/"), 1280, 900, "light").await;
    until_word(&browser, "Connected").await;
    browser.run("window.mark = 'same page'").await;

    drop(site);
    browser
        .until("the page says that it is alone", "return !document.querySelector('#offline').hidden")
        .await;
    let site = TestSite::start_on(port, None).await;
    park(&site, Parked::Conflict);
    until_word(&browser, "Stopped").await;
    browser.until("the notice is gone", "return document.querySelector('#offline').hidden").await;
    assert_eq!(browser.run("return window.mark").await, "same page");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_token_a_person_signs_in_to_see_the_qr() {
    let mut site = TestSite::start(Some("correct horse")).await;
    let browser = Browser::start().await;
    show_qr(&site, 1);
    browser.open(&site.url("/"), 390, 844, "dark").await;
    until_word(&browser, "Ready to pair").await;
    assert!(browser.text(".hint").await.expect("a hint").contains("Only the admin"));
    assert!(browser.scan().await.is_none());

    keep(&browser, "sign-in").await;
    for (token, word) in [("wrong", "This is not the admin token."), ("correct horse", "")] {
        let form = browser.client.form(fantoccini::Locator::Css(".signin form")).await.expect("a form");
        form.set_by_name("token", token).await.expect("a field");
        browser.click(".signin button").await;
        if !word.is_empty() {
            eventually("the page says no", SOON, async || {
                browser.text(".problem").await.as_deref() == Some(word)
            })
            .await;
        }
    }
    browser.until_scanned(&payload(1)).await;
    assert!(browser.run("return document.cookie").await.as_str().expect("text").is_empty(), "HttpOnly");

    park(&site, Parked::QrExpired);
    until_word(&browser, "Stopped").await;
    browser.click("[data-key=qr]").await;
    assert_eq!(site.asked.recv().await, Some(Request::ShowNewQr));
    browser.click(".top button").await;
    browser.until("signed out", "return document.querySelector('#token') !== null").await;
}

/// The bot has `/`, and the page follows its base.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hosted_bot_is_followed_and_restarted_from_a_page_below_a_base() {
    let paths = Paths { base: "/blacksky/".to_owned(), bot: Some("main".to_owned()) };
    let mut site = TestSite::start_at(0, Some("correct horse"), web::HEARTBEAT, paths).await;
    let browser = Browser::start().await;
    open(&site);
    host(&site, |_| {});
    browser.open(&site.url("/blacksky"), 1280, 900, "light").await;
    until_word(&browser, "Connected").await;
    let facts = browser.text(".facts").await.expect("facts");
    for words in ["812 files, 1.2 MB", "Through blacksky", "142.0 MB of 400.0 MB", "51,204"] {
        assert!(facts.contains(words), "{words}: {facts}");
    }
    assert!(!facts.contains("45123"), "the port is for the admin: {facts}");
    let form = browser.client.form(fantoccini::Locator::Css(".signin form")).await.expect("a form");
    form.set_by_name("token", "correct horse").await.expect("a field");
    browser.click(".signin button").await;
    browser.until("signed in", "return document.querySelector('#token') === null").await;
    assert!(browser.client.current_url().await.expect("an address").path() == "/blacksky/");
    assert!(browser.text(".facts").await.expect("facts").contains("127.0.0.1:45123"));
    browser.run("window.mark = 'same page'").await;
    // A program that runs is not restarted by a slip of the finger.
    browser.click("[data-key=restart]").await;
    let question = browser.text("#confirm-text").await.expect("a question");
    assert!(question.starts_with("Restart main?"), "{question}");
    browser.click("#confirm [value=no]").await;
    let back =
        "return !document.querySelector('#confirm').open && document.activeElement.dataset.key === 'restart'";
    browser.until("the dialog is gone, and the button has the focus again", back).await;
    browser.click("[data-key=restart]").await;
    browser.click("#confirm [value=yes]").await;
    assert_eq!(site.asked.recv().await, Some(Request::RestartBot));
    assert!(site.asked.try_recv().is_err(), "asked once");

    host(&site, |hosted| {
        hosted.child.state = ChildState::Waiting;
        hosted.child.next_start_at = Some(clock::now() + TimeDelta::seconds(30));
    });
    site.board.bot("main", |bot| bot.state = LinkState::Connecting);
    until_word(&browser, "Restarting").await;
    let big = browser.text(".big").await.expect("a countdown");
    assert!(big.ends_with(" s"), "{big}");

    crash(&site);
    until_word(&browser, "Stopped").await;
    let lines = browser.text(".lines pre").await.expect("the last lines");
    assert!(lines.starts_with("Error: Cannot find module") && lines.lines().count() == 50, "{lines}");
    // What was closed stays closed when more lines come.
    browser.click(".lines summary").await;
    site.board.bot("main", |bot| {
        bot.hosted.as_mut().expect("hosted").last_lines.push("one more".into());
    });
    browser
        .until(
            "the new line is there",
            "return document.querySelector('.lines pre').textContent.endsWith('one more')",
        )
        .await;
    assert_eq!(browser.run("return document.querySelector('.lines details').open").await, false);
    assert!(browser.text("[data-key=restart]").await.expect("a button").starts_with("Start again"));
    browser.click("[data-key=restart]").await;
    assert_eq!(site.asked.recv().await, Some(Request::RestartBot));

    // A code that the bot printed is shown like our own.
    show_qr(&site, 4);
    browser.until_scanned(&payload(4)).await;
    assert_eq!(browser.run("return window.mark").await, "same page");
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

/// Where the bot does not answer, a person is told and led to the page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_of_a_bot_that_does_not_listen_is_explained_and_tried_again() {
    let paths = Paths { base: "/blacksky/".to_owned(), bot: Some("main".to_owned()) };
    let site = TestSite::start_at(0, None, web::HEARTBEAT, paths).await;
    open(&site);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    drop(listener);
    host(&site, |hosted| hosted.port = Some(port));
    let browser = Browser::start().await;
    for (width, height, scheme) in [(1280, 600, "light"), (390, 844, "dark")] {
        browser.open(&site.url("/"), width, height, scheme).await;
        let text = browser.text(".refusal").await.expect("a sentence");
        assert!(text.contains(&format!("does not listen on port {port} yet")), "{text}");
        keep(&browser, &format!("refusal-{width}-{scheme}")).await;
    }
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.expect("still free");
    let app = axum::Router::new().fallback(|| async { axum::response::Html("<p id=own>here</p>") });
    let bot = tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves") });
    browser.until("the bot's own page", "return document.querySelector('#own') !== null").await;
    bot.abort();
}

/// With BLACKSKY_PICTURES=FOLDER pictures of the page are kept there, for people to look at.
async fn keep(browser: &Browser, name: &str) {
    if let Some(folder) = std::env::var_os("BLACKSKY_PICTURES") {
        let file = std::path::Path::new(&folder).join(format!("{name}.png"));
        std::fs::write(file, browser.picture().await).expect("the folder is there");
    }
}

/// What a page of another site could do: point its own name at this machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_name_for_this_machine_sees_no_qr_and_is_told_what_to_do() {
    let site = TestSite::start(None).await;
    let browser = Browser::start().await;
    show_qr(&site, 1);
    browser.open(&format!("http://other.localhost:{}/", site.address.port()), 1280, 600, "light").await;
    until_word(&browser, "Ready to pair").await;
    assert!(browser.scan().await.is_none());
    let command = browser.text("pre").await.expect("a command");
    assert!(command.starts_with("heroku config:set BLACKSKY_ADMIN_TOKEN="), "{command}");
    keep(&browser, "no-token").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_overflows_on_desktop_or_phone_and_foreign_text_stays_text() {
    let site = TestSite::start(None).await;
    let browser = Browser::start().await;
    site.board.update(|snapshot| {
        snapshot.database = DatabaseStatus::Ok { kind: "postgresql", warning: None };
        snapshot.started_at = clock::now() - TimeDelta::hours(3);
    });
    type Scene = fn(&TestSite);
    let scenes: [(&str, Scene); 14] = [
        ("pairing", |site| show_qr(site, 1)),
        ("open", open),
        ("backing-off", |site| back_off(site, TimeDelta::seconds(25))),
        ("parked", |site| park(site, Parked::ClientOutdated)),
        ("standby-of-an-open-link", |site| {
            open(site);
            stand_by(site, false);
        }),
        ("standby-of-a-pairing", |site| {
            show_qr(site, 1);
            stand_by(site, false);
        }),
        ("standby-without-a-key", |site| {
            show_qr(site, 1);
            site.board.bot("main", |bot| bot.qr = None);
            stand_by(site, true);
        }),
        ("hosted", |site| {
            open(site);
            host(site, |_| {});
        }),
        ("hosted-crash-loop", crash),
        ("hosted-restarting", |site| {
            open(site);
            site.board.bot("main", |bot| bot.state = LinkState::Connecting);
            host(site, |hosted| {
                hosted.child.state = ChildState::Waiting;
                hosted.child.next_start_at = Some(clock::now() + TimeDelta::seconds(9));
                hosted.child.last_exit = Some("ended by signal 9 (SIGKILL)".into());
                hosted.vault.removed_at = Some(clock::now());
                hosted.vault.problem = Some("pre-key-17.json does not parse".into());
                hosted.relay.way = RelayWay::Around;
            });
        }),
        ("hosted-pairing", |site| {
            show_qr(site, 1);
            host(site, |_| {});
        }),
        ("eventful", eventful),
        ("many", |site| {
            open(site);
            site.board.bot("main", |bot| bot.hosted = None);
            site.board.update(|snapshot| {
                let bot = snapshot.bots["main"].clone();
                for name in ["orders", "support", "newsletter"] {
                    snapshot.bots.entry(name.into()).or_insert_with(|| bot.clone());
                }
            });
            site.board.bot("orders", |bot| {
                bot.state = LinkState::Pairing;
                bot.qr = Some(Qr { payload: payload(3), expires_at: clock::now() + TimeDelta::seconds(20) });
            });
            site.board.bot("newsletter", |bot| bot.state = LinkState::Standby);
        }),
        ("hostile", |site| {
            site.board.update(|snapshot| {
                snapshot.simulator = Some("<img src=x onerror=window.evil=1>".into());
                snapshot.stopping = true;
                let problem = format!("{}<script>window.evil=1</script>", "unbroken".repeat(40));
                snapshot.database = DatabaseStatus::Down { kind: "sqlite", problem };
            });
            past(site);
            site.board.update(|snapshot| {
                let mut history = BotHistory::clone(&snapshot.history["main"]);
                history.interruptions[0].text = "<img src=x onerror=window.evil=1>".repeat(9);
                history.interruptions[0].reason = "\"><svg onload=window.evil=1>".repeat(9);
                history.month.reasons = [("<svg onload=window.evil=1>".repeat(9), u64::MAX / 2)].into();
                history.hours[3].received = u64::MAX / 64;
                history.pieces[1].state = "\"><svg onload=window.evil=1>".into();
                snapshot.history.insert("main".into(), history.into());
                let evil = "<img src=x onerror=window.evil=1>".repeat(9);
                let told = snapshot.alerts.note("down", Some("main".into()), evil.clone(), 0, clock::now());
                snapshot.alerts.ended(told, Err(evil));
                if let Some(size) = &mut snapshot.database_size {
                    size.plan = Some("<svg onload=window.evil=1>".repeat(9));
                }
            });
            site.board.bot("main", |bot| {
                bot.advice = Some("<svg onload=window.evil=1>".repeat(5));
                bot.messages_in = u64::MAX;
                bot.messages_out = u64::MAX;
                bot.reconnects = u64::MAX;
                let text = format!("<img src=x onerror=window.evil=1>{}", "x".repeat(300));
                bot.last_disconnect = Some(Disconnect { at: clock::now(), reason: "r".repeat(200), text });
                bot.disconnects.insert("r".repeat(200), u64::MAX);
                let mut hosted = HostedStatus::default();
                hosted.child.last_exit = Some("<img src=x onerror=window.evil=1>".repeat(9));
                hosted.vault.problem = Some(format!("<svg onload=window.evil=1>{}", "y".repeat(300)));
                hosted.last_lines = vec!["<img src=x onerror=window.evil=1>".repeat(9); 50];
                bot.hosted = Some(hosted);
                bot.raise(WarningKind::Deaf, clock::now(), "<img src=x onerror=window.evil=1>".repeat(9));
            });
        }),
    ];
    for (name, scene) in scenes {
        for (width, height) in [(1280, 600), (390, 844)] {
            for scheme in ["light", "dark"] {
                scene(&site);
                browser.open(&site.url("/"), width, height, scheme).await;
                let overflow =
                    "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
                assert_eq!(browser.run(overflow).await, 0, "{name} at {width}");
                // The stream swaps the same texts in again as HTML.
                scene(&site);
                site.board.bot("main", |bot| bot.attempt += 1);
                assert_eq!(
                    browser.run("return window.evil ?? null").await,
                    serde_json::Value::Null,
                    "{name}"
                );
                keep(&browser, &format!("{name}-{width}-{scheme}")).await;
            }
        }
    }
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}
