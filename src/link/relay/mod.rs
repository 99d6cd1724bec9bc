//! The way of a hosted bot's WebSocket: a listener on this machine that dials WhatsApp in the bot's place.
//!
//! The bot's preload leads its connection here. The relay spaces the dials ([`pacing`]), passes bytes as they
//! are ([`passage`]), notices silence, and is closed while the lease is not held. It never reads what is inside
//! Noise; what it knows of the link beyond traffic the preload tells it ([`Said`]).

mod frames;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod head;
mod listener;
mod pacing;
mod passage;
mod said;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::address::LinkAddress;
use crate::config::Backoff;
use pacing::Pacing;
use passage::Counters;
pub use passage::Flow;
pub use said::Said;

/// Baileys' own keep-alive; other bots' are shorter.
pub const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Between two reports of the traffic.
const TRAFFIC: Duration = Duration::from_secs(1);

/// What a relay needs to know.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Where it dials.
    pub upstream: LinkAddress,
    /// For an answer, after the bot's keep-alive.
    pub deadline: Duration,
    /// Spaces the bot's dials.
    pub backoff: Backoff,
}

/// What happens at the relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The bot's dial goes on to WhatsApp.
    Dialled,
    /// WhatsApp's side took the WebSocket.
    Connected,
    /// What has passed since the relay began, when there is more; at most once a second.
    Traffic {
        /// From WhatsApp.
        inbound: Flow,
        /// To WhatsApp.
        outbound: Flow,
    },
    /// A connection, or a dial, ended.
    Ended {
        /// A stable word.
        reason: String,
        /// One sentence.
        text: String,
    },
    /// A dial has to wait this long, or is sent away for now.
    Held(Duration),
    /// What the preload told.
    Said(Said),
}

/// A relay for one bot. Dropping it ends its connections.
pub struct Relay {
    address: SocketAddr,
    secret: String,
    shared: Arc<Shared>,
    reports: mpsc::UnboundedReceiver<Report>,
    traffic: Interval,
    told: (Flow, Flow),
    _listening: AbortOnDropHandle<()>,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What the listener's tasks share.
struct Shared {
    setting: Setting,
    secret: String,
    pacing: Mutex<Pacing>,
    counters: Counters,
    admits: AtomicBool,
    /// Ends the present connection; another one for each.
    present: Mutex<CancellationToken>,
    /// Number of the newest dial: an older one that still waits gives way.
    newest: AtomicU64,
    reports: mpsc::UnboundedSender<Report>,
}

impl Shared {
    fn report(&self, report: Report) {
        // Nobody listens any more: the relay is being dropped.
        let _ = self.reports.send(report);
    }

    fn pacing(&self) -> MutexGuard<'_, Pacing> {
        // Whole after each of its methods.
        self.pacing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the connection there is; gives the token of the next one.
    fn replace(&self) -> CancellationToken {
        let next = CancellationToken::new();
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *present, next.clone()).cancel();
        next
    }
}

impl Relay {
    /// Listens on a free port of this machine. Nothing passes before [`admit`](Self::admit).
    ///
    /// # Errors
    /// There is no port to listen on.
    pub async fn start(setting: Setting) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let secret = format!("{:032x}", rand::random::<u128>());
        let (sender, reports) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            pacing: Mutex::new(Pacing::new(setting.backoff)),
            setting,
            secret: secret.clone(),
            counters: Counters::default(),
            admits: AtomicBool::new(false),
            present: Mutex::default(),
            newest: AtomicU64::new(0),
            reports: sender,
        });
        let listening = AbortOnDropHandle::new(tokio::spawn(listener::listen(listener, shared.clone())));
        let mut traffic = interval(TRAFFIC);
        traffic.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            address,
            secret,
            shared,
            reports,
            traffic,
            told: Default::default(),
            _listening: listening,
        })
    }

    /// Where the preload leads the bot's connections and sends its reports. Holds a secret: whoever knows it can
    /// speak as the bot.
    pub fn address(&self) -> String {
        format!("http://{}/{}", self.address, self.secret)
    }

    /// The next thing that happens. Safe to drop.
    pub async fn next(&mut self) -> Report {
        loop {
            tokio::select! {
                biased;
                Some(report) = self.reports.recv() => return report,
                _ = self.traffic.tick() => {
                    let counters = &self.shared.counters;
                    let now = (counters.inbound.get(), counters.outbound.get());
                    if std::mem::replace(&mut self.told, now) != now {
                        return Report::Traffic { inbound: now.0, outbound: now.1 };
                    }
                }
            }
        }
    }

    /// From now on dials pass.
    pub fn admit(&self) {
        self.shared.admits.store(true, Ordering::Release);
    }

    /// From now on no dial passes, one that waits included.
    pub fn refuse(&self) {
        self.shared.admits.store(false, Ordering::Release);
        self.shared.newest.fetch_add(1, Ordering::AcqRel);
    }

    /// Ends the connection there is.
    pub fn cut(&self) {
        self.shared.replace();
    }

    /// The next dial need not wait.
    pub fn at_once(&self) {
        self.shared.pacing().at_once();
    }
}

#[cfg(test)]
mod tests;
