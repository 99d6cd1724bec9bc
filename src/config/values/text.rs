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

/// Secret keys of at least `MIN` characters each, the newest first, separated by commas. White space around
/// a key is not counted and not kept.
#[derive(Debug, Clone)]
pub struct SecretKeys<const MIN: usize>(pub Secret);

impl<const MIN: usize> Value for SecretKeys<MIN> {
    const SENSITIVE: bool = true;

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let keys: Vec<&str> = text.split(',').map(|key| key.trim_matches(super::is_space)).collect();
        if keys.len() > 1 && keys.contains(&"") {
            return Err(Wrong::key(
                "has an empty key before, between or after its commas",
                Some(
                    "write NEW,OLD while the key is changed, and one key without a comma otherwise"
                        .to_owned(),
                ),
            ));
        }
        if keys.iter().any(|key| key.chars().count() < MIN) {
            let what = if keys.len() == 1 { "is shorter" } else { "holds a key that is shorter" };
            return Err(Wrong::key(
                format!("{what} than {MIN} characters"),
                Some("make one with: openssl rand -hex 32".to_owned()),
            ));
        }
        Ok(Self(Secret::new(keys.join(","))))
    }
}

impl<const MIN: usize> JsonSchema for SecretKeys<MIN> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("SecretKeysOf{MIN}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let middle = MIN.saturating_sub(2);
        let key = format!(r"\s*[^\s,][^,]{{{middle},}}[^\s,]\s*");
        json_schema!({ "type": "string", "minLength": MIN, "pattern": format!("^{key}(,{key})*$") })
    }
}

#[cfg(test)]
mod tests {
    use super::SecretKeys;
    use crate::config::values::Value as _;

    #[test]
    fn keys_are_trimmed_and_the_first_stays_first() {
        let keys =
            SecretKeys::<16>::from_text("  the new one of two ,\tthe old one of the two\n").map(|k| k.0);
        assert_eq!(keys.expect("is good").expose(), "the new one of two,the old one of the two");
    }

    #[test]
    fn an_empty_key_is_refused() {
        for text in [
            ",",
            "the new one of two,",
            ",the old one of the two",
            "the new one of two, ,the old one of the two",
        ] {
            let wrong = SecretKeys::<16>::from_text(text).expect_err("has an empty key");
            assert!(wrong.what.contains("empty key"), "{text}: {}", wrong.what);
        }
    }
}
