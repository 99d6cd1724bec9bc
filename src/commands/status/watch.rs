//! `--watch`: what happened to the links over a long time, and whether it was part of normal life.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::time::Instant;

use super::report::{Bot, Report};

/// Ends that are part of normal life: WhatsApp recycles streams (515, xmlstreamend), a deploy moves the
/// link to another dyno.
const NORMAL: [&str; 4] = ["stream_error_515", "stream_end", "paired", "stop"];
/// A restarting dyno may take as long until its page answers.
const UNREACHABLE: Duration = Duration::from_secs(75);

/// Sees one report after another.
#[derive(Debug)]
pub(super) struct Soak {
    began: Instant,
    last: Instant,
    /// When the process of each dyno that has answered began. The router asks one of them at random.
    processes: BTreeMap<Option<String>, DateTime<Utc>>,
    restarts: u32,
    unreachable_since: Option<Instant>,
    unreachable_told: bool,
    bots: BTreeMap<String, Track>,
    unexplained: Vec<String>,
}

#[derive(Debug, Default)]
struct Track {
    state: String,
    /// The dyno that held the link.
    holder: Option<String>,
    /// As the last report had them.
    counts: BTreeMap<String, u64>,
    open_for: Duration,
    ends: BTreeMap<String, u64>,
}

/// What it comes to.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub good: bool,
    watched_seconds: u64,
    restarts: u32,
    bots: BTreeMap<String, BotSummary>,
    unexplained: Vec<String>,
}

#[derive(Debug, Serialize)]
struct BotSummary {
    state: String,
    open_percent: f64,
    disconnects: BTreeMap<String, u64>,
}

impl Soak {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            last: now,
            processes: BTreeMap::new(),
            restarts: 0,
            unreachable_since: None,
            unreachable_told: false,
            bots: BTreeMap::new(),
            unexplained: Vec::new(),
        }
    }

    /// Takes a report, or that there was none; a line for each thing that changed.
    pub(super) fn see(&mut self, report: Option<Report>, now: Instant) -> Vec<String> {
        let passed = now - self.last;
        self.last = now;
        let mut lines = Vec::new();
        let Some(report) = report else {
            let since = *self.unreachable_since.get_or_insert(now);
            if now - since >= UNREACHABLE && !self.unreachable_told {
                self.unreachable_told = true;
                let line = format!("the page has not answered for {} s", UNREACHABLE.as_secs());
                self.unexplained.push(line.clone());
                lines.push(line);
            }
            return lines;
        };
        (self.unreachable_since, self.unreachable_told) = (None, false);
        let before = self.processes.insert(report.dyno.clone(), report.started_at);
        let anew = before.is_some_and(|before| before != report.started_at);
        if anew {
            self.restarts += 1;
            lines.push("a new process answers".to_owned());
        }
        for (name, bot) in report.bots {
            let first = !self.bots.contains_key(&name);
            let track = self.bots.entry(name.clone()).or_default();
            if track.state == "open" && bot.state == "open" {
                track.open_for += passed;
            }
            // The counts are those of the process that holds the link.
            let by_answerer = bot.dyno.holder.is_none() || bot.dyno.holder == report.dyno;
            let from_nothing = (anew && by_answerer) || track.holder != bot.dyno.holder;
            for (reason, more) in track.grown(&bot, first, from_nothing) {
                *track.ends.entry(reason.clone()).or_default() += more;
                let line = format!("{name}: the link ended, {reason}{}", times(more));
                if !NORMAL.contains(&reason.as_str()) {
                    self.unexplained.push(line.clone());
                }
                lines.push(line);
            }
            if track.state != bot.state {
                let lost = track.state == "open" && !anew && !report.stopping;
                let line = if first {
                    format!("{name}: {}", bot.words())
                } else {
                    format!("{name}: {} → {}", track.state, bot.words())
                };
                if lost && lines.iter().all(|line| !line.starts_with(&format!("{name}: the link ended"))) {
                    self.unexplained.push(format!("{line}, without a reason"));
                }
                lines.push(line);
            }
            track.state = bot.state;
            track.counts = bot.disconnects;
            track.holder = bot.dyno.holder;
        }
        lines
    }

    pub(super) fn summary(&self, now: Instant) -> Summary {
        let watched = now - self.began;
        let share =
            |part: Duration| part.as_secs_f64() / watched.as_secs_f64().max(f64::MIN_POSITIVE) * 100.0;
        let bots: BTreeMap<_, _> = self
            .bots
            .iter()
            .map(|(name, track)| {
                let open_percent = (share(track.open_for).min(100.0) * 1000.0).round() / 1000.0;
                let (state, disconnects) = (track.state.clone(), track.ends.clone());
                (name.clone(), BotSummary { state, open_percent, disconnects })
            })
            .collect();
        let all_open = !bots.is_empty() && bots.values().all(|bot| bot.state == "open");
        Summary {
            good: all_open && self.unexplained.is_empty() && self.unreachable_since.is_none(),
            watched_seconds: watched.as_secs(),
            restarts: self.restarts,
            bots,
            unexplained: self.unexplained.clone(),
        }
    }
}

impl Track {
    /// Ends since the last report, by reason. A new process counts from nothing; one that counts less than before
    /// is a new one that was not seen to begin.
    fn grown(&self, bot: &Bot, first: bool, anew: bool) -> Vec<(String, u64)> {
        if first {
            return Vec::new();
        }
        let none = BTreeMap::new();
        let fewer =
            |(reason, count): (&String, &u64)| bot.disconnects.get(reason).is_none_or(|now| now < count);
        let anew = anew || self.counts.iter().any(fewer);
        let before = if anew { &none } else { &self.counts };
        let more = |(reason, count): (&String, &u64)| {
            let more = count.saturating_sub(before.get(reason).copied().unwrap_or(0));
            (more > 0).then(|| (reason.clone(), more))
        };
        bot.disconnects.iter().filter_map(more).collect()
    }
}

