//! The exposition of a snapshot in which everything has a value. What a strict parser says is asked in
//! `tests/it/metrics.rs`.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;

use super::*;
use crate::link::LinkState;
use crate::runtime::status::{
    AntiIdleStatus, Board, Disconnect, HostedStatus, JobStatus, LastBackup, Memory, Ping, Qr, TargetStatus,
    WebhookStatus,
};

/// A snapshot with two bots, of which one is hosted.
pub fn snapshot() -> Snapshot {
    let now = clock::now();
    let board = Board::new(now - TimeDelta::minutes(3), None, ["shop", "main"].into_iter());
    board.memory(Memory { used_bytes: 1 << 24, programs_bytes: 0, quota_bytes: 512 << 20, tight: false });
    board.bot("main", |bot| {
        bot.state = LinkState::BackingOff;
        bot.qr = Some(Qr { payload: "2@a-secret-payload".into(), expires_at: now });
        bot.next_attempt_at = Some(now + TimeDelta::seconds(30));
        bot.disconnects = [("silence".to_owned(), 2), ("close_1006".to_owned(), 1)].into();
        let text = "The phone +49 151 00000001 is silent.".to_owned();
        bot.last_disconnect = Some(Disconnect { at: now, reason: "silence".into(), text });
        bot.backup.last = Some(LastBackup { taken_at: now, checked_at: now, bytes: 4096, rows: 12 });
        let oldest_waiting_at = Some(now);
        bot.webhook = Some(WebhookStatus { waiting: 3, oldest_waiting_at, ..WebhookStatus::default() });
    });
    board.bot("shop", |bot| {
        let mut hosted = HostedStatus { memory_bytes: Some(1), ..HostedStatus::default() };
        hosted.memory_limit_bytes = Some(2);
        hosted.vault.mirrored_at = Some(now);
        bot.hosted = Some(hosted);
    });
    board.update(|snapshot| {
        snapshot.dyno = Some("web.1".into());
        let mut target = TargetStatus { target: "self".into(), ..TargetStatus::default() };
        target.count(Ping { at: now, status: Some(200), problem: None });
        snapshot.anti_idle = Some(AntiIdleStatus { targets: vec![target] });
        let job = JobStatus {
            action: "ping",
            cron: "@daily".into(),
            timezone: "UTC",
            enabled: true,
            next_at: Some(now),
            running: 0,
            runs: Vec::new(),
        };
        snapshot.jobs = BTreeMap::from([("morning".to_owned(), job)]);
    });
    let reader = board.subscribe();
    reader.borrow().clone()
}

fn text() -> String {
    exposition(snapshot(), clock::now()).expect("it can be written")
}

/// The names of all families with their types.
pub fn families() -> BTreeMap<String, String> {
    let text = text();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

#[test]
fn every_family_is_there_once_with_help_and_every_sample_names_the_dyno() {
    let text = text();
    let names: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len(), "a name is there twice: {names:?}");
    for name in &names {
        let help = text.lines().find_map(|line| line.strip_prefix(&format!("# HELP {name} ")));
        assert!(help.is_some_and(|help| help.len() > 5 && help.ends_with('.')), "{name}: {help:?}");
        assert!(["blacksky_", "process_", "wa_"].iter().any(|prefix| name.starts_with(prefix)), "{name}");
    }
    assert!(names.contains(&"wa_iq_duration_seconds"), "what the client library counts is there: {names:?}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.contains("dyno=\"web.1\""), "{line}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn the_snapshot_is_told_without_what_is_secret_or_personal() {
    let text = text();
    for line in [
        "blacksky_link_state{dyno=\"web.1\",bot=\"main\",state=\"backing_off\"} 1.0",
        "blacksky_link_state{dyno=\"web.1\",bot=\"main\",state=\"open\"} 0.0",
        "blacksky_link_disconnects_total{dyno=\"web.1\",bot=\"main\",reason=\"silence\"} 2",
        "blacksky_backup_size_bytes{dyno=\"web.1\",bot=\"main\"} 4096.0",
        "blacksky_webhook_waiting{dyno=\"web.1\",bot=\"main\"} 3.0",
        "blacksky_hosted_memory_limit_bytes{dyno=\"web.1\",bot=\"shop\"} 2.0",
        "blacksky_anti_idle_pings_total{dyno=\"web.1\",target=\"self\",result=\"answered\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
    }
    assert!(!text.contains("a-secret-payload") && !text.contains("00000001"), "{text}");
}

/// What people read about.
#[test]
fn the_document_names_every_family() {
    let document = include_str!("../../../docs/observability.md");
    for name in families().keys().filter(|name| !name.starts_with("wa_")) {
        assert!(document.contains(&format!("`{name}`")), "docs/observability.md does not name {name}");
    }
}

#[test]
fn five_hundred_bots_are_told_in_one_answer() {
    let names: Vec<String> = (0..500).map(|n| format!("bot{n}")).collect();
    let board = Board::new(clock::now(), None, names.iter().map(String::as_str));
    for name in &names {
        board.bot(name, |bot| {
            bot.disconnects = [("silence".to_owned(), 2), ("eof".to_owned(), 1)].into();
            bot.webhook = Some(WebhookStatus::default());
        });
    }
    let snapshot = board.subscribe().borrow().clone();
    let began = tokio::time::Instant::now();
    let text = exposition(snapshot, clock::now()).expect("it can be written");
    let took = began.elapsed();
    let of_bots = text.lines().filter(|line| line.contains("bot=\"bot")).count();
    println!("500 bots: {} lines, {} kB, {took:.1?}", of_bots, text.len() / 1024);
    assert!(of_bots <= 500 * 40, "{of_bots}");
    assert!(took < std::time::Duration::from_secs(1), "{took:?}");
}
