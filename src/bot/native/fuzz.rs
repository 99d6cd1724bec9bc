//! Fuzzed here: a message that somebody wrote to a native bot.

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::http::HeaderValue;
use tokio::time::Instant;
use url::Url;
use wacore::proto_helpers::MessageExt as _;
use wacore::types::events::InboundMessage;
use wacore::types::message::{MessageInfo, MessageSource};
use waproto::buffa::Message as _;
use waproto::whatsapp as wa;

use super::{hook, webhook};
use crate::bot::commands::{Uses, answer};
use crate::config::{Client, Commands, Config, NoEnvironment};
use crate::media::{HEAD, Kind, Reference, type_of};

/// Commands of every kind.
const FILE: &[u8] = br#"
[bots.main]
prefix = "!"
[bots.main.commands]
ping = "pong {sender}, up {uptime}"
say = "you said {args}"
thanks = { match = "prefix", pattern = "thank you", react = "x", reply = "{args}" }
exact = { match = "exact", pattern = "How much?", reply = "five" }
order = { match = "regex", pattern = "order (\\w+)( now)?", reply = "{1}{2}" }
run = { run = ["true"] }
"#;

static COMMANDS: LazyLock<Commands> = LazyLock::new(|| {
    let loaded = Config::parse(Path::new("/nowhere/blacksky.toml"), FILE.to_vec(), &NoEnvironment);
    let bot = loaded.unwrap_or_else(|problems| panic!("{problems}")).config.bots.remove("main");
    match bot.map(|bot| bot.client) {
        Some(Client::Native(native)) => native.commands,
        other => panic!("{other:?}"),
    }
});

/// An encoded message, or the file of one: the first byte says which. What the webhook gets is JSON with the same id
/// each time; the way to a file leads to no other host; what a command's program reads is one line.
pub fn message(bytes: &[u8]) {
    let Some((&mode, bytes)) = bytes.split_first() else { return };
    if mode & 1 == 1 {
        return file(bytes);
    }
    let Ok(message) = wa::Message::decode_from_slice(bytes) else { return };
    let reference = Reference::of(message.get_base_message());
    if let Some(reference) = &reference {
        assert_eq!(Reference::read(&reference.text()).as_ref(), Some(reference));
        let text: serde_json::Value = serde_json::from_str(&reference.text()).expect("JSON");
        let path = text["path"].as_str().expect("a path");
        let url = Url::parse(&format!("https://mmg.whatsapp.net{path}")).expect("a URL");
        assert_eq!(
            (url.host_str(), url.port(), url.username()),
            (Some("mmg.whatsapp.net"), None, ""),
            "{path}"
        );
    }
    let jid = |text: &str| text.parse().expect("an address");
    let chat = if mode & 2 == 0 { "4915550001@s.whatsapp.net" } else { "123-456@g.us" };
    let source =
        MessageSource { chat: jid(chat), sender: jid("4915550001:7@s.whatsapp.net"), ..Default::default() };
    let info = MessageInfo { source, id: "A1".into(), push_name: "Ada".into(), ..Default::default() };
    let inbound = InboundMessage::builder().message(Arc::new(message)).info(Arc::new(info)).build();
    let row = hook::row(&inbound).expect("of somebody else");
    let body = webhook::body("main", &row, &inbound, reference.as_ref().map(|_| "sealed"));
    let json: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert!(json["id"].as_str().is_some_and(|id| id.len() == 32) && json["message"]["chat"] == chat);
    assert_eq!(body, webhook::body("main", &row, &inbound, reference.as_ref().map(|_| "sealed")));
    let uptime = Duration::from_secs(5);
    let found = answer(&COMMANDS, "main", &row, uptime, &mut Uses::default(), Instant::now());
    if let Some((_, _, input)) = found.and_then(|answer| answer.run) {
        let (last, line) = input.split_last().expect("a line");
        assert!(*last == b'\n' && !line.contains(&b'\n'));
        serde_json::from_slice::<serde_json::Value>(line).expect("JSON");
    }
}

/// What an upload says of itself, a line, then the file. Its type can stand in a header and is no medium that the file
/// is not.
fn file(bytes: &[u8]) {
    let mut halves = bytes.splitn(2, |byte| *byte == b'\n');
    let declared = String::from_utf8_lossy(halves.next().unwrap_or_default());
    let rest = halves.next().unwrap_or_default();
    let head = &rest[..rest.len().min(HEAD)];
    let found = type_of(head, Some(&declared));
    assert!(HeaderValue::from_str(&found).is_ok() && found.contains('/') && found.len() <= 100, "{found}");
    let medium = ["image/", "video/", "audio/"].iter().any(|kind| found.starts_with(kind));
    assert!(!medium || type_of(head, None) == found, "{found}");
    for kind in Kind::ALL {
        let taken = kind.take(&found, rest.len() as u64, false);
        assert!(taken.is_err() || !rest.is_empty());
        assert!(taken.is_ok() || rest.is_empty() || kind != Kind::Document);
    }
}
