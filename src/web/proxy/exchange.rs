//! One request and its answer on a connection of their own to the bot, and the tunnel that a WebSocket becomes.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::Seat;
use super::refusal::Refusal;
use crate::web::aside::Aside;

/// A bot on this machine takes a connection within this.
const CONNECT: Duration = Duration::from_secs(5);
/// Time from the last byte of the request to the first of the answer, as at Heroku's router.
const FIRST_BYTE: Duration = Duration::from_secs(30);

/// Sends the request and waits for the head of the answer; the rest of both bodies goes on while the client's
/// connection lives.
pub async fn exchange(
    port: u16,
    request: Request<Body>,
    aside: &Aside,
    seat: Seat,
) -> Result<Response<Incoming>, Refusal> {
    let socket = connect(port).await?;
    // Whatever one side wrote, the other one may be waiting for.
    let _ = socket.set_nodelay(true);
    let moved = Arc::new(Notify::new());
    let request = request.map(|body| Watched { body, moved: Arc::clone(&moved) });
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(socket)).await.map_err(|_| Refusal::Ended)?;
    aside.exchange(async move {
        let _seat = seat;
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to the bot's port ended");
        }
    });
    let mut answer = std::pin::pin!(sender.send_request(request));
    loop {
        tokio::select! {
            answer = answer.as_mut() => return answer.map_err(|_| Refusal::Ended),
            // A long upload is no silence.
            () = moved.notified() => {}
            () = tokio::time::sleep(FIRST_BYTE) => return Err(Refusal::Silent(FIRST_BYTE)),
        }
    }
}

/// A program that listens on `localhost` may have the address of either version.
async fn connect(port: u16) -> Result<TcpStream, Refusal> {
    let addresses =
        [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), SocketAddr::from((Ipv6Addr::LOCALHOST, port))];
    match tokio::time::timeout(CONNECT, TcpStream::connect(&addresses[..])).await {
        Ok(Ok(socket)) => Ok(socket),
        Ok(Err(error)) if is_absence(&error) => Err(Refusal::NotListening(port)),
        Ok(Err(error)) => {
            tracing::warn!(%error, port, "the bot's port cannot be reached");
            Err(Refusal::NotListening(port))
        }
        Err(_) => Err(Refusal::Silent(CONNECT)),
    }
}

/// Nobody listens; a machine without IPv6 says so for the second address.
fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, ConnectionRefused, NetworkUnreachable, Unsupported};
    matches!(error.kind(), ConnectionRefused | AddrNotAvailable | NetworkUnreachable | Unsupported)
}

/// Carries the bytes of a WebSocket both ways until one side ends.
pub async fn tunnel(client: OnUpgrade, bot: OnUpgrade, seat: Seat) {
    let _seat = seat;
    let (client, bot) = match tokio::try_join!(client, bot) {
        Ok(both) => both,
        Err(error) => return tracing::debug!(%error, "a WebSocket did not come about"),
    };
    let (mut client, mut bot) = (TokioIo::new(client), TokioIo::new(bot));
    if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut bot).await {
        tracing::debug!(%error, "a WebSocket to the bot ended");
    }
}

/// A body that tells whenever a piece of it goes on its way.
struct Watched {
    body: Body,
    moved: Arc<Notify>,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_ready() {
            self.moved.notify_one();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
