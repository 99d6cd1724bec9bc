//! Opens the WebSocket: name, TCP, TLS, upgrade, under one deadline.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{Sink, Stream, StreamExt};
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Error as WsError, Message};
use tokio_tungstenite::{Connector, WebSocketStream, client_async_tls_with_config, client_async_with_config};
use wacore::net::WHATSAPP_WEB_ORIGIN;

use super::address::LinkAddress;
use super::tls;

/// From the name look-up to the end of the upgrade; WhatsApp Web's own limit.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// The kernel's idle time before its own probes; ours come first.
const KEEPALIVE_TIME: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Largest message that is accepted; WhatsApp's frames carry a length of 24 bits.
const MAX_MESSAGE: usize = 32 << 20;

/// An open WebSocket, whatever it runs over.
pub struct Socket {
    /// Writes frames.
    pub sink: Box<dyn Sink<Message, Error = WsError> + Send + Unpin>,
    /// Reads frames.
    pub stream: Box<dyn Stream<Item = Result<Message, WsError>> + Send + Unpin>,
}

impl Socket {
    fn of<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(socket: WebSocketStream<S>) -> Self {
        let (sink, stream) = socket.split();
        Self { sink: Box::new(sink), stream: Box::new(stream) }
    }
}

/// Opens WebSockets to one place.
#[async_trait]
pub trait Dialler: Send + Sync {
    /// Opens one.
    async fn dial(&self) -> Result<Socket, DialError>;
}

/// Dials an address over the network.
pub struct Network {
    /// Where to.
    pub address: LinkAddress,
    /// After how long the link counts as dead: the kernel gives up on unacknowledged data after the same time
    /// (TCP_USER_TIMEOUT).
    pub silence: Duration,
}

#[async_trait]
impl Dialler for Network {
    async fn dial(&self) -> Result<Socket, DialError> {
        match tokio::time::timeout(DEADLINE, connect(&self.address, self.silence)).await {
            Ok(result) => result,
            Err(_) => Err(DialError::TimedOut { seconds: DEADLINE.as_secs() }),
        }
    }
}

/// Why a socket was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The server answered the upgrade with another HTTP status.
    #[error("the server answered HTTP {status} in place of a WebSocket")]
    Status { status: u16 },
    /// The name was not found.
    #[error("the name {host} was not found")]
    Name { host: String },
    /// A name that must be this machine resolved to another.
    #[error("the address resolved to another machine, and only this one may be dialled")]
    NotLoopback,
    /// No TCP connection.
    #[error("no TCP connection: {kind}")]
    Connect { kind: io::ErrorKind },
    /// No TLS.
    #[error("no TLS session: {problem}")]
    Tls { problem: String },
    /// The answer to the upgrade was not HTTP, or not a WebSocket.
    #[error("the upgrade to a WebSocket failed: {problem}")]
    Upgrade { problem: String },
    /// The deadline passed.
    #[error("no connection within {} s", seconds)]
    TimedOut { seconds: u64 },
}

async fn connect(address: &LinkAddress, silence: Duration) -> Result<Socket, DialError> {
    let tcp = tcp(address).await?;
    tune(&tcp, silence);
    let connector = Connector::Rustls(tls::config());
    let (socket, _response) =
        client_async_tls_with_config(request(address.url().as_str())?, tcp, Some(config()), Some(connector))
            .await
            .map_err(refused)?;
    Ok(Socket::of(socket))
}

/// Bytes both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// Opens a connection with TLS where the address asks for it, and leaves the upgrade to the caller.
pub async fn raw(address: &LinkAddress, silence: Duration) -> Result<Box<dyn Duplex>, DialError> {
    let tcp = tcp(address).await?;
    tune(&tcp, silence);
    if address.url().scheme() != "wss" {
        return Ok(Box::new(tcp));
    }
    let host = address.url().host_str().unwrap_or_default().to_owned();
    let name = ServerName::try_from(host).map_err(|error| DialError::Tls { problem: error.to_string() })?;
    let session = TlsConnector::from(tls::config()).connect(name, tcp).await;
    Ok(Box::new(session.map_err(|error| DialError::Tls { problem: error.to_string() })?))
}

