//! The task of one client connection.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_util::sync::CancellationToken;

use super::faults::Action;
use super::handshake::{Handshake, Step};
use super::wire::{self, MAX_FRAME, MAX_HANDSHAKE_FRAME, Reader, Transport};
use super::world::{ConnectionId, Out, Shared};

/// Time from the dial to the end of the handshake.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(20);
/// Time that a client has to answer a WebSocket close.
const CLOSE_DEADLINE: Duration = Duration::from_millis(500);

/// How a connection ended, for the log.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("closed by the client")]
    Client,
    #[error("closed by the simulator")]
    Server,
    #[error("cut by the simulator")]
    Cut,
    #[error("the simulator stops")]
    Stop,
    #[error("the transport failed: {0}")]
    Transport(#[from] Box<tokio_tungstenite::tungstenite::Error>),
    #[error("no handshake within {} s", HANDSHAKE_DEADLINE.as_secs())]
    Slow,
    #[error("{0}")]
    Wire(#[from] wire::Error),
    #[error("{0}")]
    Handshake(#[from] super::handshake::Error),
    #[error("a text frame where only binary ones belong")]
    Text,
}

impl End {
    /// Whether the client sent something that makes no sense.
    fn garbage(&self) -> bool {
        matches!(self, Self::Wire(_) | Self::Handshake(_) | Self::Text)
    }
}

/// What a connection runs over: TCP, or a pipe within the process.
pub trait Pipe: AsyncRead + AsyncWrite + Unpin + Send {
    /// Small packets go out at once.
    fn hurry(&self) {}
    /// Ends it without a word; what is written afterwards goes nowhere.
    fn cut(&self) {}
    /// Makes the coming drop a reset.
    fn reset(&self) {}
}

impl Pipe for TcpStream {
    fn hurry(&self) {
        // The request is answered at once, so a slow reader of small packets is not worth a delay.
        let _ = self.set_nodelay(true);
    }

    fn cut(&self) {
        let _ = SockRef::from(self).shutdown(std::net::Shutdown::Both);
        // A socket that is dropped with unread bytes is reset.
        let mut sink = [0; 4096];
        while matches!(self.try_read(&mut sink), Ok(1..)) {}
    }

    fn reset(&self) {
        let _ = SockRef::from(self).set_linger(Some(Duration::ZERO));
    }
}

/// Has no reset: it just ends.
impl Pipe for DuplexStream {}

/// Serves a connection whose request asks for the WebSocket, until it ends.
pub async fn serve(stream: impl Pipe, shared: Arc<Shared>, stop: CancellationToken) {
    let (out, orders) = mpsc::unbounded_channel();
    let (id, fault) = shared.with(|world| world.dialled(out));
    let end = run(stream, id, fault, orders, &shared, &stop).await;
    if end.garbage() {
        tracing::warn!(connection = id, reason = %end, "simulator: a client spoke garbage and was closed");
    } else {
        tracing::debug!(connection = id, reason = %end, "simulator: connection over");
    }
    shared.with(|world| world.closed(id, &end.to_string(), end.garbage()));
}

async fn run(
    mut stream: impl Pipe,
    id: ConnectionId,
    fault: Option<Action>,
    mut orders: mpsc::UnboundedReceiver<Out>,
    shared: &Shared,
    stop: &CancellationToken,
) -> End {
    let deadline = Instant::now() + HANDSHAKE_DEADLINE;
    let mut status = None;
    match fault {
        None => {}
        Some(Action::Http { status: code }) => status = StatusCode::from_u16(code).ok(),
        Some(Action::Silence) => {
            if let Some(end) = silence(&stream, &mut orders, stop).await {
                return end;
            }
        }
        Some(Action::Swallow) => return swallow(&mut stream, &mut orders, stop).await,
        Some(Action::Reset) => {
            stream.reset();
            return End::Cut;
        }
        Some(_) => return End::Cut,
    }
    stream.hurry();
    let config =
        WebSocketConfig::default().max_message_size(Some(2 * MAX_FRAME)).max_frame_size(Some(2 * MAX_FRAME));
    #[allow(clippy::result_large_err, reason = "the type is tungstenite's")]
    let answer = |_: &Request, response: Response| match status {
        None => Ok(response),
        Some(status) => {
            let mut refusal = ErrorResponse::new(None);
            *refusal.status_mut() = status;
            Err(refusal)
        }
    };
    let upgrade = tokio_tungstenite::accept_hdr_async_with_config(stream, answer, Some(config));
    let socket = tokio::select! {
        () = stop.cancelled() => return End::Stop,
        upgraded = tokio::time::timeout_at(deadline, upgrade) => match upgraded {
            Err(_) => return End::Slow,
            Ok(Err(_)) if status.is_some() => return End::Server,
            Ok(Err(error)) => return End::Transport(Box::new(error)),
            Ok(Ok(socket)) => socket,
        },
    };
    let mut link = Link {
        socket,
        reader: Reader::default(),
        delay: Duration::ZERO,
        held: VecDeque::new(),
        stage: Stage::Handshake(Box::new(Handshake::new(shared.read(|world| world.identity())))),
    };
    let end = link.run(id, deadline, &mut orders, shared, stop).await;
    if matches!(end, End::Server | End::Stop) || end.garbage() {
        // Dropping a socket with unread bytes resets it, and the last stanza would be lost.
        let _ = timeout(CLOSE_DEADLINE, async {
            link.socket.close(None).await.ok()?;
            while let Some(Ok(_)) = link.socket.next().await {}
            Some(())
        })
        .await;
    }
    end
}

/// Holds the socket without reading or writing; `None` when the silence ends.
async fn silence(
    stream: &impl Pipe,
    orders: &mut mpsc::UnboundedReceiver<Out>,
    stop: &CancellationToken,
) -> Option<End> {
    let mut closing = false;
    loop {
        let order = tokio::select! {
            () = stop.cancelled() => return Some(End::Stop),
            order = orders.recv() => order,
        };
        match order {
            None => return Some(End::Stop),
            Some(Out::Resume) => return closing.then_some(End::Server),
            Some(Out::Reset) => {
                stream.reset();
                return Some(End::Cut);
            }
            Some(Out::Drop) => return Some(End::Cut),
            // A dead network carries no goodbye: it waits until the silence ends.
            Some(Out::Close) => closing = true,
            // What was to be written during the silence never is.
            Some(Out::Stanza(_) | Out::Silence | Out::Swallow | Out::Slow(_)) => {}
        }
    }
}

/// Reads and drops all that comes. There is no way back, since what was dropped is missing.
async fn swallow(
    stream: &mut impl Pipe,
    orders: &mut mpsc::UnboundedReceiver<Out>,
    stop: &CancellationToken,
) -> End {
    let mut sink = [0; 4096];
    loop {
        tokio::select! {
            () = stop.cancelled() => return End::Stop,
            order = orders.recv() => match order {
                Some(Out::Reset) => {
                    stream.reset();
                    return End::Cut;
                }
                None | Some(Out::Resume | Out::Drop) => return End::Cut,
                // What was to be written goes nowhere either.
                Some(Out::Stanza(_) | Out::Close | Out::Silence | Out::Swallow | Out::Slow(_)) => {}
            },
            read = stream.read(&mut sink) => if !matches!(read, Ok(1..)) {
                return End::Client;
            },
        }
    }
}

enum Stage {
    Handshake(Box<Handshake>),
    Transport(Transport),
}

struct Link<P> {
    socket: WebSocketStream<P>,
    reader: Reader,
    stage: Stage,
    /// How late stanzas go out.
    delay: Duration,
    /// What waits for its time, in order.
    held: VecDeque<(Instant, Out)>,
}

impl<P: Pipe> Link<P> {
    async fn run(
        &mut self,
        id: ConnectionId,
        deadline: Instant,
        orders: &mut mpsc::UnboundedReceiver<Out>,
        shared: &Shared,
        stop: &CancellationToken,
    ) -> End {
        loop {
            let shaking = matches!(self.stage, Stage::Handshake(_));
            let due = self.held.front().map(|(at, _)| *at);
            let due = async {
                match due {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // Orders first: a reply is on its way before the next request is read.
                biased;
                () = stop.cancelled() => return End::Stop,
                () = due => {
                    let held = self.held.pop_front().map(|(_, out)| out);
                    match self.carry_out(held, orders, stop).await {
                        Ok(None) => {}
                        Ok(Some(end)) => return end,
                        Err(error) => return error,
                    }
                },
                order = orders.recv() => match self.order(order, orders, stop).await {
                    Ok(None) => {}
                    Ok(Some(end)) => return end,
                    Err(error) => return error,
                },
                () = tokio::time::sleep_until(deadline), if shaking => return End::Slow,
                message = self.socket.next() => {
                    let bytes = match message {
                        None => return End::Client,
                        Some(Err(error)) => return End::Transport(Box::new(error)),
                        Some(Ok(Message::Binary(bytes))) => bytes,
                        Some(Ok(Message::Text(_))) => return End::Text,
                        Some(Ok(Message::Close(_))) => return End::Client,
                        Some(Ok(_)) => continue,
                    };
                    self.reader.feed(&bytes);
                    if let Err(end) = self.frames(id, shared).await {
                        return end;
                    }
                },
            }
        }
    }

    /// Carries an order out, or holds it back on a slow connection.
    async fn order(
        &mut self,
        order: Option<Out>,
        orders: &mut mpsc::UnboundedReceiver<Out>,
        stop: &CancellationToken,
    ) -> Result<Option<End>, End> {
        match order {
            // A faster connection does not overtake what is still on its way.
            Some(out @ (Out::Stanza(_) | Out::Close)) if !self.delay.is_zero() || !self.held.is_empty() => {
                self.held.push_back((Instant::now() + self.delay, out));
                Ok(None)
            }
            order => self.carry_out(order, orders, stop).await,
        }
    }

    async fn carry_out(
        &mut self,
        order: Option<Out>,
        orders: &mut mpsc::UnboundedReceiver<Out>,
        stop: &CancellationToken,
    ) -> Result<Option<End>, End> {
        match order {
            None => Ok(Some(End::Stop)),
            Some(Out::Stanza(node)) => {
                if let Stage::Transport(transport) = &mut self.stage {
                    let frame = transport.seal(&node)?;
                    self.write(frame).await?;
                }
                Ok(None)
            }
            Some(Out::Close) => Ok(Some(End::Server)),
            Some(Out::Drop) => {
                self.socket.get_ref().cut();
                Ok(Some(End::Cut))
            }
            Some(Out::Reset) => {
                self.socket.get_ref().reset();
                Ok(Some(End::Cut))
            }
            Some(Out::Silence) => Ok(silence(self.socket.get_ref(), orders, stop).await),
            Some(Out::Swallow) => Ok(Some(swallow(self.socket.get_mut(), orders, stop).await)),
            Some(Out::Slow(delay)) => {
                self.delay = delay;
                Ok(None)
            }
            Some(Out::Resume) => {
                self.delay = Duration::ZERO;
                Ok(None)
            }
        }
    }

    /// Handles all whole frames that have arrived.
    async fn frames(&mut self, id: ConnectionId, shared: &Shared) -> Result<(), End> {
        loop {
            let limit = match self.stage {
                Stage::Handshake(_) => MAX_HANDSHAKE_FRAME,
                Stage::Transport(_) => MAX_FRAME,
            };
            let Some(frame) = self.reader.frame(limit)? else { return Ok(()) };
            match &mut self.stage {
                Stage::Handshake(handshake) => {
                    let step = handshake.frame(&frame)?;
                    if let Some(action) = matches!(step, Step::Reply(_) | Step::Done { reply: Some(_), .. })
                        .then(|| shared.with(|world| world.before_hello()))
                        .flatten()
                    {
                        shared.with(|world| world.strike(id, &action));
                        return Ok(());
                    }
                    match step {
                        Step::Reply(reply) => self.write(wire::frame(&reply)?).await?,
                        Step::Done { reply, client, ciphers } => {
                            if let Some(reply) = reply {
                                self.write(wire::frame(&reply)?).await?;
                            }
                            self.stage = Stage::Transport(Transport::new(ciphers));
                            shared.with(|world| world.greeted(id, *client));
                        }
                    }
                }
                Stage::Transport(transport) => {
                    let node = transport.open(frame)?;
                    shared.with(|world| world.stanza(id, &node));
                }
            }
        }
    }

    async fn write(&mut self, frame: Vec<u8>) -> Result<(), End> {
        self.socket.send(Message::binary(frame)).await.map_err(|error| End::Transport(Box::new(error)))
    }
}
