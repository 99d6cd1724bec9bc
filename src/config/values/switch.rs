//! "auto", true or false.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::Spanned;
use toml::de::DeValue;

use super::{Value, Wrong};

/// A switch that may be left to blacksky.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    Auto,
    On,
    Off,
}

impl Switch {
    /// As it stands in the file.
    pub fn to_value(self) -> serde_json::Value {
        match self {
            Self::Auto => "auto".into(),
            Self::On => true.into(),
            Self::Off => false.into(),
        }
    }
}

impl Value for Switch {
    fn expected() -> String {
        "\"auto\", true or false".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        match text {
            "auto" => Ok(Self::Auto),
            "true" | "1" => Ok(Self::On),
            "false" | "0" => Ok(Self::Off),
            _ => Err(Wrong::value("is not \"auto\", true or false", "write \"auto\", true or false")),
        }
    }

    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Wrong>> {
        match value.get_ref() {
            DeValue::Boolean(true) => Ok(Self::On),
            DeValue::Boolean(false) => Ok(Self::Off),
            DeValue::String(text) if text == "auto" => Ok(Self::Auto),
            DeValue::String(_) => Err(vec![Wrong::value(
                "is not \"auto\", true or false",
                "write \"auto\" with quotes, or true or false without",
            )]),
            other => Err(vec![Wrong::kind(&Self::expected(), other)]),
        }
    }
}

impl JsonSchema for Switch {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Switch".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": ["auto", true, false] })
    }
}
