//! Session ids that carry the login itself: what bots of this family hand out as SESSION_ID.
//!
//! In front stands a name of the bot, then base64, of gzip or not, of creds.json or of a map of file names to
//! contents. Other forms are only a pointer to somebody's server; those are told apart, and refused.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use flate2::read::GzDecoder;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// A Config Var is at most 32 KB on Heroku; this leaves room for other places.
const LARGEST_TEXT: usize = 1 << 20;
/// Of what is unpacked: no bomb gets further.
const LARGEST_CONTENT: u64 = 8 << 20;
/// More files than a session string was ever seen to carry.
const MOST_FILES: usize = 10_000;
/// Where Baileys keeps the identity.
const CREDS: &str = "creds.json";

const TOLERANT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The files of a session, and what remembers that it was imported. Nothing of it is ever shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Blob {
    files: BTreeMap<String, Vec<u8>>,
    digest: [u8; 32],
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Blob(***)")
    }
}

impl Blob {
    /// Reads a session id; `None` when it does not carry a login that can be read.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim().trim_matches(['"', '\'']).trim();
        if text.len() > LARGEST_TEXT {
            return None;
        }
        let files = payloads(text).into_iter().find_map(|payload| files(&unpacked(payload)?))?;
        Some(Self { files, digest: Sha256::digest(text).into() })
    }

    /// Contents by file name; the names are plain, with no folder in them.
    pub fn files(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.files
    }

    /// SHA-256 of the session id as it was set.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// creds.json.
    pub fn creds(&self) -> &[u8] {
        self.files.get(CREDS).map_or(&[], Vec::as_slice)
    }
}

/// What may be the part of a session id that carries the login. Which it is shows when it is read.
fn payloads(text: &str) -> Vec<&str> {
    let mut all = vec![text];
    let after = ["!", "~", ";;;", "=>", ":", "&"]
        .iter()
        .filter_map(|mark| Some(text.rfind(mark)? + mark.len()))
        .max();
    all.extend(after.map(|at| &text[at..]));
    // `NAME_12_30_` and base64 of `{"` or of gzip; in base64 for URLs there may be further underscores.
    for mark in ["_eyJ", "_ew", "_H4sI", "-eyJ", "-H4sI"] {
        all.extend(text.find(mark).map(|at| &text[at + 1..]));
    }
    all
}

/// The JSON text of a payload.
fn unpacked(payload: &str) -> Option<Vec<u8>> {
    if payload.starts_with('{') {
        return Some(payload.as_bytes().to_vec());
    }
    // Some bots put dots into it for looks.
    let text: String = payload
        .replace("...", "")
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| match c {
            '-' => '+',
            '_' => '/',
            c => c,
        })
        .collect();
    let bytes = TOLERANT.decode(text).ok()?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Some(bytes);
    }
    let mut content = Vec::new();
    GzDecoder::new(bytes.as_slice()).take(LARGEST_CONTENT + 1).read_to_end(&mut content).ok()?;
    (content.len() as u64 <= LARGEST_CONTENT).then_some(content)
}

/// The files of a JSON text: creds.json itself, or a map that has it.
fn files(json: &[u8]) -> Option<BTreeMap<String, Vec<u8>>> {
    let value: Map<String, Value> = serde_json::from_slice(json).ok()?;
    if is_creds(&value) {
        return Some(BTreeMap::from([(CREDS.to_owned(), json.to_vec())]));
    }
    if !value.contains_key(CREDS) || value.len() > MOST_FILES {
        return None;
    }
    let mut files = BTreeMap::new();
    for (name, content) in value {
        if !is_plain(&name) {
            return None;
        }
        let content = match content {
            Value::String(text) => text.into_bytes(),
            other => serde_json::to_vec(&other).ok()?,
        };
        // The vault keeps a *.json only when it is JSON.
        if name.ends_with(".json") && serde_json::from_slice::<Value>(&content).is_err() {
            return None;
        }
        files.insert(name, content);
    }
    let creds: Map<String, Value> = serde_json::from_slice(files.get(CREDS)?).ok()?;
    is_creds(&creds).then_some(files)
}

