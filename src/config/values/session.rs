//! The name of a stored session; never a credential.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{Value, Wrong};

/// A plain name. In this family of bots people put whole credentials into SESSION_ID: those are
/// refused, and no value of this key is ever shown in a problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionId(pub String);

impl SessionId {
    /// The form as a regular expression (ECMA 262).
    pub const PATTERN: &'static str = "^[A-Za-z0-9._-]{1,64}$";
}

const NAME: &str = "a session id is a plain name of 1 to 64 letters, digits, \".\", \"_\" and \"-\"";

impl Value for SessionId {
    const SENSITIVE: bool = true;

    fn from_text(text: &str) -> Result<Self, Wrong> {
        if is_credential(text) {
            return Err(Wrong::value(
                "is a credential, not a name (its value is not shown)",
                format!(
                    "{NAME}, for example \"main\"; the session itself is kept in the database: link the \
                     phone once by QR"
                ),
            ));
        }
        let plain = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if plain {
            Ok(Self(text.to_owned()))
        } else {
            Err(Wrong::value("is not a session id", format!("{NAME}, for example \"main\"")))
        }
    }
}

impl JsonSchema for SessionId {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "SessionId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": Self::PATTERN })
    }
}

/// The forms in which bots of this family carry a session or a pointer to one: a prefix and base64 of
/// creds.json (plain or gzip), raw JSON, `levanter_` ids, mega, pastebin and upload-server ids.
fn is_credential(text: &str) -> bool {
    let text = text.trim();
    let separators = ["!", "~", ";;;", "=>", "#", "&", "://", "{", "\""];
    if text.len() > 64 || separators.iter().any(|mark| text.contains(mark)) {
        return true;
    }
    let lower = text.to_ascii_lowercase();
    let after = |prefix: &str| lower.strip_prefix(prefix).is_some_and(|id| id.len() >= 6);
    // An opaque id on somebody's server.
    if after("levanter_") || after("x-king-") || after("suhail_") {
        return true;
    }
    // base64 of `{"` and of a gzip header, behind any head.
    let blob = ["eyJ", "H4sI"].iter().any(|mark| {
        text.find(mark).is_some_and(|at| {
            text.len() - at >= 20 && (at == 0 || !text.as_bytes()[at - 1].is_ascii_alphanumeric())
        })
    });
    let longest_word = text.split(|c: char| !c.is_ascii_alphanumeric()).map(str::len).max().unwrap_or(0);
    blob || longest_word >= 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_names() {
        for name in ["main", "BLACKSKY-MD", "BlackskyMD", "a", "my.bot_2", "levanter", "SUHAIL", "X-KING"] {
            assert!(SessionId::from_text(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn credentials_are_refused_and_not_shown() {
        for credential in [
            "KnightBot!H4sIAAAAAAAAA5VU",
            "levanter_0123456789abcdef0123456789abcdef01",
            "Zokou;;;=>eyJub2lzZUtleSI6eyJwcml2YXRlIjp7In0",
            "eyJub2lzZUtleSI6eyJwcml2YXRlIjp7",
            "BWM-XMD;;;H4sIAAAAAAAAA5VU",
            "MAFIA-MD~eyJub2lzZUtleSI6eyJ",
            "SUHAIL_12_30_01_02_eyJjcmVkcy5qc29uIjoi",
            "nexus~AbCdEf#GhIjKl",
            "Ethix-MD&aBcDeFgH",
            "garfield~aBcDeFgH",
            "X-KING-aBcDeFgH",
            "{\"noiseKey\":{}}",
            "https://mega.nz/file/abc",
            "0123456789abcdef0123456789abcdef",
        ] {
            let wrong = SessionId::from_text(credential).unwrap_err();
            assert!(wrong.what.contains("credential"), "{credential}: {}", wrong.what);
            let shown = format!("{} {:?}", wrong.what, wrong.help);
            assert!(!shown.contains(&credential[credential.len() - 6..]), "{shown}");
        }
    }

    proptest! {
        #[test]
        fn never_more_than_the_pattern(text in prop_oneof!["\\PC{0,70}", "[A-Za-z0-9._-]{0,70}"]) {
            let schema = schemars::schema_for!(SessionId);
            if SessionId::from_text(&text).is_ok() {
                prop_assert!(jsonschema::is_valid(schema.as_value(), &serde_json::Value::from(text)));
            }
        }
    }
}
