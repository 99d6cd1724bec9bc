//! http and https addresses.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use url::Url;

use super::{Secret, Value, Wrong};

/// An http or https address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebUrl(pub Url);

/// User, host, port and the rest, without white space. What the URL parser alone knows (the form of
/// an IP address, international names) is not in it.
const WEB: &str = concat!(
    "^[hH][tT][tT][pP][sS]?://",
    r"([^\s/?#\\@]*@)?",
    r"(\[[0-9A-Fa-f:.]+\]|[^\s/?#@:\[\]<>|^%\\]+)",
    r"(:(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[0-9]{1,4})?)?",
    r"([/?#]\S*)?$"
);

impl Value for WebUrl {
    fn from_text(text: &str) -> Result<Self, Wrong> {
        let wrong = || {
            Wrong::value(
                "is not an http or https URL",
                "write the whole address, for example \"https://example.com\"",
            )
        };
        // The parser forgives "https:example.com" and white space; the schema does not.
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        if !["http", "https"].contains(&scheme.to_ascii_lowercase().as_str())
            || rest.starts_with(['/', '?', '#'])
            || rest.contains(super::is_space)
        {
            return Err(wrong());
        }
        Url::parse(text).map(Self).map_err(|_| wrong())
    }
}

impl JsonSchema for WebUrl {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "WebUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": WEB })
    }
}

/// An http or https address that is never shown, since whoever has it may use it.
#[derive(Debug, Clone)]
pub struct SecretUrl(pub Secret);

impl Value for SecretUrl {
    const SENSITIVE: bool = true;

    fn from_text(text: &str) -> Result<Self, Wrong> {
        WebUrl::from_text(text).map(|url| Self(Secret::new(url.0)))
    }
}

impl JsonSchema for SecretUrl {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "SecretUrl".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        WebUrl::json_schema(generator)
    }
}

/// An http or https address, or a path that begins with `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlOrPath(pub String);

impl Value for UrlOrPath {
    fn from_text(text: &str) -> Result<Self, Wrong> {
        if text.starts_with('/') && !text.contains(super::is_space) || WebUrl::from_text(text).is_ok() {
            Ok(Self(text.to_owned()))
        } else {
            Err(Wrong::value("is not a URL or a path", "write \"/\" or a whole https address"))
        }
    }
}

impl JsonSchema for UrlOrPath {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "UrlOrPath".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": format!("(^/[^\\s]*$|{WEB})") })
    }
}

/// The URL carries userinfo, or something like a token in its path or query.
pub fn is_secret(url: &Url) -> bool {
    !url.username().is_empty()
        || url.password().is_some()
        || url.path_segments().into_iter().flatten().any(looks_like_token)
        || url.query_pairs().any(|(_, value)| looks_like_token(&value))
}

/// At least 20 characters of a token's alphabet with letters and digits, as webhook addresses have them.
pub fn looks_like_token(text: &str) -> bool {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || "_-=+".contains(c))).any(|word| {
        word.len() >= 20
            && word.bytes().any(|b| b.is_ascii_digit())
            && word.bytes().any(|b| b.is_ascii_alphabetic())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["https://example.com", "HTTP://example.com/x?y", "http://[::1]:3000"] {
            assert!(WebUrl::from_text(good).is_ok(), "{good}");
        }
        for bad in ["example.com", "https:example.com", "https://", "ftp://example.com", "https:///x", ""] {
            assert!(WebUrl::from_text(bad).is_err(), "{bad}");
        }
        assert!(UrlOrPath::from_text("/status").is_ok());
        assert!(UrlOrPath::from_text("status").is_err());
    }

    #[test]
    fn tokens_are_seen() {
        for secret in
            ["https://user@example.com", "https://u:p@example.com", "https://h.example/AbC123dEf456GhI789jK"]
        {
            assert!(is_secret(&Url::parse(secret).unwrap()), "{secret}");
        }
        for open in ["https://github.com/octocat/blacksky", "https://my-app-1234567890ab.herokuapp.com/"] {
            assert!(!is_secret(&Url::parse(open).unwrap()), "{open}");
        }
    }
}
