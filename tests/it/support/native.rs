//! A native bot in process, against a simulator and a database.

use std::path::PathBuf;
use std::time::Duration;

use blacksky::bot::handle::{BotHandle, Request};
use blacksky::bot::native::{self, Native};
use blacksky::config::{
    self, Backoff, Backup, Commands, Database, DatabaseLocation, Heartbeat, Keep, Lease, Period, Reply,
    Secret, Size, Tls,
};
use blacksky::link::{LinkAddress, LinkState};
use blacksky::runtime::backups::Backups;
use blacksky::runtime::clock;
use blacksky::runtime::status::{Board, BotStatus, Snapshot};
use blacksky::sim::Server;
use blacksky::store::{Keeper, Owner, Store};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::postgres;
use super::sim::PATIENCE;

const NAME: &str = "main";

/// How a bot of a test differs from the others.
pub struct Setup {
    pub owner: &'static str,
    pub backoff: Backoff,
    pub heartbeat: Heartbeat,
    pub lease: Lease,
    pub backup: Backup,
}

impl Default for Setup {
    fn default() -> Self {
        let period = |ms| Period(Duration::from_millis(ms));
        Self {
            owner: "one",
            backoff: Backoff {
                initial: period(100),
                factor: 2.0,
                max: period(2_000),
                jitter: 0.5,
                reset_after: period(30_000),
            },
            heartbeat: Heartbeat { period: period(1_000), deadline: period(1_000) },
            backup: Backup {
                interval: Period::seconds(300),
                keep: Keep { recent: 12, hourly: 24, daily: 7 },
                max_size: Size::megabytes(200),
            },
            lease: Lease { ttl: period(6_000), renew: period(1_000), handover_wait: period(0) },
        }
    }
}

/// A bot that is being kept.
pub struct NativeBot {
    board: watch::Receiver<Snapshot>,
    handle: BotHandle,
    stop: CancellationToken,
    kept: JoinHandle<()>,
    store: Store,
    /// What the runtime does for all bots of a dyno.
    _dyno: [AbortOnDropHandle<()>; 2],
}

/// A database that outlives the bots on it.
pub struct Home {
    location: DatabaseLocation,
    /// The SQLite file.
    pub file: PathBuf,
    _folder: Option<tempfile::TempDir>,
}

impl Home {
    /// A SQLite file.
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("blacksky.db");
        Self { location: DatabaseLocation::Sqlite(file.clone()), file, _folder: Some(folder) }
    }

    /// A database of the tests' PostgreSQL.
    pub async fn postgres() -> Self {
        let url = Secret::new(postgres::database().await);
        Self { location: DatabaseLocation::Postgres(url), file: PathBuf::new(), _folder: None }
    }

    /// The URL of the PostgreSQL database.
    pub fn url(&self) -> &str {
        match &self.location {
            DatabaseLocation::Postgres(url) => url.expose(),
            _ => panic!("it is not in PostgreSQL"),
        }
    }

    async fn open(&self) -> Store {
        let config = Database {
            location: self.location.clone(),
            tls: Tls::Disable,
            max_connections: 4,
            allow_ephemeral: false,
            secret_key: None,
        };
        let store = Store::open(&config).await.expect("the store opens");
        store.migrate().await.expect("the store migrates");
        store
    }
}

impl NativeBot {
    /// Starts a bot that answers "!ping" and "!say".
    pub async fn start(server: &Server, home: &Home) -> Self {
        Self::start_with(server, home, Setup::default()).await
    }

    pub async fn start_with(server: &Server, home: &Home, setup: Setup) -> Self {
        let store = home.open().await;
        let board = Board::new(clock::now(), None, [NAME].into_iter());
        let keeper = Keeper::new(store.clone(), Owner(setup.owner.to_owned()), setup.lease);
        let (handle, requests) = BotHandle::new();
        let stop = CancellationToken::new();
        let reply = |text: &str| Reply { text: text.to_owned(), ..Reply::default() };
        let native = Native {
            name: NAME.to_owned(),
            session: "session".to_owned(),
            bot: config::NativeBot {
                wa_version: None,
                push_name: None,
                webhook: None,
                commands: Commands {
                    prefix: "!".to_owned(),
                    replies: [
                        ("ping".to_owned(), reply("pong")),
                        ("say".to_owned(), reply("you said {args}")),
                    ]
                    .into(),
                    ..Commands::default()
                },
            },
            backoff: setup.backoff,
            heartbeat: setup.heartbeat,
            lease: setup.lease,
            backups: Backups::new(store.clone(), setup.backup, board.clone(), Default::default()),
            store: store.clone(),
            keeper: keeper.clone(),
            board: board.clone(),
            requests,
            calls: handle.calls.clone(),
            events: handle.events.clone(),
            link: LinkAddress::decide(Some(server.url().parse().expect("a URL"))).expect("loopback"),
            own_port: 0,
            folder: std::path::PathBuf::from("."),
            stop: stop.clone(),
            stop_now: CancellationToken::new(),
        };
        let kept = tokio::spawn(native::keep(native));
        let (listening, keeping) = (store.clone(), keeper.clone());
        let dyno = [
            AbortOnDropHandle::new(tokio::spawn(
                async move { listening.listen(CancellationToken::new()).await },
            )),
            AbortOnDropHandle::new(tokio::spawn(async move { keeping.run(CancellationToken::new()).await })),
        ];
        Self { board: board.subscribe(), handle, stop, kept, store, _dyno: dyno }
    }

    /// The status at this instant.
    pub fn status(&self) -> BotStatus {
        self.board.borrow().bots[NAME].clone()
    }

    /// Waits until the status satisfies `wanted`.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&BotStatus) -> bool) -> BotStatus {
        self.until_within(PATIENCE, what, wanted).await
    }

    /// The same with a deadline of its own.
    pub async fn until_within(
        &mut self,
        deadline: Duration,
        what: &str,
        wanted: impl Fn(&BotStatus) -> bool,
    ) -> BotStatus {
        let waiting = self.board.wait_for(|snapshot| wanted(&snapshot.bots[NAME]));
        if let Ok(snapshot) = tokio::time::timeout(deadline, waiting).await {
            return snapshot.expect("the board lives").bots[NAME].clone();
        }
        panic!("no {what}: {:?}", self.status())
    }

    /// Waits for a state.
    pub async fn until_state(&mut self, state: LinkState) -> BotStatus {
        self.until(state.name(), |bot| bot.state == state).await
    }

    /// Scans its QR with the phone of `number` and waits until the link is open.
    pub async fn pair(&mut self, server: &Server, number: &str) {
        let shown = self.until("QR", |bot| bot.qr.is_some()).await;
        assert_eq!(shown.state, LinkState::Pairing);
        server.handle().scan(&shown.qr.expect("a QR").payload, number).expect("the QR is good");
        self.until_state(LinkState::Open).await;
    }

    /// Asks for something as the page does.
    pub fn ask(&self, request: Request) {
        assert!(self.handle.ask(request), "the bot takes requests");
    }

    /// Stops it as SIGTERM does; gives back how long that took.
    pub async fn stop(self) -> Duration {
        let began = tokio::time::Instant::now();
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.kept).await.expect("the bot stops").expect("no panic");
        self.store.close().await;
        began.elapsed()
    }

    /// Ends it where it stands, as far as one process can: nothing is flushed, no lease is given up.
    pub async fn kill(self) {
        self.kept.abort();
        assert!(self.kept.await.expect_err("aborted").is_cancelled(), "the bot panicked");
        self.store.close().await;
    }
}
