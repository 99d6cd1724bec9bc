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
//! time ─────┘
//! ```
//!
//! A client never outlives its epoch: [`executor`] owns its tasks, [`gate`] its way to the database, and
//! the transport its socket; all three can be ended without its cooperation.

mod barrier;
mod connection;
mod driver;
mod executor;
mod gate;
mod hook;
mod inbox;
mod live;
mod told;
mod version;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::handle::Request;
use crate::config;
use crate::link::LinkAddress;
use crate::runtime::status::Board;
use crate::store::{Owner, Store};

/// A native bot, ready to be kept.
pub struct Native {
    /// Its name in the file and on the board.
    pub name: String,
    /// Its section.
    pub bot: config::Bot,
    pub backoff: config::Backoff,
    pub heartbeat: config::Heartbeat,
    pub lease: config::Lease,
    /// Where its session lives; migrated.
    pub store: Store,
    /// Who this process is.
    pub owner: Owner,
    /// Where its status goes.
    pub board: Board,
    /// What the page asks for.
    pub requests: mpsc::Receiver<Request>,
    /// Where to dial.
    pub link: LinkAddress,
    /// Ends it.
    pub stop: CancellationToken,
}

/// Keeps a bot linked until `stop`; then the link is closed, the session flushed and the lease given up,
/// within about 10 s in all cases.
pub async fn keep(native: Native) {
    driver::Driver::new(native).run().await;
}
