//! Heroku's router: one address for the app, a random booted dyno for each request, its limits and its error
//! codes.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONNECTION, HeaderName, UPGRADE, VIA};
use axum::http::{HeaderValue, Request, Response, StatusCode};
use futures_util::stream::{self, StreamExt};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rand::seq::SliceRandom;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const REQUEST_START: HeaderName = HeaderName::from_static("x-request-start");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SERVER: &str = "1.1 heroku-router";

/// The router's limits.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Request → first byte of the answer (H12).
    pub first_byte: Duration,
    /// Then between two bytes in either direction (H15).
    pub idle: Duration,
    /// How long a request waits for a dyno that is starting (H20).
    pub boot: Duration,
    /// For the connection to a dyno (H19).
    pub connect: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { first_byte: seconds(30), idle: seconds(55), boot: seconds(75), connect: seconds(5) }
    }
}

/// Who may get requests.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// Dynos that should run.
    pub quantity: usize,
    /// Ports of those that have booted.
    pub up: Vec<u16>,
    /// Those that have not yet.
    pub starting: usize,
}

/// A running router; its connections end when it is dropped.
pub struct Router {
    address: SocketAddr,
    shared: Arc<Shared>,
    _accepting: AbortOnDropHandle<()>,
}

struct Shared {
    table: watch::Receiver<Table>,
    limits: Limits,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    over: CancellationToken,
}

impl Router {
    /// On a free port of loopback.
    pub async fn start(table: watch::Receiver<Table>, limits: Limits) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let over = CancellationToken::new();
        let shared = Arc::new(Shared { table, limits, counts: Mutex::default(), over });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, _accepting: AbortOnDropHandle::new(accepting) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How often each thing happened: `ok` and the H codes.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.shared.counts.lock().expect("not poisoned").clone()
    }

    /// How often this one happened.
    pub fn count(&self, what: &str) -> u64 {
        self.counts().get(what).copied().unwrap_or_default()
    }

    /// How often any H code happened.
    pub fn errors(&self) -> u64 {
        self.counts().iter().filter(|(what, _)| **what != "ok").map(|(_, count)| count).sum()
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.shared.over.cancel();
    }
}

impl Shared {
    fn count(&self, what: &'static str) {
        *self.counts.lock().expect("not poisoned").entry(what).or_default() += 1;
    }

    fn error(&self, code: &'static str) -> Response<Body> {
        self.count(code);
        let mut answer = Response::new(Body::from(format!("Application error ({code})\n")));
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        answer
    }

    /// The booted dynos in random order, waiting for one that is starting.
    async fn dynos(&self) -> Result<Vec<u16>, &'static str> {
        let mut table = self.table.clone();
        let known = table.wait_for(|table| !table.up.is_empty() || table.starting == 0);
        match tokio::time::timeout(self.limits.boot, known).await {
            Err(_) => Err("H20"),
            Ok(Err(_)) => Err("H99"),
            Ok(Ok(table)) if table.quantity == 0 => Err("H14"),
            Ok(Ok(table)) if table.up.is_empty() => Err("H10"),
            Ok(Ok(table)) => {
                let mut up = table.up.clone();
                up.shuffle(&mut rand::rng());
                Ok(up)
            }
        }
    }

    /// A connection to one of them: another is tried when the first does not take it.
    async fn connect(&self) -> Result<TcpStream, &'static str> {
        let mut failure = "H21";
        for port in self.dynos().await? {
            let connecting = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
            match tokio::time::timeout(self.limits.connect, connecting).await {
                Ok(Ok(stream)) => {
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(_)) => failure = "H21",
                Err(_) => failure = "H19",
            }
        }
        Err(failure)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, client)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let over = shared.over.clone();
            let service = service_fn(|request| {
                let shared = Arc::clone(&shared);
                async move { Ok::<_, Infallible>(forward(request, client, shared).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            tokio::select! {
                _ = connection => {}
                () = over.cancelled() => {}
            }
        });
    }
}

