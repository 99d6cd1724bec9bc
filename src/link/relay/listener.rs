//! Takes the bot's connections: dials and the preload's reports.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use subtle::ConstantTimeEq;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet, yield_now};
use tokio::time::{Instant, sleep, timeout};

use super::head::{self, Request};
use super::pacing::Ended;
use super::passage::{self, Passed, Patience};
use super::said::Said;
use super::{KEEP_ALIVE, Report, Shared};
use crate::link::dial::{self, DialError};

/// For a request's head and body.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);
/// A dial waits at most this long for its time, and is sent away then: Baileys gives up after 20 s.
const HOLD: Duration = Duration::from_secs(12);
/// For the bot to take the close of a connection that is sent away.
const CLOSE: Duration = Duration::from_secs(5);
/// Connections of the bot at the same time; more wait in the system's queue.
const CONNECTIONS: usize = 192;
/// Of these such that have not said all yet that they want to; of more the oldest ends.
const UNKNOWN: usize = 64;
/// Longest report.
const REPORT: usize = 64 * 1024;
/// Wait after a failure to accept, such as too many open files.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// Between two lines about it.
const ACCEPT_LINES: Duration = Duration::from_secs(60);
/// Try again later (RFC 6455's registry of close codes).
const LATER: u16 = 1013;

