//! axe-core on the real page in a real browser: what a screen reader, a keyboard or weak eyes would stumble over.

use std::sync::Arc;

use blacksky::link::state::Parked;
use blacksky::runtime::clock;
use blacksky::runtime::status::{
    AlertsStatus, AntiIdleStatus, BotHistory, DatabaseSize, DatabaseStatus, Hour, Interruption, JobRunStatus,
    JobStatus, Memory, Month, NOT_KEPT, Piece, Ping, TargetStatus, WarningKind, WebhookProblem,
    WebhookStatus,
};
use blacksky::store::JobOutcome;
use blacksky::web::{self, Paths};
use chrono::TimeDelta;
use serde_json::Value;

use crate::dyno_life::PATIENCE;
use crate::support::blacksky::Blacksky;
use crate::support::browser::Browser;
use crate::support::node;
use crate::support::sim;
use crate::support::site::TestSite;
use crate::web_browser::{back_off, crash, host, open, park, show_qr, stand_by};

/// What axe finds on the page as it is now: the violations, each in words, and how many rules passed.
async fn violations(browser: &Browser, axe: &str) -> (Vec<String>, u64) {
    browser.run(axe).await;
    let found = browser
        .client
        .execute_async(
            "const done = arguments[arguments.length - 1];
             axe.run(document).then(
                 found => done({
                     violations: found.violations.flatMap(one => one.nodes.map(node =>
                         `${one.id} (${one.impact}): ${one.help}: ${node.html}: ${node.failureSummary}`)),
                     passed: found.passes.length,
                 }),
                 error => done({ violations: [String(error)], passed: 0 }),
             );",
            Vec::new(),
        )
        .await
        .expect("axe runs");
    let words = |value: &Value| value.as_str().expect("text").to_owned();
    let violations = found["violations"].as_array().expect("a list").iter().map(words).collect();
    (violations, found["passed"].as_u64().expect("a number"))
}

/// Everything that a page can tell.
pub fn eventful(site: &TestSite) {
    open(site);
    let now = clock::now();
    let at = |minutes: i64| now - TimeDelta::minutes(minutes);
    let piece = |from, until, state: &str| Piece { from: at(from), until: at(until), state: state.into() };
    let ended = |ago, reason: &str| Interruption {
        at: at(ago),
        until: Some(at(ago - 4)),
        seconds: 240,
        reason: reason.into(),
        text: "WhatsApp was silent for 35 s.".into(),
        tries: 2,
    };
    let hour = |n: i64| Hour { hour: at(60 * n), received: 100 * n.unsigned_abs(), sent: 3 };
    let history = BotHistory {
        at: now,
        since: Some(at(1300)),
        open_percent: Some(98.7),
        pieces: vec![
            piece(1300, 700, "open"),
            piece(700, 690, "backing_off"),
            piece(690, 300, "open"),
            piece(300, 290, "parked"),
            piece(290, 280, NOT_KEPT),
            piece(280, 0, "open"),
        ],
        interruptions: vec![ended(300, "silence"), ended(700, "eof")],
        interrupted: 9,
        hours: (0..24).rev().map(hour).collect(),
        month: Month {
            since: Some(at(20 * 1440)),
            open_percent: Some(99.2),
            reasons: [("silence".to_owned(), 4)].into(),
        },
    };
    let run = |outcome| JobRunStatus {
        due_at: at(10),
        asked: false,
        started_at: at(10),
        ended_at: Some(at(9)),
        outcome: Some(outcome),
        detail: Some("status 500".into()),
        output: "a line\nanother line".into(),
    };
    let job = JobStatus {
        action: "ping",
        cron: "*/10 * * * *".into(),
        timezone: "Europe/Berlin",
        enabled: true,
        next_at: Some(now + TimeDelta::minutes(1)),
        running: 1,
        runs: vec![run(JobOutcome::Failed), run(JobOutcome::Ok)],
    };
    let ping = |problem: Option<&str>| Ping { at: at(1), status: None, problem: problem.map(str::to_owned) };
    site.board.bot("main", |bot| {
        bot.holder = None;
        bot.hosted = None;
        bot.raise(WarningKind::Deaf, now, "12 of 20 messages could not be decrypted.");
        bot.webhook = Some(WebhookStatus {
            waiting: 12,
            dead: 3,
            problem: Some(WebhookProblem { at: at(2), text: "It answers 500.".into() }),
            ..WebhookStatus::default()
        });
        bot.backup.problem = Some("it was not done within 90 s".into());
    });
    site.board.update(|snapshot| {
        snapshot.alerts = AlertsStatus::new(true);
        let main = || Some("main".to_owned());
        let taken = snapshot.alerts.note("parked", main(), "It was refused.".into(), 0, at(30));
        snapshot.alerts.ended(taken, Ok(at(30)));
        let refused = snapshot.alerts.note("memory", None, "Nine tenths are used.".into(), 2, at(20));
        snapshot.alerts.ended(refused, Err("the webhook answered 404".into()));
        snapshot.alerts.note("up", main(), "The link is open again.".into(), 0, at(1));
        let warning = Some("sessions are stored in PostgreSQL unsealed".to_owned());
        snapshot.database = DatabaseStatus::Ok { kind: "postgresql", warning };
        snapshot.stopping = false;
        snapshot.history.insert("main".into(), Arc::new(history.clone()));
        let (limit_bytes, plan) = (Some(1 << 30), Some("essential-0".to_owned()));
        snapshot.database_size = Some(DatabaseSize { bytes: 1_000_000_000, limit_bytes, plan, tight: true });
        snapshot.memory =
            Some(Memory { used_bytes: 480 << 20, programs_bytes: 0, quota_bytes: 512 << 20, tight: true });
        snapshot.jobs = [("morning".to_owned(), job.clone())].into();
        let mut target = TargetStatus { target: "self".into(), ..TargetStatus::default() };
        target.count(ping(Some("no answer within 30 s")));
        snapshot.anti_idle = Some(AntiIdleStatus { targets: vec![target] });
    });
}

