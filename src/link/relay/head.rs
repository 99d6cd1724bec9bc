//! The HTTP heads at both ends of the relay: what the bot asks, what goes to WhatsApp, what comes back.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use url::Url;
use wacore::net::WHATSAPP_WEB_ORIGIN;

/// Longest head.
const LONGEST: usize = 16 * 1024;
const HEADERS: usize = 64;

/// A request of the bot's machine.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, Vec<u8>)>,
}

/// An answer from WhatsApp's side.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// The head as it came.
    pub bytes: Vec<u8>,
    /// What came after it already.
    pub rest: Vec<u8>,
}

fn invalid(problem: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.to_string())
}

/// Reads up to the end of a head; gives it with what came after it.
async fn read_head(from: &mut (impl AsyncRead + Unpin)) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        let searched = bytes.len().saturating_sub(3);
        if from.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(at) = bytes[searched..].windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(searched + at + 4);
            return Ok((bytes, rest));
        }
        if bytes.len() > LONGEST {
            return Err(invalid("the head is too long"));
        }
    }
}

/// A bare line feed ends a head too, for the parser: what stands between that and our end would be lost.
fn whole(parsed: httparse::Status<usize>, bytes: &[u8]) -> io::Result<()> {
    if parsed == httparse::Status::Complete(bytes.len()) {
        Ok(())
    } else {
        Err(invalid("the head is unclear"))
    }
}

/// Reads a request's head; gives what came after it too.
pub async fn request(from: &mut (impl AsyncRead + Unpin)) -> io::Result<(Request, Vec<u8>)> {
    let (bytes, rest) = read_head(from).await?;
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    whole(parsed.parse(&bytes).map_err(invalid)?, &bytes)?;
    let request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        path: parsed.path.unwrap_or_default().to_owned(),
        headers: parsed.headers.iter().map(|one| (one.name.to_owned(), one.value.to_vec())).collect(),
    };
    Ok((request, rest))
}

/// Reads an answer's head.
pub async fn response(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Response> {
    let (bytes, rest) = read_head(from).await?;
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    whole(parsed.parse(&bytes).map_err(invalid)?, &bytes)?;
    let status = parsed.code.unwrap_or_default();
    Ok(Response { status, bytes, rest })
}

impl Request {
    /// A header's value, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// Whether it asks for a WebSocket.
    pub fn is_upgrade(&self) -> bool {
        self.method == "GET"
            && self.header("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
            && self.header("sec-websocket-key").is_some()
    }

    /// The same request for the upstream at `url`: the same query (Baileys' routing), key and extensions, so that
    /// its answer and every frame after it can pass as they are.
    pub fn towards(&self, url: &Url) -> Vec<u8> {
        let mut path = url.path().to_owned();
        let own = self.path.split_once('?').map(|(_, query)| query);
        if let Some(query) = own.or(url.query()) {
            path = format!("{path}?{query}");
        }
        let host = match (url.host_str().unwrap_or_default(), url.port()) {
            (host, Some(port)) => format!("{host}:{port}"),
            (host, None) => host.to_owned(),
        };
        let mut head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n").into_bytes();
        let mut origin = false;
        for (name, value) in &self.headers {
            if name.eq_ignore_ascii_case("host") {
                continue;
            }
            origin |= name.eq_ignore_ascii_case("origin");
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        }
        if !origin {
            head.extend_from_slice(format!("Origin: {WHATSAPP_WEB_ORIGIN}\r\n").as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        head
    }

    /// The answer that opens a WebSocket and closes it at once, with `code`. Baileys waits for ever after an
    /// answer that is not 101.
    pub fn open_and_close(&self, code: u16, reason: &str) -> Vec<u8> {
        let key = self.header("sec-websocket-key").unwrap_or_default();
        let accept = derive_accept_key(key.as_bytes());
        let mut bytes = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        )
        .into_bytes();
        bytes.extend(close_frame(code, reason));
        bytes
    }
}

/// A server's close frame. A control frame carries at most 125 bytes.
pub fn close_frame(code: u16, reason: &str) -> Vec<u8> {
    let reason = &reason.as_bytes()[..reason.len().min(123)];
    let length = u8::try_from(reason.len() + 2).unwrap_or(125);
    let mut bytes = vec![0x88, length];
    bytes.extend(code.to_be_bytes());
    bytes.extend(reason);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ASKED: &[u8] =
        b"GET /secret/ws?ED=x HTTP/1.1\r\nHost: 127.0.0.1:9\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\nearly";

    #[tokio::test]
    async fn a_request_goes_on_with_its_own_headers_to_another_host() {
        let (request, rest) = request(&mut &*ASKED).await.expect("reads");
        assert!(request.is_upgrade());
        assert_eq!(rest, b"early");
        let url = Url::parse("wss://web.whatsapp.com/ws/chat").expect("a URL");
        let head = String::from_utf8(request.towards(&url)).expect("text");
        assert!(head.starts_with("GET /ws/chat?ED=x HTTP/1.1\r\nHost: web.whatsapp.com\r\n"), "{head}");
        assert!(head.contains("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"));
        assert!(head.ends_with("Origin: https://web.whatsapp.com\r\n\r\n"));
        assert_eq!(head.matches("Host:").count(), 1);
    }

    #[tokio::test]
    async fn an_opened_and_closed_websocket_is_a_valid_one() {
        let (request, _) = request(&mut &*ASKED).await.expect("reads");
        let bytes = request.open_and_close(1013, "later");
        // The accept value is that of RFC 6455, section 1.3.
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{text}");
        assert!(bytes.ends_with(&[0x88, 7, 0x03, 0xf5, b'l', b'a', b't', b'e', b'r']));
    }

    #[tokio::test]
    async fn a_head_that_ends_twice_or_says_nothing_is_refused() {
        let twice = b"GET /secret/ws HTTP/1.1\nHost: x\n\nGET /other HTTP/1.1\r\n\r\n";
        assert!(request(&mut &twice[..]).await.is_err());
        assert!(request(&mut &b"\r\n\r\n"[..]).await.is_err());
        assert!(response(&mut &b"HTTP/1.1 101 x\nA: b\n\nmore\r\n\r\n"[..]).await.is_err());
    }

    #[tokio::test]
    async fn a_head_without_an_end_is_refused() {
        assert!(request(&mut &b"GET / HTTP/1.1\r\nHost: x\r\n"[..]).await.is_err());
        let endless = vec![b'a'; 3 * LONGEST];
        assert!(request(&mut &endless[..]).await.is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let mut bytes = bytes;
            bytes.extend(b"\r\n\r\n");
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            runtime.block_on(async {
                let _ = request(&mut &bytes[..]).await;
                let _ = response(&mut &bytes[..]).await;
            });
        }
    }
}
