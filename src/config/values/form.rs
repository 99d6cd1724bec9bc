//! Strings of one fixed form, each with the pattern that the schema carries.

use super::is_space;

/// Defines a string of one form. `fits` must agree with `pattern`; a property test holds them together.
macro_rules! form {
    ($(#[$doc:meta])* $vis:vis struct $name:ident;
     pattern $pattern:expr; fits $fits:expr; wrong $what:expr; help $help:expr; sensitive $sensitive:expr;) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
        $vis struct $name(pub String);

        impl $name {
            /// The form as a regular expression (ECMA 262), as the schema has it.
            pub const PATTERN: &'static str = $pattern;
        }

        impl $crate::config::values::Value for $name {
            const SENSITIVE: bool = $sensitive;

            fn from_text(text: &str) -> Result<Self, $crate::config::values::Wrong> {
                let fits: fn(&str) -> bool = $fits;
                if fits(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err($crate::config::values::Wrong::value($what, $help))
                }
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool { true }
            fn schema_name() -> std::borrow::Cow<'static, str> { stringify!($name).into() }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": Self::PATTERN })
            }
        }
    };
}

fn all(text: &str, allowed: fn(u8) -> bool) -> bool {
    text.bytes().all(allowed)
}

form! {
    /// Name of a bot: part of its Config Vars, so without `_`.
    pub struct BotName;
    pattern "^[a-z][a-z0-9]{0,30}$";
    fits |text| {
        (1..=31).contains(&text.len())
            && text.as_bytes()[0].is_ascii_lowercase()
            && all(text, |b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    wrong "is not a bot name";
    help "a bot name is 1 to 31 small letters and digits and begins with a letter, for example \"main\"";
    sensitive false;
}

form! {
    /// Whom a message is for: a phone number with country code as people write it, or the address of a chat.
    pub struct ChatAddress;
    pattern "^(\\+?[1-9]([-. ()/]*[0-9]){6,14}|[0-9-]{3,40}@(s\\.whatsapp\\.net|lid|g\\.us))$";
    fits |text| ChatAddress::jid_of(text).is_some();
    wrong "is neither a phone number nor the address of a chat";
    help "write the number with its country code, for example \"+4915112345678\", or an address such as \
          \"120363000000000000@g.us\"";
    sensitive false;
}

impl ChatAddress {
    /// The address at WhatsApp: a number becomes `…@s.whatsapp.net`.
    pub fn jid_of(text: &str) -> Option<String> {
        if let Some((user, server)) = text.split_once('@') {
            let known = ["s.whatsapp.net", "g.us", "lid"].contains(&server);
            let good =
                known && (3..=40).contains(&user.len()) && all(user, |b| b.is_ascii_digit() || b == b'-');
            return good.then(|| text.to_owned());
        }
        Self::digits_of(text).map(|digits| format!("{digits}@s.whatsapp.net"))
    }

    /// The digits of a phone number.
    pub fn digits_of(text: &str) -> Option<String> {
        let text = text.strip_prefix('+').unwrap_or(text);
        let known = all(text, |b| b.is_ascii_digit() || b"-. ()/".contains(&b));
        let (first, last) = (text.bytes().next()?, text.bytes().last()?);
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        let good = known && (b'1'..=b'9').contains(&first) && last.is_ascii_digit();
        (good && (7..=15).contains(&digits.len())).then_some(digits)
    }
}

form! {
    /// A Heroku stack.
    pub struct Stack;
    pattern "^heroku-[0-9]{2}$";
    fits |text| text.strip_prefix("heroku-").is_some_and(|n| n.len() == 2 && all(n, |b| b.is_ascii_digit()));
    wrong "is not a Heroku stack";
    help "write for example \"heroku-24\"";
    sensitive false;
}

form! {
    /// A Heroku add-on with its plan.
    pub struct Addon;
    pattern "^[a-z][a-z0-9-]{0,63}(:[a-z0-9][a-z0-9-]{0,63})?$";
    fits |text| {
        let (name, plan) = match text.split_once(':') {
            Some((name, plan)) => (name, Some(plan)),
            None => (text, None),
        };
        let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        (1..=64).contains(&name.len())
            && name.as_bytes()[0].is_ascii_lowercase()
            && all(name, word)
            && plan.is_none_or(|plan| {
                (1..=64).contains(&plan.len()) && plan.as_bytes()[0] != b'-' && all(plan, word)
            })
    };
    wrong "is not an add-on";
    help "write service:plan, for example \"heroku-postgresql:essential-0\"";
    sensitive false;
}

form! {
    /// A buildpack: a name of the registry or an https address.
    pub struct Buildpack;
    pattern "^(https://[^\\s@]{1,200}|[a-z0-9-]{1,64}/[a-z0-9-]{1,64})$";
    fits |text| match text.strip_prefix("https://") {
        Some(rest) => {
            (1..=200).contains(&rest.chars().count()) && !rest.chars().any(|c| is_space(c) || c == '@')
        }
        None => text.split_once('/').is_some_and(|(owner, name)| {
            [owner, name].iter().all(|part| {
                (1..=64).contains(&part.len())
                    && all(part, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            })
        }),
    };
    wrong "is not a buildpack";
    help "write its https address or its registry name, for example \"heroku/nodejs\"";
    sensitive false;
}

form! {
    /// Where the page is: a path that begins and ends with a slash.
    pub struct BasePath;
    pattern "^/([A-Za-z0-9][A-Za-z0-9._~-]{0,63}/){0,4}$";
    fits |text| {
        let parts: Vec<&str> = text.split('/').collect();
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return false };
        let inner = parts.get(1..parts.len() - 1).unwrap_or_default();
        first.is_empty() && last.is_empty() && parts.len() >= 2 && inner.len() <= 4 && inner.iter().all(|part| {
            (1..=64).contains(&part.len())
                && part.as_bytes()[0].is_ascii_alphanumeric()
                && all(part, |b| b.is_ascii_alphanumeric() || b"._~-".contains(&b))
        })
    };
    wrong "is not a base path";
    help "write a path that begins and ends with a slash, for example \"/blacksky/\"";
    sensitive false;
}

form! {
    /// Where a hosted bot keeps its session: a path below the folder of the file.
    pub struct SessionPath;
    pattern "^(\\./)?\\.?[A-Za-z0-9_-][A-Za-z0-9._-]{0,62}(/\\.?[A-Za-z0-9_-][A-Za-z0-9._-]{0,62}){0,7}$";
    fits |text| {
        let parts: Vec<&str> = text.strip_prefix("./").unwrap_or(text).split('/').collect();
        parts.len() <= 8 && parts.iter().all(|part| {
            let name = part.strip_prefix('.').unwrap_or(part);
            (1..=63).contains(&name.len())
                && (name.as_bytes()[0].is_ascii_alphanumeric() || b"_-".contains(&name.as_bytes()[0]))
                && all(name, |b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        })
    };
    wrong "is not a path below the bot's folder";
    help "write it from the folder of blacksky.toml, for example \"sessions\" or \"data/auth\"";
    sensitive false;
}

form! {
    /// Who may use a command: a phone number or a chat id. Personal, so never shown.
    pub struct Contact;
    pattern "^(\\+?[0-9]{5,20}|[0-9A-Za-z._:-]{1,64}@(s\\.whatsapp\\.net|lid|g\\.us))$";
    fits |text| match text.split_once('@') {
        Some((user, server)) => {
            ["s.whatsapp.net", "lid", "g.us"].contains(&server)
                && (1..=64).contains(&user.len())
                && all(user, |b| b.is_ascii_alphanumeric() || b"._:-".contains(&b))
        }
        None => {
            let number = text.strip_prefix('+').unwrap_or(text);
            (5..=20).contains(&number.len()) && all(number, |b| b.is_ascii_digit())
        }
    };
    wrong "is not a phone number or a chat id";
    help "write the number with its country code and without spaces, for example \"+491701234567\", \
          or a chat id such as \"…@g.us\"";
    sensitive true;
}

form! {
    /// First word of a command, without the prefix.
    pub struct Trigger;
    pattern "^[^\\s]{1,64}$";
    fits |text| (1..=64).contains(&text.chars().count()) && !text.chars().any(is_space);
    wrong "is not a trigger";
    help "a trigger is one word of 1 to 64 characters without spaces";
    sensitive false;
}

form! {
    /// What a message is reacted to with.
    pub struct Emoji;
    pattern "^[^\\s]{1,16}$";
    fits |text| (1..=16).contains(&text.chars().count()) && !text.chars().any(is_space);
    wrong "is not an emoji";
    help "write one emoji, for example \"👍\"";
    sensitive false;
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::config::values::Value;
    use proptest::prelude::*;

    /// The loader's check and the schema's pattern say the same about a text.
    pub(crate) fn agree<T: Value + schemars::JsonSchema>(text: &str) {
        let schema = schemars::SchemaGenerator::default().into_root_schema_for::<T>();
        let accepts = jsonschema::is_valid(schema.as_value(), &serde_json::Value::from(text));
        assert_eq!(T::from_text(text).is_ok(), accepts, "{text:?} against {}", schema.as_value());
    }

    proptest! {
        #[test]
        fn pattern_and_check_agree(
            text in prop_oneof![
                "\\PC{0,70}",
                "[a-z0-9:/@.+ -]{0,40}",
                "(heroku-)?[0-9a-z]{0,3}",
                "[a-z]{0,3}[:/][a-z0-9-]{0,66}",
                "https://[a-z@ \u{85}\u{feff}\u{a0}/]{0,5}",
                "\\+?[0-9]{3,22}",
                "/?([a-zA-Z0-9._~-]{0,2}/){0,5}",
                "[a-z0-9:-]{0,3}@(lid|g\\.us|s\\.whatsapp\\.net|gxus)",
            ]
        ) {
            agree::<BotName>(&text);
            agree::<Stack>(&text);
            agree::<Addon>(&text);
            agree::<Buildpack>(&text);
            agree::<BasePath>(&text);
            agree::<SessionPath>(&text);
            agree::<Contact>(&text);
            agree::<Trigger>(&text);
        }
    }
}
