//! The store's contract, held against both back-ends, and whatsapp-rust's `Backend`, held against
//! those two and whatsapp-rust's own two.

mod backend;
mod command;
mod contract;
mod copy;
mod deliveries;
mod dynos;
mod history;
mod keeper;
mod media;
mod notices;
mod outbox;
mod postgres;
mod postgres_problems;
mod published;
mod reseal;
mod retention;
mod sealing;

use std::path::PathBuf;
use std::time::Duration;

use blacksky::config::{Database, DatabaseLocation, Secret, Tls};
use blacksky::store::{Lease, Owner, Store};
use tempfile::TempDir;

use crate::support::postgres::database;

/// Long enough that no lease runs out in a test that does not want it.
const TTL: Duration = Duration::from_secs(60);

/// One database, that several stores may open as several dynos would.
pub struct Bench {
    config: Database,
    _folder: Option<TempDir>,
}

impl Bench {
    pub async fn postgres() -> Self {
        let location = DatabaseLocation::Postgres(Secret::new(database().await));
        let bench = Self { config: config(location), _folder: None };
        bench.open().await.migrate().await.expect("migrates");
        bench
    }

    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let location = DatabaseLocation::Sqlite(folder.path().join("blacksky.db"));
        let bench = Self { config: config(location), _folder: Some(folder) };
        bench.open().await.migrate().await.expect("migrates");
        bench
    }

    /// Another dyno's store on the same database.
    pub async fn open(&self) -> Store {
        Store::open(&self.config).await.expect("opens")
    }

    /// The same with another secret key.
    pub async fn open_with_key(&self, key: Option<&str>) -> Store {
        let config = Database { secret_key: key.map(Secret::new), ..self.config.clone() };
        Store::open(&config).await.expect("opens")
    }

    /// The URL of a PostgreSQL.
    pub fn url(&self) -> String {
        match &self.config.location {
            DatabaseLocation::Postgres(url) => url.expose().to_owned(),
            _ => panic!("not a PostgreSQL"),
        }
    }

    /// The file of a SQLite.
    pub fn file(&self) -> Option<PathBuf> {
        match &self.config.location {
            DatabaseLocation::Sqlite(file) => Some(file.clone()),
            _ => None,
        }
    }

    /// Runs a statement past the store. `{}` stands for the schema of its tables.
    pub async fn meddle(&self, sql: &str) -> u64 {
        match self.file() {
            Some(file) => {
                let sql = sql.replace("{}", "");
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
                let pool = sqlx::SqlitePool::connect_with(options).await.expect("connects");
                let done = sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&pool).await.expect("runs");
                pool.close().await;
                done.rows_affected()
            }
            None => {
                let sql = sql.replace("{}", "blacksky.");
                let mut connection =
                    <sqlx::PgConnection as sqlx::Connection>::connect(&self.url()).await.expect("connects");
                let done = sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await;
                done.expect("runs").rows_affected()
            }
        }
    }
}

pub fn config(location: DatabaseLocation) -> Database {
    Database {
        location,
        tls: Tls::Disable,
        max_connections: 4,
        allow_ephemeral: false,
        secret_key: Some(Secret::new("0123456789abcdef0123456789abcdef")),
    }
}

pub fn owner(name: &str) -> Owner {
    Owner(name.to_owned())
}

pub async fn lease(store: &Store, name: &str) -> Lease {
    store.acquire("main", &owner(name), TTL).await.expect("wins the lease")
}

/// Runs each function on both back-ends.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod on_postgres {
            $(#[tokio::test]
            async fn $name() {
                super::$name(&crate::store::Bench::postgres().await).await;
            })*
        }
        mod on_sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name(&crate::store::Bench::sqlite().await).await;
            })*
        }
    };
}
use on_both;
