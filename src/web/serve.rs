//! The sockets: accepts, limits what a client may take, and ends in order.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::Site;
use super::access::Peer;
use super::aside::Aside;
use super::room::Room;
use super::router::router;
use super::seats::{Seat, Seats};
use super::wire::Wire;

/// How long a connection may idle between two requests. Heroku's router keeps one for 90 s, and reports H13 when it is
/// closed before.
const IDLE: Duration = Duration::from_secs(95);
/// Longest request head, in bytes.
const HEAD_LIMIT: usize = 16 * 1024;
/// Most headers of a request.
const HEADERS: usize = 64;
/// How long open connections may take to end once told to.
const STOP_DEADLINE: Duration = Duration::from_secs(2);
/// For the end of an answer whose connection has to give way.
const GIVE_WAY: Duration = Duration::from_millis(100);
/// A connection that is silent for so long is asked whether its client is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// Pause after a failed accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// Silent connections that go after a failed accept.
const CLEARED: usize = 64;
/// Between two lines about failed accepts.
const ACCEPT_LINES: Duration = Duration::from_secs(60);

/// Serves the site until `stop`; then open streams end, answers under way are finished, and it returns
/// after at most two seconds.
pub async fn serve(listener: TcpListener, site: Site, stop: CancellationToken) {
    let room = Room::here();
    let router = router(site, room, stop.clone());
    let seats = Seats::new(room.connections);
    let mut connections = JoinSet::new();
    let mut told: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
            // Clears ended connections out of the set while nobody new comes.
            Some(ended) = connections.join_next() => { note(ended); continue }
        };
        match accepted {
            Ok((socket, peer)) => {
                let seat = tokio::select! {
                    () = stop.cancelled() => break,
                    seat = seats.take() => seat,
                };
                connections.spawn(connection(socket, peer, seat, router.clone(), stop.clone()));
                while let Some(ended) = connections.try_join_next() {
                    note(ended);
                }
            }
            Err(error) if is_of_one_client(&error) => {}
            Err(error) => {
                // It comes again and again while the files last no further.
                if told.is_none_or(|told| told.elapsed() >= ACCEPT_LINES) {
                    told = Some(Instant::now());
                    tracing::warn!(%error, open = connections.len(), "cannot accept a web connection; trying again");
                }
                seats.clear(CLEARED);
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
    drop(listener);
    let drained = timeout(STOP_DEADLINE, async {
        while let Some(ended) = connections.join_next().await {
            note(ended);
        }
    });
    if drained.await.is_err() {
        tracing::warn!(open = connections.len(), "web connections did not end in time; closing them");
        connections.shutdown().await;
    }
}

async fn connection(
    socket: TcpStream,
    peer: SocketAddr,
    seat: Arc<Seat>,
    router: Router,
    stop: CancellationToken,
) {
    // Events are small and should not wait for more.
    let _ = socket.set_nodelay(true);
    // A WebSocket of the bot may be silent for hours; one whose client is gone must not keep its place.
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4);
    let _ = SockRef::from(&socket).set_tcp_keepalive(&keepalive);
    let (aside, mut works) = Aside::new();
    let wire = Wire::new(socket, Arc::clone(&seat));
    let service = hyper::service::service_fn({
        let seat = Arc::clone(&seat);
        move |mut request: Request<Incoming>| {
            let seat = Arc::clone(&seat);
            seat.asks(!request.body().is_end_stream());
            request.extensions_mut().insert(Peer(peer));
            request.extensions_mut().insert(aside.clone());
            request.extensions_mut().insert(Arc::clone(&seat));
            let answer = router.clone().oneshot(request.map(|body| Asked { body, seat: Arc::clone(&seat) }));
            async move {
                let response = answer.await?;
                let seat = if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    seat.upgraded();
                    None
                } else {
                    seat.stays();
                    Some(seat)
                };
                Ok::<_, Infallible>(response.map(|body| Answer { body, seat }))
            }
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_headers(HEADERS)
        .max_buf_size(HEAD_LIMIT)
        .serve_connection(TokioIo::new(wire), service)
        .with_upgrades();
    let result = {
        let mut connection = std::pin::pin!(connection);
        let mut ending = false;
        loop {
            tokio::select! {
                // A head that is there is answered, also of one that has to go already.
                biased;
                result = connection.as_mut() => break result,
                () = works.go_on() => {}
                () = stop.cancelled(), if !ending => {
                    ending = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = seat.gone() => {
                    if seat.is_known() {
                        connection.as_mut().graceful_shutdown();
                        let _ = timeout(GIVE_WAY, connection.as_mut()).await;
                    }
                    return;
                }
            }
        }
    };
    match result {
        Ok(()) => {
            if let Some(tunnel) = works.after() {
                // Nobody waits for the end of a WebSocket.
                let _ = stop.run_until_cancelled(tunnel).await;
            }
        }
        // A client that hangs up or talks garbage is its own problem.
        Err(error) => tracing::debug!(%error, "web connection ended"),
    }
}

/// The body of a request, which tells when all of it is there.
struct Asked {
    body: Incoming,
    seat: Arc<Seat>,
}

impl hyper::body::Body for Asked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.seat.has_sent();
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

/// The body of an answer; once it is sent, its connection waits for the next request.
struct Answer {
    body: Body,
    /// `None` on a connection that carries no HTTP from now on.
    seat: Option<Arc<Seat>>,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(seat) = &self.seat {
            seat.waits();
        }
    }
}

/// Errors of accept that say something about one client only.
fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn note(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("a web connection's task panicked");
    }
}
