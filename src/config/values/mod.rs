//! Typed values: each knows how to read itself from the file and from a Config Var, and
//! describes itself to the schema. One type, one rule: nothing is checked twice.

pub mod choice;
pub mod cron;
pub mod database_url;
pub mod form;
pub mod list;
pub mod number;
pub mod period;
pub mod secret;
pub mod session;
pub mod size;
pub mod switch;
pub mod template;
pub mod text;
pub mod version;
pub mod web_url;
pub mod zone;

use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

pub use period::Period;
pub use secret::Secret;
pub use size::Size;

/// Why a value is refused. Never holds the value itself, so that it can be shown for a secret too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// A verb phrase after the key or the value: "is not a duration", "must be a string, not an integer".
    pub what: String,
    /// What to write instead.
    pub help: Option<String>,
    /// `what` is about the key ("must be …"), so that the value is not repeated in front of it.
    pub about_key: bool,
    /// A part of the value, when not all of it is wrong.
    pub span: Option<Range<usize>>,
}

impl Wrong {
    /// A value that is not what it should be; the value goes in front of `what`.
    pub fn value(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self { what: what.into(), help: Some(help.into()), about_key: false, span: None }
    }

    /// A value of the wrong type or a key that is wrong as a whole.
    pub fn key(what: impl Into<String>, help: Option<String>) -> Self {
        Self { what: what.into(), help, about_key: true, span: None }
    }

    /// "must be a string, not an integer".
    pub fn kind(expected: &str, found: &DeValue<'_>) -> Self {
        let help = match found {
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_)
                if expected.starts_with("a string") || expected.starts_with("one of") =>
            {
                Some("put the value in double quotes".to_owned())
            }
            DeValue::String(_)
                if ["an integer", "a number", "true or false"].iter().any(|e| expected.starts_with(e)) =>
            {
                Some("write the value without quotes".to_owned())
            }
            _ if ["an integer", "a number", "true or false"].iter().any(|e| expected.starts_with(e)) => {
                Some(format!("write {expected}"))
            }
            _ => None,
        };
        Self::key(format!("must be {expected}, not {}", kind_of(found)), help)
    }
}

/// What `[[…]]` makes.
pub(crate) const ARRAY_OF_TABLES: &str = "an array of tables";

/// What TOML calls the type of this value, with its article.
pub(crate) fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(items)
            if items.iter().next().is_some() && items.iter().all(|item| item.get_ref().is_table()) =>
        {
            ARRAY_OF_TABLES
        }
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// What `\s` means in the schema's patterns (ECMA 262): Unicode white space and the byte order mark.
pub(crate) fn is_space(c: char) -> bool {
    (c.is_whitespace() && c != '\u{85}') || c == '\u{feff}'
}

/// A value of the file.
pub trait Value: Sized {
    /// What the value must be, for messages: "a string", "an integer from 2 to 20".
    fn expected() -> String {
        "a string".to_owned()
    }

    /// A problem with this value must not show it.
    const SENSITIVE: bool = false;

    /// Reads a Config Var, and a string of the file. The text is not empty when it comes from a Config Var.
    fn from_text(text: &str) -> Result<Self, Wrong>;

    /// Reads a value of the file.
    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Wrong>> {
        match value.get_ref() {
            DeValue::String(text) => Self::from_text(text).map_err(|wrong| vec![wrong]),
            other => Err(vec![Wrong::kind(&Self::expected(), other)]),
        }
    }
}

impl Value for bool {
    fn expected() -> String {
        "true or false".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        match text {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(Wrong::value("is not true or false", "write true or false")),
        }
    }

    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Wrong>> {
        match value.get_ref() {
            DeValue::Boolean(flag) => Ok(*flag),
            other => Err(vec![Wrong::kind(&Self::expected(), other)]),
        }
    }
}
