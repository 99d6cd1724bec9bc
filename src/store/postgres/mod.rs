//! PostgreSQL: connections, the lease, migrations. The rows are in [`rows`].
//!
//! Every operation is ONE statement in its own transaction. A write begins with the common table
//! expression `fence`, which locks the session's row with the epoch of the writer `FOR KEY SHARE`:
//! a take-over, which changes the epoch, waits for it, and finds no such row fenced off.

mod backup;
mod connections;
mod copy;
mod delivery;
mod dyno;
mod examine;
mod history;
mod jobs;
mod lease;
mod listen;
mod media;
mod outbox;
mod pooler;
mod problem;
mod published;
mod reseal;
mod retention;
mod rows;

pub(super) use examine::examine;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use connections::{CONNECT_DEADLINE, Connections, MIGRATION_TIMEOUT};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _, Row as _, SqlSafeStr, SqlStr};
use tokio::time::Instant;

use super::dyno::Dyno;
use super::engine::{Bond, Engine, InboxRow, Last, Merge, Which, Won};
use super::kind::{Kind, Name, Row};
use super::notice::Bulletin;
use super::sealed_places::{Part, SealedPlace, Share, Stored, Swap};
use super::{Lease, Migrated, Owner, StoreError, migrate};
use crate::config::{Secret, Tls, WaVersion};
use crate::measure;

/// One statement: the link is closed when one takes 2 s, and this must be noted before.
const DEADLINE: Duration = Duration::from_millis(1800);
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
pub(super) struct Postgres {
    pool: Connections,
    /// The lease has its own connection, so that it never queues behind the sessions.
    lease: Connections,
    options: PgConnectOptions,
    max_connections: u32,
}

/// Without the options, which hold the password.
impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("pool", &self.pool)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

/// A statement that failed.
enum Failed {
    /// There was no connection for it, or no answer.
    Silent(StoreError),
    /// The answer was an error.
    Refused(sqlx::Error),
}

impl Failed {
    fn into_error(self) -> StoreError {
        match self {
            Self::Silent(error) => {
                measure::database_error("no_answer");
                error
            }
            Self::Refused(error) => {
                measure::database_error("refused");
                problem::of(&error)
            }
        }
    }
}

impl Postgres {
    /// Connects, the lease's connection and one of the pool at the same time.
    pub(super) async fn open(url: &Secret, tls: Tls, max_connections: u32) -> Result<Self, StoreError> {
        let options = options(url, tls)?;
        // The lease's, and the listener's.
        let apart = 1 + u32::from(Self::listens(max_connections));
        let lease = Connections::new("lease", options.clone(), 1);
        let pool = Connections::new("session", options.clone(), max_connections.saturating_sub(apart));
        let (mut first, mut second) = tokio::try_join!(lease.first(), pool.first())?;
        pooler::refuse(&mut first, &mut second).await?;
        first.keep();
        second.keep();
        Ok(Self { pool, lease, options, max_connections })
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
        run_on(&self.pool, sql, args, retries).await.map_err(Failed::into_error)
    }

    /// Runs one statement on the lease's own connection, with the same rule.
    async fn run_lease(&self, sql: &'static str, args: PgArguments) -> Result<Vec<PgRow>, StoreError> {
        run_on(&self.lease, sql, args, 1).await.map_err(Failed::into_error)
    }

    /// The version of the schema; `None` before the first migration.
    async fn version(&self) -> Result<Option<i64>, StoreError> {
        const VERSION: &str = "SELECT max(version) FROM blacksky.migration WHERE success";
        match run_on(&self.lease, VERSION, PgArguments::default(), 1).await {
            Ok(rows) => rows.first().map_or(Ok(None), |row| column(row, 0)),
            Err(Failed::Refused(error)) if problem::is_undefined(&error) => Ok(None),
            Err(failed) => Err(failed.into_error()),
        }
    }
}

async fn run_on(
    connections: &Connections,
    sql: impl SqlSafeStr,
    args: PgArguments,
    retries: u32,
) -> Result<Vec<PgRow>, Failed> {
    let sql = sql.into_sql_str();
    let began = Instant::now();
    let result = run_again(connections, sql, args, retries).await;
    measure::statement(began.elapsed());
    result
}

/// Sends a statement again while its connection was found dead.
async fn run_again(
    connections: &Connections,
    sql: SqlStr,
    args: PgArguments,
    mut left: u32,
) -> Result<Vec<PgRow>, Failed> {
    loop {
        let connection = connections.lend().await.map_err(Failed::Silent)?;
        let running = connections.run(connection, sql.clone(), args.clone());
        match tokio::time::timeout(DEADLINE, running).await {
            Ok(Err(error)) if left > 0 && problem::is_dead_connection(&error) => left -= 1,
            Ok(result) => return result.map_err(Failed::Refused),
            Err(_) => return Err(Failed::Silent(problem::silent(DEADLINE))),
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
        // A pooler would refuse it, and nothing here reads a float.
        .extra_float_digits(None)
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
        let mut connection = connections::one(&self.options, MIGRATION_TIMEOUT).await?;
        migrator
            .run_direct(None, &mut connection, false)
            .await
            .map_err(|error| problem::of_migration(&error))?;
        // The versions stand; how the connection ends is of no interest.
        let _ = connection.close().await;
        Ok(Migrated { from, to: known })
    }

    async fn schema(&self) -> Result<Option<i64>, StoreError> {
        self.version().await
    }

    async fn close(&self) {
        // Closing is a courtesy to the server.
        let both = async { tokio::join!(self.lease.close(), self.pool.close()) };
        let _ = tokio::time::timeout(DEADLINE, both).await;
    }

    async fn size(&self) -> Result<u64, StoreError> {
        const SIZE: &str = "SELECT pg_database_size(current_database())";
        let rows = self.run(SIZE, PgArguments::default()).await?;
        Ok(rows.first().map_or(Ok(0), |row| column::<i64>(row, 0))?.unsigned_abs())
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

    async fn holders(&self, sessions: &[String]) -> Result<Vec<(String, Owner)>, StoreError> {
        self.dyno_holders(sessions).await
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
