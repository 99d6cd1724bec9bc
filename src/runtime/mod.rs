//! Owner of every task: start order, stop order, clock, status snapshot.
//!
//! Start: port → page → database → bots. Stop: bots (link handed over or closed, session flushed, lease
//! released) → database → page. Each stop step has a deadline; together they stay below the 30 s that
//! Heroku gives.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::alerts;
use crate::bot::handle::{BotHandle, Errand, Request};
use crate::bot::hosted::{self, Hosted};
use crate::bot::native::{self, Native};
use crate::config::{self, Client, Config, Period};
use crate::jobs::action::Means;
use crate::jobs::{self, anti_idle};
use crate::link::LinkAddress;
use crate::store::{Keeper, Owner, Resealer, Store};
use crate::web::{self, OwnAddress, Site};

pub mod backups;
mod balance;
pub mod clock;
mod database;
mod dyno;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod history;
pub mod logging;
pub mod memory;
mod publish;
pub use publish::ask_holder;
mod reseal;
mod retention;
pub mod signal;
mod sizes;
pub mod status;
pub mod tasks;
mod terminal;

use backups::Backups;
use status::{Board, Snapshot};
use tasks::{Ended, Tasks};

/// Bots whose link is not open end what they are at, and release their leases within this.
const STOP_BOTS: Duration = Duration::from_secs(12);
/// Bots close an open link, flush and release their leases within this, once they need not wait any more.
const CLOSE_BOTS: Duration = Duration::from_secs(8);
/// What serves all bots ends within this.
const STOP_DYNO: Duration = Duration::from_secs(1);
/// The database's connections close within this.
const STOP_DATABASE: Duration = Duration::from_secs(2);
/// Open requests of the page end within this.
const STOP_PAGE: Duration = Duration::from_secs(2);

/// Requests for other dynos that may wait at the same time.
const ERRANDS: usize = 16;

/// A started blacksky.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    board: Board,
    bots: Tasks,
    page: Tasks,
    restart: CancellationToken,
    /// At most as long links wait for a successor.
    handover_wait: Duration,
    /// At most as long a bot waits for that, or for its program.
    longest_wait: Duration,
    stop_now: CancellationToken,
}

impl Running {
    /// Binds the port and starts everything behind it. Returns as soon as the port is bound: neither the
    /// database nor WhatsApp is waited for.
    ///
    /// # Errors
    /// The port cannot be bound.
    pub async fn start(config: Config, link: LinkAddress) -> Result<Self, web::BindError> {
        let listener = web::bind(&config)?;
        let address = listener.local_addr().map_err(web::BindError::from)?;
        let enabled: Vec<String> =
            config.bots.iter().filter(|(_, bot)| bot.enabled).map(|(name, _)| name.clone()).collect();
        let board = Board::new(clock::now(), link.simulator(), enabled.iter().map(String::as_str));
        board.update(|snapshot| snapshot.dyno.clone_from(&config.platform.dyno));
        let (errand, errands) = mpsc::channel(ERRANDS);
        let mut handles = BTreeMap::new();
        let mut requests = BTreeMap::new();
        for name in &enabled {
            let (handle, queue) = BotHandle::new();
            handles.insert(name.clone(), handle.with_errands(name, errand.clone()));
            requests.insert(name.clone(), queue);
        }

        let dyno = config.platform.dyno.is_some();
        let mut page = Tasks::new(CancellationToken::new());
        let own = OwnAddress::of(&config);
        let mut site = Site::new(&config, board.subscribe(), handles.clone());
        site.own = Some(own.clone());
        let (job, jobs) = mpsc::channel(ERRANDS);
        site.jobs = Some(job);
        let (up, store) = watch::channel(None);
        site.store = Some(store);
        page.spawn("page", web::serve(listener, site, page.stop_token()));
        if terminal::may_print_qr(dyno) {
            let url = format!("http://localhost:{}{}", address.port(), config.web.base);
            page.spawn("terminal-qr", terminal::show_qr(board.subscribe(), url, page.stop_token()));
        }

        let restart = CancellationToken::new();
        let quota = dyno.then_some(config.heroku.memory);
        page.spawn("memory", memory::watch(quota, board.clone(), restart.clone(), page.stop_token()));
        page.spawn("anti-idle", anti_idle::run(config.clone(), own, board.clone(), page.stop_token()));
        page.spawn("alerts", alerts::run(config.clone(), board.clone(), page.stop_token()));

        let (handover_wait, longest_wait) = (dyno::handover_wait(&config), longest_wait(&config));
        let mut bots = Tasks::new(CancellationToken::new());
        let stop_now = CancellationToken::new();
        let stops = Stops { asked: bots.stop_token(), now: stop_now.clone() };
        let asked = Asked { handles, requests, errands, jobs, up };
        bots.spawn("bots", keep_bots(config, link, address.port(), board.clone(), asked, stops));
        Ok(Self { address, board, bots, page, restart, handover_wait, longest_wait, stop_now })
    }

    /// Where the page listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A reader of the status.
    pub fn snapshot(&self) -> tokio::sync::watch::Receiver<Snapshot> {
        self.board.subscribe()
    }

