//! SQLite: one connection that writes, others that read, WAL, every commit synced to the disk.
//!
//! The lease is a lock of the operating system on a file beside the database: it ends with the
//! process, so nobody waits after a crash. The epoch is kept in the session's row all the same, and
//! every write checks it in its own transaction.

mod backup;
mod copy;
mod delivery;
mod history;
mod jobs;
mod lease;
mod media;
mod outbox;
mod published;
mod reseal;
mod retention;
mod rows;

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Row as _, Sqlite as Driver, SqlitePool, Transaction};

use super::dyno::Dyno;
use super::engine::{Bond, Engine, InboxRow, Last, Merge, Which, Won};
use super::kind::{Kind, Name, Row};
use super::notice::Bulletin;
use super::sealed_places::{Part, SealedPlace, Share, Stored, Swap};
use super::{Lease, Migrated, Owner, StoreError, migrate};
use crate::config::WaVersion;
use crate::measure;

/// Another process may hold the write lock this long, e.g. `blacksky migrate`.
const BUSY: Duration = Duration::from_secs(2);
const READERS: u32 = 2;

/// A database in a file.
#[derive(Debug)]
pub(super) struct Sqlite {
    writer: SqlitePool,
    readers: SqlitePool,
    path: PathBuf,
    /// The lock files of the leases held, by session.
    locks: Mutex<HashMap<String, Held>>,
    /// This process; nobody else looks.
    dyno: Mutex<Option<Dyno>>,
}

/// A lease of this process.
#[derive(Debug)]
struct Held {
    /// Locked for as long as it is open.
    _file: File,
    epoch: i64,
    owner: String,
}

impl Sqlite {
    /// Opens the file, made if it is not there, readable by its owner only.
    pub(super) async fn open(path: &Path) -> Result<Self, StoreError> {
        create(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            .disable_statement_logging();
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(BUSY)
                .test_before_acquire(false)
                .idle_timeout(None)
                .max_lifetime(None)
        };
        // Connecting sets the journal mode, which reads the file: one that is no database is found here.
        let writer = pool(1).connect_with(options.clone()).await.map_err(|error| problem(&error))?;
        let readers = pool(READERS).connect_lazy_with(options);
        Ok(Self { writer, readers, path: path.to_owned(), locks: Mutex::default(), dyno: Mutex::default() })
    }

    /// A transaction of a writer whose bond holds.
    async fn begin(&self, bond: &Bond) -> Result<Transaction<'static, Driver>, StoreError> {
        let mut transaction =
            self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(|error| problem(&error))?;
        let found = sqlx::query("SELECT 1 FROM session WHERE id = ? AND epoch = ? AND generation = ?")
            .bind(&bond.session)
            .bind(bond.epoch)
            .bind(bond.generation)
            .fetch_optional(&mut *transaction)
            .await
            .map_err(|error| problem(&error))?;
        if found.is_none() { Err(StoreError::Fenced) } else { Ok(transaction) }
    }

    /// The path of a file beside the database.
    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(suffix);
        self.path.with_file_name(name)
    }
}

/// Keys are in it: nobody else on the machine may read it. SQLite gives its `-wal` and `-shm` the same mode.
fn create(path: &Path) -> Result<(), StoreError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|error| file_problem(path, "made", &error))?;
    }
    private().open(path).map(drop).map_err(|error| file_problem(path, "opened", &error))
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn file_problem(path: &Path, what: &str, error: &std::io::Error) -> StoreError {
    StoreError::Unavailable {
        problem: format!("the SQLite file {} cannot be {what}: {error}", path.display()),
    }
}

/// What an error means and what to do.
fn problem(error: &sqlx::Error) -> StoreError {
    measure::database_error(match error {
        sqlx::Error::Database(_) => "refused",
        sqlx::Error::PoolTimedOut => "no_answer",
        _ => "other",
    });
    let problem = match error {
        sqlx::Error::Database(database) => {
            let code = database.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or(0);
            match code & 0xff {
                5 | 6 => "the SQLite file is busy: another process writes it".into(),
                8 => "the SQLite file is read-only".into(),
                10 => "reading or writing the SQLite file failed: look at the disk".into(),
                11 => "the SQLite file is damaged: restore it from a copy".into(),
                13 => "the disk of the SQLite file is full".into(),
                14 => "the SQLite file cannot be opened".into(),
                26 => "the file is not a SQLite database: set DATABASE_URL to another file".into(),
                _ if database.message().contains("no such table") => {
                    "the tables are not there: run `blacksky migrate`".into()
                }
                code => format!("SQLite refuses (code {code}): {}", database.message()),
            }
        }
        sqlx::Error::PoolTimedOut => "the SQLite file is busy: another statement takes too long".into(),
        sqlx::Error::PoolClosed => "the store is closed".into(),
        other => format!("SQLite: {other}"),
    };
    StoreError::Unavailable { problem }
}

