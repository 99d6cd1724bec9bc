//! The WhatsApp Web version.

use crate::config::WaVersion;

use super::{Value, Wrong};

impl WaVersion {
    /// The form as a regular expression (ECMA 262); every part fits 32 bits.
    pub const PATTERN: &'static str = "^[0-9]{1,9}\\.[0-9]{1,9}\\.([0-9]{1,9}|[1-3][0-9]{9}|4[01][0-9]{8})$";

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let mut next = |longest: usize| {
            let part = parts.next()?;
            let plain = (1..=longest).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| part.parse::<u32>().ok())?
        };
        let (first, second) = (next(9)?, next(9)?);
        let third = parts.next()?;
        let digits = third.bytes().all(|b| b.is_ascii_digit());
        let fits = match third.len() {
            1..=9 => digits,
            // Below 4,200,000,000 without a leading zero: what a pattern can say of "fits 32 bits".
            10 => digits && ("1000000000".."4200000000").contains(&third),
            _ => false,
        };
        if !fits || parts.next().is_some() {
            return None;
        }
        Some(Self(first, second, third.parse().ok()?))
    }
}

impl std::fmt::Display for WaVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl Value for WaVersion {
    fn from_text(text: &str) -> Result<Self, Wrong> {
        Self::parse(text).ok_or_else(|| {
            Wrong::value(
                "is not a WhatsApp Web version",
                "write three numbers, for example \"2.3000.1023868176\"",
            )
        })
    }
}

impl schemars::JsonSchema for WaVersion {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "WaVersion".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": Self::PATTERN })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_it_writes() {
        let version = WaVersion(2, 3000, 1_023_868_176);
        assert_eq!(WaVersion::parse(&version.to_string()), Some(version));
    }

    proptest! {
        #[test]
        fn pattern_and_parser_agree(text in prop_oneof!["[0-9.]{0,24}", "[0-9]{1,10}\\.[0-9]{1,10}\\.[0-9]{1,11}"]) {
            crate::config::values::form::tests::agree::<WaVersion>(&text);
        }
    }
}