    /// Resolves when a task ends that should not have: then the process must stop. Safe to drop.
    pub async fn broken(&mut self) -> Ended {
        tokio::select! {
            ended = self.bots.next_end() => ended,
            ended = self.page.next_end() => ended,
        }
    }

    /// Cancelled when the process should stop and begin anew, since it uses too much memory.
    pub fn restart_wanted(&self) -> CancellationToken {
        self.restart.clone()
    }

    /// While [`stop`](Self::stop) runs, cancelling this makes it wait for no successor any more. `None` where
    /// it does not wait anyway.
    pub fn stop_now(&self) -> Option<CancellationToken> {
        (!self.handover_wait.is_zero()).then(|| self.stop_now.clone())
    }

    /// Stops everything in order. `true` when each step ended in time.
    pub async fn stop(mut self) -> bool {
        self.board.update(|snapshot| snapshot.stopping = true);
        let mut clean = true;
        for (step, tasks, deadline) in [
            (
                "close links and release leases",
                &mut self.bots,
                stop_bots(self.longest_wait) + STOP_DYNO + STOP_DATABASE,
            ),
            ("close the page", &mut self.page, STOP_PAGE),
        ] {
            let began = tokio::time::Instant::now();
            let late = tasks.stop_all(deadline).await;
            let took_ms = began.elapsed().as_millis();
            if late.is_empty() {
                tracing::info!(step, took_ms, "stop step done");
            } else {
                clean = false;
                tracing::warn!(step, took_ms, ?late, "stop step ran into its deadline");
            }
        }
        clean
    }
}

/// A stop in two steps: asked for, and without waiting for a successor.
struct Stops {
    asked: CancellationToken,
    now: CancellationToken,
}

/// `longest` is the longest that any bot takes beside what all take: the wait for a successor, or the grace of a
/// hosted bot's program.
fn stop_bots(longest: Duration) -> Duration {
    STOP_BOTS.max(longest + CLOSE_BOTS)
}

/// The longest that a bot may wait when it is stopped.
fn longest_wait(config: &Config) -> Duration {
    let graces = config.bots.values().filter_map(|bot| match &bot.client {
        Client::Hosted(hosted) => Some(hosted.stop_grace.get()),
        Client::Native(_) => None,
    });
    graces.max().unwrap_or_default().max(dyno::handover_wait(config))
}

/// What pages ask, here and elsewhere.
struct Asked {
    handles: BTreeMap<String, BotHandle>,
    requests: BTreeMap<String, mpsc::Receiver<Request>>,
    errands: mpsc::Receiver<Errand>,
    /// Jobs that somebody wants now.
    jobs: mpsc::Receiver<String>,
    /// Takes the database once it is up, for the API.
    up: watch::Sender<Option<Store>>,
}

