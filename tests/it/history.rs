//! What the page tells of the last day, with the real binary: why a link ended, what a killed process leaves, and
//! messages by the hour, over several processes on one database.

use std::time::Duration;

use blacksky::sim::Action;
use serde_json::Value;

use crate::restarts::PHONE;
use crate::support::eventually::eventually;
use crate::support::linked::{bot, linked};
use crate::support::{http, postgres, sim};

const FRIEND: &str = "4915100000002";

fn reasons(bot: &Value) -> Vec<&str> {
    let listed = bot["history"]["interruptions"].as_array();
    listed.into_iter().flatten().filter_map(|one| one["reason"].as_str()).collect()
}

fn received(bot: &Value) -> u64 {
    let hours = bot["history"]["hours"].as_array();
    hours.into_iter().flatten().filter_map(|hour| hour["received"].as_u64()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_known_to_the_next_process() {
    let sim = sim::simulator();
    let phone = sim.handle();
    let folder = tempfile::tempdir().expect("a folder");
    let database = postgres::database().await;
    let env = [
        ("DATABASE_URL", database.as_str()),
        ("BLACKSKY_DATABASE_TLS", "disable"),
        ("BLACKSKY_LEASE_TTL", "2s"),
        ("BLACKSKY_LEASE_RENEW", "500ms"),
        ("BLACKSKY_BACKOFF_INITIAL", "100ms"),
    ];
    let process = linked(&sim, bot(folder.path(), &env), &sim.url(), PHONE).await;
    for n in 0..3 {
        phone.send_text(FRIEND, PHONE, &format!("!ping {n}")).expect("sent");
        phone.wait_for_text(FRIEND, &format!("pong {n}"), Duration::from_secs(10)).await.expect("answered");
    }
    phone.strike(Action::stream_error(503));
    let bot_now = process.until_bot("interruption", |bot| bot["history"]["interrupted"] == 1).await;
    assert_eq!(reasons(&bot_now), ["stream_error_503"], "{bot_now:#}");
    let first = &bot_now["history"]["interruptions"][0];
    assert!(first["text"].as_str().is_some_and(|text| text.len() > 10), "{first}");
    let bot_now = process.until_bot("three messages", |bot| received(bot) == 3).await;
    assert!(bot_now["history"]["hours"].as_array().is_some_and(|hours| hours.len() == 24), "{bot_now:#}");

    // Killed: the next one knows when it was seen last, and that nobody kept the link then.
    process.kill();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let process = bot(folder.path(), &env).run(&sim.url());
    process.until("open", Duration::from_secs(30)).await;
    let bot_now = process.until_bot("second interruption", |bot| bot["history"]["interrupted"] == 2).await;
    assert_eq!(reasons(&bot_now)[1], "stream_error_503");
    assert!(["not_kept", "handover"].contains(&reasons(&bot_now)[0]), "{bot_now:#}");
    assert_eq!(received(&bot_now), 3, "counted once");
    let pieces = bot_now["history"]["pieces"].as_array().expect("pieces");
    assert_eq!(pieces.last().expect("some")["state"], "open");
    for two in pieces.windows(2) {
        assert_eq!(two[0]["until"], two[1]["from"], "no gap: {pieces:#?}");
    }

    // The page says the same, and neither says whose numbers those are.
    let page = http::client().get(process.url("/")).send().await.expect("it answers");
    let page = page.text().await.expect("text");
    assert!(page.contains("class=\"ribbon\"") && page.contains("Interrupted 2 times"), "{page}");
    let history = bot_now["history"].to_string();
    for number in [PHONE, FRIEND] {
        assert!(!history.contains(number) && !page.contains(number), "a number of a person");
    }
    let status = process.status().await.expect("it answers");
    eventually("the size of the database", Duration::from_secs(10), async || {
        let status = process.status().await.unwrap_or_default();
        status["database_size"]["bytes"].as_u64().is_some_and(|bytes| bytes > 1 << 20)
    })
    .await;
    assert!(status["memory"]["used_bytes"].as_u64() < status["memory"]["quota_bytes"].as_u64(), "{status:#}");
}

/// What was seen last is written when blacksky stops, so that a stop is not longer than it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_written_down() {
    let sim = sim::simulator();
    let folder = tempfile::tempdir().expect("a folder");
    let mut process = linked(&sim, bot(folder.path(), &[]), &sim.url(), PHONE).await;
    process.until_bot("a first writing", |bot| bot["history"]["since"].is_string()).await;
    process.term();
    assert!(process.ended(Duration::from_secs(20)).await.success(), "{}", process.log());
    let process = bot(folder.path(), &[]).run(&sim.url());
    process.until("open", Duration::from_secs(30)).await;
    let bot_now = process.until_bot("an interruption", |bot| bot["history"]["interrupted"] == 1).await;
    assert_eq!(reasons(&bot_now), ["handover"], "{bot_now:#}");
}