/// Opens a WebSocket over a connection that is there already, without TLS.
pub async fn upgrade(
    url: &str,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<Socket, DialError> {
    let (socket, _response) =
        client_async_with_config(request(url)?, stream, Some(config())).await.map_err(refused)?;
    Ok(Socket::of(socket))
}

fn request(url: &str) -> Result<Request, DialError> {
    let mut request = url.into_client_request().map_err(refused)?;
    request.headers_mut().insert(header::ORIGIN, HeaderValue::from_static(WHATSAPP_WEB_ORIGIN));
    Ok(request)
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
        .read_buffer_size(16 << 10)
        .write_buffer_size(0)
}

/// Does what a dial can do ahead: looks the name up, so that the resolver knows it, and makes the TLS
/// configuration.
pub async fn warm(address: &LinkAddress) -> Result<(), DialError> {
    tls::config();
    match tokio::time::timeout(DEADLINE, resolve(address)).await {
        Ok(found) => found.map(drop),
        Err(_) => Err(DialError::TimedOut { seconds: DEADLINE.as_secs() }),
    }
}

async fn resolve(address: &LinkAddress) -> Result<Vec<SocketAddr>, DialError> {
    let url = address.url();
    let host = url.host_str().unwrap_or_default();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = url.port_or_known_default().unwrap_or(443);
    let found = tokio::net::lookup_host((host, port))
        .await
        .map_err(|_| DialError::Name { host: host.to_owned() })?
        .collect::<Vec<_>>();
    if found.is_empty() {
        return Err(DialError::Name { host: host.to_owned() });
    }
    if address.loopback_only() && !found.iter().all(|found| found.ip().is_loopback()) {
        return Err(DialError::NotLoopback);
    }
    Ok(found)
}

async fn tcp(address: &LinkAddress) -> Result<TcpStream, DialError> {
    let found = resolve(address).await?;
    // An address that swallows packets must not use up the time of the others.
    let each = DEADLINE / u32::try_from(found.len()).unwrap_or(u32::MAX).max(2);
    let mut kind = io::ErrorKind::TimedOut;
    for found in found {
        match tokio::time::timeout(each, TcpStream::connect(found)).await {
            Ok(Ok(tcp)) => return Ok(tcp),
            Ok(Err(error)) => kind = error.kind(),
            Err(_) => kind = io::ErrorKind::TimedOut,
        }
    }
    Err(DialError::Connect { kind })
}

/// Small frames go out at once, and the kernel notices a dead peer too. Best effort: the heartbeat
/// does not depend on it.
fn tune(tcp: &TcpStream, silence: Duration) {
    let socket = SockRef::from(tcp);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_TIME).with_interval(KEEPALIVE_INTERVAL);
    let outcomes = [
        tcp.set_nodelay(true),
        socket.set_tcp_keepalive(&keepalive),
        #[cfg(any(target_os = "linux", target_os = "android"))]
        socket.set_tcp_user_timeout(Some(silence)),
    ];
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = silence;
    for error in outcomes.into_iter().filter_map(Result::err) {
        tracing::debug!(%error, "a socket option was refused");
    }
}

fn refused(error: tungstenite::Error) -> DialError {
    match error {
        WsError::Http(response) => DialError::Status { status: response.status().as_u16() },
        WsError::Tls(error) => DialError::Tls { problem: error.to_string() },
        // rustls reports a refused certificate as an io error with its own error inside.
        WsError::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
            DialError::Tls { problem: error.to_string() }
        }
        WsError::Io(error) => DialError::Connect { kind: error.kind() },
        other => DialError::Upgrade { problem: other.to_string() },
    }
}