/// Serves until dropped. A bot that opens connections without end is made to wait, or loses those that say nothing.
pub async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut unknown: VecDeque<(AbortHandle, Arc<AtomicBool>)> = VecDeque::new();
    let mut told: Option<Instant> = None;
    loop {
        let taken = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            taken = taken => taken,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((socket, _)) => {
                let (shared, asked) = (shared.clone(), Arc::new(AtomicBool::new(false)));
                let asks = asked.clone();
                let task = connections.spawn(async move {
                    let _place = place;
                    if let Err(error) = serve(socket, &shared, &asks).await {
                        tracing::debug!(%error, "a connection to the relay ended");
                    }
                });
                unknown.retain(|(task, asked)| !task.is_finished() && !asked.load(Ordering::Acquire));
                unknown.push_back((task, asked));
                if unknown.len() > UNKNOWN
                    && let Some((oldest, _)) = unknown.pop_front()
                {
                    oldest.abort();
                }
                // What it has sent already is read before others come.
                yield_now().await;
            }
            Err(error) => {
                // It comes again and again while the files last no further.
                if told.is_none_or(|told| told.elapsed() >= ACCEPT_LINES) {
                    told = Some(Instant::now());
                    tracing::warn!(%error, "the relay cannot take a connection");
                }
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

async fn serve(mut socket: TcpStream, shared: &Arc<Shared>, asked: &AtomicBool) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let read = timeout(REQUEST_DEADLINE, head::request(&mut socket)).await;
    let (request, rest) = read.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let path = request.path.strip_prefix('/').unwrap_or_default();
    let (secret, rest_of_path) = path.split_once('/').unwrap_or((path, ""));
    if !bool::from(secret.as_bytes().ct_eq(shared.secret.as_bytes())) {
        return answer(&mut socket, "404 Not Found").await;
    }
    match (request.method.as_str(), rest_of_path.split('?').next().unwrap_or_default()) {
        ("POST", "said") => {
            let read = timeout(REQUEST_DEADLINE, body(&mut socket, &request, rest)).await;
            let body = read.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            asked.store(true, Ordering::Release);
            let status = match serde_json::from_slice::<Said>(&body) {
                Ok(said) => {
                    hear(shared, said);
                    "204 No Content"
                }
                Err(_) => "400 Bad Request",
            };
            answer(&mut socket, status).await
        }
        _ if request.is_upgrade() => {
            asked.store(true, Ordering::Release);
            dial(socket, request, rest, shared).await
        }
        _ => answer(&mut socket, "404 Not Found").await,
    }
}

async fn answer(to: &mut (impl AsyncWrite + Unpin), status: &str) -> io::Result<()> {
    let text = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    to.write_all(text.as_bytes()).await?;
    to.shutdown().await
}

async fn body(socket: &mut TcpStream, request: &Request, mut body: Vec<u8>) -> io::Result<Vec<u8>> {
    let length: usize =
        request.header("content-length").and_then(|value| value.trim().parse().ok()).unwrap_or(0);
    if length > REPORT {
        return Err(io::ErrorKind::InvalidData.into());
    }
    while body.len() < length {
        if socket.read_buf(&mut body).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    body.truncate(length);
    Ok(body)
}

fn hear(shared: &Shared, said: Said) {
    let now = Instant::now();
    match &said {
        Said::Open => shared.pacing().opened(now),
        Said::Closed { code } => shared.pacing().closed(now, *code),
        Said::Loaded { .. } | Said::Qr { .. } | Said::PairingCode { .. } => {}
    }
    shared.report(Report::Said(said));
}

/// A dial of the bot.
async fn dial(mut bot: TcpStream, request: Request, early: Vec<u8>, shared: &Arc<Shared>) -> io::Result<()> {
    let number = shared.newest.fetch_add(1, Ordering::AcqRel) + 1;
    if let Some(why) = hold(number, shared).await {
        return send_away(bot, &request, why).await;
    }
    // The bot has one connection: this one is it from now on.
    let cut = shared.replace();
    shared.pacing().began();
    shared.report(Report::Dialled);
    let patience = Patience { keep_alive: KEEP_ALIVE, deadline: shared.setting.deadline };
    let connecting = async {
        let mut server = dial::raw(&shared.setting.upstream, patience.longest()).await?;
        let broken = |error: io::Error| DialError::Upgrade { problem: error.to_string() };
        server.write_all(&request.towards(shared.setting.upstream.url())).await.map_err(broken)?;
        server.flush().await.map_err(broken)?;
        let response = head::response(&mut server).await.map_err(broken)?;
        if response.status != 101 {
            return Err(DialError::Status { status: response.status });
        }
        Ok((server, response))
    };
    let connected = tokio::select! {
        connected = timeout(dial::DEADLINE, connecting) => {
            connected.unwrap_or(Err(DialError::TimedOut { seconds: dial::DEADLINE.as_secs() }))
        }
        () = cut.cancelled() => return send_away(bot, &request, "the link was closed").await,
    };
    let (mut server, response) = match connected {
        Ok(connected) => connected,
        Err(error) => {
            let (how, reason) = match &error {
                DialError::Status { status: 429 } => (Ended::RateLimited, "http_429".to_owned()),
                DialError::Status { status } => (Ended::Dial, format!("http_{status}")),
                _ => (Ended::Dial, "dial_failed".to_owned()),
            };
            shared.pacing().ended(Instant::now(), how, &mut rand::rng());
            shared.report(Report::Ended { reason, text: format!("The connection was not made: {error}.") });
            return send_away(bot, &request, "no connection").await;
        }
    };
    shared.report(Report::Connected);
    bot.write_all(&response.bytes).await?;
    bot.write_all(&response.rest).await?;
    server.write_all(&early).await?;
    server.flush().await?;
    let passed = tokio::select! {
        passed = passage::pass(&mut bot, &mut server, &shared.counters, patience) => Some(passed),
        () = cut.cancelled() => None,
    };
    shared.pacing().ended(Instant::now(), Ended::Connection, &mut rand::rng());
    let (reason, text) = words(passed.as_ref());
    shared.report(Report::Ended { reason: reason.to_owned(), text });
    // What ends on either side ends on both; a bot whose server is silent must notice, too.
    if !matches!(passed, Some(Passed::ByBot(_))) {
        let _ = timeout(CLOSE, bot.shutdown()).await;
    }
    let _ = timeout(CLOSE, server.shutdown()).await;
    Ok(())
}

/// Waits until the dial's time has come; says why it must not go on.
async fn hold(number: u64, shared: &Shared) -> Option<&'static str> {
    let deadline = Instant::now() + HOLD;
    let mut told = false;
    loop {
        if !shared.admits.load(Ordering::Acquire) {
            return Some("this dyno does not have the bot's lease");
        }
        if shared.newest.load(Ordering::Acquire) != number {
            return Some("a newer dial took its place");
        }
        let wait = shared.pacing().wait(Instant::now());
        if wait.is_zero() {
            return None;
        }
        if !std::mem::replace(&mut told, true) {
            shared.report(Report::Held(wait));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Some("the next dial has its time");
        }
        // Whoever shortens the wait, or refuses, is noticed soon enough.
        sleep(wait.min(left).min(Duration::from_millis(200))).await;
    }
}

/// Opens the bot's WebSocket and closes it at once.
async fn send_away(mut bot: TcpStream, request: &Request, why: &str) -> io::Result<()> {
    bot.write_all(&request.open_and_close(LATER, why)).await?;
    let taken = async {
        let mut buffer = [0; 1024];
        while bot.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    };
    let _ = timeout(CLOSE, taken).await;
    bot.shutdown().await
}

/// A stable word and a sentence.
fn words(passed: Option<&Passed>) -> (&'static str, String) {
    match passed {
        None => ("cut", "blacksky closed the link.".to_owned()),
        Some(Passed::ByBot(Some(code))) => ("closed_by_bot", format!("The bot closed its socket ({code}).")),
        Some(Passed::ByBot(None)) => ("closed_by_bot", "The bot closed its socket.".to_owned()),
        Some(Passed::ByServer(Some(code))) => ("closed", format!("WhatsApp closed the socket ({code}).")),
        Some(Passed::ByServer(None)) => ("eof", "The socket was closed without a word.".to_owned()),
        Some(Passed::Broken(kind)) => ("io_error", format!("The socket failed: {kind}.")),
        Some(Passed::Silence) => {
            ("silence", "Nothing came any more, although the bot had sent something.".to_owned())
        }
    }
}
