use std::str::FromStr;

use chrono::{DateTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;

use super::Schedule;
use crate::config::values::Value as _;
use crate::config::values::cron::Cron;

fn schedule(line: &str, zone: Tz) -> Schedule {
    let cron = Cron::from_text(line).unwrap_or_else(|wrong| panic!("{line}: {wrong:?}"));
    Schedule::new(&cron, zone).unwrap_or_else(|never| panic!("{line}: {never}"))
}

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).expect("a time").with_timezone(&Utc)
}

/// The times of a line from a time on, as the clock of the zone shows them.
fn times(line: &str, zone: Tz, from: &str, count: usize) -> Vec<String> {
    let schedule = schedule(line, zone);
    let mut from = at(from);
    let mut times = Vec::new();
    for _ in 0..count {
        from = schedule.next(from).expect("a next time");
        times.push(from.with_timezone(&zone).format("%d.%m. %H:%M %Z").to_string());
    }
    times
}

const BERLIN: Tz = chrono_tz::Europe::Berlin;

#[test]
fn a_fixed_time_that_the_clock_leaves_out_is_made_up_for() {
    let days = times("30 2 * * *", BERLIN, "2026-03-27T12:00:00Z", 3);
    assert_eq!(days, ["28.03. 02:30 CET", "29.03. 03:00 CEST", "30.03. 02:30 CEST"]);
}

#[test]
fn a_fixed_time_that_the_clock_shows_twice_is_due_once() {
    let days = times("30 2 * * *", BERLIN, "2026-10-24T12:00:00Z", 2);
    assert_eq!(days, ["25.10. 02:30 CEST", "26.10. 02:30 CET"]);
}

#[test]
fn what_repeats_follows_the_clock() {
    let autumn = times("*/30 2 * * *", BERLIN, "2026-10-24T12:00:00Z", 5);
    assert_eq!(
        autumn,
        [
            "25.10. 02:00 CEST",
            "25.10. 02:30 CEST",
            "25.10. 02:00 CET",
            "25.10. 02:30 CET",
            "26.10. 02:00 CET"
        ]
    );
    let spring = times("*/30 * * * *", BERLIN, "2026-03-29T00:29:00Z", 3);
    assert_eq!(spring, ["29.03. 01:30 CET", "29.03. 03:00 CEST", "29.03. 03:30 CEST"]);
}

#[test]
fn a_day_counts_by_its_number_or_by_its_weekday() {
    let days = times("0 0 13 * fri", chrono_tz::UTC, "2026-11-01T00:00:00Z", 5);
    let expected =
        ["06.11. 00:00 UTC", "13.11. 00:00 UTC", "20.11. 00:00 UTC", "27.11. 00:00 UTC", "04.12. 00:00 UTC"];
    assert_eq!(days, expected);
    assert_eq!(times("0 8 * * 1", chrono_tz::UTC, "2026-11-25T00:00:00Z", 1), ["30.11. 08:00 UTC"]);
}

#[test]
fn rare_days_come() {
    assert_eq!(times("0 0 29 2 *", chrono_tz::UTC, "2026-11-25T00:00:00Z", 2), ["29.02. 00:00 UTC"; 2]);
}

#[test]
fn the_last_time_of_an_absence_is_found() {
    let daily = schedule("0 8 * * *", chrono_tz::UTC);
    let (from, until) = (at("2026-01-01T00:00:00Z"), at("2026-11-25T07:59:59Z"));
    assert_eq!(daily.last(from, until), Some(at("2026-11-24T08:00:00Z")));
    assert_eq!(daily.last(from, at("2026-01-01T07:59:59Z")), None);
    assert_eq!(daily.last(at("2026-11-24T08:00:00Z"), until), None, "the beginning is not part of it");
    let yearly = schedule("0 0 1 3 *", chrono_tz::UTC);
    assert_eq!(yearly.last(at("2020-01-01T00:00:00Z"), until), Some(at("2026-03-01T00:00:00Z")));
}