fn axe() -> String {
    node::install();
    let file = node::folder().join("node_modules/axe-core/axe.min.js");
    std::fs::read_to_string(file).expect("axe-core is installed")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_shut_out_of_the_page() {
    let axe = axe();
    let (site, closed) = (TestSite::start(None).await, TestSite::start(Some("correct horse")).await);
    let browser = Browser::start().await;
    type Scene = fn(&TestSite);
    let scenes: [(&str, Scene); 10] = [
        ("pairing", |site| show_qr(site, 1)),
        ("open", open),
        ("backing off", |site| back_off(site, TimeDelta::seconds(300))),
        ("parked", |site| park(site, Parked::ClientOutdated)),
        ("hosted", |site| {
            open(site);
            host(site, |_| {});
        }),
        ("hosted, crashing", crash),
        ("hosted, pairing", |site| show_qr(site, 2)),
        ("without a database", |site| {
            site.board.update(|snapshot| {
                let problem = "The database refuses the password.".to_owned();
                snapshot.database = DatabaseStatus::Down { kind: "postgresql", problem };
                snapshot.stopping = true;
            });
        }),
        ("after an eventful day", eventful),
        ("standing by", |site| {
            open(site);
            stand_by(site, false);
        }),
    ];
    let (mut looks, mut least) = (0, u64::MAX);
    let mut all = Vec::new();
    for (name, scene) in scenes {
        for (who, site) in [("the admin", &site), ("anybody", &closed)] {
            scene(site);
            for (width, height) in [(1280, 900), (390, 844)] {
                for scheme in ["light", "dark"] {
                    browser.open(&site.url("/"), width, height, scheme).await;
                    let (found, passed) = violations(&browser, &axe).await;
                    (looks, least) = (looks + 1, least.min(passed));
                    all.extend(
                        found.into_iter().map(|one| format!("{name}, {who}, {width}, {scheme}: {one}")),
                    );
                }
            }
        }
    }
    println!("{looks} looks, at least {least} rules passed each, {} violations", all.len());
    assert!(all.is_empty(), "{} violations:\n{}", all.len(), all.join("\n"));
    assert!(least >= 15, "axe looked at too little: {least} rules");

    // It does look.
    browser.run("document.body.append(document.createElement('button'))").await;
    let (found, _) = violations(&browser, &axe).await;
    assert!(found.iter().any(|one| one.starts_with("button-name")), "{found:?}");
}

/// What a person sees in place of a hosted bot that does not answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_shut_out_of_a_refusal() {
    let axe = axe();
    let paths = Paths { base: "/blacksky/".to_owned(), bot: Some("main".to_owned()) };
    let site = TestSite::start_at(0, None, web::HEARTBEAT, paths).await;
    let browser = Browser::start().await;
    host(&site, |hosted| {
        hosted.child.state = blacksky::runtime::status::ChildState::Waiting;
        hosted.child.next_start_at = Some(clock::now() + TimeDelta::seconds(300));
    });
    open(&site);
    for scheme in ["light", "dark"] {
        browser.open(&site.url("/"), 1280, 900, scheme).await;
        assert!(browser.text(".refusal").await.is_some());
        let (found, _) = violations(&browser, &axe).await;
        assert!(found.is_empty(), "{scheme}: {found:#?}");
    }
}

/// The page of the pairing code, of the real program: asking, refusing a number, showing a code.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_shut_out_of_the_pairing_code() {
    let axe = axe();
    let sim = sim::simulator();
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("blacksky.toml"), "").expect("written");
    let process = Blacksky::in_folder(folder.path()).run(&sim.url());
    process.until("pairing", PATIENCE).await;
    let browser = Browser::start().await;
    let type_in = |number: &str| format!("document.querySelector('#phone').value = '{number}'");
    for (width, height) in [(1280, 900), (390, 844)] {
        for scheme in ["light", "dark"] {
            browser.open(&process.url("/bots/main/code"), width, height, scheme).await;
            let mut found = violations(&browser, &axe).await.0;
            browser.run(&type_in("no number")).await;
            browser.click("button.primary").await;
            browser.until("the problem", "return !!document.querySelector('#problem')").await;
            found.extend(violations(&browser, &axe).await.0);
            browser.run(&type_in("+49 151 00000077")).await;
            browser.click("button.primary").await;
            browser.until("the code", "return !!document.querySelector('.digits')").await;
            found.extend(violations(&browser, &axe).await.0);
            assert!(found.is_empty(), "{width}, {scheme}: {found:#?}");
        }
    }
}
