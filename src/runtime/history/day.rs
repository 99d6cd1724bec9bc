//! The rows of the history, of all processes, as the page shows them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::record::hour_of;
use super::{BEAT, SPAN};
use crate::link::LinkState;
use crate::runtime::status::{BotHistory, HANDOVER, Hour, Interruption, Month, NOT_KEPT, Piece};
use crate::store::{Stretch, Totals, Traffic};

/// A stretch that was seen so long ago does not last any more.
const LASTS: TimeDelta = TimeDelta::seconds(45);
/// Nobody keeps a link for as long as this when one process hands it to the next.
const LONGEST_HANDOVER: TimeDelta = TimeDelta::seconds(15);
/// Interruptions that are listed.
const LISTED: usize = 12;
/// Pieces that are shown; of more, the oldest are left out.
const SHOWN: usize = 400;

const _: () = assert!(BEAT.as_secs() * 2 < LASTS.num_seconds().unsigned_abs());

/// A part of the time of one stretch, or of none.
#[derive(Debug, Clone, Copy)]
struct Part<'s> {
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    of: Option<&'s Stretch>,
}

impl Part<'_> {
    fn state(&self) -> &str {
        self.of.map_or(NOT_KEPT, |stretch| &stretch.state)
    }

    fn is_open(&self) -> bool {
        self.state() == LinkState::Open.name()
    }
}

/// What is known of a bot's link at `now`. `stretches` are in the order in which they began.
pub fn history(
    stretches: &[&Stretch],
    traffic: &BTreeMap<DateTime<Utc>, Traffic>,
    totals: &Totals,
    now: DateTime<Utc>,
) -> BotHistory {
    let begin = now - SPAN;
    let known = totals.since.into_iter().chain(stretches.first().map(|first| first.at)).min();
    let since = known.map(|known| known.max(begin)).filter(|since| *since < now);
    let parts = since.map_or_else(Vec::new, |since| parts(stretches, since, now));
    let open: TimeDelta = parts.iter().filter(|part| part.is_open()).map(|part| part.until - part.from).sum();
    let (interruptions, interrupted) = interruptions(&parts, now);
    let hours = (0..24).rev().map(|ago| hour_of(now) - TimeDelta::hours(ago)).map(|hour| {
        let Traffic { received, sent } = traffic.get(&hour).copied().unwrap_or_default();
        Hour { hour, received, sent }
    });
    BotHistory {
        at: now,
        since,
        open_percent: since.and_then(|since| percent(open, now - since)),
        pieces: pieces(&parts),
        interruptions,
        interrupted,
        hours: hours.collect(),
        month: Month {
            since: totals.since,
            open_percent: totals.since.and_then(|since| percent(totals.open, now - since)),
            reasons: totals.reasons.clone(),
        },
    }
}

/// Rounded down to hundredths: 100 means all of the time.
fn percent(part: TimeDelta, whole: TimeDelta) -> Option<f64> {
    let (part, whole) = (part.num_milliseconds(), whole.num_milliseconds());
    (whole > 0).then(|| (part.clamp(0, whole) as f64 / whole as f64 * 10_000.0).floor() / 100.0)
}

/// The time from `since` to `now` without a gap. Where two processes saw something, an open link counts, and
/// otherwise what began last.
fn parts<'s>(stretches: &[&'s Stretch], since: DateTime<Utc>, now: DateTime<Utc>) -> Vec<Part<'s>> {
    let end = |one: &Stretch| if one.until + LASTS >= now { now } else { one.until };
    let last = stretches.iter().max_by_key(|one| one.until);
    let lasting = last.map(|one| (one.at, one.process));
    let mut events: Vec<(DateTime<Utc>, bool, usize)> = Vec::new();
    for (index, one) in stretches.iter().enumerate() {
        let until = if lasting == Some((one.at, one.process)) { end(one) } else { one.until.min(now) };
        if until > since && one.at < until {
            events.push((one.at.max(since), true, index));
            events.push((until, false, index));
        }
    }
    events.sort_unstable();
    let mut parts: Vec<Part<'s>> = Vec::new();
    let mut present: BTreeSet<(bool, DateTime<Utc>, usize)> = BTreeSet::new();
    let mut from = since;
    for (at, begins, index) in events {
        let one = stretches[index];
        let key = (one.state == LinkState::Open.name(), one.at, index);
        if at > from {
            let of = present.last().map(|(_, _, index)| stretches[*index]);
            parts.push(Part { from, until: at, of });
            from = at;
        }
        if begins {
            present.insert(key)
        } else {
            present.remove(&key)
        };
    }
    if from < now {
        parts.push(Part { from, until: now, of: None });
    }
    parts
}

