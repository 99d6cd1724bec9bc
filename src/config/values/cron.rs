//! A line of cron: five fields as people write them, or a word such as `@daily`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{Value, Wrong};

/// The numbers that a field allows, in order.
pub type Allowed = Vec<u32>;

/// A line that was read, and whose times come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    text: String,
    pub minutes: Allowed,
    pub hours: Allowed,
    pub days: Allowed,
    pub months: Allowed,
    /// 0 is Sunday.
    pub weekdays: Allowed,
    /// One minute of one hour: it is due once a day, whatever the clocks do. Others follow the clock.
    pub is_fixed: bool,
    /// Day of the month and weekday are both limited: then either of them is enough.
    pub either_day: bool,
}

/// A field: its name, its range, and the words that stand for numbers from `first` on.
struct Field {
    name: &'static str,
    low: u32,
    high: u32,
    words: &'static [&'static str],
    first: u32,
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const FIELDS: [Field; 5] = [
    Field { name: "minute", low: 0, high: 59, words: &[], first: 0 },
    Field { name: "hour", low: 0, high: 23, words: &[], first: 0 },
    Field { name: "day of the month", low: 1, high: 31, words: &[], first: 0 },
    Field { name: "month", low: 1, high: 12, words: &MONTHS, first: 1 },
    // 7 is Sunday too.
    Field { name: "weekday", low: 0, high: 7, words: &WEEKDAYS, first: 0 },
];

const EXAMPLE: &str =
    "write minute, hour, day of the month, month and weekday, for example \"30 8 * * mon-fri\"";

impl Field {
    fn number(&self, text: &str) -> Result<u32, String> {
        let lower = text.to_ascii_lowercase();
        if let Some(place) = self.words.iter().position(|word| *word == lower) {
            return Ok(self.first + u32::try_from(place).unwrap_or_default());
        }
        let digits = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits && (self.low..=self.high).contains(&number) => Ok(number),
            _ => {
                let words = match self.words {
                    [] => String::new(),
                    [from, .., to] => format!(" or {from} to {to}"),
                    [one] => format!(" or {one}"),
                };
                Err(format!(
                    "has a wrong {}: not a number from {} to {}{words}",
                    self.name, self.low, self.high
                ))
            }
        }
    }

    /// `*`, `5`, `1-5`, `*/10`, `1-30/2`, `5/10` (from 5 on), and lists of these.
    fn read(&self, text: &str) -> Result<Allowed, String> {
        let mut allowed = Vec::new();
        for part in text.split(',') {
            let (range, step) = match part.split_once('/') {
                Some((range, step)) => (range, Some(self.step(step)?)),
                None => (part, None),
            };
            let (from, to) = if range == "*" {
                (self.low, self.last())
            } else if let Some((from, to)) = range.split_once('-') {
                (self.number(from)?, self.number(to)?)
            } else {
                let from = self.number(range)?;
                (from, if step.is_some() { self.last().max(from) } else { from })
            };
            if from > to {
                return Err(format!("has a {} range that ends before it begins", self.name));
            }
            allowed.extend((from..=to).step_by(step.unwrap_or(1)));
        }
        if self.high == 7 {
            allowed.iter_mut().for_each(|day| *day %= 7);
        }
        allowed.sort_unstable();
        allowed.dedup();
        Ok(allowed)
    }

    /// The end of `*` and of steps: Sunday is the first weekday only.
    fn last(&self) -> u32 {
        if self.high == 7 { 6 } else { self.high }
    }

    fn step(&self, text: &str) -> Result<usize, String> {
        match text.parse::<u32>() {
            Ok(step) if step >= 1 && step <= self.high && !text.starts_with('+') => {
                usize::try_from(step).map_err(|_| String::new())
            }
            _ => Err(format!("has a {} step that is not a number from 1 to {}", self.name, self.high)),
        }
    }
}

/// The five fields of a word.
fn word(text: &str) -> Option<&'static str> {
    Some(match text {
        "@hourly" => "0 * * * *",
        "@daily" | "@midnight" => "0 0 * * *",
        "@weekly" => "0 0 * * 0",
        "@monthly" => "0 0 1 * *",
        "@yearly" | "@annually" => "0 0 1 1 *",
        _ => return None,
    })
}

/// Whether one of the months ever has one of the days.
fn comes(days: &[u32], months: &[u32]) -> bool {
    let longest = months.iter().map(|month| match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    });
    longest.max() >= days.first().copied()
}

fn wrong(what: impl Into<String>) -> Wrong {
    Wrong::value(what, EXAMPLE)
}