fn is_creds(value: &Map<String, Value>) -> bool {
    let is_pair = |key: &str| {
        value.get(key).and_then(Value::as_object).is_some_and(|pair| pair.contains_key("private"))
    };
    is_pair("noiseKey") && is_pair("signedIdentityKey")
}

/// A name as Baileys gives it to its files: no folder, no way out of one, nothing hidden.
fn is_plain(name: &str) -> bool {
    (1..=200).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@+=".contains(&b))
}

/// Why a session id that is no name cannot be imported: where its login would be.
pub fn elsewhere(text: &str) -> &'static str {
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    let tail = text.rsplit(['~', '&', '!', '=', ';', '>']).next().unwrap_or_default();
    let base64 = |c: char| c.is_ascii_alphanumeric() || "+/=-_".contains(c);
    if lower.contains("mega.nz") || (text.contains('#') && !text.contains('{')) {
        "its login is a file on MEGA, which only its maker can remove"
    } else if lower.contains("://") {
        "its login is behind a web address"
    } else if lower.starts_with("levanter_") {
        "its login is on the server of levanter's author"
    } else if lower.starts_with("x-king-") {
        "its login is on the server of the bot's author"
    } else if tail.len() < text.len() && tail.len() <= 40 && tail.chars().all(base64) {
        "its login is on somebody's paste server"
    } else if lower.contains("eyj") || lower.contains("h4si") || text.contains('{') || text.len() > 200 {
        "it carries a login that does not read: it was cut short, or changed while it was copied"
    } else {
        "its login is on somebody else's server"
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;

    use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    /// Credentials as Baileys writes them, of no account. `?>~` makes base64 differ from base64 for URLs.
    pub const CREDS_TEXT: &str = r#"{"noiseKey":{"private":{"type":"Buffer","data":"AAAA"},"public":{"type":"Buffer","data":[1,2]}},"signedIdentityKey":{"private":{"type":"Buffer","data":"BBBB"},"public":{"type":"Buffer","data":"CCCC"}},"me":{"id":"15550001:3@s.whatsapp.net","name":"ÿ?>~ÿþ"},"x":1}"#;

    pub fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn creds_of(text: &str) -> String {
        let blob = Blob::read(text).unwrap_or_else(|| panic!("not read: {text}"));
        String::from_utf8(blob.creds().to_vec()).unwrap()
    }

    #[test]
    fn every_offline_form_is_read() {
        let plain = BASE64_STANDARD.encode(CREDS_TEXT);
        let url = BASE64_URL_SAFE.encode(CREDS_TEXT);
        assert_ne!(plain, url);
        let zipped = BASE64_STANDARD.encode(gzip(CREDS_TEXT));
        let dotted = format!("{}...{}", &zipped[..20], &zipped[20..]);
        for text in [
            CREDS_TEXT.to_owned(),
            plain.clone(),
            format!("  \"{plain}\"\n"),
            BASE64_STANDARD_NO_PAD.encode(CREDS_TEXT),
            url.clone(),
            BASE64_URL_SAFE_NO_PAD.encode(CREDS_TEXT),
            format!("KnightBot!{zipped}"),
            format!("KnightBot!{dotted}"),
            format!("KnightBot!{zipped}..."),
            format!("Zokou-MD-WHATSAPP-BOT;;;=>{plain}"),
            format!("BWM-XMD;;;{zipped}"),
            format!("MAFIA-MD~{plain}"),
            format!("DAVE-AI:~{url}"),
            format!("SUHAIL_12_30_01_02_{plain}"),
            format!("SUHAIL_12_30_01_02_{url}"),
            format!("NAME_{}", BASE64_URL_SAFE.encode(gzip(CREDS_TEXT))),
        ] {
            assert_eq!(creds_of(&text), CREDS_TEXT, "the buffers stay as they are");
        }
    }

    #[test]
    fn a_map_of_files_is_read_and_its_names_are_checked() {
        let map = |name: &str| {
            let json = serde_json::json!({ "creds.json": CREDS_TEXT, name: {"a": 1} });
            BASE64_STANDARD.encode(json.to_string())
        };
        let blob = Blob::read(&format!("SUHAIL_1_2_{}", map("session-15550002.0.json"))).unwrap();
        assert_eq!(blob.files().len(), 2);
        assert_eq!(blob.files()["session-15550002.0.json"], br#"{"a":1}"#);
        assert_eq!(blob.creds(), CREDS_TEXT.as_bytes());
        for name in ["../x.json", "a/b.json", "a\\b.json", ".hidden", "..", "", "a\0b", "c:d", "é.json"] {
            assert_eq!(Blob::read(&map(name)), None, "{name:?}");
        }
        let broken = serde_json::json!({ "creds.json": CREDS_TEXT, "session-1.json": "{cut" });
        assert_eq!(Blob::read(&BASE64_STANDARD.encode(broken.to_string())), None);
        let object = serde_json::json!({ "creds.json": serde_json::from_str::<Value>(CREDS_TEXT).unwrap() });
        assert!(Blob::read(&object.to_string()).is_some());
    }

    #[test]
    fn what_carries_no_login_is_not_read() {
        let bomb = gzip(&" ".repeat(64 << 20));
        for text in [
            "main".to_owned(),
            "levanter_0123456789abcdef0123456789abcdef01".to_owned(),
            "nexus~AbCdEf#GhIjKl".to_owned(),
            "{}".to_owned(),
            r#"{"noiseKey":{}}"#.to_owned(),
            BASE64_STANDARD.encode(r#"{"creds.json":"{}"}"#),
            BASE64_STANDARD.encode(&CREDS_TEXT[..100]),
            format!("X!{}", &BASE64_STANDARD.encode(gzip(CREDS_TEXT))[..40]),
            format!("X!{}", BASE64_STANDARD.encode(bomb)),
            "[".repeat(100_000),
            "A".repeat(2 << 20),
        ] {
            assert!(Blob::read(&text).is_none(), "{}", &text[..40.min(text.len())]);
        }
    }

    #[test]
    fn the_digest_is_that_of_the_session_id() {
        let plain = BASE64_STANDARD.encode(CREDS_TEXT);
        let of = |text: &str| *Blob::read(text).unwrap().digest();
        assert_eq!(of(&plain), of(&format!(" {plain}\n")));
        assert_ne!(of(&plain), of(&format!("X~{plain}")));
    }

    proptest! {
        #[test]
        fn anything_is_answered_and_nothing_is_shown(
            head in "(SUHAIL_|X!|Y~|Z;;;=>|\\PC){0,3}",
            body in prop_oneof!["[A-Za-z0-9+/=_-]{0,80}", "\\PC{0,40}", "(eyJ|H4sI)[A-Za-z0-9+/]{0,80}"],
            cut in any::<prop::sample::Index>(),
            flip in any::<u8>(),
        ) {
            let _ = Blob::read(&format!("{head}{body}"));
            // A good one that was damaged.
            let good = format!("X!{}", BASE64_STANDARD.encode(gzip(CREDS_TEXT)));
            let at = cut.index(good.len());
            let mut bytes = good.clone().into_bytes();
            bytes[at] = 0x20 + flip % 0x5f;
            let damaged = String::from_utf8(bytes).unwrap();
            for text in [&good[..at], &damaged] {
                let why = elsewhere(text);
                prop_assert!(text.len() < 8 || !why.contains(text));
                if let Some(blob) = Blob::read(text) {
                    prop_assert_eq!(format!("{blob:?}"), "Blob(***)");
                }
            }
        }
    }
}
