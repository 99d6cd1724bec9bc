//! A client and all that belongs to it: built for one epoch, ended as a whole.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wacore::store::DevicePropsOverride;
use wacore::store::traits::Backend;
use wacore::types::events::{EventInterest, EventKind, Subscription};
use waproto::whatsapp::device_props::PlatformType;
use whatsapp_rust::store::commands::DeviceCommand;
use whatsapp_rust::store::persistence_manager::PersistenceManager;
use whatsapp_rust::{Client, ClientBuilderError};

use super::barrier::Barrier;
use super::calls::Desk;
use super::connection::{Connection, News};
use super::ears::Ears;
use super::executor::Executor;
use super::gate::{Ailing, Gate, Trouble, Valve};
use super::hook::Hook;
use super::inbox::Inbox;
use super::late;
use super::outbox::Outbox;
use super::send::{Confirmations, Sender};
use super::webhook::Bell;
use crate::bot::call::Calls;
use crate::bot::events::Events;
use crate::config::{self, Heartbeat, WaVersion};
use crate::link::LinkAddress;
use crate::link::http::Http;
use crate::link::policy::Ending;
use crate::link::transport::{CutReason, Factory};
use crate::runtime::status::Board;
use crate::store::{SessionStore, Store};

/// whatsapp-rust saves a changed device at once; this is for a save that failed.
const SAVE_AGAIN: Duration = Duration::from_secs(30);
/// Work in a blocking thread gets this long to end before it is left behind.
const KILL_DEADLINE: Duration = Duration::from_secs(1);
/// At the end a reply on its way gets this long to be confirmed.
const REPLY_DEADLINE: Duration = Duration::from_secs(1);
/// A session that takes longer to load is not to be had.
const BUILD_DEADLINE: Duration = Duration::from_secs(5);
/// How the phone lists the linked device.
const DEVICE_NAME: &str = "blacksky";

/// What a client is built from.
pub struct Parts<'a> {
    pub name: &'a str,
    pub bot: &'a config::NativeBot,
    pub heartbeat: Heartbeat,
    pub address: &'a LinkAddress,
    pub http: &'a Http,
    pub board: &'a Board,
    pub ears: &'a Ears,
    /// Where the programs of commands run.
    pub folder: &'a Path,
    /// Wakes the webhook.
    pub bell: &'a Bell,
    pub session: SessionStore,
    /// Its id, and where its outbox is.
    pub session_id: &'a str,
    /// What programs ask of the link.
    pub calls: &'a Calls,
    /// Told what happens.
    pub events: &'a Events,
    pub store: &'a Store,
    pub version: WaVersion,
    pub began: Instant,
}

/// Something that happened to a client.
#[derive(Debug)]
pub enum Happening {
    /// The store is not well, and so the client is useless.
    Trouble(Trouble),
    /// News of the connection.
    News(News),
}