impl Value for Cron {
    fn expected() -> String {
        "a string such as \"0 8 * * *\"".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let trimmed = text.trim();
        if trimmed.starts_with('@') && word(trimmed).is_none() {
            return Err(Wrong::value(
                "is not a word for a time",
                "write @hourly, @daily, @weekly, @monthly, @yearly or the five fields",
            ));
        }
        let fields: Vec<&str> = word(trimmed).unwrap_or(trimmed).split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(wrong(format!("has {} fields, not 5", fields.len())));
        };
        let [minutes, hours, days, months, weekdays] = &FIELDS;
        let allowed = (days.read(day).map_err(wrong)?, months.read(month).map_err(wrong)?);
        let either_day = !day.starts_with('*') && !weekday.starts_with('*');
        if !either_day && !comes(&allowed.0, &allowed.1) {
            return Err(Wrong::value(
                "names days that no month has",
                "write for example \"0 8 28 2 *\" or \"0 8 1 * *\"",
            ));
        }
        let is_one = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        Ok(Self {
            text: trimmed.to_owned(),
            minutes: minutes.read(minute).map_err(wrong)?,
            hours: hours.read(hour).map_err(wrong)?,
            days: allowed.0,
            months: allowed.1,
            weekdays: weekdays.read(weekday).map_err(wrong)?,
            is_fixed: is_one(minute) && is_one(hour),
            either_day,
        })
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl JsonSchema for Cron {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Cron".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^\s*(@(hourly|daily|midnight|weekly|monthly|yearly|annually)|\S+([ \t]+\S+){4})\s*$",
            "examples": ["0 8 * * *", "*/15 * * * *", "30 8 * * mon-fri", "@daily"],
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Cron {
        Cron::from_text(text).unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"))
    }

    #[test]
    fn fields_are_read_as_people_write_them() {
        let line = read("*/20 8-10,20 1 JAN,7-9/2 Mon-fri");
        assert_eq!(line.minutes, [0, 20, 40]);
        assert_eq!(line.hours, [8, 9, 10, 20]);
        assert_eq!((&line.days[..], &line.months[..]), (&[1][..], &[1, 7, 9][..]));
        assert_eq!(line.weekdays, [1, 2, 3, 4, 5]);
        assert!(line.either_day && !line.is_fixed);
        assert_eq!(read("0 0 * * 7").weekdays, [0]);
        assert_eq!(read("0 0 * * 5-7").weekdays, [0, 5, 6]);
        assert_eq!(read("0 0 * * *").weekdays.len(), 7);
        assert_eq!(read("50/3 0 * * *").minutes, [50, 53, 56, 59]);
        assert_eq!(read("0 0 * * 4/2").weekdays, [4, 6]);
        assert!(
            read("5 4 * * *").is_fixed && !read("5 4,6 * * *").is_fixed && !read("*/59 4 * * *").is_fixed
        );
    }

    #[test]
    fn a_weekday_makes_up_for_a_day_that_never_comes() {
        assert!(read("0 0 30 2 mon").either_day);
        read("0 0 29-31 2 *");
    }

    #[test]
    fn words_are_lines() {
        assert_eq!(read("@daily").hours, [0]);
        assert_eq!(read("@weekly").weekdays, [0]);
        assert_eq!(read("@hourly").to_string(), "@hourly");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, part) in [
            ("", "has 0 fields"),
            ("* * * *", "has 4 fields"),
            ("0 0 8 * * *", "has 6 fields"),
            ("60 * * * *", "wrong minute: not a number from 0 to 59"),
            ("* 24 * * *", "hour"),
            ("* * 0 * *", "day of the month"),
            ("* * * foo *", "number from 1 to 12 or jan to dec"),
            ("* * * * 8", "weekday"),
            ("*/0 * * * *", "minute step"),
            ("*/61 * * * *", "minute step"),
            ("10-5 * * * *", "ends before it begins"),
            ("1,,2 * * * *", "minute"),
            ("* * L * *", "day of the month"),
            ("+5 * * * *", "minute"),
            ("@fortnightly", "not a word"),
            ("0 0 30 2 *", "no month has"),
            ("0 0 31 4,6 *", "no month has"),
        ] {
            let wrong = Cron::from_text(text).expect_err(text);
            assert!(wrong.what.contains(part), "{text}: {}", wrong.what);
        }
    }

    proptest! {
        #[test]
        fn nothing_is_too_odd_to_be_answered(text in "\\PC{0,40}") {
            let _ = Cron::from_text(&text);
        }

        #[test]
        fn allowed_numbers_are_in_range_and_sorted(text in "[0-9*/,-]{1,12}( [0-9*/,-]{1,6}){4}") {
            if let Ok(line) = Cron::from_text(&text) {
                for (allowed, low, high) in [
                    (&line.minutes, 0, 59), (&line.hours, 0, 23), (&line.days, 1, 31),
                    (&line.months, 1, 12), (&line.weekdays, 0, 6),
                ] {
                    prop_assert!(!allowed.is_empty());
                    prop_assert!(allowed.is_sorted() && allowed.iter().all(|n| (low..=high).contains(n)));
                }
            }
        }
    }
}