/// Compares with croner, which knows the same rules; the number of times that were the same.
fn compare(line: &str, zone: Tz, from: DateTime<Utc>, until: DateTime<Utc>) -> u64 {
    let ours = schedule(line, zone);
    let theirs = croner::Cron::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    let (mut at, mut count) = (from, 0);
    while at < until {
        let next = ours.next(at).expect("a next time");
        let other = theirs.find_next_occurrence(&at.with_timezone(&zone), false).expect("croner finds one");
        assert_eq!(
            next,
            other.with_timezone(&Utc),
            "{line} in {zone} after {}",
            at.with_timezone(&zone).to_rfc3339()
        );
        (at, count) = (next, count + 1);
    }
    count
}

/// Zones whose clocks change at other hours, by other spans, and not at all.
const ZONES: [Tz; 5] = [
    chrono_tz::Europe::Berlin,
    chrono_tz::America::New_York,
    chrono_tz::Australia::Lord_Howe,
    chrono_tz::America::Santiago,
    chrono_tz::Asia::Kolkata,
];

/// `BLACKSKY_CRON_YEARS=10 cargo test --release --features simulator --lib schedule -- --nocapture` is the long one.
#[test]
fn occurrences_are_those_of_croner() {
    let years = std::env::var_os("BLACKSKY_CRON_YEARS").and_then(|years| years.into_string().ok());
    let years: i32 = years.map_or(1, |years| years.parse().expect("a number"));
    let lines = [
        "30 2 * * *",
        "0 0 * * *",
        "15 3 * * 0",
        "0 8 * * 1-5",
        "59 23 31 * *",
        "0 0 29 2 *",
        "*/15 * * * *",
        "*/7 1-3 * * *",
        "0 */2 * * *",
        "0 2,3 * * *",
        "30 1-4 * * *",
        "5-59/20 0-6/2 * * *",
        "0 0 1 * mon",
        "0 12 */10 * *",
        "20 2 1-7 3,10 sun",
        "@hourly",
        "@weekly",
    ];
    let from = Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).single().expect("a time");
    let until = Utc.with_ymd_and_hms(2026 + years, 1, 1, 0, 0, 0).single().expect("a time");
    let mut count = 0;
    for zone in ZONES {
        for line in lines {
            // A year of the dense ones is enough for a quick run.
            let until =
                if line.starts_with("*/") && years == 1 { from + TimeDelta::days(120) } else { until };
            count += compare(line, zone, from, until);
        }
    }
    println!(
        "{count} occurrences of {} lines in {} zones over {years} years, all equal",
        lines.len(),
        ZONES.len()
    );
}

fn field(low: u32, high: u32) -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just("*".to_owned()),
        3 => (low..=high).prop_map(|one| one.to_string()),
        2 => (1..=high / 2).prop_map(|step| format!("*/{step}")),
        2 => (low..=high, low..=high).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        1 => (low..=high, low..=high).prop_map(|(a, b)| format!("{a},{b}")),
        1 => (low..=high, low..=high, 2u32..7).prop_map(|(a, b, s)| format!("{}-{}/{s}", a.min(b), a.max(b))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Any line around the days when the clocks change.
    #[test]
    fn any_line_is_due_when_croner_says_so(
        minute in field(0, 59), hour in field(0, 23), weekday in field(0, 6),
        zone in 0usize..5, year in 2024i32..2034, change in prop::sample::select(vec![(3, 7), (3, 28), (4, 3), (9, 4), (10, 2), (10, 24), (11, 1)]),
    ) {
        let line = format!("{minute} {hour} * * {weekday}");
        let from = Utc.with_ymd_and_hms(year, change.0, change.1, 0, 0, 0).single().expect("a time");
        compare(&line, ZONES[zone], from, from + TimeDelta::days(3));
    }

    #[test]
    fn times_only_go_forward(minute in field(0, 59), hour in field(0, 23), day in field(1, 28), zone in 0usize..5, seconds in 0i64..400_000_000) {
        let schedule = schedule(&format!("{minute} {hour} {day} * *"), ZONES[zone]);
        let mut at = at("2024-01-01T00:00:00Z") + TimeDelta::seconds(seconds);
        for _ in 0..20 {
            let next = schedule.next(at).expect("a next time");
            prop_assert!(next > at);
            prop_assert_eq!(schedule.last(at, next), Some(next));
            at = next;
        }
    }
}
