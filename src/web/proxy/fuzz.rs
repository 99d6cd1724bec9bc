//! Headers between a client and a bot's own port.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use super::headers::{Arrival, asks_for_websocket, to_bot, to_client};
use crate::web::access::COOKIE;

/// `mode` says how the request arrived. Our cookie and token never reach the bot, the bot never sets our cookie, and
/// the length of the body is said once.
pub fn headers(mode: u8, list: &[(String, Vec<u8>)]) {
    let mut headers = HeaderMap::new();
    for (name, value) in list {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    let arrival = Arrival {
        peer: Some("192.0.2.9:4".parse().expect("an address")),
        routed: mode & 1 != 0,
        shows_token: mode & 2 != 0,
        length: [None, Some(0), Some(5)][usize::from(mode >> 2) % 3],
        websocket: asks_for_websocket(&headers),
    };
    let sent = to_bot(headers.clone(), arrival);
    for cookie in sent.get_all(header::COOKIE) {
        assert!(!cookie.as_bytes().split(|byte| *byte == b';').any(is_ours), "{cookie:?}");
    }
    assert!(!(arrival.shows_token && sent.contains_key(header::AUTHORIZATION)));
    assert!(!(sent.contains_key(header::CONTENT_LENGTH) && sent.contains_key(header::TRANSFER_ENCODING)));
    assert_eq!(sent.contains_key(header::TRANSFER_ENCODING), arrival.length.is_none());
    for name in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION] {
        assert!(sent.get_all(&name).iter().count() <= 1, "{name}");
    }
    let connection = sent.get(header::CONNECTION).and_then(|value| value.to_str().ok());
    assert_eq!(connection.is_some_and(|value| value.contains("close")), !arrival.websocket);
    assert_eq!(sent.contains_key(header::UPGRADE), arrival.websocket);
    for name in [header::PROXY_AUTHORIZATION, header::EXPECT] {
        assert!(!sent.contains_key(&name), "{name}");
    }
    assert_eq!(sent.get(header::HOST), headers.get(header::HOST));
    let forwarded = sent.get_all("x-forwarded-for").iter().next_back();
    let told = headers.get_all("x-forwarded-for").iter().any(|value| value.to_str().is_ok());
    if !(arrival.routed && told) {
        let told =
            forwarded.and_then(|value| value.to_str().ok()).is_some_and(|value| value.ends_with("192.0.2.9"));
        assert!(told, "{forwarded:?}");
    }
    let answer = to_client(headers, mode & 1 != 0);
    assert!(!answer.get_all(header::SET_COOKIE).iter().any(|cookie| is_ours(cookie.as_bytes())));
    assert_eq!(answer.contains_key(header::UPGRADE), mode & 1 != 0);
}

/// A cookie of our name, as a server reads it.
fn is_ours(pair: &[u8]) -> bool {
    let pair = pair.trim_ascii_start();
    pair.strip_prefix(COOKIE.as_bytes())
        .is_some_and(|rest| matches!(rest.trim_ascii_start(), [] | [b'=' | b';', ..]))
}
