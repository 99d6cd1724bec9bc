//! The sockets: accepts, limits what a client may take, and ends in order.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::Site;
use super::access::Peer;
use super::aside::Aside;
use super::router::router;

/// Connections at the same time; more wait in the system's queue.
const CONNECTIONS: usize = 512;
/// How long a client may take to send a request head, and may idle between two.
const HEAD_DEADLINE: Duration = Duration::from_secs(30);
/// Longest request head, in bytes.
const HEAD_LIMIT: usize = 16 * 1024;
/// Most headers of a request.
const HEADERS: usize = 64;
/// How long open connections may take to end once told to.
const STOP_DEADLINE: Duration = Duration::from_secs(2);
/// A connection that is silent for so long is asked whether its client is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// Pause after a failed accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(250);

/// Serves the site until `stop`; then open streams end, answers under way are finished, and it returns
/// after at most two seconds.
pub async fn serve(listener: TcpListener, site: Site, stop: CancellationToken) {
    let router = router(site, stop.clone());
    let seats = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        // The semaphore is never closed.
        let seat = tokio::select! {
            () = stop.cancelled() => break,
            seat = Arc::clone(&seats).acquire_owned() => seat,
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
            // Clears ended connections out of the set while nobody new comes.
            Some(ended) = connections.join_next() => { note(ended); continue }
        };
        match accepted {
            Ok((socket, peer)) => {
                let connection = connection(socket, peer, router.clone(), stop.clone());
                connections.spawn(async move {
                    let _seat = seat;
                    connection.await;
                });
            }
            Err(error) if is_of_one_client(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a web connection; trying again");
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
    drop(listener);
    let drained = tokio::time::timeout(STOP_DEADLINE, async {
        while let Some(ended) = connections.join_next().await {
            note(ended);
        }
    });
    if drained.await.is_err() {
        tracing::warn!(open = connections.len(), "web connections did not end in time; closing them");
        connections.shutdown().await;
    }
}

async fn connection(socket: TcpStream, peer: SocketAddr, router: Router, stop: CancellationToken) {
    // Events are small and should not wait for more.
    let _ = socket.set_nodelay(true);
    // A WebSocket of the bot may be silent for hours; one whose client is gone must not keep its place.
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4);
    let _ = SockRef::from(&socket).set_tcp_keepalive(&keepalive);
    let (aside, mut works) = Aside::new();
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        request.extensions_mut().insert(aside.clone());
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_headers(HEADERS)
        .max_buf_size(HEAD_LIMIT)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    let result = {
        let mut connection = std::pin::pin!(connection);
        let mut stopping = false;
        loop {
            tokio::select! {
                result = connection.as_mut() => break result,
                () = works.go_on() => {}
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
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
