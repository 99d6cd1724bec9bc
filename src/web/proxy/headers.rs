//! Which headers pass between a client and the bot.
//!
//! Each side's connection is its own, so what speaks of a connection stays on it. Framing is written anew from
//! what hyper has understood, so that both sides see the same body. What signs in to our page is not the bot's.

use std::net::SocketAddr;

use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue};

use crate::web::access::COOKIE;

/// Speak of one connection only (RFC 9110, 7.6.1), whether or not `Connection` names them.
const OF_ONE_CONNECTION: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What is known of a request beside its headers.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// The other end of the connection.
    pub peer: Option<SocketAddr>,
    /// Heroku's router is the peer: what it forwards is the truth and is complete.
    pub routed: bool,
    /// `Authorization` carries the admin token of our page.
    pub shows_token: bool,
    /// Bytes of the body; `None` when they come in chunks.
    pub length: Option<u64>,
    /// The client asks for a WebSocket.
    pub websocket: bool,
}

/// The client asks for a WebSocket. Other protocols are not passed on: within them nothing could be kept apart.
pub fn asks_for_websocket(headers: &HeaderMap) -> bool {
    tokens(headers, &header::CONNECTION).any(|token| token == "upgrade")
        && tokens(headers, &header::UPGRADE).eq(["websocket"])
}

/// The headers of a request as the bot gets them.
pub fn to_bot(mut headers: HeaderMap, arrival: Arrival) -> HeaderMap {
    let wants_trailers = tokens(&headers, &header::TE).any(|token| token == "trailers");
    let said_empty = headers.contains_key(header::CONTENT_LENGTH);
    drop_of_one_connection(&mut headers);
    headers.remove(header::CONTENT_LENGTH);
    // The server in front has answered it.
    headers.remove(header::EXPECT);
    drop_cookie(&mut headers);
    if arrival.shows_token {
        headers.remove(header::AUTHORIZATION);
    }
    forward(&mut headers, arrival);
    match arrival.length {
        None => drop(headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))),
        Some(0) if !said_empty => {}
        Some(length) => drop(headers.insert(header::CONTENT_LENGTH, length.into())),
    }
    let mut connection = Vec::new();
    if wants_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        connection.push("te");
    }
    if arrival.websocket {
        headers.insert(header::UPGRADE, WEBSOCKET);
        connection.push("upgrade");
    } else {
        // One connection serves one request.
        connection.push("close");
    }
    if let Ok(value) = HeaderValue::try_from(connection.join(", ")) {
        headers.insert(header::CONNECTION, value);
    }
    headers
}

/// The headers of an answer as the client gets them.
pub fn to_client(mut headers: HeaderMap, websocket: bool) -> HeaderMap {
    drop_of_one_connection(&mut headers);
    if let header::Entry::Occupied(cookies) = headers.entry(header::SET_COOKIE) {
        let (name, cookies) = cookies.remove_entry_mult();
        let kept: Vec<HeaderValue> = cookies.filter(|cookie| !is_ours(cookie.as_bytes())).collect();
        for cookie in kept {
            headers.append(&name, cookie);
        }
    }
    if websocket {
        headers.insert(header::UPGRADE, WEBSOCKET);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    headers
}

/// The comma-separated words of a header, in small letters.
fn tokens<'h>(headers: &'h HeaderMap, name: &'h HeaderName) -> impl Iterator<Item = String> + 'h {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|token| token.trim().to_ascii_lowercase())
        .filter(|token| !token.is_empty())
}

fn drop_of_one_connection(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> =
        tokens(headers, &header::CONNECTION).filter_map(|token| token.parse().ok()).collect();
    for name in named {
        // Whoever names these wants the next one to misunderstand the message.
        if ![header::HOST, header::CONTENT_LENGTH, header::COOKIE, header::AUTHORIZATION].contains(&name) {
            headers.remove(name);
        }
    }
    for name in OF_ONE_CONNECTION {
        headers.remove(name);
    }
}

/// Takes our cookie out; the others stay as they are written.
fn drop_cookie(headers: &mut HeaderMap) {
    let header::Entry::Occupied(cookies) = headers.entry(header::COOKIE) else { return };
    let (name, cookies) = cookies.remove_entry_mult();
    let kept: Vec<HeaderValue> = cookies.filter_map(without_ours).collect();
    for cookie in kept {
        headers.append(&name, cookie);
    }
}

