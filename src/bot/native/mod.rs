//! A native bot: blacksky itself is the WhatsApp client.
//!
//! [`keep`] keeps one bot linked until it is told to stop. It wins the lease, builds a client for that
//! epoch ([`live`]), and does what [`crate::link::machine`] says:
//!
//! ```text
//! requests ─┐
//! lease ────┤           ┌→ acquire, dial, discard, archive, close
//! store ────┼→ machine ─┤
//! link ─────┤           └→ board
//! dynos ────┤
//! time ─────┘
//! ```
//!
//! A client never outlives its epoch: [`executor`] owns its tasks, [`gate`] its way to the database, and
//! the transport its socket; all three can be ended without its cooperation.

mod barrier;
mod calls;
mod connection;
mod driver;
mod ears;
mod executor;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod gate;
mod hook;
mod inbox;
mod late;
mod live;
mod outbox;
mod program;
mod send;
#[cfg(all(test, feature = "simulator"))]
mod simulated;
mod timing;
mod told;
mod upload;
mod version;
mod webhook;

use std::path::PathBuf;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::call::Calls;
use super::events::Events;
use super::handle::Request;
use crate::config;
use crate::link::LinkAddress;
use crate::runtime::backups::Backups;
use crate::runtime::status::Board;
use crate::store::{Keeper, Store};

/// A native bot, ready to be kept.
pub struct Native {
    /// Its name in the file and on the board.
    pub name: String,
    /// The name of its stored session.
    pub session: String,
    /// Its section.
    pub bot: config::NativeBot,
    pub backoff: config::Backoff,
    pub heartbeat: config::Heartbeat,
    /// How often a held lease is asked for, and how long the link waits for a successor at the end.
    pub lease: config::Lease,
    /// Copies its session while the lease is held, and once more when it stops.
    pub backups: Backups,
    /// Where its session lives; migrated.
    pub store: Store,
    /// Keeps the leases of this dyno; somebody else runs it.
    pub keeper: Keeper,
    /// Where its status goes.
    pub board: Board,
    /// What the page asks for.
    pub requests: mpsc::Receiver<Request>,
    /// What programs ask of the link.
    pub calls: Calls,
    /// Told what happens.
    pub events: Events,
    /// Where to dial.
    pub link: LinkAddress,
    /// Where our own page listens: no webhook may lead there.
    pub own_port: u16,
    /// Where the programs of its commands run.
    pub folder: PathBuf,
    /// Ends it: an open link is handed over first.
    pub stop: CancellationToken,
    /// Ends it without waiting for a successor.
    pub stop_now: CancellationToken,
}

/// Keeps a bot linked until `stop`; then an open link is kept for at most `lease.handover_wait`, closed, the
/// session flushed and the lease given up, within 12 s or, if that is more, the wait and 8 s.
pub async fn keep(native: Native) {
    driver::Driver::new(native).run().await;
}
