//! Fuzzed here: what a hosted bot writes, what its preload says, and the login it may begin with.

use std::collections::BTreeMap;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use tokio::sync::mpsc;

use super::child::{Redactor, Shown, output};
use super::news::News;
use super::vault::{Identity, may_be_linked};
use super::view::View;
use crate::config::values::Value as _;
use crate::config::values::session::blob::Blob;
use crate::config::values::session::{SessionId, refused_login, refused_pointer};
use crate::fuzz::{SECRET, pasted, run};
use crate::link::relay::{Report, Said};
use crate::runtime::clock;
use crate::runtime::status::{Board, BotStatus};

/// A QR code's text: in the outputs of bots every byte 2 becomes it.
const PAYLOAD: &str = "2@mVwGzJxUQ1pV8H3nqk0mTzqWqvJmE2hZ4rJm0t8V6fJxYQ==,q0Jx+bNf0l3u7v1h2k5m8p9r0s2t4v6x8z0A2C4E6G8=,\
    I0K2M4O6Q8S0U2W4Y6a8c0e2g4i6k8m0o2q4s6u8w0A=,y0A2C4E6G8I0K2M4O6Q8S0U2W4Y6a8c0e2g4i6k8m0o=";
/// A part of it that opens something.
const KEY: &str = "I0K2M4O6Q8S0U2W4Y6a8c0e2g4i6k8m0o2q4s6u8w0A=";

/// The output of a bot. Lines are bounded; no value of a secret variable and no QR code's text is shown.
pub fn bot_output(bytes: &[u8]) {
    let pasted = pasted(bytes);
    let text = pasted.iter().flat_map(|byte| match byte {
        2 => PAYLOAD.as_bytes().to_vec(),
        other => vec![*other],
    });
    let text: Vec<u8> = text.collect();
    let lines = run(async {
        let (sender, mut lines) = mpsc::channel(64);
        let mut all = Vec::new();
        tokio::join!(output::read(Some(&text[..]), true, sender), async {
            while let Some(line) = lines.recv().await {
                all.push(line);
            }
        });
        all
    });
    let redactor = || Redactor::of([("MY_TOKEN", SECRET)]);
    heard(redactor(), |news, status| {
        for line in &lines {
            // U+FFFD takes three bytes in the place of one.
            assert!(line.raw.len() <= 3 * 8192 + 40, "{} bytes", line.raw.len());
            // What was cut may be a part of a code, and so may be what the input itself has of it.
            let codes = line.raw.matches(PAYLOAD).count();
            let whole = codes > 0 && line.raw.matches(KEY).count() == codes;
            if let Shown::Text { log, owner } = redactor().show(&line.raw) {
                assert!(!log.contains(SECRET) && !owner.contains(SECRET), "{log}");
                assert!(!whole || !log.contains(KEY) && !owner.contains(KEY), "{log}");
            }
            news.line(line);
        }
        let lines = status().hosted.map(|hosted| hosted.last_lines.concat()).unwrap_or_default();
        assert!(!lines.contains(SECRET), "{lines}");
    });
}

/// What the preload says, a report a line. Nothing of a QR code is in what everybody may read.
pub fn preload(bytes: &[u8]) {
    heard(Redactor::default(), |news, status| {
        let mut coded = false;
        for line in bytes.split(|byte| *byte == b'\n') {
            let Ok(said) = serde_json::from_slice::<Said>(line) else { continue };
            coded |= matches!(said, Said::PairingCode { .. });
            let hidden = match &said {
                // A code to be typed is for the owner to see, whatever it is.
                Said::Qr { payload } if !coded => Some(payload.clone()),
                _ => None,
            };
            let shown = format!("{said:?}");
            news.report(Report::Dialled);
            news.report(Report::Said(said));
            // A short one may be a part of any word.
            if let Some(payload) = hidden.filter(|payload| payload.len() > 40) {
                assert!(!shown.contains(&payload) && !published(&status()).contains(&payload));
            }
        }
        let text = published(&status());
        let read: BotStatus = serde_json::from_str(&text).expect("what we published reads");
        assert_eq!(serde_json::to_string(&read).ok(), Some(text));
    });
}

/// As other dynos read it.
fn published(status: &BotStatus) -> String {
    serde_json::to_string(status).expect("JSON")
}

/// One run of a bot, and its status.
fn heard(redactor: Redactor, look: impl FnOnce(&mut News<'_>, &dyn Fn() -> BotStatus)) {
    let board = Board::new(clock::now(), None, ["main"].into_iter());
    let mut view = View::of(board.clone(), "main");
    let mut news = News::new(&mut view, redactor);
    look(&mut news, &|| board.subscribe().borrow().bots["main"].clone());
}

/// A session id. A name is one; a login has only plain file names, is bounded, is never shown, and is the same when it
/// is written in another of its forms.
pub fn session_id(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match SessionId::from_text(text) {
        Ok(SessionId::Name(name)) => {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            assert!((1..=64).contains(&name.len()) && name.bytes().all(plain), "{name}");
        }
        Ok(SessionId::Login(login)) => {
            assert_eq!(format!("{login:?}"), "Blob(***)");
            for (name, content) in login.files() {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@+=".contains(&byte);
                assert!(!name.starts_with('.') && name.bytes().all(plain), "{name}");
                assert!(content.len() <= 8 << 20);
                let json =
                    !name.ends_with(".json") || serde_json::from_slice::<serde_json::Value>(content).is_ok();
                assert!(json, "{name}");
            }
            let identity = Identity::of(login.creds());
            assert_eq!(may_be_linked(login.creds()), identity.is_none_or(|identity| identity.is_linked()));
            again(&login);
        }
        Ok(SessionId::Unreadable(why)) => {
            let wrong = refused_pointer(why);
            assert!(!wrong.what.is_empty() && !refused_login().what.is_empty());
        }
        Err(wrong) => assert!(!wrong.what.is_empty() && wrong.help.is_some()),
    }
}

/// As a map of its files, in base64, behind the name of a bot.
fn again(login: &Blob) {
    let text = |content: &Vec<u8>| String::from_utf8(content.clone()).ok();
    let files: Option<BTreeMap<&String, String>> =
        login.files().iter().map(|(name, content)| Some((name, text(content)?))).collect();
    let map = serde_json::to_string(&files.expect("JSON is text")).expect("JSON");
    let id = format!("Bot!{}", BASE64_STANDARD.encode(map));
    // A session id has at most so many bytes.
    if id.len() <= 1 << 20 {
        let read = Blob::read(&id).expect("what we wrote reads");
        assert!(read.files() == login.files());
    }
}