/// Brings the database up, keeps every bot until stopped, closes the database.
async fn keep_bots(
    config: Config,
    link: LinkAddress,
    own_port: u16,
    board: Board,
    asked: Asked,
    stops: Stops,
) {
    let Asked { handles, requests, errands, jobs, up } = asked;
    let Stops { asked: stop, now: stop_now } = stops;
    let Some(store) = database::bring_up(&config.database, &board, &stop).await else { return };
    up.send_replace(Some(store.clone()));
    let keeper = Keeper::new(store.clone(), owner(&config), config.lease);
    // Goes on while the bots stop.
    let mut dyno = dyno::serve(&config, &link, &board, &store, &keeper);
    let clock = jobs::Clock {
        app: app(&config),
        jobs: config.jobs.clone(),
        means: Means {
            store: store.clone(),
            backup: config.backup,
            sessions: sessions(&config),
            folder: config.folder.clone(),
        },
        owner: keeper.owner().clone(),
        handles: handles.clone(),
        board: board.clone(),
    };
    let own = handles.clone();
    if store.is_shared() {
        let known = handles.into_iter().filter_map(|(name, handle)| {
            let session = config.bots.get(&name)?.session.clone();
            Some((name, publish::Known { session, handle }))
        });
        let sharing = publish::Sharing {
            store: store.clone(),
            owner: keeper.owner().clone(),
            board: board.clone(),
            bots: known.collect(),
            errands,
            renew: config.lease.renew.get(),
            stop: dyno.stop_token(),
        };
        dyno.spawn("one page", publish::share(sharing));
    }
    let history = history::History {
        store: store.clone(),
        board: board.clone(),
        sessions: sessions(&config).into_iter().collect(),
        dyno: keeper.owner().dyno().to_owned(),
    };
    // Sees the bots stop.
    dyno.spawn("history", history::keep(history, dyno.stop_token()));
    let mut bots = Tasks::new(stop.clone());
    bots.spawn("jobs", clock.run(jobs, stop.clone()));
    if store.is_shared() {
        let balance = balance::Balance {
            store: store.clone(),
            keeper: keeper.clone(),
            board: board.clone(),
            sessions: sessions(&config).into_iter().collect(),
            settle: config.lease.renew.get(),
        };
        bots.spawn("balance", balance.run(stop.clone()));
    }
    // On another machine the add-on of the app is not its database.
    let is_addon = config.platform.dyno.is_some() && store.is_shared();
    let plan = config.heroku.database_plan().filter(|_| is_addon);
    bots.spawn("database size", sizes::watch(store.clone(), plan, board.clone(), stop.clone()));
    let folder = config.folder.clone();
    let lease = config::Lease { handover_wait: Period(dyno::handover_wait(&config)), ..config.lease };
    let sessions = config.bots.iter().map(|(name, bot)| (name.clone(), bot.session.clone())).collect();
    let backups = Backups::new(store.clone(), config.backup, board.clone(), sessions);
    bots.spawn("backups", backups.clone().run(stop.clone()));
    let retention = retention::Retention {
        store: store.clone(),
        config: config.retention,
        backups: backups.clone(),
        board: board.clone(),
        app: app(&config),
    };
    bots.spawn("retention", retention::keep(retention, stop.clone()));
    for (name, requests) in requests {
        let (Some(bot), Some(handle)) = (config.bots.get(&name), own.get(&name)) else { continue };
        let task = name.clone();
        match &bot.client {
            Client::Native(native) => bots.spawn_bot(
                &task,
                native::keep(Native {
                    name,
                    session: bot.session.clone(),
                    bot: native.clone(),
                    backoff: config.backoff,
                    heartbeat: config.heartbeat,
                    lease,
                    backups: backups.clone(),
                    store: store.clone(),
                    keeper: keeper.clone(),
                    board: board.clone(),
                    requests,
                    calls: handle.calls.clone(),
                    events: handle.events.clone(),
                    link: link.clone(),
                    own_port,
                    folder: folder.clone(),
                    stop: stop.clone(),
                    stop_now: stop_now.clone(),
                }),
            ),
            Client::Hosted(hosted) => bots.spawn_bot(
                &task,
                hosted::keep(
                    Hosted {
                        name,
                        session: bot.session.clone(),
                        bot: hosted.clone(),
                        backoff: config.backoff,
                        heartbeat: config.heartbeat,
                        lease,
                        backup_interval: config.backup.interval.get(),
                        memory: config.heroku.memory,
                        folder: folder.clone(),
                        backups: backups.clone(),
                        store: store.clone(),
                        keeper: keeper.clone(),
                        board: board.clone(),
                        link: link.clone(),
                        stop: stop.clone(),
                    },
                    requests,
                ),
            ),
        }
    }
    let resealer = Resealer::new(store.clone(), keeper.owner().clone(), enabled_sessions(&config));
    bots.spawn("reseal", reseal::run(resealer, board.clone(), stop.clone()));
    let broken = tokio::select! {
        () = stop.cancelled() => None,
        ended = bots.next_end() => Some(ended),
    };
    // A bot that ended by itself while nothing asked it to is a bug: end this task too, so that the owner
    // of the process sees it, after the other bots have given their links back.
    if let Some(ended) = broken.filter(|_| !stop.is_cancelled()) {
        tracing::error!(task = %ended.name, panicked = ended.panicked, "a bot ended by itself");
        stop.cancel();
    }
    let (late, ()) = tokio::join!(bots.stop_all(stop_bots(longest_wait(&config))), keeper.leave());
    if !late.is_empty() {
        tracing::warn!(?late, "bots did not stop in time; their leases end by themselves");
    }
    let last_word = async {
        dyno.stop_all(STOP_DYNO).await;
        keeper.unregister().await;
    };
    if tokio::time::timeout(STOP_DYNO, last_word).await.is_err() {
        tracing::debug!("this dyno is still registered, until its time is over");
    }
    if tokio::time::timeout(STOP_DATABASE, store.close()).await.is_err() {
        tracing::warn!("the database's connections did not close in time");
    }
}

/// The enabled bots with their sessions.
pub fn sessions(config: &Config) -> Vec<(String, String)> {
    let enabled = config.bots.iter().filter(|(_, bot)| bot.enabled);
    enabled.map(|(name, bot)| (name.clone(), bot.session.clone())).collect()
}

/// What the app is called among those that share a database.
pub fn app(config: &Config) -> String {
    config.heroku.url.as_ref().and_then(url::Url::host_str).unwrap_or(&config.app.name).to_owned()
}

/// The sessions of the enabled bots.
fn enabled_sessions(config: &Config) -> Vec<String> {
    config.bots.values().filter(|bot| bot.enabled).map(|bot| bot.session.clone()).collect()
}

/// A name for this process that no other process has. What stands before the `/` is shown to people when
/// two apps meet on one session.
pub fn owner(config: &Config) -> Owner {
    let place = config.platform.dyno.as_deref().unwrap_or(Owner::LOCAL);
    let app = app(config);
    Owner(format!("{place} of {app}/{:016x}", rand::random::<u64>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_with_the_longest_wait_stays_below_thirty_seconds() {
        let longest = Duration::from_secs(15);
        let all = stop_bots(longest) + STOP_DYNO + STOP_DATABASE + STOP_PAGE;
        assert!(all <= Duration::from_secs(28), "{all:?}");
    }
}
