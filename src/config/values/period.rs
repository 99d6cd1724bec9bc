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
    /// The form as a regular expression (ECMA 262): one or more numbers, each with its unit.
    pub const PATTERN: &'static str = "^([0-9]{1,9}(ms|s|m|h|d))+$";

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
        let mut rest = text;
        let mut millis: u64 = 0;
        while !rest.is_empty() || text.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            if !(1..=9).contains(&digits) {
                return None;
            }
            let (number, tail) = rest.split_at(digits);
            let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(unit);
            let length = UNITS.iter().find(|(name, _)| *name == unit)?.1;
            // Nine digits of days fit 2^57 ms; saturation is far outside every range.
            millis = millis.saturating_add(number.parse::<u64>().ok()?.saturating_mul(length));
            rest = tail;
        }
        Some(Self::millis(millis))
    }
}

impl fmt::Display for Period {
    /// The form of the file: "1m30s". Parts below a millisecond are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, length) in UNITS {
            if rest >= length {
                write!(f, "{}{unit}", rest / length)?;
                rest %= length;
            }
        }
        Ok(())
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
                "write a number and a unit (ms, s, m, h, d), for example \"30s\" or \"5m\"",
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

    /// JSON schema cannot compare durations: `x-from` and `x-to` are for the reference page.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": Period::PATTERN,
            "x-from": Period::millis(MIN).to_string(),
            "x-to": Period::millis(MAX).to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Any = PeriodIn<0, { u64::MAX }>;

    #[test]
    fn reads_what_it_writes() {
        for (text, millis) in [
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
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
            ["", "30", "s", "30 s", "30parsecs", "1.5h", "-1s", "+1s", "30S", "1000000000s", "5m3", "٣s"]
        {
            assert_eq!(Period::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn pattern_and_parser_agree(text in prop_oneof!["\\PC{0,8}", "([0-9]{0,10}(ms|s|m|h|d|w)?){0,4}"]) {
            crate::config::values::form::tests::agree::<Any>(&text);
        }

        #[test]
        fn display_is_read_back(millis in 0u64..4_000_000_000_000) {
            let period = Period::millis(millis);
            prop_assert_eq!(Period::parse(&period.to_string()), Some(period));
        }
    }
}
