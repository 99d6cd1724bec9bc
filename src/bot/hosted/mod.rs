//! A hosted bot: a program of the user's, usually Node with Baileys, is the WhatsApp client; blacksky runs it
//! and keeps its session and its socket safe.
//!
//! [`keep`] wins the lease, brings the session folder up to date from the database, starts the program with its
//! WebSocket led through the relay, and mirrors every change of the folder back. Losing the lease stops the
//! program before the lease ends.

pub mod child;
mod driver;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub mod import;
mod news;
pub mod preload;
pub mod qr;
mod run;
mod stage;
mod tenure;
pub mod vault;
mod view;

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::handle::Request;
use crate::config;
use crate::link::LinkAddress;
use crate::runtime::backups::Backups;
use crate::runtime::status::Board;
use crate::store::{Keeper, Store};

/// A hosted bot, ready to be kept.
pub struct Hosted {
    /// Its name in the file and on the board.
    pub name: String,
    /// The name of its stored session.
    pub session: String,
    /// Its section.
    pub bot: config::HostedBot,
    /// Spaces its dials.
    pub backoff: config::Backoff,
    pub heartbeat: config::Heartbeat,
    /// How often a held lease is asked for.
    pub lease: config::Lease,
    /// Time between two full compares of folder and database.
    pub backup_interval: Duration,
    /// Memory of the dyno.
    pub memory: config::Size,
    /// Where the program runs: the folder of blacksky.toml.
    pub folder: PathBuf,
    /// Copies its session while the lease is held, and once more when it stops.
    pub backups: Backups,
    /// Where its session lives; migrated.
    pub store: Store,
    /// Keeps the leases of this dyno; somebody else runs it.
    pub keeper: Keeper,
    /// Where its status goes.
    pub board: Board,
    /// Where its relay dials.
    pub link: LinkAddress,
    /// Ends it.
    pub stop: CancellationToken,
}

impl Hosted {
    /// Bytes from which on the bot is restarted: `max_memory`, or 1.6 times the dyno's memory, before Heroku
    /// kills the dyno at twice of it.
    fn memory_limit(&self) -> u64 {
        self.bot.max_memory.map_or(self.memory.get() / 10 * 16, config::Size::get)
    }
}

/// Keeps a hosted bot running until `stop`; then its program is stopped, the session flushed and the lease
/// given up, within `stop_grace` and 8 s. `requests` is what the page asks for.
pub async fn keep(hosted: Hosted, requests: mpsc::Receiver<Request>) {
    driver::Driver::new(hosted, requests).run().await;
}
