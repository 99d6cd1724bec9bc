//! Fuzzed here: lines of cron and when they are due.

use chrono::{DateTime, Timelike};
use chrono_tz::TZ_VARIANTS;

use super::Schedule;
use crate::config::values::Value as _;
use crate::config::values::cron::Cron;

/// Times that are asked for.
const TIMES: usize = 12;

/// Two bytes for the zone, four for the moment to begin at (seconds since 1970), then the line. What is read reads
/// back from its text; times ascend, each is a minute and, with a repeating line, one that the line names; the last
/// of them is found from behind too.
pub fn cron(bytes: &[u8]) {
    let Some((zone, rest)) = bytes.split_first_chunk::<2>() else { return };
    let Some((begin, text)) = rest.split_first_chunk::<4>() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let zone = TZ_VARIANTS[usize::from(u16::from_le_bytes(*zone)) % TZ_VARIANTS.len()];
    let begin = DateTime::from_timestamp(u32::from_le_bytes(*begin).into(), 0).expect("a time");
    let line = match Cron::from_text(text) {
        Ok(line) => line,
        Err(wrong) => return assert!(!wrong.what.is_empty() && wrong.help.is_some()),
    };
    assert_eq!(Cron::from_text(&line.to_string()).as_ref(), Ok(&line));
    let schedule = Schedule::new(&line, zone).expect("what we read is followed");
    let mut last = begin;
    for _ in 0..TIMES {
        let Some(next) = schedule.next(last) else { break };
        assert!(next > last, "{line} in {zone}: {next} after {last}");
        let wall = next.with_timezone(&zone);
        assert_eq!((wall.second(), wall.nanosecond()), (0, 0), "{line} in {zone}: {wall}");
        if !line.is_fixed {
            let named = line.minutes.contains(&wall.minute()) && line.hours.contains(&wall.hour());
            assert!(named, "{line} in {zone}: {wall}");
        }
        last = next;
    }
    if last > begin {
        assert_eq!(schedule.last(begin, last), Some(last), "{line} in {zone} from {begin}");
    }
}
