//! Keeps what links an account out of the log: QR codes, pairing codes, credentials, the values of secret
//! variables.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::config::inherited;

/// A value that is shorter is too likely to be an ordinary word.
const SHORTEST_SECRET: usize = 8;
/// Cells of a drawn QR code in one line; the smallest code has 21 modules.
const SHORTEST_ROW: usize = 15;

/// In place of a line with key material.
pub const LEFT_OUT: &str = "(a line with key material was left out)";

/// What may be seen of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// For the log.
    Text {
        /// The line without anything secret.
        log: String,
        /// The same with a pairing code that it may hold: for the owner, who has to type it.
        owner: String,
    },
    /// A row of a drawn QR code.
    Drawing,
    /// Nothing but blanks.
    Blank,
}

/// Knows the secrets of one bot.
#[derive(Default)]
pub struct Redactor {
    secrets: Vec<String>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor").field("secrets", &self.secrets.len()).finish()
    }
}

macro_rules! pattern {
    ($name:ident, $text:expr) => {
        // Each is tried by a test.
        static $name: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new($text).ok());
    };
}

// Control sequences and other control characters; a tab stays.
pattern!(
    CONTROL,
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.|[\x00-\x08\x0a-\x1f\x7f]"
);
// What WhatsApp's QR codes hold: reference, then keys in base64. The digit may have gone with something like a code
// that stands right before it.
pattern!(
    QR,
    r"(?:https?://wa\.me/settings/linked_devices#)?\d@[A-Za-z0-9+/=_-]{8,}(?:,[A-Za-z0-9+/=_-]+){2,}|@[A-Za-z0-9+/=_-]{8,}(?:,[A-Za-z0-9+/=_-]{40,}){2,}"
);
pattern!(IMAGE, r"data:image/[a-z+.-]+;base64,[A-Za-z0-9+/=]+");
// Key material of Baileys and libsignal, however it is printed.
pattern!(
    CREDENTIALS,
    r#"(?i)noiseKey|signedIdentityKey|signedPreKey|advSecretKey|pairingEphemeral|identityKey|privKey|pubKey|rootKey|ephemeralKeyPair|chainKey|registrationId|"?private"?\s*:|<Buffer(?: [0-9a-f]{2}){8}|"type"\s*:\s*"Buffer""#
);
// Session ids that carry credentials, and any other long run of base64.
pattern!(BASE64, r"[A-Za-z0-9+/_-]{80,}={0,2}");
pattern!(CODE, r"\b(?:[A-Z0-9]{4}-[A-Z0-9]{4}|[A-Z0-9]{8})\b");
pattern!(
    SECRET_NAME,
    r"(?i)token|secret|passw|api_?key|private|credential|session|creds|database_url|mongo|redis|_url$"
);

fn replace<'t>(pattern: &Option<Regex>, text: &'t str, with: &str) -> std::borrow::Cow<'t, str> {
    match pattern {
        Some(pattern) => pattern.replace_all(text, with),
        // Rather nothing than a secret.
        None => "".into(),
    }
}

fn holds(pattern: &Option<Regex>, text: &str) -> bool {
    pattern.as_ref().is_none_or(|pattern| pattern.is_match(text))
}

impl Redactor {
    /// Knows the values of the secret variables of this process.
    pub fn of_process() -> Self {
        let all: Vec<(String, String)> = inherited()
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self::of(all.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }

    /// Hides the values of variables whose names speak of a secret.
    pub fn of<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut secrets: Vec<String> = variables
            .into_iter()
            .filter(|(name, value)| value.trim().len() >= SHORTEST_SECRET && holds(&SECRET_NAME, name))
            .map(|(_, value)| value.trim().to_owned())
            .collect();
        // A value within another goes last, so that no rest of the longer one stays.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Self { secrets }
    }

    /// What may be seen of a line.
    pub fn show(&self, raw: &str) -> Shown {
        if is_drawn(raw) {
            return Shown::Drawing;
        }
        // Before the control characters go, since one may swallow the first letter of a secret, and after it.
        let text = self.without_secrets(raw);
        let text = replace(&CONTROL, &text, "");
        if text.trim().is_empty() {
            return Shown::Blank;
        }
        let text = self.without_secrets(&text);
        if holds(&CREDENTIALS, &text) {
            return Shown::Text { log: LEFT_OUT.to_owned(), owner: LEFT_OUT.to_owned() };
        }
        let owner = replace(&BASE64, &text, "(data)").into_owned();
        let log = if owner.to_lowercase().contains("pair") || owner.to_lowercase().contains("code") {
            match &*CODE {
                Some(code) => code.replace_all(&owner, hidden_code).into_owned(),
                None => String::new(),
            }
        } else {
            owner.clone()
        };
        Shown::Text { log, owner }
    }

    fn without_secrets(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), "***");
            }
        }
        let text = replace(&QR, &text, "(a QR code: see the page)");
        replace(&IMAGE, &text, "(an image)").into_owned()
    }
}

/// Eight letters alone are a word; with a digit among them they may be a code.
fn hidden_code(found: &Captures<'_>) -> String {
    let text = &found[0];
    let digits = text.chars().filter(char::is_ascii_digit).count();
    if text.contains('-') || (digits > 0 && digits < 8) { "****-****".to_owned() } else { text.to_owned() }
}

