//! PostgreSQL: connections, the lease, migrations. The rows are in [`rows`].
//!
//! Every operation is ONE statement in its own transaction. A write begins with the common table
//! expression `fence`, which locks the session's row with the epoch of the writer `FOR KEY SHARE`:
//! a take-over, which changes the epoch, waits for it, and finds no such row fenced off.

mod copy;
mod dyno;
mod lease;
mod listen;
mod problem;
mod reseal;
mod rows;

use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgRow, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, PgPool, Row as _};
use tokio::sync::Mutex;

use super::dyno::Dyno;
use super::engine::{Bond, Engine, InboxRow, Last, Merge, Which, Won};
use super::kind::{Kind, Name, Row};
use super::notice::Bulletin;
use super::sealed_places::{Part, SealedPlace, Share, Stored, Swap};
use super::{Lease, Migrated, Owner, StoreError, migrate};
use crate::config::{Secret, Tls, WaVersion};

/// One operation, its retries included: the link is closed when one takes 2 s, and this must be noted before.
const DEADLINE: Duration = Duration::from_millis(1800);
/// A connection of the pool to become free or be made; the pool tries again while the server is starting.
const POOL_DEADLINE: Duration = Duration::from_millis(1500);
/// Connecting for the first time, DNS and TLS included.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// Most a migration may take; the sessions' own statements get 3 s.
const MIGRATION_TIMEOUT: &str = "60s";
const STATEMENT_TIMEOUT: &str = "3s";

/// Encodes the arguments of a statement.
macro_rules! args {
    ($($value:expr),* $(,)?) => {{
        let mut args = sqlx::postgres::PgArguments::default();
        $( sqlx::Arguments::add(&mut args, $value).map_err(|error| {
            crate::store::StoreError::Unavailable { problem: format!("a value cannot be sent to the database: {error}") }
        })?; )*
        args
    }};
}
use args;

/// A PostgreSQL database.
#[derive(Debug)]
pub(super) struct Postgres {
    pool: PgPool,
    /// The lease has its own connection, so that it never queues behind the sessions.
    lease: Mutex<Option<PgConnection>>,
    options: PgConnectOptions,
    max_connections: u32,
}

impl Postgres {
    /// Connects, the lease's connection and one of the pool at the same time.
    pub(super) async fn open(url: &Secret, tls: Tls, max_connections: u32) -> Result<Self, StoreError> {
        let options = options(url, tls)?;
        // The lease's, and the listener's.
        let apart = 1 + u32::from(Self::listens(max_connections));
        let pool = PgPoolOptions::new()
            .max_connections(max_connections.saturating_sub(apart).max(1))
            .acquire_timeout(POOL_DEADLINE)
            // A dead connection is noticed by its first statement, which is then retried: no ping before each.
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(options.clone());
        let both = tokio::time::timeout(CONNECT_DEADLINE, async {
            tokio::try_join!(options.connect(), async {
                // Only warmed here. What is wrong with the database the other one says better.
                drop(pool.acquire().await);
                Ok(())
            })
        });
        let (lease, ()) = match both.await {
            Ok(result) => result.map_err(|error| problem::of(&error))?,
            Err(_) => return Err(problem::silent(CONNECT_DEADLINE)),
        };
        Ok(Self { pool, lease: Mutex::new(Some(lease)), options, max_connections })
    }

    /// Runs one statement in its own transaction. A connection found dead is replaced and the
    /// statement sent again; one that does not answer in time is not, since it might still arrive.
    async fn run(&self, sql: &'static str, args: PgArguments) -> Result<Vec<PgRow>, StoreError> {
        self.run_up_to(sql, args, self.max_connections).await
    }

    async fn run_up_to(
        &self,
        sql: &'static str,
        args: PgArguments,
        retries: u32,
    ) -> Result<Vec<PgRow>, StoreError> {
        let attempts = async {
            let mut left = retries;
            loop {
                match self.once(sql, args.clone()).await {
                    Err(error) if left > 0 && problem::is_dead_connection(&error) => left -= 1,
                    result => return result.map_err(|error| problem::of(&error)),
                }
            }
        };
        tokio::time::timeout(DEADLINE, attempts).await.unwrap_or_else(|_| Err(problem::silent(DEADLINE)))
    }

    async fn once(&self, sql: &'static str, args: PgArguments) -> Result<Vec<PgRow>, sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        sqlx::query_with(sql, args).fetch_all(&mut *connection).await
    }

    /// Runs one statement on the lease's own connection, with the same rule.
    async fn run_lease(&self, sql: &'static str, args: PgArguments) -> Result<Vec<PgRow>, StoreError> {
        let mut slot = self.lease.lock().await;
        match tokio::time::timeout(DEADLINE, self.once_lease(&mut slot, sql, args)).await {
            Ok(result) => result.map_err(|error| problem::of(&error)),
            Err(_) => Err(problem::silent(DEADLINE)),
        }
    }

    /// The connection is out of its slot while in use: a statement that is given up half-way takes it along.
    async fn once_lease(
        &self,
        slot: &mut Option<PgConnection>,
        sql: &'static str,
        args: PgArguments,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        if let Some(mut connection) = slot.take() {
            match sqlx::query_with(sql, args.clone()).fetch_all(&mut connection).await {
                Err(error) if problem::is_dead_connection(&error) => {}
                result => {
                    *slot = Some(connection);
                    return result;
                }
            }
        }
        let mut connection = self.options.connect().await?;
        let result = sqlx::query_with(sql, args).fetch_all(&mut connection).await;
        *slot = Some(connection);
        result
    }

