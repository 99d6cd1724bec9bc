//! The last 24 hours of a bot on the page: a ribbon of its link, its interruptions, its messages by the hour.
//!
//! The drawings are inline SVG without any text; what they show is said in words beside them or in their label.

use std::collections::BTreeMap;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use super::page::{Moment, grouped, span_text};
use super::words::Tone;
use crate::runtime::status::{BotHistory, Hour, Interruption, NOT_KEPT, Piece};

/// Width of the ribbon: a minute is one unit.
const WIDTH: f64 = 24.0 * 60.0;
/// Whatever its length, a piece is as wide as this, so that it is seen on a phone.
const NARROWEST: f64 = 6.0;
/// Height of the ribbon and of the columns.
const HEIGHT: f64 = 24.0;
/// Shorter than this and without a reason, a piece is the hand-over of a link, which is not drawn.
const BRIEF: TimeDelta = TimeDelta::seconds(2);
/// Reasons of the last 30 days that are named.
const NAMED: usize = 4;

/// What the page says of it.
pub struct DayCard<'a> {
    /// "99.87 %".
    pub percent: Option<String>,
    /// Since when something is known, when that is not the whole of the day.
    pub since: Option<Moment>,
    /// The ribbon in words.
    pub summary: String,
    pub marks: Vec<Mark>,
    /// The tones in the ribbon, each with its words.
    pub legend: Vec<(&'static str, &'static str)>,
    pub interruptions: Vec<InterruptionLine<'a>>,
    /// How many there were.
    pub interrupted: u64,
    /// Those that are not listed.
    pub unlisted: u64,
    /// Messages; `None` where nobody counts them.
    pub messages: Option<Messages>,
    /// The last 30 days in a sentence.
    pub month: Option<String>,
}

/// A rectangle of the ribbon.
pub struct Mark {
    pub class: &'static str,
    pub x: String,
    pub width: String,
    pub y: u32,
    pub height: u32,
    /// What a mouse is told.
    pub title: String,
}

/// One interruption.
pub struct InterruptionLine<'a> {
    pub at: Moment,
    /// "12 s"; `None` while it lasts.
    pub length: Option<String>,
    pub reason: &'a str,
    pub text: &'a str,
    pub tries: u32,
}

/// Messages of 24 hours.
pub struct Messages {
    pub received: u64,
    pub sent: u64,
    /// The columns in words.
    pub summary: String,
    pub columns: Vec<Column>,
}

/// An hour of the chart.
pub struct Column {
    pub x: u32,
    pub received: Bar,
    pub sent: Bar,
}

/// One bar, from the bottom up.
pub struct Bar {
    pub y: String,
    pub height: String,
}

impl<'a> DayCard<'a> {
    /// Of a bot's history; `None` while nothing is known. A hosted bot's messages are not counted.
    pub fn of(history: &'a BotHistory, hosted: bool, now: DateTime<Utc>) -> Option<Self> {
        let since = history.since?;
        let percent = history.open_percent.map(percent_text);
        let end = now.duration_trunc(TimeDelta::minutes(1)).unwrap_or(now) + TimeDelta::minutes(1);
        let begin = end - TimeDelta::hours(24);
        let marks = marks(history, begin, end);
        let mut legend: Vec<(&'static str, &'static str)> = Vec::new();
        for piece in history.pieces.iter().filter(|piece| is_drawn(piece)) {
            let entry = looks(&piece.state);
            if !legend.contains(&(entry.0.class(), entry.1)) {
                legend.push((entry.0.class(), entry.1));
            }
        }
        let lines = history.interruptions.iter().map(|one| InterruptionLine::of(one, now));
        Some(Self {
            summary: summary(history, percent.as_deref()),
            percent,
            since: (since > begin + TimeDelta::minutes(2)).then(|| Moment::past(since, now)),
            marks,
            legend,
            interruptions: lines.collect(),
            interrupted: history.interrupted,
            unlisted: history.interrupted.saturating_sub(history.interruptions.len() as u64),
            messages: (!hosted).then(|| Messages::of(history)),
            month: month(history, since),
        })
    }
}

