//! The page in a real browser.

use blacksky::bot::handle::Request;
use blacksky::link::LinkState;
use blacksky::link::state::Parked;
use blacksky::runtime::clock;
use blacksky::runtime::status::{DatabaseStatus, Disconnect, Holder, Qr, WarningKind};
use chrono::TimeDelta;

use crate::support::browser::{Browser, SOON};
use crate::support::eventually::eventually;
use crate::support::site::TestSite;

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

fn show_qr(site: &TestSite, round: u32) {
    site.board.bot("main", |bot| {
        bot.state = LinkState::Pairing;
        bot.attempt = 0;
        bot.qr = Some(Qr { payload: payload(round), expires_at: clock::now() + TimeDelta::seconds(20) });
    });
}

fn open(site: &TestSite) {
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

fn back_off(site: &TestSite, wait: TimeDelta) {
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

fn park(site: &TestSite, why: Parked) {
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
fn stand_by(site: &TestSite, qr_withheld: bool) {
    site.board.update(|snapshot| snapshot.dyno = Some("web.2".into()));
    site.board.bot("main", |bot| {
        bot.holder = None;
        let bot_of_holder = Box::new(bot.clone());
        bot.holder = Some(Holder { dyno: Some("web.1".into()), bot: bot_of_holder, qr_withheld });
        bot.state = LinkState::Standby;
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
    let scenes: [(&str, Scene); 9] = [
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
        ("many", |site| {
            open(site);
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
            site.board.bot("main", |bot| {
                bot.advice = Some("<svg onload=window.evil=1>".repeat(5));
                bot.messages_in = u64::MAX;
                bot.messages_out = u64::MAX;
                bot.reconnects = u64::MAX;
                let text = format!("<img src=x onerror=window.evil=1>{}", "x".repeat(300));
                bot.last_disconnect = Some(Disconnect { at: clock::now(), reason: "r".repeat(200), text });
                bot.disconnects.insert("r".repeat(200), u64::MAX);
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
