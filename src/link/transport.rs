//! whatsapp-rust's transport on tokio-tungstenite: notes every frame for the heartbeat, can be cut at
//! once, and says why it ended.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wacore::net::{DisconnectReason, Transport, TransportEvent, TransportFactory};
use whatsapp_rust::async_channel;

use super::address::LinkAddress;
use super::dial::{DialError, Dialler, Network, Socket};
use super::heartbeat::Pulse;

/// Frames read ahead of the client.
const READ_AHEAD: usize = 64;
/// Frames queued for the socket; the client waits for each, so this is never full.
const WRITE_AHEAD: usize = 16;
/// After a write has failed, what is left to read is read within this: it may say why.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// A close frame that cannot be written within this is not worth more time.
const CLOSE_DEADLINE: Duration = Duration::from_secs(1);

/// Why an open transport ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The server sent a close frame.
    Closed { code: Option<u16> },
    /// The stream ended without a close frame.
    Eof,
    /// Reading or writing failed.
    Io { kind: io::ErrorKind },
    /// The client closed it.
    Local,
    /// We cut it.
    Cut(CutReason),
}

/// Why a link was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutReason {
    /// Nothing was heard within `heartbeat.deadline` of a probe.
    Silence,
    /// The server reported an error and left the socket open.
    ServerError,
    /// The lease was lost.
    Lease,
    /// The database does not take writes.
    Database,
    /// The session ended.
    LoggedOut,
    /// The process stops.
    Stop,
}

impl CutReason {
    /// A short stable word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::ServerError => "server_error",
            Self::Lease => "lease_lost",
            Self::Database => "database",
            Self::LoggedOut => "logged_out",
            Self::Stop => "stop",
        }
    }

    /// One sentence for a person.
    pub fn text(self) -> &'static str {
        match self {
            Self::Silence => "WhatsApp stopped answering.",
            Self::ServerError => "WhatsApp reported an error.",
            Self::Lease => "Another dyno took the session over.",
            Self::Database => "The database did not take a write, so the link was closed.",
            Self::LoggedOut => "The phone removed this linked device.",
            Self::Stop => "blacksky was stopped.",
        }
    }
}

/// One connection as its owner sees it; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Line(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    pulse: Pulse,
    cut: CancellationToken,
    opened: CancellationToken,
    /// A write failed; what the peer said before that may still be there to read.
    broken: CancellationToken,
    ended: CancellationToken,
    facts: Mutex<Facts>,
}

#[derive(Debug, Default)]
struct Facts {
    cut: Option<CutReason>,
    end: Option<End>,
    write_error: Option<End>,
    dial: Option<DialError>,
}

impl Line {
    /// Ends the connection at once: no close frame, nothing flushed. Also ends a dial under way.
    pub fn cut(&self, reason: CutReason) {
        self.facts().cut.get_or_insert(reason);
        self.0.cut.cancel();
    }

    /// When frames passed.
    pub fn pulse(&self) -> &Pulse {
        &self.0.pulse
    }

    /// Why the transport ended; `None` while it is open or was never opened.
    pub fn end(&self) -> Option<End> {
        self.facts().end
    }

    /// Why the dial failed.
    pub fn dial_error(&self) -> Option<DialError> {
        self.facts().dial.clone()
    }

    /// Whether a WebSocket was ever open.
    pub fn was_opened(&self) -> bool {
        self.0.opened.is_cancelled()
    }

    /// Resolves when the WebSocket is open.
    pub async fn opened(&self) {
        self.0.opened.cancelled().await;
    }

    /// Resolves when the transport has ended.
    pub async fn ended(&self) {
        self.0.ended.cancelled().await;
    }

