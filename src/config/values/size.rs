//! An amount of memory or disk written with its unit: "512MB".

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{Value, Wrong};

/// A number of bytes of the file, such as "512MB".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

/// Units with their length in bytes, longest first. As Heroku counts: 1 MB is 1024 KB.
const UNITS: [(&str, u64); 4] = [("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10), ("B", 1)];

impl Size {
    /// So many bytes.
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many MB of 1024 KB.
    pub const fn megabytes(megabytes: u64) -> Self {
        Self(megabytes << 20)
    }

    /// The number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
        let length = UNITS.iter().find(|(name, _)| *name == unit)?.1;
        if number.is_empty() || (number.len() > 1 && number.starts_with('0')) {
            return None;
        }
        // What does not fit is far outside every range.
        Some(Self(number.parse::<u64>().map_or(u64::MAX, |number| number.saturating_mul(length))))
    }
}

impl fmt::Display for Size {
    /// The form of the file, in the largest unit that says it exactly: "512MB".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = UNITS.into_iter().find(|(_, length)| self.0 >= *length && self.0.is_multiple_of(*length));
        let (unit, length) = whole.unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / length)
    }
}

/// A [`Size`] from `MIN` to `MAX` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeIn<const MIN: u64, const MAX: u64>(pub Size);

impl<const MIN: u64, const MAX: u64> Value for SizeIn<MIN, MAX> {
    fn expected() -> String {
        "a string with a number and a unit such as \"512MB\"".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let Some(size) = Size::parse(text) else {
            return Err(Wrong::value(
                "is not a size",
                "write one whole number and its unit (B, KB, MB, GB), for example \"512MB\"",
            ));
        };
        if (MIN..=MAX).contains(&size.0) {
            Ok(Self(size))
        } else {
            Err(Wrong::value(
                "is out of range",
                format!("write a size from \"{}\" to \"{}\"", Size(MIN), Size(MAX)),
            ))
        }
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for SizeIn<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("SizeFrom{MIN}To{MAX}").into()
    }

    /// JSON schema cannot compare sizes, so the range is in the pattern; `x-from` and `x-to` are for the
    /// reference page.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": super::period::pattern(&UNITS, MIN, MAX),
            "x-from": Size(MIN).to_string(),
            "x-to": Size(MAX).to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_it_writes() {
        for (text, bytes) in [("512MB", 512 << 20), ("1GB", 1 << 30), ("1500KB", 1_536_000), ("7B", 7)] {
            assert_eq!(Size::parse(text), Some(Size(bytes)), "{text}");
            assert_eq!(Size(bytes).to_string(), text);
        }
        assert_eq!(Size::parse("1024MB").map(|size| size.to_string()).as_deref(), Some("1GB"));
    }

    #[test]
    fn refuses_what_has_no_unit() {
        for text in ["", "512", "MB", "512 MB", "512mb", "512MiB", "1.5GB", "-1MB", "0512MB"] {
            assert_eq!(Size::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn pattern_and_parser_agree(text in prop_oneof!["\\PC{0,8}", "[0-9]{0,7}(B|KB|MB|GB|TB)?", "[1-9][0-9]{0,6}(KB|MB)"]) {
            use crate::config::values::form::tests::agree;
            agree::<SizeIn<1_048_576, 68_719_476_736>>(&text);
            agree::<SizeIn<0, 209_715_200>>(&text);
        }
    }
}