    /// The version of the schema; `None` before the first migration.
    async fn version(&self) -> Result<Option<i64>, StoreError> {
        const VERSION: &str = "SELECT max(version) FROM blacksky.migration WHERE success";
        let mut slot = self.lease.lock().await;
        let asked = self.once_lease(&mut slot, VERSION, PgArguments::default());
        match tokio::time::timeout(DEADLINE, asked).await {
            Ok(Ok(rows)) => rows.first().map_or(Ok(None), |row| column(row, 0)),
            Ok(Err(error)) if problem::is_undefined(&error) => Ok(None),
            Ok(Err(error)) => Err(problem::of(&error)),
            Err(_) => Err(problem::silent(DEADLINE)),
        }
    }
}

fn options(url: &Secret, tls: Tls) -> Result<PgConnectOptions, StoreError> {
    let is_ours = ["postgres://", "postgresql://"].iter().any(|scheme| url.expose().starts_with(scheme));
    let options = PgConnectOptions::from_str(url.expose())
        .ok()
        .filter(|_| is_ours)
        .ok_or_else(|| StoreError::Unavailable { problem: problem::BAD_URL.into() })?;
    // PostgreSQL never speaks TLS over a Unix socket.
    let local = options.get_socket().is_some() || options.get_host().starts_with('/');
    let mode = match tls {
        _ if local => PgSslMode::Disable,
        Tls::Require => PgSslMode::Require,
        Tls::VerifyFull => PgSslMode::VerifyFull,
        Tls::Disable => PgSslMode::Disable,
    };
    Ok(options
        .ssl_mode(mode)
        .application_name("blacksky")
        .options([
            ("statement_timeout", STATEMENT_TIMEOUT),
            ("idle_in_transaction_session_timeout", STATEMENT_TIMEOUT),
            ("synchronous_commit", "on"),
        ])
        .disable_statement_logging())
}

fn column<T>(row: &PgRow, index: usize) -> Result<T, StoreError>
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    row.try_get(index).map_err(|error| problem::of(&error))
}

#[async_trait]
impl Engine for Postgres {
    fn kind(&self) -> &'static str {
        "postgresql"
    }

    async fn migrate(&self) -> Result<Migrated, StoreError> {
        let migrator = migrate::postgres();
        let known = migrate::known(&migrator);
        // The usual case costs one question.
        let from = self.version().await?.unwrap_or(0);
        if migrate::is_current(from, known)? {
            return Ok(Migrated { from, to: from });
        }
        let options = self.options.clone().options([("statement_timeout", MIGRATION_TIMEOUT)]);
        let mut connection = options.connect().await.map_err(|error| problem::of(&error))?;
        migrator
            .run_direct(None, &mut connection, false)
            .await
            .map_err(|error| problem::of_migration(&error))?;
        // The versions stand; how the connection ends is of no interest.
        let _ = connection.close().await;
        Ok(Migrated { from, to: known })
    }

    async fn close(&self) {
        if let Some(connection) = self.lease.lock().await.take() {
            // Closing is a courtesy to the server.
            let _ = tokio::time::timeout(DEADLINE, connection.close()).await;
        }
        let _ = tokio::time::timeout(DEADLINE, self.pool.close()).await;
    }

    async fn listen(&self, bulletin: &Bulletin) -> Result<(), StoreError> {
        self.listen_once(bulletin).await
    }

    async fn acquire(&self, session: &str, owner: &Owner, ttl: Duration) -> Result<Won, StoreError> {
        self.lease_acquire(session, owner, ttl).await
    }

    async fn renew(&self, leases: &[Lease], ttl: Duration) -> Result<Vec<Lease>, StoreError> {
        self.lease_renew(leases, ttl).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.lease_release(lease).await
    }

    async fn beat(&self, dyno: &Dyno, leases: &[Lease], ttl: Duration) -> Result<Vec<Lease>, StoreError> {
        self.dyno_beat(dyno, leases, ttl).await
    }

    async fn register(&self, dyno: &Dyno, ttl: Duration) -> Result<(), StoreError> {
        self.dyno_register(dyno, ttl).await
    }

    async fn unregister(&self, owner: &Owner) -> Result<(), StoreError> {
        self.dyno_unregister(owner).await
    }

    async fn dynos(&self) -> Result<Vec<Dyno>, StoreError> {
        self.dyno_list().await
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

    async fn take(&self, bond: &Bond, kind: Kind, name: &Name) -> Result<Option<Row>, StoreError> {
        self.rows_take(bond, kind, name).await
    }

    async fn mark(&self, bond: &Bond, kind: Kind, names: &[Name], mark: i64) -> Result<(), StoreError> {
        self.rows_mark(bond, kind, names, mark).await
    }

    async fn set_aside(&self, bond: &Bond, kind: Kind, row: &Row) -> Result<(), StoreError> {
        self.rows_set_aside(bond, kind, row).await
    }

    async fn put_inbox(&self, bond: &Bond, rows: &[InboxRow]) -> Result<u64, StoreError> {
        self.inbox_put(bond, rows).await
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