fn column<'r, T>(row: &'r SqliteRow, index: usize) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, Driver> + sqlx::Type<Driver>,
{
    row.try_get(index).map_err(|error| problem(&error))
}

#[async_trait]
impl Engine for Sqlite {
    fn kind(&self) -> &'static str {
        "sqlite"
    }

    async fn migrate(&self) -> Result<Migrated, StoreError> {
        // SQLite has no advisory lock: a file lock keeps two migrations apart.
        let path = self.beside(".migrate");
        let lock = private().open(&path).map_err(|error| file_problem(&path, "opened", &error))?;
        let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock))
            .await
            .map_err(|error| StoreError::Unavailable { problem: format!("the lock task ended: {error}") })?
            .map_err(|error| file_problem(&path, "locked", &error))?;
        let found = self.schema().await?;
        let migrator = migrate::sqlite();
        let known = migrate::known(&migrator);
        let from = found.unwrap_or(0);
        if !migrate::is_current(from, known)? {
            migrator.run(&self.writer).await.map_err(|error| match error {
                sqlx::migrate::MigrateError::Execute(error)
                | sqlx::migrate::MigrateError::ExecuteMigration(error, _) => problem(&error),
                other => StoreError::Unavailable { problem: format!("the migration failed: {other}") },
            })?;
        }
        drop(lock);
        Ok(Migrated { from, to: known })
    }

    async fn schema(&self) -> Result<Option<i64>, StoreError> {
        const VERSION: &str = "SELECT max(version) FROM migration WHERE success";
        match sqlx::query(VERSION).fetch_one(&self.writer).await {
            Ok(row) => column(&row, 0),
            Err(sqlx::Error::Database(error)) if error.message().contains("no such table") => Ok(None),
            Err(error) => Err(problem(&error)),
        }
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
        if let Ok(mut locks) = self.locks.lock() {
            locks.clear();
        }
    }

    async fn size(&self) -> Result<u64, StoreError> {
        const SIZE: &str = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()";
        let row = sqlx::query(SIZE).fetch_one(&self.readers).await.map_err(|error| problem(&error))?;
        Ok(column::<i64>(&row, 0)?.unsigned_abs())
    }

    async fn listen(&self, _bulletin: &Bulletin) -> Result<(), StoreError> {
        std::future::pending().await
    }

    async fn acquire(&self, session: &str, owner: &Owner, _ttl: Duration) -> Result<Won, StoreError> {
        self.lease_acquire(session, owner).await
    }

    async fn renew(&self, leases: &[Lease], _ttl: Duration) -> Result<Vec<Lease>, StoreError> {
        Ok(self.lease_renew(leases))
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.lease_release(lease);
        Ok(())
    }

    async fn beat(&self, _dyno: &Dyno, leases: &[Lease], _ttl: Duration) -> Result<Vec<Lease>, StoreError> {
        Ok(self.lease_renew(leases))
    }

    async fn register(&self, dyno: &Dyno, _ttl: Duration) -> Result<(), StoreError> {
        *self.dyno.lock().unwrap_or_else(PoisonError::into_inner) = Some(dyno.clone());
        Ok(())
    }

    async fn unregister(&self, owner: &Owner) -> Result<(), StoreError> {
        self.dyno.lock().unwrap_or_else(PoisonError::into_inner).take_if(|dyno| dyno.owner == *owner);
        Ok(())
    }

    async fn dynos(&self) -> Result<Vec<Dyno>, StoreError> {
        Ok(self.dyno.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect())
    }

    async fn holders(&self, sessions: &[String]) -> Result<Vec<(String, Owner)>, StoreError> {
        let held = self.held()?;
        let owner = |session: &String| Some((session.clone(), Owner(held.get(session)?.owner.clone())));
        Ok(sessions.iter().filter_map(owner).collect())
    }

    async fn get(&self, generation: i64, kind: Kind, names: &[Name]) -> Result<Vec<Row>, StoreError> {
        self.rows_get(generation, kind, names).await
    }

    async fn list(&self, generation: i64, kind: Kind, which: &Which) -> Result<Vec<Row>, StoreError> {
        self.rows_list(generation, kind, which).await
    }

    async fn last(&self, generation: i64, kind: Kind, last: Last) -> Result<Option<Row>, StoreError> {
        self.rows_last(generation, kind, last).await
    }

    async fn any_between(
        &self,
        generation: i64,
        kinds: &[Kind],
        ranges: &[(Vec<u8>, Vec<u8>)],
    ) -> Result<bool, StoreError> {
        self.rows_any_between(generation, kinds, ranges).await
    }

    async fn put(&self, bond: &Bond, kind: Kind, rows: &[Row], merge: Merge) -> Result<(), StoreError> {
        self.rows_put(bond, kind, rows, merge).await
    }

    async fn delete(&self, bond: &Bond, kind: Kind, which: &Which) -> Result<u64, StoreError> {
        self.rows_delete(bond, kind, which).await
    }

    async fn exchange(&self, bond: &Bond, kind: Kind, rows: &[Row], gone: &[Name]) -> Result<(), StoreError> {
        self.rows_exchange(bond, kind, rows, gone).await
    }

    async fn take(&self, bond: &Bond, kind: Kind, name: &Name) -> Result<Option<Row>, StoreError> {
        self.rows_take(bond, kind, name).await
    }

    async fn mark(&self, bond: &Bond, kind: Kind, names: &[Name], mark: i64) -> Result<(), StoreError> {
        self.rows_mark(bond, kind, names, mark).await
    }

    async fn set_aside(&self, bond: &Bond, kind: Kind, row: &Row) -> Result<(), StoreError> {
        self.rows_set_aside(bond, kind, row).await
    }

    async fn put_inbox(
        &self,
        bond: &Bond,
        rows: &[InboxRow],
        owed: Option<(&[Vec<u8>], i64)>,
    ) -> Result<u64, StoreError> {
        match owed {
            Some((bodies, now)) => self.delivery_put(bond, rows, bodies, now).await,
            None => self.inbox_put(bond, rows).await,
        }
    }

    async fn unhandled(&self, generation: i64, limit: u32) -> Result<Vec<InboxRow>, StoreError> {
        self.inbox_unhandled(generation, limit).await
    }

    async fn mark_handled(
        &self,
        bond: &Bond,
        chat: &[u8],
        sender: &[u8],
        id: &[u8],
    ) -> Result<(), StoreError> {
        self.inbox_handled(bond, chat, sender, id).await
    }

    async fn archive(&self, bond: &Bond) -> Result<i64, StoreError> {
        self.lease_archive(bond).await
    }

    async fn wa_version(&self, session: &str) -> Result<Option<WaVersion>, StoreError> {
        self.lease_wa_version(session).await
    }

    async fn put_wa_version(&self, bond: &Bond, version: WaVersion) -> Result<(), StoreError> {
        self.lease_put_wa_version(bond, version).await
    }

    async fn is_imported(&self, session: &str, digest: &[u8; 32]) -> Result<bool, StoreError> {
        self.lease_is_imported(session, digest).await
    }

    async fn note_imported(&self, bond: &Bond, digest: &[u8; 32]) -> Result<(), StoreError> {
        self.lease_note_imported(bond, digest).await
    }

    async fn bonds(&self, owner: &Owner) -> Result<Vec<Bond>, StoreError> {
        self.reseal_bonds(owner).await
    }

    async fn shares(&self, place: &SealedPlace) -> Result<Vec<Share>, StoreError> {
        self.reseal_shares(place).await
    }

    async fn stale(
        &self,
        place: &SealedPlace,
        session: &str,
        prefix: &[u8],
        after: Option<&[Part]>,
    ) -> Result<Vec<Stored>, StoreError> {
        self.reseal_stale(place, session, prefix, after).await
    }

    async fn swap(&self, bond: &Bond, place: &SealedPlace, swaps: &[Swap]) -> Result<u64, StoreError> {
        self.reseal_swap(bond, place, swaps).await
    }
}
