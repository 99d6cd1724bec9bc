//! An app: a folder and a database that outlive the processes of the real program, and the simulator.

use std::path::PathBuf;
use std::sync::Arc;

use blacksky::sim::Server;
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use super::blacksky::{Blacksky, Process};
use super::sim::{PATIENCE, simulator};
use super::{postgres, sim};
use crate::restarts::pair;

pub const FRIEND: &str = "4915100000002";
pub const PHONE: &str = "4915100000001";

/// A folder, a database and a simulator that outlive the processes.
pub struct Stage {
    pub sim: Arc<Server>,
    pub folder: tempfile::TempDir,
    /// Of PostgreSQL; a SQLite file otherwise.
    pub url: Option<String>,
}

impl Stage {
    fn new(sim: Arc<Server>, url: Option<String>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = "[bots.main.commands]\nping = \"pong {args}\"\n";
        std::fs::write(folder.path().join("blacksky.toml"), file).expect("written");
        Self { sim, folder, url }
    }

    pub async fn postgres() -> Self {
        Self::new(Arc::new(simulator()), Some(postgres::database().await))
    }

    pub fn sqlite() -> Self {
        Self::new(Arc::new(simulator()), None)
    }

    /// Another app with a database of its own: at `url` in PostgreSQL, or a SQLite file.
    pub fn beside(&self, url: Option<String>) -> Self {
        Self::new(Arc::clone(&self.sim), url)
    }

    /// A command that ends by itself.
    pub fn command(&self, key: Option<&str>, args: &[&str]) -> Blacksky {
        args.iter().fold(self.configured(key), |blacksky, arg| blacksky.arg(*arg))
    }

    fn configured(&self, key: Option<&str>) -> Blacksky {
        let mut blacksky = Blacksky::in_folder(self.folder.path()).env("BLACKSKY_LEASE_TTL", "2s");
        if let Some(url) = &self.url {
            blacksky = blacksky.env("DATABASE_URL", url.as_str()).env("BLACKSKY_DATABASE_TLS", "disable");
        }
        if let Some(key) = key {
            blacksky = blacksky.env("BLACKSKY_SECRET_KEY", key);
        }
        blacksky
    }

    pub fn start(&self, key: Option<&str>) -> Process {
        self.configured(key).run(&self.sim.url())
    }

    /// Starts, links by QR, answers once and stops.
    pub async fn link(&self, key: Option<&str>) {
        let process = self.start(key);
        pair(&self.sim, &process).await;
        self.answers("first").await;
        stop(process).await;
    }

    pub async fn answers(&self, word: &str) {
        let handle = self.sim.handle();
        handle.send_text(FRIEND, PHONE, &format!("!ping {word}")).expect("sent");
        handle.wait_for_text(FRIEND, &format!("pong {word}"), PATIENCE).await.expect("an answer");
    }

    /// Opens without a QR and answers.
    pub async fn works(&self, process: &Process, word: &str) {
        process.until("open", PATIENCE).await;
        self.answers(word).await;
        assert_eq!(self.sim.handle().counters().registrations, 1, "a second QR; log:\n{}", process.log());
        sim::assert_clean(&self.sim.handle());
    }

    /// Every value the database keeps, with where it is.
    pub async fn values(&self) -> Vec<(String, Vec<u8>)> {
        const ROWS: &str = "SELECT generation, kind, key, sub, value FROM {}session_row ORDER BY 1, 2, 3, 4";
        const INBOX: &str = "SELECT generation, 0, chat, id, value FROM {}inbox ORDER BY 1, 2, 3, 4";
        let mut found = Vec::new();
        for sql in [ROWS, INBOX] {
            macro_rules! read {
                ($connection:expr, $schema:expr) => {{
                    let sql = AssertSqlSafe(sql.replace("{}", $schema));
                    for row in sqlx::query(sql).fetch_all($connection).await.expect("reads") {
                        let kind = row.try_get::<i16, _>(1).map_or_else(|_| row.get::<i32, _>(1), i32::from);
                        let (key, sub): (Vec<u8>, Vec<u8>) = (row.get(2), row.get(3));
                        found.push((format!("{} {kind} {key:?} {sub:?}", row.get::<i64, _>(0)), row.get(4)));
                    }
                }};
            }
            match &self.url {
                Some(url) => {
                    read!(&mut sqlx::PgConnection::connect(url).await.expect("connects"), "blacksky.")
                }
                None => {
                    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.file());
                    read!(&mut sqlx::SqliteConnection::connect_with(&options).await.expect("connects"), "");
                }
            }
        }
        found
    }

    /// There is no session in its SQLite file, or no file.
    pub async fn holds_nothing(&self) -> bool {
        const MADE: &str = "SELECT count(*) FROM sqlite_master WHERE name = 'session_row'";
        if !self.file().exists() {
            return true;
        }
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.file());
        let mut connection = sqlx::SqliteConnection::connect_with(&options).await.expect("connects");
        let made: i64 = sqlx::query_scalar(MADE).fetch_one(&mut connection).await.expect("reads");
        made == 0 || self.values().await.is_empty()
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("blacksky.db")
    }
}

pub async fn stop(mut process: Process) {
    process.term();
    assert!(process.ended(PATIENCE).await.success(), "{}", process.log());
}