/// A client that is alive.
pub struct Live {
    client: Arc<Client>,
    executor: Executor,
    factory: Factory,
    valve: Valve,
    heartbeat: Heartbeat,
    open: watch::Sender<bool>,
    /// Tells the inbox to rest, and whether it does.
    rest: CancellationToken,
    resting: CancellationToken,
    /// The version it claims to be.
    pub version: WaVersion,
    /// The connection at hand.
    pub connection: Option<Connection>,
    _deafness: Subscription,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The store does not give the session.
    #[error("the session cannot be loaded: {0}")]
    Store(#[from] wacore::store::error::StoreError),
    /// The store takes too long.
    #[error("the session was not loaded within {} s", BUILD_DEADLINE.as_secs())]
    Slow,
    /// whatsapp-rust refuses.
    #[error("the client cannot be built: {0}")]
    Client(#[from] ClientBuilderError),
}

impl BuildError {
    /// What is wrong with the store.
    pub fn trouble(&self) -> Trouble {
        let trouble = match self {
            Self::Store(error) => error.trouble(),
            Self::Slow | Self::Client(_) => None,
        };
        trouble.unwrap_or(Trouble::Database)
    }
}

impl Live {
    /// Builds a client on a session. Reads the device, or makes a new one when there is none.
    pub async fn build(parts: Parts<'_>) -> Result<Self, BuildError> {
        let executor = Executor::default();
        let silence = parts.heartbeat.period.get() + parts.heartbeat.deadline.get();
        let factory = Factory::new(parts.address.clone(), silence, executor.tasks().clone());
        let cutting = factory.clone();
        let valve = Valve::new(move |trouble| {
            cutting.cut(match trouble {
                Trouble::Fenced => CutReason::Lease,
                Trouble::Database | Trouble::Unreadable => CutReason::Database,
            });
        });
        let building = Self::build_on(parts, executor.clone(), factory, valve.clone());
        match tokio::time::timeout(BUILD_DEADLINE, building).await.unwrap_or(Err(BuildError::Slow)) {
            Ok(live) => Ok(live),
            Err(error) => {
                valve.shut();
                executor.kill(KILL_DEADLINE).await;
                Err(error)
            }
        }
    }

    async fn build_on(
        parts: Parts<'_>,
        executor: Executor,
        factory: Factory,
        valve: Valve,
    ) -> Result<Self, BuildError> {
        let backend: Arc<dyn Backend> = Arc::new(Gate::new(Arc::new(parts.session.clone()), valve.clone()));
        let manager = Arc::new(PersistenceManager::new(backend).await?);
        introduce(&manager, parts.bot.push_name.as_deref()).await;

        let arrived = Arc::new(Notify::new());
        let WaVersion(primary, secondary, tertiary) = parts.version;
        let client = Client::builder()
            .with_runtime(executor.clone())
            .with_persistence_manager(manager)
            .with_transport_factory(factory.clone())
            .with_http_client(parts.http.clone())
            .with_version_override((primary, secondary, tertiary))
            .with_skip_history_sync(true)
            .with_background_saver_interval(SAVE_AGAIN)
            .with_inbound_durability_hook(Hook {
                session: parts.session.clone(),
                valve: valve.clone(),
                arrived: arrived.clone(),
                board: parts.board.clone(),
                name: parts.name.to_owned(),
                ears: parts.ears.clone(),
                webhook: parts.bot.webhook.is_some().then(|| parts.bell.clone()),
                events: parts.events.clone(),
            })
            .build()
            .await?
            .into_client();
        let deafness = client
            .subscribe(EventInterest::of(&[EventKind::UndecryptableMessage]), Arc::new(parts.ears.clone()));
        let barrier = Barrier::default();
        barrier.guard(&client);
        factory.before_write(Arc::new(barrier.clone()));
        // One connection a run: when and whether to dial again is decided by `link::machine`.
        client.enable_auto_reconnect.store(false, std::sync::atomic::Ordering::Relaxed);

        let (open, is_open) = watch::channel(false);
        let sender = Sender {
            name: parts.name.to_owned(),
            client: client.clone(),
            confirmations: Confirmations::of(&client),
            barrier,
            board: parts.board.clone(),
            open: is_open,
        };
        let desk = Desk { client: client.clone(), calls: parts.calls.clone(), open: sender.open.clone() };
        let outbox = Outbox {
            sender: sender.clone(),
            session: parts.session_id.to_owned(),
            store: parts.store.clone(),
            valve: valve.clone(),
        };
        let inbox = Inbox {
            name: parts.name.to_owned(),
            commands: parts.bot.commands.clone(),
            session: parts.session,
            valve: valve.clone(),
            sender,
            arrived,
            began: parts.began,
            folder: parts.folder.to_owned(),
            uses: Mutex::default(),
        };
        let (rest, resting) = (CancellationToken::new(), CancellationToken::new());
        let (asked, rested) = (rest.clone(), resting.clone());
        executor.run(desk.work(rest.clone()));
        executor.run(async move {
            tokio::join!(inbox.work(asked.clone()), outbox.work(asked));
            rested.cancel();
        });
        Ok(Self {
            client,
            executor,
            factory,
            valve,
            heartbeat: parts.heartbeat,
            open,
            rest,
            resting,
            version: parts.version,
            connection: None,
            _deafness: deafness,
        })
    }

    /// Whether the client can still dial: it ends itself after the last QR of a round.
    pub fn usable(&self) -> bool {
        !self.client.shutdown_signal().is_fired()
    }

    /// Dials.
    pub fn dial(&mut self) {
        let line = self.factory.next_line();
        self.connection = Some(Connection::begin(self.client.clone(), line, &self.executor, self.heartbeat));
    }

    /// The link opened or ended: replies go out only while it is open.
    pub fn set_open(&self, open: bool) {
        self.open.send_replace(open);
    }

    /// What happens next: trouble with the store, or news of the connection at hand.
    pub async fn next(&mut self) -> Happening {
        let connection = &mut self.connection;
        let news = async {
            match connection {
                Some(connection) => connection.news.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            trouble = self.valve.trouble() => Happening::Trouble(trouble),
            // The sender is gone only when the connection's task was.
            news = news => Happening::News(news.unwrap_or(News::Ended(Ending::GivenUp))),
        }
    }

    /// Runs a task that ends with the client.
    pub fn run(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.executor.run(task);
    }

    /// Ends the client where it stands: socket cut, nothing flushed, nothing written from here on.
    pub async fn discard(self, reason: CutReason) {
        // First of all: a client without its store must not say anything.
        self.factory.cut(reason);
        self.valve.shut();
        // Not told to shut down: its saver would answer with a last write.
        if !self.executor.kill(KILL_DEADLINE).await {
            tracing::debug!("work in a blocking thread was left behind");
        }
        let holders = Arc::strong_count(&self.client);
        if holders > 1 {
            tracing::debug!(holders, "the client is still held");
        }
    }

    /// Ends the client in order: answers what was received, writes what is in memory, closes the socket.
    /// `false` when that took longer than `deadline` and the client was discarded.
    pub async fn close(self, deadline: Duration) -> bool {
        let closing = async {
            self.rest.cancel();
            // A reply on its way is confirmed first, or it would be sent once more.
            let _ = tokio::time::timeout(REPLY_DEADLINE, self.resting.cancelled()).await;
            self.client.disconnect().await;
            late::settle(&self.client).await;
        };
        let closed = tokio::time::timeout(deadline, closing).await.is_ok();
        self.discard(CutReason::Stop).await;
        closed
    }
}

/// A bot that is dropped in the middle of something leaves no client behind.
impl Drop for Live {
    fn drop(&mut self) {
        self.factory.cut(CutReason::Stop);
        self.valve.shut();
        self.executor.end();
    }
}

/// Gives a new device its name; a linked one keeps what the phone knows.
async fn introduce(manager: &PersistenceManager, push_name: Option<&str>) {
    let device = manager.get_device_snapshot();
    if let Some(name) = push_name
        && device.push_name != name
    {
        manager.process_command(DeviceCommand::SetPushName(name.to_owned())).await;
    }
    if device.pn.is_none() {
        let props = DevicePropsOverride::new().with_os(DEVICE_NAME).with_platform_type(PlatformType::CHROME);
        manager.process_command(DeviceCommand::SetDeviceProps(props)).await;
    }
}
