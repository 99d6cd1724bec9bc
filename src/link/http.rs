//! whatsapp-rust's HTTP client on reqwest: media and the version look-up.

use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use wacore::net::{HttpClient, HttpRequest, HttpResponse};

use super::tls;

const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Media may be large; a body that stands still is given up sooner.
const DEADLINE: Duration = Duration::from_secs(300);
const READ_DEADLINE: Duration = Duration::from_secs(30);

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

#[async_trait]
impl HttpClient for Http {
    async fn execute(&self, request: HttpRequest) -> anyhow::Result<HttpResponse> {
        let method = reqwest::Method::from_bytes(request.method.as_bytes())
            .with_context(|| format!("{:?} is not an HTTP method", request.method))?;
        let client = self.0.as_ref().context("there is no HTTP client")?;
        let mut builder = client.request(method, &request.url);
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        if let Some(body) = request.body {
            builder = builder.body(body);
        }
        // Media URLs carry tokens: none of them in an error.
        let response = builder.send().await.map_err(reqwest::Error::without_url)?;
        let status_code = response.status().as_u16();
        let body = response.bytes().await.map_err(reqwest::Error::without_url)?;
        Ok(HttpResponse { status_code, body: body.to_vec() })
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