async fn forward(mut request: Request<Incoming>, client: SocketAddr, shared: Arc<Shared>) -> Response<Body> {
    let stream = match shared.connect().await {
        Ok(stream) => stream,
        Err(code) => return shared.error(code),
    };
    mark(&mut request, client);
    let clients_side = request.headers().contains_key(UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let activity = Arc::new(watch::Sender::new(Instant::now()));
    let request = request.map(|body| {
        let activity = Arc::clone(&activity);
        Body::from_stream(Body::new(body).into_data_stream().inspect(move |_| {
            activity.send_replace(Instant::now());
        }))
    });
    let Ok((mut sender, connection)) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await
    else {
        return shared.error("H13");
    };
    tokio::spawn(connection.with_upgrades());
    let mut answer = match tokio::time::timeout(shared.limits.first_byte, sender.send_request(request)).await
    {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => return shared.error("H13"),
        Err(_) => return shared.error("H12"),
    };
    shared.count("ok");
    activity.send_replace(Instant::now());
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some(clients_side) = clients_side
    {
        let dynos_side = hyper::upgrade::on(&mut answer);
        tokio::spawn(async move {
            let (Ok(client), Ok(dyno)) = tokio::join!(clients_side, dynos_side) else { return };
            carry(TokioIo::new(client), TokioIo::new(dyno), &shared).await;
        });
        return answer.map(|_| Body::empty());
    }
    answer.map(|body| {
        let body = Body::new(body).into_data_stream();
        let state = (body, activity, shared, sender);
        Body::from_stream(stream::unfold(state, async |(mut body, activity, shared, sender)| {
            loop {
                let limit = *activity.borrow() + shared.limits.idle;
                tokio::select! {
                    chunk = body.next() => {
                        activity.send_replace(Instant::now());
                        let chunk = chunk?.map_err(|error| {
                            shared.count("H18");
                            io::Error::other(error)
                        });
                        return Some((chunk, (body, activity, shared, sender)));
                    }
                    () = tokio::time::sleep_until(limit) => {
                        if *activity.borrow() + shared.limits.idle <= Instant::now() {
                            shared.count("H15");
                            let cut = io::Error::from(io::ErrorKind::TimedOut);
                            let nothing = Body::empty().into_data_stream();
                            return Some((Err(cut), (nothing, activity, shared, sender)));
                        }
                    }
                }
            }
        }))
    })
}

/// The headers that the router adds.
fn mark(request: &mut Request<Incoming>, client: SocketAddr) {
    let headers = request.headers_mut();
    let mut append = |name: HeaderName, value: String| {
        let value = match headers.get(&name).and_then(|known| known.to_str().ok()) {
            Some(known) => format!("{known}, {value}"),
            None => value,
        };
        headers.insert(name, HeaderValue::try_from(value).expect("visible ASCII"));
    };
    append(FORWARDED_FOR, client.ip().to_string());
    append(VIA, SERVER.to_owned());
    let now = blacksky::runtime::clock::now().timestamp_millis();
    for (name, value) in [
        (FORWARDED_PROTO, "https".to_owned()),
        (FORWARDED_PORT, "443".to_owned()),
        (REQUEST_START, now.to_string()),
        (REQUEST_ID, format!("{:032x}", rand::random::<u128>())),
    ] {
        headers.insert(name, HeaderValue::try_from(value).expect("visible ASCII"));
    }
    if !headers.contains_key(UPGRADE) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// Bytes of a WebSocket, until either side ends or both are silent for too long.
async fn carry(
    client: impl AsyncRead + AsyncWrite + Unpin,
    dyno: impl AsyncRead + AsyncWrite + Unpin,
    shared: &Shared,
) {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_dyno, mut to_dyno) = tokio::io::split(dyno);
    let (mut up, mut down) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    loop {
        let written = tokio::select! {
            read = from_client.read(&mut up) => match read {
                Ok(read @ 1..) => to_dyno.write_all(&up[..read]).await,
                _ => break,
            },
            read = from_dyno.read(&mut down) => match read {
                Ok(read @ 1..) => to_client.write_all(&down[..read]).await,
                _ => break,
            },
            () = tokio::time::sleep(shared.limits.idle) => {
                shared.count("H15");
                break;
            }
            () = shared.over.cancelled() => break,
        };
        if written.is_err() {
            break;
        }
    }
    let _ = tokio::join!(to_client.shutdown(), to_dyno.shutdown());
}