/// Whether a line is a row of a QR code: blocks, or blanks on a coloured ground.
fn is_drawn(raw: &str) -> bool {
    let blocks = raw.chars().filter(|one| matches!(one, '█' | '▀' | '▄' | '▌' | '▐' | '■' | '▓')).count();
    if blocks >= SHORTEST_ROW {
        return true;
    }
    let grounds =
        raw.matches("\x1b[4").count() + raw.matches("\x1b[7m").count() + raw.matches("\x1b[10").count();
    let plain = replace(&CONTROL, raw, "");
    grounds >= 2
        && plain.chars().count() >= SHORTEST_ROW
        && plain.trim_matches([' ', '▀', '▄', '█']).is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAYLOAD: &str = "2@mVwGzJxUQ1pV8H3nqk0mTzqWqvJmE2hZ4rJm0t8V6fJxYQ==,q0Jx+bNf0l3u7v1h2k5m8p9r0s2t4v6x8z0A2C4E6G8=,I0K2M4O6Q8S0U2W4Y6a8c0e2g4i6k8m0o2q4s6u8w0A=,y0A2C4E6G8I0K2M4O6Q8S0U2W4Y6a8c0e2g4i6k8m0o=";

    fn log(raw: &str) -> String {
        match Redactor::default().show(raw) {
            Shown::Text { log, .. } => log,
            Shown::Drawing => "drawing".to_owned(),
            Shown::Blank => "blank".to_owned(),
        }
    }

    #[test]
    fn every_pattern_is_one() {
        for pattern in [&*CONTROL, &*QR, &*IMAGE, &*CREDENTIALS, &*BASE64, &*CODE, &*SECRET_NAME] {
            assert!(pattern.is_some());
        }
    }

    #[test]
    fn what_links_an_account_is_not_logged() {
        assert_eq!(log(&format!("scan this: {PAYLOAD} now")), "scan this: (a QR code: see the page) now");
        let after_another = log(&format!("9@AAAAAAAA,b,c{PAYLOAD}"));
        assert_eq!(after_another, "(a QR code: see the page)(a QR code: see the page)");
        assert_eq!(log("qr data:image/png;base64,iVBORw0KGgo="), "qr (an image)");
        assert_eq!(log("{ noiseKey: { private: <Buffer 01> } }"), "(a line with key material was left out)");
        assert_eq!(
            log(&format!("SESSION_ID=KnightBot!{}", "H4sIAAAA".repeat(20))),
            "SESSION_ID=KnightBot!(data)"
        );
        assert_eq!(log("█▀▀▀▀▀█ ▀▄█ ▄▀ █▀▀▀▀▀█"), "drawing");
        assert_eq!(log(&format!("\x1b[47m{}\x1b[40m  \x1b[47m  \x1b[0m", " ".repeat(20))), "drawing");
        assert_eq!(log(" \x1b[0m\t"), "blank");
    }

    #[test]
    fn a_pairing_code_is_for_the_owner_alone() {
        let shown = Redactor::default().show("\x1b[32mYour pairing code: ABCD-12EF\x1b[39m");
        let text = |text: &str| text.to_owned();
        assert_eq!(
            shown,
            Shown::Text {
                log: text("Your pairing code: ****-****"),
                owner: text("Your pairing code: ABCD-12EF")
            }
        );
        assert_eq!(log("code: K7PQ2X9Z"), "code: ****-****");
        assert_eq!(log("exit code 12345678, status CONNECTED"), "exit code 12345678, status CONNECTED");
    }

    #[test]
    fn ordinary_lines_stay_as_they_are() {
        for line in [
            "Server listening on 3000",
            "[2026-01-01] bot: message from group ▀ ok",
            "{\"level\":30,\"msg\":\"opened\"}",
        ] {
            assert_eq!(log(line), line);
        }
    }

    #[test]
    fn values_of_secret_variables_are_hidden() {
        let redactor = Redactor::of([
            ("OPENAI_API_KEY", "sk-abcdef123456"),
            ("MONGODB_URI", "mongodb://u:pw123456@host/db"),
            ("BOT_NAME", "BLACKSKY-MD"),
            ("TOKEN", "short"),
        ]);
        let Shown::Text { log, .. } =
            redactor.show("key sk-abcdef123456, BLACKSKY-MD at mongodb://u:pw123456@host/db, short")
        else {
            panic!("a text")
        };
        assert_eq!(log, "key ***, BLACKSKY-MD at ***, short");
    }

    proptest! {
        #[test]
        fn no_payload_and_no_secret_passes(before in ".{0,40}", after in ".{0,40}", key in "[A-Za-z0-9+/]{40}") {
            let payload = format!("2@{key}==,{key}=,{key}=,{key}=");
            let secret = format!("s3cr3t-{key}");
            let redactor = Redactor::of([("MY_TOKEN", secret.as_str())]);
            for line in [format!("{before}{payload}{after}"), format!("{before} {secret} {after}")] {
                if let Shown::Text { log, owner } = redactor.show(&line) {
                    prop_assert!(!log.contains(&key[4..]) && !owner.contains(&key[4..]), "{log}");
                }
            }
        }
    }
}
