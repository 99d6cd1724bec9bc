//! The text of a reply with its variables.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{Value, Wrong};
use crate::config::suggest;

/// What a reply may name between braces.
pub const VARIABLES: [&str; 3] = ["uptime", "sender", "args"];

/// `{1}` to `{9}`: what an expression captured.
fn is_capture(name: &str) -> bool {
    matches!(name.as_bytes(), [b'1'..=b'9'])
}

/// The highest capture that a template names.
pub fn highest_capture(template: &str) -> Option<usize> {
    let of_piece = |piece| match piece {
        Piece::Variable(name) if is_capture(name) => name.parse().ok(),
        _ => None,
    };
    pieces(template).into_iter().filter_map(of_piece).max()
}

/// A reply: text of 1 to 4096 characters in which `{uptime}`, `{sender}`, `{args}` and captures are filled in;
/// `{{` and `}}` are braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(pub String);

/// Fills a checked template in. A name that `value` does not know stays as it is written.
pub fn fill<'v>(template: &str, value: impl Fn(&str) -> Option<Cow<'v, str>>) -> String {
    let mut filled = String::with_capacity(template.len());
    for piece in pieces(template) {
        match piece {
            Piece::Text(text) => filled.push_str(text),
            Piece::Brace(brace) => filled.push(brace),
            Piece::Variable(name) => match value(name) {
                Some(value) => filled.push_str(&value),
                None => {
                    filled.push('{');
                    filled.push_str(name);
                    filled.push('}');
                }
            },
            Piece::Lone(brace) => filled.push(brace),
        }
    }
    filled
}

enum Piece<'t> {
    Text(&'t str),
    /// `{{` or `}}`.
    Brace(char),
    Variable(&'t str),
    /// A brace without its partner.
    Lone(char),
}

fn pieces(template: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        let (text, tail) = rest.split_at(at);
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        let brace = if tail.starts_with('{') { '{' } else { '}' };
        let after = &tail[1..];
        rest = if let Some(after) = after.strip_prefix(brace) {
            pieces.push(Piece::Brace(brace));
            after
        } else if let Some(end) =
            after.find(['{', '}']).filter(|end| brace == '{' && after[*end..].starts_with('}'))
        {
            pieces.push(Piece::Variable(&after[..end]));
            &after[end + 1..]
        } else {
            pieces.push(Piece::Lone(brace));
            after
        };
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    pieces
}

impl Template {
    /// Characters, as WhatsApp shows a message without folding it.
    pub const LONGEST: usize = 4096;

    /// The form as a regular expression (ECMA 262).
    pub const PATTERN: &'static str = "^([^{}]|\\{\\{|\\}\\}|\\{(uptime|sender|args|[1-9])\\})+$";
}

impl Value for Template {
    fn expected() -> String {
        "a string".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let length = text.chars().count();
        if !(1..=Self::LONGEST).contains(&length) {
            let what =
                if length == 0 { "must not be empty".to_owned() } else { format!("has {length} characters") };
            return Err(Wrong::key(what, Some(format!("write 1 to {} characters", Self::LONGEST))));
        }
        for piece in pieces(text) {
            match piece {
                Piece::Variable(name) if VARIABLES.contains(&name) || is_capture(name) => {}
                Piece::Variable(name) => {
                    let known = "the variables are {uptime}, {sender} and {args}; {{ and }} write braces";
                    let help = match suggest::nearest(name, VARIABLES.iter().copied()) {
                        Some(near) => format!("did you mean {{{near}}}? {known}"),
                        None => known.to_owned(),
                    };
                    let name = suggest::showable(name);
                    return Err(Wrong::key(format!("has an unknown variable {{{name}}}"), Some(help)));
                }
                Piece::Lone(brace) => {
                    return Err(Wrong::key(
                        format!("has a \"{brace}\" without its partner"),
                        Some(format!("write {brace}{brace} for a brace")),
                    ));
                }
                Piece::Text(_) | Piece::Brace(_) => {}
            }
        }
        Ok(Self(text.to_owned()))
    }
}

impl JsonSchema for Template {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Template".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": Self::LONGEST, "pattern": Self::PATTERN })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fills_in() {
        let text = "up {uptime}, {{not}} {sender}: {args}";
        let filled = fill(text, |name| Some(Cow::Owned(name.to_uppercase())));
        assert_eq!(filled, "up UPTIME, {not} SENDER: ARGS");
    }

    #[test]
    fn a_value_with_braces_is_not_filled_again() {
        assert_eq!(fill("{args}", |_| Some("{uptime}".into())), "{uptime}");
    }

    #[test]
    fn unknown_variables_are_named() {
        let wrong = Template::from_text("hi {sendr}").unwrap_err();
        assert!(wrong.what.contains("{sendr}") && wrong.help.unwrap().contains("did you mean {sender}?"));
        assert!(Template::from_text("a } b").is_err());
        assert!(Template::from_text("a {uptime").is_err());
        assert!(Template::from_text("").is_err());
    }

    proptest! {
        #[test]
        fn pattern_and_check_agree(text in "([{}a]|\\{uptime\\}|\\{args\\}|\\{[0-9]\\}|\n|é){0,9}") {
            crate::config::values::form::tests::agree::<Template>(&text);
        }
    }
}
