//! axe-core on the real page in a real browser: what a screen reader, a keyboard or weak eyes would stumble over.

use blacksky::link::state::Parked;
use blacksky::runtime::clock;
use blacksky::runtime::status::DatabaseStatus;
use blacksky::web::{self, Paths};
use chrono::TimeDelta;
use serde_json::Value;

use crate::support::browser::Browser;
use crate::support::node;
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
    let scenes: [(&str, Scene); 9] = [
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