/// The header without our cookie; `None` when nothing is left.
fn without_ours(value: HeaderValue) -> Option<HeaderValue> {
    let pairs = || value.as_bytes().split(|byte| *byte == b';');
    if !pairs().any(is_ours) {
        return Some(value);
    }
    let kept: Vec<&[u8]> = pairs().filter(|pair| !is_ours(pair)).map(<[u8]>::trim_ascii).collect();
    if kept.iter().all(|pair| pair.is_empty()) {
        return None;
    }
    // It consists of parts of a value.
    HeaderValue::from_bytes(&kept.join(b"; ".as_slice())).ok()
}

/// A `name=value` with the name of our cookie.
fn is_ours(pair: &[u8]) -> bool {
    let name = pair.split(|byte| *byte == b'=' || *byte == b';').next().unwrap_or_default();
    name.trim_ascii() == COOKIE.as_bytes()
}

/// Says where the request comes from. Heroku's router says it already and is believed. Elsewhere the other end
/// of the connection is added to what it may have invented.
fn forward(headers: &mut HeaderMap, arrival: Arrival) {
    if let Some(peer) = arrival.peer {
        let peer = peer.ip().to_canonical().to_string();
        let said: Vec<&str> =
            headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
        let all = match (said.is_empty(), arrival.routed) {
            (false, true) => None,
            (false, false) => Some(format!("{}, {peer}", said.join(", "))),
            (true, _) => Some(peer),
        };
        if let Some(value) = all.and_then(|all| HeaderValue::try_from(all).ok()) {
            headers.insert(FORWARDED_FOR, value);
        }
    }
    let host = headers.get(header::HOST).cloned();
    let port = host.as_ref().and_then(|host| host.to_str().ok()?.rsplit_once(':')?.1.parse::<u16>().ok());
    let proto = HeaderValue::from_static("http");
    headers.entry(FORWARDED_PROTO).or_insert(proto);
    if let Some(port) = port {
        headers.entry(FORWARDED_PORT).or_insert(port.into());
    }
    if let Some(host) = host {
        headers.entry(FORWARDED_HOST).or_insert(host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(list: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(
                name.parse::<HeaderName>().expect("a name"),
                HeaderValue::from_bytes(value.as_bytes()).expect("a value"),
            );
        }
        headers
    }

    fn list(headers: &HeaderMap, name: &str) -> Vec<String> {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers.get_all(name).iter().map(text).collect()
    }

    const PLAIN: Arrival =
        Arrival { peer: None, routed: false, shows_token: false, length: Some(0), websocket: false };

    #[test]
    fn our_cookie_never_reaches_the_bot() {
        for (sent, passed) in [
            (vec!["blacksky=secret"], vec![]),
            (vec!["a=1; blacksky=secret; b=2"], vec!["a=1; b=2"]),
            (vec!["blacksky=secret;b=\"x y\""], vec!["b=\"x y\""]),
            (vec!["blacksky=secret; blacksky=secret"], vec![]),
            (vec!["a=1", "blacksky=secret", "c=ü"], vec!["a=1", "c=ü"]),
            (vec![" blacksky = secret ; d=4"], vec!["d=4"]),
            (vec!["blacksky"], vec![]),
            (vec!["myblacksky=1; blacksky2=2"], vec!["myblacksky=1; blacksky2=2"]),
            (vec!["a=1;;b=2"], vec!["a=1;;b=2"]),
            (vec!["a=blacksky=secret"], vec!["a=blacksky=secret"]),
        ] {
            let sent: Vec<_> = sent.into_iter().map(|value| ("cookie", value)).collect();
            assert_eq!(list(&to_bot(map(&sent), PLAIN), "cookie"), passed, "{sent:?}");
        }
    }

    #[test]
    fn the_bot_cannot_set_our_cookie() {
        let answer = map(&[
            ("set-cookie", "sid=1; Path=/"),
            ("set-cookie", "blacksky=forged; Path=/"),
            ("set-cookie", " blacksky = forged"),
            ("set-cookie", "blacksky"),
            ("set-cookie", "other=blacksky=1"),
        ]);
        assert_eq!(list(&to_client(answer, false), "set-cookie"), ["sid=1; Path=/", "other=blacksky=1"]);
    }

    #[test]
    fn what_speaks_of_one_connection_stays_on_it() {
        let headers = [
            ("connection", "close, X-Private"),
            ("connection", "keep-alive"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "Basic x"),
            ("expect", "100-continue"),
            ("x-public", "2"),
        ];
        let sent = to_bot(map(&headers), PLAIN);
        assert_eq!(list(&sent, "connection"), ["close"]);
        for name in
            ["x-private", "keep-alive", "te", "transfer-encoding", "upgrade", "proxy-authorization", "expect"]
        {
            assert!(!sent.contains_key(name), "{name}");
        }
        assert_eq!(list(&sent, "x-public"), ["2"]);
        let answer = to_client(map(&headers), false);
        assert!(!answer.contains_key("x-private") && !answer.contains_key("connection"));
    }

    #[test]
    fn connection_cannot_take_away_what_the_bot_needs() {
        let sent = map(&[
            ("connection", "cookie, host, authorization, content-length"),
            ("cookie", "a=1; blacksky=x"),
            ("host", "app.example"),
            ("authorization", "Basic x"),
        ]);
        let sent = to_bot(sent, Arrival { length: Some(3), ..PLAIN });
        assert_eq!(list(&sent, "cookie"), ["a=1"]);
        assert_eq!(list(&sent, "host"), ["app.example"]);
        assert_eq!(list(&sent, "authorization"), ["Basic x"]);
        assert_eq!(list(&sent, "content-length"), ["3"]);
    }

    #[test]
    fn framing_is_what_was_understood() {
        let both = || map(&[("content-length", "5"), ("transfer-encoding", "chunked")]);
        let chunked = to_bot(both(), Arrival { length: None, ..PLAIN });
        assert_eq!(list(&chunked, "transfer-encoding"), ["chunked"]);
        assert!(!chunked.contains_key("content-length"));
        let known = to_bot(both(), Arrival { length: Some(7), ..PLAIN });
        assert_eq!(list(&known, "content-length"), ["7"]);
        assert!(!known.contains_key("transfer-encoding"));
        let empty = to_bot(map(&[]), PLAIN);
        assert!(!empty.contains_key("content-length") && !empty.contains_key("transfer-encoding"));
        assert_eq!(list(&to_bot(map(&[("content-length", "0")]), PLAIN), "content-length"), ["0"]);
        let trailers = to_bot(map(&[("te", "trailers, deflate")]), PLAIN);
        assert_eq!(list(&trailers, "te"), ["trailers"]);
        assert_eq!(list(&trailers, "connection"), ["te, close"]);
    }

    #[test]
    fn only_websockets_are_upgraded() {
        let asks = |list: &[(&str, &str)]| asks_for_websocket(&map(list));
        assert!(asks(&[("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")]));
        assert!(!asks(&[("connection", "upgrade"), ("upgrade", "h2c")]));
        assert!(!asks(&[("connection", "upgrade"), ("upgrade", "websocket, h2c")]));
        assert!(!asks(&[("upgrade", "websocket")]));
        let sent = to_bot(map(&[]), Arrival { websocket: true, ..PLAIN });
        assert_eq!(
            (list(&sent, "connection"), list(&sent, "upgrade")),
            (vec!["upgrade".into()], vec!["websocket".into()])
        );
    }

    #[test]
    fn the_bot_is_told_who_asks() {
        let peer = Some("192.0.2.9:4".parse().expect("an address"));
        let told = |list: &[(&str, &str)], routed| to_bot(map(list), Arrival { peer, routed, ..PLAIN });
        let direct = told(&[("host", "bot.example:3000")], false);
        assert_eq!(list(&direct, "x-forwarded-for"), ["192.0.2.9"]);
        assert_eq!(list(&direct, "x-forwarded-host"), ["bot.example:3000"]);
        assert_eq!(list(&direct, "x-forwarded-port"), ["3000"]);
        assert_eq!(list(&direct, "x-forwarded-proto"), ["http"]);
        let invented = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2")];
        assert_eq!(list(&told(&invented, false), "x-forwarded-for"), ["1.1.1.1, 2.2.2.2, 192.0.2.9"]);
        let router =
            [("x-forwarded-for", "203.0.113.7"), ("x-forwarded-proto", "https"), ("x-forwarded-port", "443")];
        let routed = told(&router, true);
        assert_eq!(list(&routed, "x-forwarded-for"), ["203.0.113.7"]);
        assert_eq!(list(&routed, "x-forwarded-proto"), ["https"]);
        assert_eq!(list(&routed, "x-forwarded-port"), ["443"]);
    }

    #[test]
    fn our_token_stays_here_and_the_bots_own_passes() {
        let sent = || map(&[("authorization", "Bearer x")]);
        assert!(!to_bot(sent(), Arrival { shows_token: true, ..PLAIN }).contains_key("authorization"));
        assert_eq!(list(&to_bot(sent(), PLAIN), "authorization"), ["Bearer x"]);
    }
}
