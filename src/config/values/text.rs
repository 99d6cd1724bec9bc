//! Free text with its length in the type.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{Secret, Value, Wrong};

/// Text of `MIN` to `MAX` characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text<const MIN: usize, const MAX: usize>(pub String);

impl<const MIN: usize, const MAX: usize> Value for Text<MIN, MAX> {
    fn from_text(text: &str) -> Result<Self, Wrong> {
        let length = text.chars().count();
        if length < MIN {
            let what = if length == 0 { "must not be empty" } else { "is too short" };
            return Err(Wrong::key(what, Some(format!("write {MIN} to {MAX} characters"))));
        }
        if length > MAX {
            return Err(Wrong::key(
                format!("has {length} characters, at most {MAX} are allowed"),
                Some("write a shorter text".to_owned()),
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl<const MIN: usize, const MAX: usize> JsonSchema for Text<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("TextOf{MIN}To{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema = json_schema!({ "type": "string", "maxLength": MAX });
        if MIN > 0 {
            schema.insert("minLength".to_owned(), MIN.into());
        }
        schema
    }
}

/// A secret of at least `MIN` characters, white space around it not counted and not kept.
#[derive(Debug, Clone)]
pub struct SecretText<const MIN: usize>(pub Secret);

impl<const MIN: usize> Value for SecretText<MIN> {
    const SENSITIVE: bool = true;

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let text = text.trim_matches(super::is_space);
        if text.chars().count() < MIN {
            return Err(Wrong::key(
                format!("is shorter than {MIN} characters"),
                Some("make one with: openssl rand -hex 32".to_owned()),
            ));
        }
        Ok(Self(Secret::new(text)))
    }
}

impl<const MIN: usize> JsonSchema for SecretText<MIN> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("SecretOf{MIN}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // `minLength` is for the reference page; the pattern leaves the white space around it out.
        let middle = MIN.saturating_sub(2);
        json_schema!({
            "type": "string",
            "minLength": MIN,
            "pattern": format!(r"^\s*\S[\s\S]{{{middle},}}\S\s*$"),
        })
    }
}
