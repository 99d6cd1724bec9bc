//! Numbers with their range in the type, so that loader and schema cannot differ.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::Spanned;
use toml::de::DeValue;

use super::{Value, Wrong};

/// A whole number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole<const MIN: u32, const MAX: u32>(pub u32);

impl<const MIN: u32, const MAX: u32> Whole<MIN, MAX> {
    fn in_range(number: Option<i128>) -> Result<Self, Wrong> {
        number
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| (MIN..=MAX).contains(number))
            .map(Self)
            .ok_or_else(|| Wrong::value("is out of range", format!("write a number from {MIN} to {MAX}")))
    }
}

impl<const MIN: u32, const MAX: u32> Value for Whole<MIN, MAX> {
    fn expected() -> String {
        format!("an integer from {MIN} to {MAX}")
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        match text.parse::<i128>() {
            Ok(number) => Self::in_range(Some(number)),
            Err(_) => {
                Err(Wrong::value("is not a whole number", format!("write a number from {MIN} to {MAX}")))
            }
        }
    }

    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Wrong>> {
        match value.get_ref() {
            DeValue::Integer(number) => {
                Self::in_range(i128::from_str_radix(number.as_str(), number.radix()).ok())
                    .map_err(|wrong| vec![wrong])
            }
            // JSON, and so the schema, knows no difference between 3 and 3.0.
            DeValue::Float(number) => match number.as_str().parse::<f64>() {
                // A float that is cut to i128 keeps its value or is far outside of u32.
                Ok(number) if number.fract() == 0.0 => {
                    Self::in_range(Some(number as i128)).map_err(|wrong| vec![wrong])
                }
                _ => Err(vec![Wrong::kind(&Self::expected(), value.get_ref())]),
            },
            other => Err(vec![Wrong::kind(&Self::expected(), other)]),
        }
    }
}

impl<const MIN: u32, const MAX: u32> JsonSchema for Whole<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("WholeFrom{MIN}To{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

/// A number from `MIN` to `MAX`, both whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Real<const MIN: u32, const MAX: u32>(pub f64);

impl<const MIN: u32, const MAX: u32> Real<MIN, MAX> {
    fn help() -> String {
        format!("write a number from {MIN} to {MAX}, for example {MIN}.5")
    }

    fn in_range(number: f64) -> Result<Self, Wrong> {
        // NaN is in no range.
        if (f64::from(MIN)..=f64::from(MAX)).contains(&number) {
            Ok(Self(number))
        } else {
            Err(Wrong::value("is out of range", Self::help()))
        }
    }
}

impl<const MIN: u32, const MAX: u32> Value for Real<MIN, MAX> {
    fn expected() -> String {
        format!("a number from {MIN} to {MAX}")
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        match text.parse::<f64>() {
            Ok(number) => Self::in_range(number),
            Err(_) => Err(Wrong::value("is not a number", Self::help())),
        }
    }

    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Wrong>> {
        let number = match value.get_ref() {
            DeValue::Float(number) => number.as_str().parse().unwrap_or(f64::NAN),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .ok()
                .and_then(|number| i32::try_from(number).ok())
                .map_or(f64::NAN, f64::from),
            other => return Err(vec![Wrong::kind(&Self::expected(), other)]),
        };
        Self::in_range(number).map_err(|wrong| vec![wrong])
    }
}

impl<const MIN: u32, const MAX: u32> JsonSchema for Real<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("RealFrom{MIN}To{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": MIN, "maximum": MAX })
    }
}
