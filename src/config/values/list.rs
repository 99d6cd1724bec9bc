//! Arrays of one kind of value; comma-separated in a Config Var.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::Spanned;
use toml::de::DeValue;

use super::{Value, Wrong};

/// At least `MIN` values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List<T, const MIN: usize = 0>(pub Vec<T>);

impl<T: Value, const MIN: usize> List<T, MIN> {
    fn long_enough(items: Vec<T>) -> Result<Self, Wrong> {
        if items.len() < MIN {
            return Err(Wrong::key(
                format!("needs at least {MIN} entry"),
                Some("or leave the key out".into()),
            ));
        }
        Ok(Self(items))
    }
}

impl<T: Value, const MIN: usize> Value for List<T, MIN> {
    const SENSITIVE: bool = T::SENSITIVE;

    fn expected() -> String {
        "an array".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        Self::long_enough(items.map(T::from_text).collect::<Result<_, _>>()?)
    }

    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Wrong>> {
        let DeValue::Array(items) = value.get_ref() else {
            let mut wrong = Wrong::kind(&Self::expected(), value.get_ref());
            if matches!(value.get_ref(), DeValue::String(_)) {
                wrong.help = Some("put the value in square brackets".to_owned());
            }
            return Err(vec![wrong]);
        };
        let mut good = Vec::new();
        let mut bad = Vec::new();
        for item in items.iter() {
            match T::from_toml(item) {
                Ok(item) => good.push(item),
                Err(wrong) => bad.extend(wrong.into_iter().map(|wrong| Wrong {
                    // Without the entry in front of it, the sentence is about the list.
                    what: if wrong.about_key || T::SENSITIVE {
                        format!("has an entry that {}", wrong.what)
                    } else {
                        wrong.what
                    },
                    span: wrong.span.or(Some(item.span())),
                    ..wrong
                })),
            }
        }
        if bad.is_empty() { Self::long_enough(good).map_err(|wrong| vec![wrong]) } else { Err(bad) }
    }
}

impl<T: JsonSchema, const MIN: usize> JsonSchema for List<T, MIN> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("ListOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = json_schema!({ "type": "array", "items": generator.subschema_for::<T>() });
        if MIN > 0 {
            schema.insert("minItems".to_owned(), MIN.into());
        }
        schema
    }
}
