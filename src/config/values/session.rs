//! The name of a stored session, or a session id that carries a login for a hosted bot to begin with.

pub mod blob;

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::Spanned;
use toml::de::DeValue;

use super::{Value, Wrong};
use blob::Blob;

/// What `session` says. In this family of bots people put whole credentials into SESSION_ID: a file never holds
/// them, and no value of this key is ever shown in a problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionId {
    /// A plain name.
    Name(String),
    /// A login, from a Config Var. Only a hosted bot can take it.
    Login(Blob),
    /// A credential that holds no login that reads; why, in words.
    Unreadable(&'static str),
}

impl SessionId {
    /// The form as a regular expression (ECMA 262).
    pub const PATTERN: &'static str = "^[A-Za-z0-9._-]{1,64}$";
}

const NAME: &str = "a session id is a plain name of 1 to 64 letters, digits, \".\", \"_\" and \"-\"";

/// Why a login is refused, and what to do.
pub fn refused_login() -> Wrong {
    Wrong::value(
        "is a credential, not a name (its value is not shown)",
        format!(
            "{NAME}, for example \"main\"; the session itself is kept in the database: link the phone once by QR. \
             Only a hosted bot can begin with such a login, and only from the Config Var SESSION_ID"
        ),
    )
}

/// Why a hosted bot cannot begin with it, and what to do.
pub fn refused_pointer(why: &str) -> Wrong {
    Wrong::value(
        format!("is a credential that cannot be imported: {why} (its value is not shown)"),
        "blacksky fetches no login from anybody's server. Unset it and link the phone once by the QR on the page; \
         or, where the bot is still linked, take its session folder along: it is taken over",
    )
}

fn name(text: &str) -> Result<SessionId, Wrong> {
    let plain = (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if plain {
        Ok(SessionId::Name(text.to_owned()))
    } else {
        Err(Wrong::value("is not a session id", format!("{NAME}, for example \"main\"")))
    }
}

impl Value for SessionId {
    const SENSITIVE: bool = true;

    /// A Config Var.
    fn from_text(text: &str) -> Result<Self, Wrong> {
        if !is_credential(text) {
            return name(text);
        }
        Ok(Blob::read(text).map_or_else(|| Self::Unreadable(blob::elsewhere(text)), Self::Login))
    }

    /// The file is committed and deployed, so no login belongs there.
    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Wrong>> {
        match value.get_ref() {
            DeValue::String(text) if is_credential(text) => Err(vec![refused_login()]),
            DeValue::String(text) => name(text).map_err(|wrong| vec![wrong]),
            other => Err(vec![Wrong::kind(&Self::expected(), other)]),
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
            let Ok(SessionId::Unreadable(why)) = SessionId::from_text(credential) else {
                panic!("{credential}")
            };
            let wrong = refused_pointer(why);
            let shown = format!("{} {:?}", wrong.what, wrong.help);
            assert!(!shown.contains(&credential[credential.len() - 6..]), "{shown}");
        }
    }

    #[test]
    fn a_login_is_read_from_a_config_var_only() {
        use base64::Engine as _;
        let login = format!("X!{}", base64::prelude::BASE64_STANDARD.encode(blob::tests::CREDS_TEXT));
        assert!(matches!(SessionId::from_text(&login), Ok(SessionId::Login(_))));
        let value = Spanned::new(0..1, DeValue::String(login.into()));
        let wrong = SessionId::from_toml(&value).unwrap_err();
        assert!(wrong[0].help.as_ref().is_some_and(|help| help.contains("SESSION_ID")), "{wrong:?}");
    }

    proptest! {
        #[test]
        fn never_more_than_the_pattern(text in prop_oneof!["\\PC{0,70}", "[A-Za-z0-9._-]{0,70}"]) {
            let schema = schemars::schema_for!(SessionId);
            if matches!(SessionId::from_text(&text), Ok(SessionId::Name(_))) {
                prop_assert!(jsonschema::is_valid(schema.as_value(), &serde_json::Value::from(text)));
            }
        }
    }
}
