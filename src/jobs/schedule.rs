//! When a job is due: a line of cron on the wall clock of a time zone.
//!
//! The crate `cron` iterates over wall clock times; what the clocks do to them is decided here, as people expect it
//! and as Vixie's cron does it. A job at one fixed time of the day is due once a day: at the first valid minute
//! after it when the clocks jump over it, at the earlier of the two when they show it twice. A job that repeats
//! within the day follows the clock: left out when its time is, and due at both when there are two.

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset as _, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;

use crate::config::values::cron::Cron;

/// No clock is put back by more.
const LONGEST_REPEAT: TimeDelta = TimeDelta::hours(3);
/// No clock jumps further ahead; one country left out a whole day.
const LONGEST_GAP: i64 = 25 * 60;

/// A line of cron in a time zone.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Two when a day counts by its number or by its weekday.
    parts: Vec<cron::Schedule>,
    zone: Tz,
    is_fixed: bool,
}

/// The crate does not take the line.
#[derive(Debug, thiserror::Error)]
#[error("this line of cron cannot be followed: {0}")]
pub struct Unfollowable(#[from] cron::error::Error);

impl Schedule {
    /// The schedule of a line.
    ///
    /// # Errors
    /// The crate does not take what [`Cron`] let through: a bug.
    pub fn new(line: &Cron, zone: Tz) -> Result<Self, Unfollowable> {
        let list = |numbers: &[u32]| numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let days = list(&line.days);
        // The crate counts weekdays from 1.
        let weekdays: Vec<u32> = line.weekdays.iter().map(|day| day + 1).collect();
        let weekdays = list(&weekdays);
        let dates = if line.either_day {
            vec![(days.as_str(), "*"), ("*", weekdays.as_str())]
        } else {
            vec![(days.as_str(), weekdays.as_str())]
        };
        let parts = dates.into_iter().map(|(days, weekdays)| {
            let (minutes, hours, months) = (list(&line.minutes), list(&line.hours), list(&line.months));
            format!("0 {minutes} {hours} {days} {months} {weekdays}").parse()
        });
        Ok(Self { parts: parts.collect::<Result<_, _>>()?, zone, is_fixed: line.is_fixed })
    }

    /// The first time after `after`; `None` at the end of the crate's calendar (2100).
    pub fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let now = after.with_timezone(&self.zone).naive_local();
        if let Some(next) = self.next_in_calm(after, now) {
            return Some(next);
        }
        // The clock may show earlier times again.
        let mut best: Option<(NaiveDateTime, DateTime<Utc>)> = None;
        let mut from = now - LONGEST_REPEAT;
        while let Some(wall) = self.next_wall(from) {
            if best.is_some_and(|(first, _)| wall > first + LONGEST_REPEAT) {
                break;
            }
            for instant in self.instants(wall).into_iter().flatten().filter(|instant| *instant > after) {
                match best {
                    Some((_, earliest)) if earliest <= instant => {}
                    Some((first, _)) => best = Some((first, instant)),
                    None => best = Some((wall, instant)),
                }
            }
            from = wall;
        }
        best.map(|(_, instant)| instant)
    }

    /// The last time in `after < time <= until`.
    pub fn last(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut last = None;
        let mut from = after;
        // Only the newest counts: a long absence is looked at from its end.
        for back in [TimeDelta::hours(1), TimeDelta::days(1), TimeDelta::days(32), TimeDelta::days(400)] {
            from = after.max(until - back);
            if self.next(from).is_some_and(|next| next <= until) {
                break;
            }
        }
        while let Some(next) = self.next(from).filter(|next| *next <= until) {
            (last, from) = (Some(next), next);
        }
        last
    }

    /// The same where the clock is not changed soon, which is nearly always.
    fn next_in_calm(&self, after: DateTime<Utc>, now: NaiveDateTime) -> Option<DateTime<Utc>> {
        let offset = |at: DateTime<Utc>| self.zone.offset_from_utc_datetime(&at.naive_utc()).fix();
        let wall = self.next_wall(now)?;
        let calm = offset(after);
        let next = (wall - TimeDelta::seconds(calm.local_minus_utc().into())).and_utc();
        let soon = next - after < LONGEST_REPEAT;
        (soon && offset(after - LONGEST_REPEAT) == calm && offset(next + LONGEST_REPEAT) == calm)
            .then_some(next)
    }

    fn next_wall(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        let nexts = self.parts.iter().filter_map(|part| part.after(&after.and_utc()).next());
        nexts.min().map(|next| next.naive_utc())
    }

    /// When the clock shows `wall`, as far as the job is due then.
    fn instants(&self, wall: NaiveDateTime) -> [Option<DateTime<Utc>>; 2] {
        let utc = |at: DateTime<Tz>| Some(at.with_timezone(&Utc));
        match self.zone.from_local_datetime(&wall) {
            MappedLocalTime::Single(at) => [utc(at), None],
            MappedLocalTime::Ambiguous(first, _) if self.is_fixed => [utc(first), None],
            MappedLocalTime::Ambiguous(first, second) => [utc(first), utc(second)],
            MappedLocalTime::None if self.is_fixed => {
                let later = (1..=LONGEST_GAP).map(|minutes| wall + TimeDelta::minutes(minutes));
                let valid = later.filter_map(|wall| self.zone.from_local_datetime(&wall).earliest()).next();
                [valid.and_then(utc), None]
            }
            MappedLocalTime::None => [None, None],
        }
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
