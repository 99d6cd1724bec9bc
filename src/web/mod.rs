//! The page, /status, health and events.
//!
//! Reads the status snapshot and asks bots through their handles; never waits for the
//! database or a link, so that every answer starts within a second.
//!
//! Request → [`serve`] (sockets; `room`, `seats` and `wire` say who may take how much) → `router` (paths, headers) →
//! `access` (who asks) → `page`, `report`, `events` or `actions`. What is not ours goes to the hosted bot → `proxy`.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::bot::handle::BotHandle;
use crate::config::{Client, Config, Secret};
use crate::runtime::status::Snapshot;
use crate::store::Store;

mod access;
mod actions;
mod alerts;
mod api;
mod aside;
mod code;
mod day;
mod events;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod gauge;
mod hosted;
mod limit;
mod listen;
mod login;
mod metrics;
mod own_address;
mod page;
mod paths;
mod proxy;
mod qr;
mod report;
mod requests;
mod room;
mod router;
mod seats;
mod serve;
mod wire;
mod words;

pub use api::Target;
pub use listen::{BindError, bind};
pub use own_address::OwnAddress;
pub use paths::Paths;
pub use report::{Report, report};
pub use serve::serve;

/// Time between two comments on a silent event stream; Heroku's router cuts at 55 s.
pub const HEARTBEAT: Duration = Duration::from_secs(20);

/// What the page shows and whom it lets in.
#[derive(Debug, Clone)]
pub struct Site {
    /// The app's name, in the title.
    pub name: String,
    /// What there is to show.
    pub snapshot: watch::Receiver<Snapshot>,
    /// Whom actions go to, by bot name.
    pub handles: BTreeMap<String, BotHandle>,
    /// BLACKSKY_ADMIN_TOKEN. `None` or blank: only this machine sees the QR and the actions.
    pub admin_token: Option<Secret>,
    /// Takes the names of jobs that are to be done now.
    pub jobs: Option<mpsc::Sender<String>>,
    /// The database, once it is up, for the API.
    pub store: Option<watch::Receiver<Option<Store>>>,
    /// The native bots, for the API.
    pub targets: BTreeMap<String, api::Target>,
    /// Learned from requests that come through Heroku's router.
    pub own: Option<OwnAddress>,
    /// DYNO is set: requests come through Heroku's router.
    pub dyno: bool,
    /// Which paths are ours, and whose the others are.
    pub paths: Paths,
    /// Time between two comments on a silent event stream, [`HEARTBEAT`] outside tests.
    pub heartbeat: Duration,
}

impl Site {
    /// The site of a config.
    pub fn new(
        config: &Config,
        snapshot: watch::Receiver<Snapshot>,
        handles: BTreeMap<String, BotHandle>,
    ) -> Self {
        Self {
            name: config.app.name.clone(),
            snapshot,
            handles,
            admin_token: config.web.admin_token.clone(),
            jobs: None,
            store: None,
            targets: targets(config),
            own: None,
            dyno: config.platform.dyno.is_some(),
            paths: Paths { base: config.web.base.clone(), bot: config.web.proxy.clone() },
            heartbeat: HEARTBEAT,
        }
    }
}

fn targets(config: &Config) -> BTreeMap<String, api::Target> {
    let native = config.bots.iter().filter(|(_, bot)| bot.enabled && matches!(bot.client, Client::Native(_)));
    native.map(|(name, bot)| (name.clone(), api::Target { session: bot.session.clone() })).collect()
}
