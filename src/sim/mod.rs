//! The simulated WhatsApp server.
//!
//! It speaks enough of WhatsApp Web multi-device that unmodified clients pair, log in and
//! exchange encrypted texts with simulated phones, and it can be told to fail in the ways
//! WhatsApp and networks do. `docs/simulator.md` is for those who test a bot with it.
//!
//! One port serves the clients (`/ws/chat`), their media (`/mms/…`) and the control API (`/control/…`).

mod account;
mod blob;
mod connection;
mod control;
mod faults;
#[cfg(any(test, fuzzing))]
mod fixture;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod groups;
mod handle;
mod handshake;
mod identity;
mod link_code;
mod media;
mod messages;
mod pairing;
mod peer;
mod ratchet;
mod report;
mod requests;
mod retries;
mod stanza;
mod state;
mod wire;
mod world;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::DuplexStream;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use control::{DEFAULT_CONTACT, DEFAULT_PHONE};
pub use faults::{Action, Fault, StreamErrorChild, When};
pub use handle::{Handle, TimedOut};
pub use media::{Media, MediaKind, Medium};
pub use messages::Error as SendError;
pub use pairing::Error as ScanError;
pub use ratchet::{RatchetReport, Reuse};
pub use report::{Account, Counters, DeviceReport, Event, Received, Sent, What};

use identity::ServerIdentity;
use world::{Shared, World};

/// Path of the WebSocket, as on WhatsApp's servers.
pub const PATH: &str = "/ws/chat";
/// Time from a connection to its first line.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);
/// Connections to the control API and for media at the same time; more are closed at once.
const CONTROL_CONNECTIONS: usize = 256;
/// How long one of these may take to send a request's head, and may idle between two requests.
const IDLE: Duration = Duration::from_secs(95);
/// Pause between a change and the write of the state file.
const SAVE_DELAY: Duration = Duration::from_millis(200);
/// Bytes that a connection within the process holds in each direction, as much as a socket buffer.
const PIPE: usize = 256 << 10;
/// Time that open connections have to end at shutdown.
const STOP_DEADLINE: Duration = Duration::from_secs(2);

/// How to start.
pub struct Options {
    /// Where to listen; must be a loopback address.
    pub listener: TcpListener,
    /// Folder for keys and accounts; `None` keeps them in memory.
    pub state_dir: Option<PathBuf>,
}

/// Why the simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address can be reached from other machines.
    #[error("the simulator listens only on loopback, not on {0}")]
    NotLoopback(SocketAddr),
    /// The listener does not work.
    #[error("the simulator cannot listen: {0}")]
    Listen(#[from] io::Error),
    /// No keys.
    #[error("the simulator has no keys: {0}")]
    Keys(String),
    /// The state folder.
    #[error(transparent)]
    State(#[from] state::Error),
}

/// A running simulator. Dropping it stops it without waiting; `shutdown` waits.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    state_dir: Option<PathBuf>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// Starts to listen.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let address = options.listener.local_addr()?;
        if !address.ip().is_loopback() {
            return Err(StartError::NotLoopback(address));
        }
        options.listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(options.listener)?;
        let stored = options.state_dir.as_deref().map(state::load).transpose()?.flatten();
        let world = match stored {
            Some(world) => world,
            None => {
                let identity = ServerIdentity::generate(world::now_seconds())
                    .map_err(|error| StartError::Keys(error.to_string()))?;
                World::new(Arc::new(identity))
            }
        };
        let mut world = world;
        world.files.host = address.to_string();
        let shared = Shared::new(world);
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let handle = Handle(Arc::clone(&shared));
        let control = control::router(handle.clone()).merge(media::router(handle));
        tasks.spawn(accept(listener, control, Arc::clone(&shared), stop.clone(), tasks.clone()));
        if let Some(folder) = &options.state_dir {
            save(&shared, folder)?;
            tasks.spawn(keep_saved(Arc::clone(&shared), folder.clone(), stop.clone()));
        }
        tasks.close();
        Ok(Self { address, shared, state_dir: options.state_dir, stop, tasks })
    }

    /// Where clients connect: `ws://127.0.0.1:PORT/ws/chat`.
    pub fn url(&self) -> String {
        format!("ws://{}{PATH}", self.address)
    }

    /// Where the control API is: `http://127.0.0.1:PORT/control`.
    pub fn control_url(&self) -> String {
        format!("http://{}/control", self.address)
    }

    /// The bound address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A connection within the process, for a client that runs on the same, perhaps paused, clock. The client
    /// asks for the WebSocket at [`PATH`] as on TCP.
    pub fn connect(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        self.tasks.spawn(connection::serve(ours, Arc::clone(&self.shared), self.stop.clone()));
        theirs
    }

    /// The same operations as the control API, in process.
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.shared))
    }

    /// Closes all connections, ends all tasks and writes the state.
    pub async fn shutdown(self) -> Result<(), StartError> {
        self.stop.cancel();
        if timeout(STOP_DEADLINE, self.tasks.wait()).await.is_err() {
            tracing::warn!("simulator: some connections did not end in time");
        }
        if let Some(folder) = &self.state_dir {
            save(&self.shared, folder)?;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Accepts connections and tells clients from the control API by their first line.
async fn accept(
    listener: tokio::net::TcpListener,
    control: Router,
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let seats = Arc::new(Semaphore::new(CONTROL_CONNECTIONS));
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, most likely; it passes.
                    tracing::warn!(%error, "simulator: accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let (control, shared, stop) = (control.clone(), Arc::clone(&shared), stop.clone());
        let seats = Arc::clone(&seats);
        tasks.spawn(async move {
            let sort = timeout(REQUEST_DEADLINE, is_client(&stream));
            let client = tokio::select! {
                () = stop.cancelled() => return,
                sorted = sort => match sorted {
                    Ok(Ok(client)) => client,
                    Ok(Err(_)) | Err(_) => return,
                },
            };
            if client {
                connection::serve(stream, shared, stop).await;
            } else if let Ok(_seat) = seats.try_acquire() {
                serve_control(stream, control, stop).await;
            }
        });
    }
}

/// Looks at the first bytes without taking them.
async fn is_client(stream: &TcpStream) -> io::Result<bool> {
    const CLIENT: &[u8] = b"GET /ws/";
    let mut start = [0; CLIENT.len()];
    loop {
        stream.readable().await?;
        let n = stream.peek(&mut start).await?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if start[..n] != CLIENT[..n] {
            return Ok(false);
        }
        if n == CLIENT.len() {
            return Ok(true);
        }
        // The rest of the line is on its way; `readable` would return at once.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Serves one connection to the control API.
async fn serve_control(stream: TcpStream, control: Router, stop: CancellationToken) {
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .max_headers(64)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(control))
    );
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "simulator: a connection to the control API ended");
    }
}

fn save(shared: &Shared, folder: &std::path::Path) -> Result<(), state::Error> {
    match shared.read(state::encode) {
        Ok(content) => state::write(folder, &content),
        Err(source) => Err(state::Error::Parse { path: folder.to_owned(), source }),
    }
}

/// Writes the state after changes, at most once per [`SAVE_DELAY`].
async fn keep_saved(shared: Arc<Shared>, folder: PathBuf, stop: CancellationToken) {
    let mut changes = shared.changes();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(SAVE_DELAY) => {}
        }
        changes.mark_unchanged();
        let (shared, folder) = (Arc::clone(&shared), folder.clone());
        let saved = tokio::task::spawn_blocking(move || save(&shared, &folder)).await;
        if let Ok(Err(error)) = saved {
            tracing::error!(%error, "simulator: the state was not saved");
        }
    }
}