fn times(count: u64) -> String {
    if count > 1 { format!(" ({count} times)") } else { String::new() }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "watched for {}", humantime::format_duration(Duration::from_secs(self.watched_seconds)))?;
        if self.restarts > 0 {
            writeln!(f, "new processes: {}", self.restarts)?;
        }
        for (name, bot) in &self.bots {
            write!(f, "{name}: {}, open {} % of the time", bot.state, bot.open_percent)?;
            for (reason, count) in &bot.disconnects {
                let note = if NORMAL.contains(&reason.as_str()) { " (normal)" } else { "" };
                write!(f, ", {reason} {count}{note}")?;
            }
            writeln!(f)?;
        }
        for line in &self.unexplained {
            writeln!(f, "not part of normal life: {line}")?;
        }
        f.write_str(if self.good { "good" } else { "not good" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report(started: u32, state: &str, disconnects: serde_json::Value) -> Option<Report> {
        let answer = json!({
            "started_at": format!("2026-01-01T00:00:{started:02}Z"),
            "bots": { "main": {
                "state": state, "since": "2026-01-01T00:00:00Z", "disconnects": disconnects,
            } },
        });
        Some(Report::of(&answer).expect("a report"))
    }

    struct Scene {
        soak: Soak,
        start: Instant,
    }

    impl Scene {
        fn new() -> Self {
            let start = Instant::now();
            Self { soak: Soak::new(start), start }
        }

        fn at(&mut self, seconds: u64, report: Option<Report>) -> Vec<String> {
            self.soak.see(report, self.start + Duration::from_secs(seconds))
        }

        fn good(&self, seconds: u64) -> bool {
            self.soak.summary(self.start + Duration::from_secs(seconds)).good
        }
    }

    #[test]
    fn a_quiet_link_is_good() {
        let mut scene = Scene::new();
        // What was before does not count.
        for n in 0..=10 {
            scene.at(n * 10, report(1, "open", json!({ "silence": 3 })));
        }
        let summary = scene.soak.summary(scene.start + Duration::from_secs(100));
        assert!(summary.good);
        assert_eq!(summary.bots["main"].open_percent, 100.0);
    }

    #[test]
    fn a_loss_between_two_looks_is_seen_by_its_count() {
        let mut scene = Scene::new();
        scene.at(0, report(1, "open", json!({})));
        let lines = scene.at(5, report(1, "open", json!({ "silence": 1 })));
        assert_eq!(lines, ["main: the link ended, silence"]);
        assert!(!scene.good(10));
    }

    #[test]
    fn recycling_and_a_new_dyno_are_normal() {
        let mut scene = Scene::new();
        scene.at(0, report(1, "open", json!({})));
        scene.at(5, report(1, "backing_off", json!({ "stream_end": 1 })));
        scene.at(10, report(1, "open", json!({ "stream_end": 1 })));
        scene.at(15, None);
        assert_eq!(scene.at(20, report(9, "connecting", json!({})))[0], "a new process answers");
        assert!(!scene.good(21), "not open at the end");
        scene.at(25, report(9, "open", json!({})));
        assert!(scene.good(30));
    }

    fn answered(dyno: &str, started: u32, holder: &str, disconnects: serde_json::Value) -> Option<Report> {
        let answer = json!({
            "started_at": format!("2026-01-01T00:00:{started:02}Z"), "dyno": dyno,
            "bots": { "main": {
                "state": "open", "since": "2026-01-01T00:00:00Z", "disconnects": disconnects,
                "dyno": { "holder": holder },
            } },
        });
        Some(Report::of(&answer).expect("a report"))
    }

    #[test]
    fn two_dynos_that_answer_in_turn_are_no_restarts_and_no_losses() {
        let mut scene = Scene::new();
        for n in 0..10 {
            let (dyno, started) = if n % 2 == 0 { ("web.1", 1) } else { ("web.2", 2) };
            let lines = scene.at(n * 5, answered(dyno, started, "web.1", json!({ "silence": 3 })));
            assert_eq!(lines.len(), usize::from(n == 0), "{lines:?}");
        }
        assert!(scene.good(50));
        assert_eq!(scene.soak.summary(scene.start).restarts, 0);
        // The other one takes over; what it has seen counts.
        assert!(scene.at(50, answered("web.1", 1, "web.2", json!({}))).is_empty());
        let lines = scene.at(55, answered("web.2", 2, "web.2", json!({ "eof": 1 })));
        assert_eq!(lines, ["main: the link ended, eof"]);
    }

    #[test]
    fn a_page_that_is_gone_for_long_and_a_loss_without_a_reason_are_not() {
        let mut gone = Scene::new();
        gone.at(0, report(1, "open", json!({})));
        gone.at(5, None);
        assert_eq!(gone.at(80, None).len(), 1);
        assert_eq!(gone.at(85, None).len(), 0, "told once");
        gone.at(90, report(2, "open", json!({})));
        assert!(!gone.good(95));

        let mut lost = Scene::new();
        lost.at(0, report(1, "open", json!({})));
        lost.at(5, report(1, "connecting", json!({})));
        lost.at(10, report(1, "open", json!({})));
        assert!(!lost.good(15));
    }
}