/// Two digits behind the point, unless they are noughts.
fn percent_text(percent: f64) -> String {
    let text = format!("{percent:.2}");
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Tone and words of a state, and how high its mark is: the worse, the lower.
fn looks(state: &str) -> (Tone, &'static str, u32) {
    match state {
        "open" => (Tone::Good, "Connected", 24),
        "pairing" => (Tone::Invite, "Waiting to be paired", 16),
        "connecting" | "backing_off" => (Tone::Wait, "Reconnecting", 14),
        "waiting_for_database" => (Tone::Wait, "Waiting for the database", 14),
        "parked" | "logged_out" => (Tone::Act, "Stopped", 9),
        _ => (Tone::Idle, "Not running", 4),
    }
}

/// Hand-overs are no more than a moment.
fn is_drawn(piece: &Piece) -> bool {
    let brief = piece.until - piece.from < BRIEF;
    !(brief && matches!(piece.state.as_str(), NOT_KEPT | "connecting"))
}

/// Open pieces first, so that the others, which may be widened, are on top of them.
fn marks(history: &BotHistory, begin: DateTime<Utc>, end: DateTime<Utc>) -> Vec<Mark> {
    let place = |at: DateTime<Utc>| {
        let seconds = (at.clamp(begin, end) - begin).num_milliseconds() as f64 / 1000.0;
        (seconds / 6.0).round() / 10.0
    };
    let (open, others): (Vec<&Piece>, Vec<&Piece>) =
        history.pieces.iter().filter(|piece| is_drawn(piece)).partition(|piece| piece.state == "open");
    let mark = |piece: &Piece| {
        let (tone, word, height) = looks(&piece.state);
        let last = piece.until >= history.at;
        let (from, until) = (place(piece.from), if last { WIDTH } else { place(piece.until) });
        let width = (until - from).max(NARROWEST);
        Mark {
            class: tone.class(),
            x: number(from.min(WIDTH - width)),
            width: number(width),
            y: 24 - height,
            height,
            title: format!(
                "{word}: {} from {}",
                span_text(piece.until - piece.from),
                piece.from.format("%-d %b, %H:%M:%S UTC")
            ),
        }
    };
    open.into_iter().map(mark).chain(others.into_iter().map(mark)).collect()
}

/// One digit behind the point at most.
fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

fn summary(history: &BotHistory, percent: Option<&str>) -> String {
    let mut words = match percent {
        Some(percent) => format!("Link in the last 24 hours: connected {percent} of the time"),
        None => "Link in the last 24 hours".to_owned(),
    };
    words.push_str(&match history.interrupted {
        0 => ", not interrupted".to_owned(),
        1 => ", interrupted once".to_owned(),
        many => format!(", interrupted {many} times"),
    });
    let mut others: BTreeMap<&'static str, TimeDelta> = BTreeMap::new();
    for piece in history.pieces.iter().filter(|piece| piece.state != "open" && is_drawn(piece)) {
        let sum = others.entry(looks(&piece.state).1).or_default();
        *sum += piece.until - piece.from;
    }
    for (word, length) in others {
        words.push_str(&format!(". {word} for {}", span_text(length)));
    }
    words.push('.');
    words
}

impl<'a> InterruptionLine<'a> {
    fn of(one: &'a Interruption, now: DateTime<Utc>) -> Self {
        Self {
            at: Moment::past(one.at, now),
            length: one.until.map(|_| match one.seconds {
                0 => "under a second".to_owned(),
                seconds => span_text(TimeDelta::seconds(i64::try_from(seconds).unwrap_or(i64::MAX / 1000))),
            }),
            reason: &one.reason,
            text: &one.text,
            tries: one.tries,
        }
    }
}

impl Messages {
    fn of(history: &BotHistory) -> Self {
        let hours = &history.hours;
        let sum = |count: fn(&Hour) -> u64| hours.iter().map(count).sum::<u64>();
        let (received, sent) = (sum(|hour| hour.received), sum(|hour| hour.sent));
        let most = hours.iter().map(|hour| hour.received.max(hour.sent)).max().unwrap_or(0).max(1);
        let bar = |count: u64| {
            // What is there is seen.
            let height = if count == 0 { 0.0 } else { (count as f64 / most as f64 * HEIGHT).max(1.0) };
            Bar { y: number(HEIGHT - height), height: number(height) }
        };
        let columns = (0u32..).zip(hours).map(|(place, hour)| Column {
            x: place * 10,
            received: bar(hour.received),
            sent: bar(hour.sent),
        });
        let mut summary = format!(
            "Messages of the last 24 hours by the hour: {} in, {} out",
            grouped(&received),
            grouped(&sent)
        );
        if let Some(busiest) = hours.iter().max_by_key(|hour| hour.received + hour.sent)
            && busiest.received + busiest.sent > 0
        {
            summary.push_str(&format!(
                ". Most of them, {} in and {} out, in the hour from {}",
                grouped(&busiest.received),
                grouped(&busiest.sent),
                busiest.hour.format("%H:%M UTC")
            ));
        }
        summary.push('.');
        Self { received, sent, summary, columns: columns.collect() }
    }
}

/// Only where more is known than the day.
fn month(history: &BotHistory, since: DateTime<Utc>) -> Option<String> {
    let month = &history.month;
    let (known, percent) = (month.since?, month.open_percent?);
    if known + TimeDelta::hours(1) > since {
        return None;
    }
    let days = (history.at - known).num_days().max(1);
    let mut text = match days {
        1 => format!("Since yesterday: {} connected", percent_text(percent)),
        days => format!("Last {days} days: {} connected", percent_text(percent)),
    };
    let mut reasons: Vec<(&str, u64)> =
        month.reasons.iter().map(|(reason, count)| (reason.as_str(), *count)).collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let words: Vec<String> =
        reasons.iter().take(NAMED).map(|(reason, count)| format!("{reason} {}", grouped(count))).collect();
    if !words.is_empty() {
        text.push_str("; it ended by ");
        text.push_str(&words.join(", "));
        let rest: u64 = reasons.iter().skip(NAMED).map(|(_, count)| count).sum();
        if rest > 0 {
            text.push_str(&format!(", others {}", grouped(&rest)));
        }
    }
    text.push('.');
    Some(text)
}

#[cfg(test)]
#[path = "day_tests.rs"]
mod tests;
