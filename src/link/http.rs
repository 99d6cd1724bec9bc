//! whatsapp-rust's HTTP client on reqwest: media and the version look-up.

use std::io::Read as _;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context as Task, Poll};
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use url::Url;
use wacore::net::{HttpClient, HttpRequest, HttpResponse, UploadBody};

use super::tls;

const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Media may be large; a body that stands still is given up sooner.
const DEADLINE: Duration = Duration::from_secs(300);
const READ_DEADLINE: Duration = Duration::from_secs(30);
/// Longest answer to a request, in bytes: the media that WhatsApp takes are smaller.
const LONGEST: u64 = 128 << 20;
/// Bytes of an upload read at once.
const PIECE: usize = 64 << 10;

/// An HTTP client; cheap to clone.
#[derive(Debug, Clone)]
pub struct Http(Option<reqwest::Client>);

impl Http {
    /// With the link's TLS roots. Follows no redirect: WhatsApp's hosts send none. The link does not
    /// need HTTP, so a client that cannot be set up is logged and fails each request.
    #[allow(clippy::new_without_default, reason = "building it is work")]
    pub fn new() -> Self {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::config().as_ref().clone())
            .connect_timeout(CONNECT_DEADLINE)
            .timeout(DEADLINE)
            .read_timeout(READ_DEADLINE)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .inspect_err(|error| tracing::error!(%error, "the HTTP client cannot be set up"));
        Self(client.ok())
    }
}

impl Http {
    /// Gets what is there, at most `longest` bytes.
    pub async fn get(&self, url: String, longest: u64) -> anyhow::Result<HttpResponse> {
        self.exchange(HttpRequest::get(url), None, longest).await
    }

    async fn exchange(
        &self,
        request: HttpRequest,
        body: Option<reqwest::Body>,
        longest: u64,
    ) -> anyhow::Result<HttpResponse> {
        let method = reqwest::Method::from_bytes(request.method.as_bytes())
            .with_context(|| format!("{:?} is not an HTTP method", request.method))?;
        let client = self.0.as_ref().context("there is no HTTP client")?;
        let mut builder = client.request(method, reach(&request.url)?);
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        if let Some(body) = body {
            builder = builder.body(body);
        }
        // Media URLs carry tokens: none of them in an error.
        let mut response = builder.send().await.map_err(reqwest::Error::without_url)?;
        let status_code = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(reqwest::Error::without_url)? {
            let length = (body.len() + piece.len()) as u64;
            anyhow::ensure!(length <= longest, "the answer has more than {longest} bytes");
            body.extend_from_slice(&piece);
        }
        Ok(HttpResponse { status_code, body })
    }
}

#[async_trait]
impl HttpClient for Http {
    async fn execute(&self, mut request: HttpRequest) -> anyhow::Result<HttpResponse> {
        let body = request.body.take().map(reqwest::Body::from);
        self.exchange(request, body, LONGEST).await
    }

    fn supports_upload_streaming(&self) -> bool {
        true
    }

    /// Called in a thread that may block.
    fn execute_upload(
        &self,
        request: HttpRequest,
        body: UploadBody,
        content_length: u64,
    ) -> anyhow::Result<HttpResponse> {
        let runtime = tokio::runtime::Handle::try_current()?;
        let body = Pieces { source: Mutex::new(body), left: content_length };
        runtime.block_on(self.exchange(request, Some(reqwest::Body::wrap(body)), LONGEST))
    }
}

/// Where a request goes.
#[cfg(not(feature = "simulator"))]
fn reach(url: &str) -> anyhow::Result<Url> {
    Ok(Url::parse(url)?)
}

/// A build that trusts the simulator reaches nothing but this machine, and the simulator's media server, which
/// whatsapp-rust takes for one of WhatsApp's, has no TLS.
#[cfg(feature = "simulator")]
fn reach(url: &str) -> anyhow::Result<Url> {
    let mut url = Url::parse(url)?;
    let here = match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(_)) | None => false,
    };
    anyhow::ensure!(here, "a build that trusts the simulator reaches only this machine");
    if url.scheme() == "https" {
        // The port of https is left out where it is written, and no simulator has it.
        url.set_scheme("http").map_err(|()| anyhow::anyhow!("the address has no http"))?;
    }
    Ok(url)
}