    /// Resolves some time after a write has failed.
    async fn unheard(&self) -> End {
        self.0.broken.cancelled().await;
        tokio::time::sleep(LAST_WORDS).await;
        self.facts().write_error.unwrap_or(End::Eof)
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the first reason; a cut beats whatever the socket says afterwards.
    fn finish(&self, end: End) -> End {
        let end = {
            let mut facts = self.facts();
            let end = facts.cut.map_or(end, End::Cut);
            *facts.end.get_or_insert(end)
        };
        // The other half must not go on.
        self.0.cut.cancel();
        end
    }
}

/// What must be done before a frame may be seen by the server.
#[async_trait]
pub trait BeforeWrite: Send + Sync {
    /// Resolves when the next frame may be written; with an error it is not, and the client ends the
    /// connection.
    async fn ready(&self) -> anyhow::Result<()>;
}

/// Makes transports for one client; the owner takes the [`Line`] of the dial at hand from it.
#[derive(Clone)]
pub struct Factory {
    dialler: Arc<dyn Dialler>,
    tasks: TaskTracker,
    line: Arc<Mutex<Line>>,
    before: Arc<OnceLock<Arc<dyn BeforeWrite>>>,
}

impl Factory {
    /// `silence` is period + deadline of the heartbeat; the socket's tasks run on `tasks`.
    pub fn new(address: LinkAddress, silence: Duration, tasks: TaskTracker) -> Self {
        Self::over(Arc::new(Network { address, silence }), tasks)
    }

    /// Over something else than the network.
    pub fn over(dialler: Arc<dyn Dialler>, tasks: TaskTracker) -> Self {
        Self { dialler, tasks, line: Arc::default(), before: Arc::default() }
    }

    /// From now on every frame waits for this; only the first one given counts.
    pub fn before_write(&self, before: Arc<dyn BeforeWrite>) {
        let _already = self.before.set(before);
    }

    /// Begins a new dial: what the client opens next belongs to this line.
    pub fn next_line(&self) -> Line {
        let line = Line::default();
        *self.line.lock().unwrap_or_else(PoisonError::into_inner) = line.clone();
        line
    }

    /// Cuts the line at hand.
    pub fn cut(&self, reason: CutReason) {
        self.line().cut(reason);
    }

