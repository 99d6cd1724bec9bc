//! The bodies of the API's requests.

use axum::http::{HeaderMap, HeaderValue};
use axum::response::{Json, Response};
use serde::de::DeserializeOwned;

use super::types::{ContactQuery, NewMessage, NewRead, NewTyping, PairingCodeQuery};
use super::{IDEMPOTENCY_KEY, LONGEST_KEY, key, read};
use crate::bot::call::Call;
use crate::bot::outgoing::{Content, Made, What};

/// The first byte says for which request the body is. What is refused is refused with a status of the asker's fault;
/// what is accepted is stored, and passed between dynos, as what reads as the same; it goes to an address of WhatsApp.
pub fn body(bytes: &[u8]) {
    let Some((&request, body)) = bytes.split_first() else { return };
    match request % 6 {
        0 => said(body, NewMessage::content, message),
        1 => said(body, NewTyping::call, call),
        2 => said(body, NewRead::call, call),
        3 => said(body, ContactQuery::call, call),
        4 => said(body, PairingCodeQuery::call, call),
        _ => idempotency(body),
    }
}

fn said<T: DeserializeOwned, M>(
    body: &[u8],
    meaning: impl FnOnce(T) -> Result<M, String>,
    accepted: impl FnOnce(M),
) {
    match read::<T>(Json::from_bytes(body)).map(meaning) {
        Ok(Ok(meant)) => accepted(meant),
        Ok(Err(detail)) => assert!((1..1000).contains(&detail.len()), "{detail}"),
        Err(answer) => refused(&answer),
    }
}

fn refused(answer: &Response) {
    assert!(answer.status().is_client_error(), "{}", answer.status());
    let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok());
    assert_eq!(kind, Some("application/problem+json"));
}

fn message(content: Content) {
    address(&content.to);
    assert_eq!(Content::read(&content.text()).as_ref(), Some(&content));
    match (&content.what, content.message(1)) {
        (What::Media(medium), Made::Needs(needed)) => assert_eq!(medium, needed),
        (What::Text { text, .. }, Made::Whole(_)) => assert!(!text.trim().is_empty()),
        (What::Reaction { of, .. }, Made::Whole(_)) => assert!(!of.id.is_empty()),
        (what, made) => panic!("{what:?} {made:?}"),
    }
}

fn call(call: Call) {
    let text = serde_json::to_string(&call).expect("JSON");
    assert_eq!(serde_json::from_str::<Call>(&text).ok().as_ref(), Some(&call));
    match call {
        Call::Typing { chat, .. } => address(&chat),
        Call::Read { chat, sender, ids } => {
            address(&chat);
            assert_eq!(sender.is_some(), chat.ends_with("@g.us"));
            sender.iter().for_each(|sender| address(sender));
            assert!((1..=256).contains(&ids.len()));
        }
        Call::Contacts { addresses } => addresses.iter().for_each(|one| address(one)),
        Call::PairingCode { phone } => assert!(phone.bytes().all(|digit| digit.is_ascii_digit())),
        Call::Groups => panic!("no body asks for groups"),
    }
}

fn address(text: &str) {
    let (user, server) = text.split_once('@').unwrap_or_else(|| panic!("{text}"));
    assert!(["s.whatsapp.net", "lid", "g.us"].contains(&server), "{text}");
    assert!(!user.is_empty() && user.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'), "{text}");
    assert!(text.parse::<wacore_binary::Jid>().is_ok(), "{text}");
}

fn idempotency(value: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(value) else { return };
    let headers = HeaderMap::from_iter([(IDEMPOTENCY_KEY.parse().expect("a name"), value)]);
    if let Ok(found) = key(&headers) {
        let found = found.expect("it is there");
        assert!((1..=LONGEST_KEY).contains(&found.len()) && found.is_ascii());
    }
}