/// A body of known length that is read piece by piece. What whatsapp-rust uploads is in memory, so reading it where
/// the connection is served holds nobody up.
struct Pieces {
    source: Mutex<UploadBody>,
    left: u64,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let most = usize::try_from(self.left).unwrap_or(PIECE).min(PIECE);
        let mut piece = vec![0; most];
        let source = self.source.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = source.read_exact(&mut piece) {
            return Poll::Ready(Some(Err(error)));
        }
        self.left -= most as u64;
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    /// Exact: WhatsApp's media servers refuse bodies in chunks.
    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one request and gives back what was asked.
    async fn answer(listener: TcpListener, response: &'static str) -> String {
        let (mut socket, _) = listener.accept().await.expect("accept");
        let mut request = Vec::new();
        let mut buffer = [0; 1024];
        while !request.ends_with(b"body") {
            let read = socket.read(&mut buffer).await.expect("read");
            assert_ne!(read, 0, "the request ended early");
            request.extend_from_slice(&buffer[..read]);
        }
        socket.write_all(response.as_bytes()).await.expect("write");
        String::from_utf8(request).expect("text")
    }

    #[tokio::test]
    async fn a_refusal_is_an_answer_and_not_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let response = "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno";
        let server = tokio::spawn(answer(listener, response));
        let request =
            HttpRequest::post(format!("http://{address}/up")).with_header("x-token", "1").with_body("body");
        let response = Http::new().execute(request).await.expect("a completed exchange");
        assert_eq!((response.status_code, response.body.as_slice()), (403, b"no".as_slice()));
        let asked = server.await.expect("server");
        assert!(asked.starts_with("POST /up HTTP/1.1\r\n") && asked.contains("x-token: 1"), "{asked}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_upload_is_streamed_with_its_length() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let response = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
        let server = tokio::spawn(answer(listener, response));
        let mut sent = vec![b'x'; 3 * PIECE + 17];
        sent.extend_from_slice(b"body");
        let (length, source) = (sent.len() as u64, Box::new(std::io::Cursor::new(sent)));
        let request = HttpRequest::post(format!("http://{address}/up"));
        let uploading =
            tokio::task::spawn_blocking(move || Http::new().execute_upload(request, source, length));
        let response = uploading.await.expect("no panic").expect("a completed exchange");
        assert_eq!(response.status_code, 200);
        let asked = server.await.expect("server");
        assert!(asked.contains(&format!("content-length: {length}\r\n")), "{}", &asked[..200]);
        assert!(!asked.contains("chunked") && asked.len() as u64 > length);
    }

    #[cfg(feature = "simulator")]
    #[test]
    fn a_build_that_trusts_the_simulator_reaches_only_this_machine() {
        let reached = |url: &str| reach(url).map(String::from).ok();
        assert_eq!(reached("https://127.0.0.1:7770/a?b").as_deref(), Some("http://127.0.0.1:7770/a?b"));
        assert_eq!(reached("https://[::1]:7770/a").as_deref(), Some("http://[::1]:7770/a"));
        for url in [
            "https://mmg.whatsapp.net/a",
            "https://web.whatsapp.com/sw.js",
            "https://10.0.0.1/",
            "https://127.0.0.1.example.com/",
            "https://localhost/",
            "https://[::ffff:10.0.0.1]/",
        ] {
            assert_eq!(reached(url), None, "{url}");
        }
    }

    #[cfg(not(feature = "simulator"))]
    #[test]
    fn another_build_leaves_addresses_as_they_are() {
        assert_eq!(reach("https://127.0.0.1:7770/a").expect("a URL").scheme(), "https");
    }

    #[tokio::test]
    async fn an_error_does_not_repeat_the_address() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        drop(listener);
        let request = HttpRequest::get(format!("http://{address}/secret-token"));
        let error = Http::new().execute(request).await.expect_err("nobody listens");
        assert!(!format!("{error:#}").contains("secret-token"), "{error:#}");
    }
}
