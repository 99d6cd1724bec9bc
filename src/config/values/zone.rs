//! Time zones by their names in the IANA database.

use std::borrow::Cow;

use chrono_tz::{TZ_VARIANTS, Tz};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{Value, Wrong};
use crate::config::suggest;

/// A time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zone(pub Tz);

impl Value for Zone {
    fn expected() -> String {
        "a string such as \"Europe/Berlin\"".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        text.parse().map(Self).map_err(|_| {
            let help = match suggest::nearest(text, TZ_VARIANTS.iter().map(|zone| zone.name())) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "write a name such as \"Europe/Berlin\", \"Asia/Kolkata\" or \"UTC\"".to_owned(),
            };
            Wrong::value("is not the name of a time zone", help)
        })
    }
}

impl JsonSchema for Zone {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Zone".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_+/-]{1,40}$", "examples": ["Europe/Berlin"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_and_slips_are_found() {
        assert_eq!(Zone::from_text("Asia/Kolkata").expect("a zone").0, Tz::Asia__Kolkata);
        let wrong = Zone::from_text("Europe/Berln").expect_err("no zone");
        assert_eq!(wrong.help.as_deref(), Some("did you mean \"Europe/Berlin\"?"));
        assert!(Zone::from_text("+02:00").is_err());
    }
}
