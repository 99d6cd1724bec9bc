//! A length of time written with its unit: "30s", "5m".

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{Value, Wrong};

/// A duration of the file, such as "30s" or "5m".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

/// Units with their length in milliseconds, longest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Period {
    /// The duration.
    pub const fn get(self) -> Duration {
        self.0
    }

    /// So many seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// So many milliseconds.
    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    fn parse(text: &str) -> Option<Self> {
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
        let length = UNITS.iter().find(|(name, _)| *name == unit)?.1;
        if number.len() > 1 && number.starts_with('0') {
            return None;
        }
        // What does not fit is far outside every range.
        let millis = match number.parse::<u64>() {
            Ok(number) => number.saturating_mul(length),
            Err(_) if number.is_empty() => return None,
            Err(_) => u64::MAX,
        };
        Some(Self::millis(millis))
    }
}

impl fmt::Display for Period {
    /// The form of the file, in the largest unit that says it exactly: "90s". Parts below a
    /// millisecond are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if millis == 0 {
            return f.write_str("0s");
        }
        let (unit, length) = UNITS.into_iter().find(|(_, length)| millis % length == 0).unwrap_or(("ms", 1));
        write!(f, "{}{unit}", millis / length)
    }
}

/// A [`Period`] from `MIN` to `MAX` milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeriodIn<const MIN: u64, const MAX: u64>(pub Period);

impl<const MIN: u64, const MAX: u64> Value for PeriodIn<MIN, MAX> {
    fn expected() -> String {
        "a string with a number and a unit such as \"30s\"".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let Some(period) = Period::parse(text) else {
            return Err(Wrong::value(
                "is not a duration",
                "write one whole number and its unit (ms, s, m, h, d), for example \"90s\" or \"5m\"",
            ));
        };
        if (Period::millis(MIN)..=Period::millis(MAX)).contains(&period) {
            Ok(Self(period))
        } else {
            Err(Wrong::value(
                "is out of range",
                format!("write a duration from \"{}\" to \"{}\"", Period::millis(MIN), Period::millis(MAX)),
            ))
        }
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for PeriodIn<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("PeriodFrom{MIN}To{MAX}").into()
    }

    /// JSON schema cannot compare durations, so the range is in the pattern; `x-from` and `x-to` are
    /// for the reference page.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": pattern(&UNITS, MIN, MAX),
            "x-from": Period::millis(MIN).to_string(),
            "x-to": Period::millis(MAX).to_string(),
        })
    }
}

/// Amounts from `min` to `max`, written in one of the units, as a regular expression (ECMA 262).
pub(super) fn pattern(units: &[(&str, u64)], min: u64, max: u64) -> String {
    let units: Vec<String> = units
        .iter()
        .filter_map(|(unit, length)| {
            let numbers = numbers(min.div_ceil(*length), max / length);
            (!numbers.is_empty()).then(|| format!("({}){unit}", numbers.join("|")))
        })
        .collect();
    format!("^({})$", units.join("|"))
}

/// The whole numbers from `from` to `to` as patterns, each of the form `12[3-7][0-9]{4}`.
fn numbers(mut from: u64, to: u64) -> Vec<String> {
    let mut patterns = Vec::new();
    while from <= to {
        // The longest run of free digits at the end for which all the block is in the range.
        let mut block = 1;
        let mut free = 0;
        while from >= block * 10 && from.is_multiple_of(block * 10) && to - from >= block * 10 - 1 {
            block *= 10;
            free += 1;
        }
        let (head, digit) = (from / block / 10, from / block % 10);
        let last = (digit + (to - from + 1) / block - 1).min(9);
        let head = if head == 0 { String::new() } else { head.to_string() };
        let digits = if digit == last { digit.to_string() } else { format!("[{digit}-{last}]") };
        let tail = match free {
            0 => String::new(),
            1 => "[0-9]".to_owned(),
            free => format!("[0-9]{{{free}}}"),
        };
        patterns.push(format!("{head}{digits}{tail}"));
        from += (last - digit + 1) * block;
    }
    patterns
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_it_writes() {
        for (text, millis) in [
            ("30s", 30_000),
            ("5m", 300_000),
            ("90m", 5_400_000),
            ("90s", 90_000),
            ("250ms", 250),
            ("1d", 86_400_000),
            ("0s", 0),
        ] {
            assert_eq!(Period::parse(text), Some(Period::millis(millis)), "{text}");
            assert_eq!(Period::millis(millis).to_string(), text);
        }
    }

    #[test]
    fn refuses_what_has_no_unit() {
        for text in
            ["", "30", "s", "30 s", "30parsecs", "1.5h", "-1s", "+1s", "30S", "05s", "1h30m", "5m3", "٣s"]
        {
            assert_eq!(Period::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn pattern_and_parser_agree(
            text in prop_oneof!["\\PC{0,8}", "[0-9]{0,7}(ms|s|m|h|d|w)?", "[1-9][0-9]{0,6}(ms|s|m|h)", "[0-9]{18,24}ms"]
        ) {
            use crate::config::values::form::tests::agree;
            agree::<PeriodIn<100, 200_000>>(&text);
            agree::<PeriodIn<1_000, 600_000>>(&text);
            agree::<PeriodIn<10, 86_400_000>>(&text);
            agree::<PeriodIn<0, 12_345>>(&text);
        }

        #[test]
        fn a_pattern_holds_its_bounds(min in 0u64..2_000_000, width in 0u64..2_000_000) {
            let max = min + width;
            let schema = serde_json::json!({ "type": "string", "pattern": pattern(&UNITS, min, max) });
            let fits = |millis: u64| {
                jsonschema::is_valid(&schema, &serde_json::Value::from(format!("{millis}ms")))
            };
            prop_assert!(fits(min) && fits(max) && fits(min + width / 2), "{}", pattern(&UNITS, min, max));
            prop_assert!(!fits(max + 1) && (min == 0 || !fits(min - 1)), "{}", pattern(&UNITS, min, max));
        }

        #[test]
        fn display_is_read_back(millis in 0u64..4_000_000_000_000) {
            let period = Period::millis(millis);
            prop_assert_eq!(Period::parse(&period.to_string()), Some(period));
        }
    }
}