    fn line(&self) -> Line {
        self.line.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl TransportFactory for Factory {
    async fn create_transport(
        &self,
    ) -> anyhow::Result<(Arc<dyn Transport>, async_channel::Receiver<TransportEvent>)> {
        let line = self.line();
        let dialled = tokio::select! {
            biased;
            () = line.0.cut.cancelled() => anyhow::bail!("the dial was given up"),
            dialled = self.dialler.dial() => dialled,
        };
        match dialled {
            Ok(socket) => {
                let attached = attach(socket, &line, &self.tasks, self.before.clone());
                line.0.opened.cancel();
                Ok(attached)
            }
            Err(error) => {
                line.facts().dial = Some(error.clone());
                Err(error.into())
            }
        }
    }
}

/// A frame and who waits for it to be written.
struct Outgoing {
    frame: Bytes,
    written: oneshot::Sender<Result<(), WsError>>,
}

struct Sender {
    queue: mpsc::Sender<Outgoing>,
    line: Line,
    close: CancellationToken,
    before: Arc<OnceLock<Arc<dyn BeforeWrite>>>,
}

#[async_trait]
impl Transport for Sender {
    async fn send(&self, frame: Bytes) -> anyhow::Result<()> {
        if let Some(before) = self.before.get() {
            before.ready().await?;
        }
        let (written, outcome) = oneshot::channel();
        self.queue
            .send(Outgoing { frame, written })
            .await
            .map_err(|_| anyhow::anyhow!("the socket is closed"))?;
        outcome.await.map_err(|_| anyhow::anyhow!("the socket is closed"))??;
        Ok(())
    }

    async fn disconnect(&self) {
        self.close.cancel();
        self.line.ended().await;
    }
}

/// Splits the socket into a task that reads and one that writes; each owns its half, and both end on a cut.
fn attach(
    socket: Socket,
    line: &Line,
    tasks: &TaskTracker,
    before: Arc<OnceLock<Arc<dyn BeforeWrite>>>,
) -> (Arc<dyn Transport>, async_channel::Receiver<TransportEvent>) {
    let Socket { sink, stream } = socket;
    let (events, receiver) = async_channel::bounded(READ_AHEAD);
    let (queue, outgoing) = mpsc::channel(WRITE_AHEAD);
    let close = CancellationToken::new();
    line.pulse().heard();
    // The channel is new and has room.
    let _ = events.try_send(TransportEvent::Connected);

    let writer = tasks.spawn(write(sink, outgoing, line.clone(), close.clone()));
    let reading = line.clone();
    tasks.spawn(async move {
        let end = read(stream, &events, &reading).await;
        let end = reading.finish(end);
        // The writer drops its half first, so that the socket is closed when this is announced.
        let _ = writer.await;
        reading.0.ended.cancel();
        let _ = events.try_send(TransportEvent::Disconnected(reported(end)));
    });
    (Arc::new(Sender { queue, line: line.clone(), close, before }), receiver)
}

async fn read(
    mut stream: impl Stream<Item = Result<Message, WsError>> + Unpin,
    events: &async_channel::Sender<TransportEvent>,
    line: &Line,
) -> End {
    let unheard = line.unheard();
    tokio::pin!(unheard);
    loop {
        let message = tokio::select! {
            biased;
            () = line.0.cut.cancelled() => return End::Local,
            message = stream.next() => message,
            end = &mut unheard => return end,
        };
        line.pulse().heard();
        match message {
            Some(Ok(Message::Binary(frame))) => {
                let delivered = tokio::select! {
                    biased;
                    () = line.0.cut.cancelled() => return End::Local,
                    delivered = events.send(TransportEvent::DataReceived(frame)) => delivered,
                };
                if delivered.is_err() {
                    return End::Local;
                }
            }
            Some(Ok(Message::Close(frame))) => {
                return End::Closed { code: frame.map(|frame| u16::from(frame.code)) };
            }
            Some(Ok(Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Err(error)) => return broken(&error),
            None => return End::Eof,
        }
    }
}

async fn write(
    mut sink: impl Sink<Message, Error = WsError> + Unpin,
    mut outgoing: mpsc::Receiver<Outgoing>,
    line: Line,
    close: CancellationToken,
) {
    loop {
        let next = tokio::select! {
            biased;
            () = line.0.cut.cancelled() => return,
            next = outgoing.recv() => next,
            // Last, so that frames queued before the close are written.
            () = close.cancelled() => None,
        };
        let Some(Outgoing { frame, written }) = next else {
            let goodbye = CloseFrame { code: CloseCode::Normal, reason: "".into() };
            let _ = tokio::time::timeout(CLOSE_DEADLINE, sink.send(Message::Close(Some(goodbye)))).await;
            line.finish(End::Local);
            return;
        };
        let outcome = tokio::select! {
            biased;
            () = line.0.cut.cancelled() => return,
            outcome = sink.send(Message::Binary(frame)) => outcome,
        };
        line.pulse().spoke();
        if let Err(error) = &outcome {
            line.facts().write_error = Some(broken(error));
            line.0.broken.cancel();
            let _ = written.send(outcome);
            return;
        }
        let _ = written.send(outcome);
    }
}

fn broken(error: &WsError) -> End {
    match error {
        WsError::ConnectionClosed | WsError::AlreadyClosed => End::Eof,
        WsError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => End::Eof,
        WsError::Io(error) => End::Io { kind: error.kind() },
        // A peer that vanishes without the closing handshake.
        WsError::Protocol(
            tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
        ) => End::Eof,
        _ => End::Io { kind: io::ErrorKind::InvalidData },
    }
}

/// The end in whatsapp-rust's words; it only chooses a log level by them.
fn reported(end: End) -> DisconnectReason {
    match end {
        End::Closed { code } => DisconnectReason::ServerClose { code, reason: String::new() },
        End::Eof => DisconnectReason::StreamEnded,
        End::Io { kind } => DisconnectReason::ReadError(kind.to_string()),
        End::Local | End::Cut(_) => DisconnectReason::Unknown,
    }
}

#[cfg(test)]
mod tests;