/// Neighbours in the same state are one piece.
fn pieces(parts: &[Part<'_>]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for part in parts {
        match pieces.last_mut() {
            Some(last) if last.state == part.state() => last.until = part.until,
            _ => pieces.push(Piece { from: part.from, until: part.until, state: part.state().to_owned() }),
        }
    }
    let surplus = pieces.len().saturating_sub(SHOWN);
    pieces.drain(..surplus);
    pieces
}

/// From the end of each open part to the next one, the latest first, and how many there are.
fn interruptions(parts: &[Part<'_>], now: DateTime<Utc>) -> (Vec<Interruption>, u64) {
    let mut found = Vec::new();
    let mut parts = parts.iter().skip_while(|part| !part.is_open()).peekable();
    while let Some(open) = parts.next() {
        let mut between: Vec<&Part<'_>> = Vec::new();
        while let Some(part) = parts.next_if(|part| !part.is_open()) {
            between.push(part);
        }
        let next = parts.peek();
        if between.is_empty() {
            // Two stretches of one link that was lost and open again at once, or a link handed over in no time.
            let reason = next.and_then(|next| next.of).filter(|one| one.reason.is_some());
            if let (Some(one), Some(next)) = (reason, next) {
                found.push(interruption(next.from, Some(next.from), Some(one), TimeDelta::zero(), 0));
            }
            continue;
        }
        let until = next.map(|next| next.from);
        let told = between.iter().filter_map(|part| part.of).find(|one| one.reason.is_some());
        let mut tries: BTreeMap<(DateTime<Utc>, i64), u32> = BTreeMap::new();
        for one in between.iter().filter_map(|part| part.of) {
            tries.insert((one.at, one.process), one.tries);
        }
        let length = until.unwrap_or(now) - open.until;
        found.push(interruption(open.until, until, told, length, tries.values().sum()));
    }
    let count = found.len() as u64;
    found.reverse();
    found.truncate(LISTED);
    (found, count)
}

fn interruption(
    at: DateTime<Utc>,
    until: Option<DateTime<Utc>>,
    told: Option<&Stretch>,
    length: TimeDelta,
    tries: u32,
) -> Interruption {
    let (reason, text) = match told.and_then(|one| Some((one.reason.clone()?, one.text.clone()))) {
        Some((reason, text)) => (reason, text.unwrap_or_default()),
        None if until.is_some() && length <= LONGEST_HANDOVER => {
            (HANDOVER.to_owned(), "The next process took the link over.".to_owned())
        }
        None => {
            let text = "No process kept the link: it was stopped, asleep, killed, or without its database.";
            (NOT_KEPT.to_owned(), text.to_owned())
        }
    };
    let seconds = u64::try_from(length.num_seconds()).unwrap_or(0);
    Interruption { at, until, seconds, reason, text, tries }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_400 + minute * 60, 0).expect("a time")
    }

    fn stretch(process: i64, from: i64, until: i64, state: &str, reason: Option<&str>) -> Stretch {
        Stretch {
            session: "S".into(),
            at: at(from),
            process,
            until: at(until),
            state: state.into(),
            reason: reason.map(str::to_owned),
            text: reason.map(|reason| format!("It was {reason}.")),
            tries: u32::from(state == "backing_off"),
            dyno: "web.1".into(),
        }
    }

    fn of(stretches: &[Stretch], now: i64) -> BotHistory {
        let stretches: Vec<&Stretch> = stretches.iter().collect();
        history(&stretches, &BTreeMap::new(), &Totals::default(), at(now))
    }

    fn said(history: &BotHistory) -> Vec<(String, i64, i64)> {
        let minute = |time: DateTime<Utc>| (time - at(0)).num_minutes();
        history
            .pieces
            .iter()
            .map(|piece| (piece.state.clone(), minute(piece.from), minute(piece.until)))
            .collect()
    }

    fn piece(state: &str, from: i64, until: i64) -> (String, i64, i64) {
        (state.to_owned(), from, until)
    }

    #[test]
    fn a_day_is_put_together_from_several_processes() {
        let day = of(
            &[
                stretch(1, 0, 10, "connecting", None),
                stretch(1, 10, 100, "open", None),
                stretch(1, 100, 110, "backing_off", Some("silence")),
                stretch(1, 110, 200, "open", None),
                // Killed; the next process comes late.
                stretch(2, 230, 231, "connecting", None),
                stretch(2, 231, 400, "open", None),
            ],
            400,
        );
        assert_eq!(
            said(&day),
            [
                piece("connecting", 0, 10),
                piece("open", 10, 100),
                piece("backing_off", 100, 110),
                piece("open", 110, 200),
                piece("not_kept", 200, 230),
                piece("connecting", 230, 231),
                piece("open", 231, 400),
            ]
        );
        assert_eq!((day.since, day.open_percent), (Some(at(0)), Some(87.25)));
        let told: Vec<_> = day
            .interruptions
            .iter()
            .map(|one| (one.reason.as_str(), one.seconds, one.tries, one.until))
            .collect();
        assert_eq!(told, [("not_kept", 31 * 60, 0, Some(at(231))), ("silence", 600, 1, Some(at(110)))]);
        assert_eq!(day.interrupted, 2);
    }

    #[test]
    fn what_was_seen_lately_lasts_and_what_was_not_does_not() {
        let open = [stretch(1, 0, 100, "open", None)];
        let stretches: Vec<&Stretch> = open.iter().collect();
        let seen = |seconds| {
            let now = at(100) + TimeDelta::seconds(seconds);
            history(&stretches, &BTreeMap::new(), &Totals::default(), now)
        };
        assert_eq!(seen(44).pieces.len(), 1);
        assert_eq!(seen(44).open_percent, Some(100.0));
        let gone = seen(46);
        assert_eq!(gone.pieces.last().map(|piece| piece.state.as_str()), Some("not_kept"));
        assert_eq!(gone.interruptions[0].until, None);
        assert_eq!((gone.interruptions[0].reason.as_str(), gone.interruptions[0].seconds), ("not_kept", 46));
    }

    #[test]
    fn a_link_that_is_handed_over_is_hardly_interrupted() {
        let mut second = stretch(2, 100, 200, "open", None);
        second.at += TimeDelta::milliseconds(230);
        let day = of(&[stretch(1, 0, 100, "open", None), second], 200);
        assert_eq!((day.interrupted, day.interruptions[0].reason.as_str()), (1, "handover"));
        assert_eq!(day.interruptions[0].seconds, 0);
    }

    #[test]
    fn an_open_link_counts_where_two_processes_saw_something() {
        let day = of(
            &[
                stretch(1, 0, 100, "open", None),
                stretch(1, 100, 200, "waiting_for_database", Some("database")),
                stretch(2, 110, 200, "open", None),
            ],
            200,
        );
        assert_eq!(
            said(&day),
            [piece("open", 0, 100), piece("waiting_for_database", 100, 110), piece("open", 110, 200)]
        );
    }

    #[test]
    fn a_day_begins_where_something_is_known() {
        let nothing = of(&[], 100);
        assert_eq!((nothing.since, nothing.open_percent, nothing.pieces.len()), (None, None, 0));
        assert_eq!(nothing.hours.len(), 24);
        // Known for longer: the day begins with a time in which nobody kept the link.
        let one = stretch(1, 24 * 60 + 60, 24 * 60 + 100, "open", None);
        let totals = Totals { since: Some(at(-9000)), ..Totals::default() };
        let day = history(&[&one], &BTreeMap::new(), &totals, at(24 * 60 + 100));
        assert_eq!(day.since, Some(at(100)));
        assert_eq!(said(&day)[0], piece("not_kept", 100, 24 * 60 + 60));
    }

    proptest! {
        #[test]
        fn the_pieces_cover_the_time_without_gap_or_overlap(
            stretches in prop::collection::vec((0i64..3, 0i64..2000, 0i64..400, 0usize..4), 0..40),
            now in 1i64..2400,
        ) {
            let states = ["open", "backing_off", "parked", "connecting"];
            let mut stretches: Vec<Stretch> = stretches
                .into_iter()
                .map(|(process, from, length, state)| {
                    stretch(process, from, from + length, states[state], None)
                })
                .filter(|one| one.at < at(now))
                .collect();
            stretches.sort_by_key(|one| (one.at, one.process));
            let day = of(&stretches, now);
            if let Some(since) = day.since {
                prop_assert_eq!(day.pieces.first().map(|piece| piece.from), Some(since));
                prop_assert_eq!(day.pieces.last().map(|piece| piece.until), Some(at(now)));
            }
            for two in day.pieces.windows(2) {
                prop_assert!(two[0].until == two[1].from && two[0].from < two[0].until);
                prop_assert!(two[0].state != two[1].state);
            }
            prop_assert!(day.open_percent.is_none_or(|percent| (0.0..=100.0).contains(&percent)));
            let open: i64 = (0..now)
                .filter(|minute| stretches.iter().any(|one| {
                    one.state == "open" && one.at <= at(*minute) && one.until > at(*minute)
                }) && at(*minute) >= at(now) - SPAN)
                .count() as i64;
            let shown: TimeDelta =
                day.pieces.iter().filter(|one| one.state == "open").map(|one| one.until - one.from).sum();
            prop_assert_eq!(shown.num_minutes(), open);
        }
    }
}
