//! One request and its answer on a connection of their own to the bot, and the tunnel that a WebSocket becomes.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Sleep, sleep};

use super::Turn;
use super::refusal::Refusal;
use crate::web::aside::Aside;

/// A bot on this machine takes a connection within this.
const CONNECT: Duration = Duration::from_secs(5);
/// Time from the last byte of the request to the first of the answer, as at Heroku's router.
const FIRST_BYTE: Duration = Duration::from_secs(30);
/// Bytes of a request that wait for the bot, and of the head of its answer.
const BUFFER: usize = 64 * 1024;
/// For the body of a request, and more for what has come of it: whoever sends a byte now and then would keep one of
/// the bot's places for ever.
const BODY: Duration = Duration::from_secs(120);
/// For each byte of it, so that the slowest line which may take longer carries 1,000 of them a second.
const BODY_OF_BYTE: Duration = Duration::from_millis(1);

/// Sends the request and waits for the head of the answer; the rest of both bodies goes on while the client's
/// connection lives.
pub async fn exchange(
    port: u16,
    request: Request<Body>,
    aside: &Aside,
    turn: Turn,
) -> Result<Response<Incoming>, Refusal> {
    let socket = connect(port).await?;
    // Whatever one side wrote, the other one may be waiting for.
    let _ = socket.set_nodelay(true);
    let watch = Arc::new(Watch::default());
    let request = request.map(|body| Watched::new(body, Arc::clone(&watch)));
    let handshake = http1::Builder::new().max_buf_size(BUFFER).handshake(TokioIo::new(socket));
    let (mut sender, connection) = handshake.await.map_err(|_| Refusal::Ended)?;
    aside.exchange(async move {
        let _turn = turn;
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to the bot's port ended");
        }
    });
    let mut answer = std::pin::pin!(sender.send_request(request));
    loop {
        tokio::select! {
            answer = answer.as_mut() => return answer.map_err(|_| watch.refusal()),
            // A long upload is no silence.
            () = watch.moved.notified() => {}
            () = sleep(FIRST_BYTE) => return Err(Refusal::Silent(FIRST_BYTE)),
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
pub async fn tunnel(client: OnUpgrade, bot: OnUpgrade, turn: Turn) {
    let _turn = turn;
    let (client, bot) = match tokio::try_join!(client, bot) {
        Ok(both) => both,
        Err(error) => return tracing::debug!(%error, "a WebSocket did not come about"),
    };
    let (mut client, mut bot) = (TokioIo::new(client), TokioIo::new(bot));
    if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut bot).await {
        tracing::debug!(%error, "a WebSocket to the bot ended");
    }
}

/// What is known of a body on its way.
#[derive(Debug, Default)]
struct Watch {
    moved: Notify,
    /// It came so slowly that it is waited for no longer.
    slow: AtomicBool,
    /// It ended too early, or makes no sense.
    broken: AtomicBool,
}

impl Watch {
    /// Why the bot gave no answer.
    fn refusal(&self) -> Refusal {
        if self.slow.load(Ordering::Relaxed) {
            Refusal::Slow
        } else if self.broken.load(Ordering::Relaxed) {
            Refusal::Broken
        } else {
            Refusal::Ended
        }
    }
}

/// A body that tells whenever a piece of it goes on its way, and has to come at some pace.
struct Watched {
    body: Body,
    watch: Arc<Watch>,
    deadline: Pin<Box<Sleep>>,
}

impl Watched {
    fn new(body: Body, watch: Arc<Watch>) -> Self {
        Self { body, watch, deadline: Box::pin(sleep(BODY)) }
    }
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(frame) = polled {
            self.watch.moved.notify_one();
            if matches!(frame, Some(Err(_))) {
                self.watch.broken.store(true, Ordering::Relaxed);
            }
            if let Some(Ok(frame)) = &frame
                && let Some(bytes) = frame.data_ref()
            {
                let more = BODY_OF_BYTE.saturating_mul(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
                let deadline = self.deadline.deadline() + more;
                self.deadline.as_mut().reset(deadline);
            }
            return Poll::Ready(frame);
        }
        ready!(self.deadline.as_mut().poll(cx));
        self.watch.slow.store(true, Ordering::Relaxed);
        Poll::Ready(Some(Err(axum::Error::new(io::Error::from(io::ErrorKind::TimedOut)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
