//! Backups, and what is known of sessions and generations.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::Connection as _;
use sqlx::postgres::{PgArguments, PgRow};

use super::copy::DEADLINE;
use super::rows::{fenced, passed};
use super::{Postgres, args, column, problem};
use crate::store::backup::{BackupInfo, GenerationInfo, Holder, SessionInfo};
use crate::store::engine::{BackupRow, Backups, Bond, version_of};
use crate::store::kind::SET_ASIDE;
use crate::store::{Digest, StoreError};

const LIST: &str = "
    SELECT id, session, taken_at, checked_at, generation, digest, rows, size FROM blacksky.backup
    WHERE $1::text IS NULL OR session = $1 ORDER BY taken_at DESC, id DESC";
const VALUE: &str = "SELECT taken_at, value FROM blacksky.backup WHERE session = $1 AND id = $2";
const PUT: &str = fenced!(
    ", put AS (
        INSERT INTO blacksky.backup (session, generation, taken_at, checked_at, digest, rows, size, value)
        SELECT $1, $3, $4, $4, $5, $6, length($7), $7 FROM fence RETURNING id)
    SELECT (SELECT count(*) FROM fence), (SELECT id FROM put)"
);
const NOTE: &str = fenced!(
    ", put AS (UPDATE blacksky.backup AS b SET checked_at = greatest(b.checked_at, $5) FROM fence
        WHERE b.session = $1 AND b.id = $4)
    SELECT count(*) FROM fence"
);
const DROP: &str = fenced!(
    ", gone AS (DELETE FROM blacksky.backup AS b USING fence WHERE b.id = ANY($4::bigint[]))
    SELECT count(*) FROM fence"
);
const SESSIONS: &str = "
    SELECT s.id, s.generation, s.wa_version, s.owner,
        CASE WHEN s.expires_at > clock_timestamp() THEN (extract(epoch FROM s.expires_at) * 1000000)::bigint END,
        r.count, r.size, (SELECT count(*) FROM blacksky.inbox AS i
            WHERE i.generation = s.generation AND i.handled_at IS NULL)
    FROM blacksky.session AS s, LATERAL (
        SELECT count(*) AS count, coalesce(sum(length(r.value)), 0)::bigint AS size
        FROM blacksky.session_row AS r WHERE r.generation = s.generation AND r.kind < $1) AS r
    ORDER BY s.id";
const GENERATIONS: &str = "
    SELECT g.id, (extract(epoch FROM g.opened_at) * 1000000)::bigint,
        (extract(epoch FROM g.archived_at) * 1000000)::bigint, r.count, r.size
    FROM blacksky.generation AS g, LATERAL (
        SELECT count(*) AS count, coalesce(sum(length(r.value)), 0)::bigint AS size
        FROM blacksky.session_row AS r WHERE r.generation = g.id AND r.kind < $2) AS r
    WHERE g.session = $1 ORDER BY g.id DESC";
/// Only one that is archived, whatever the caller believes.
const DROP_GENERATION: &str = fenced!(
    ", old AS (DELETE FROM blacksky.generation AS g USING fence
        WHERE g.id = $4 AND g.session = $1 AND g.id <> $3 AND g.archived_at IS NOT NULL RETURNING g.id),
    rows AS (DELETE FROM blacksky.session_row AS r USING old WHERE r.generation = old.id),
    messages AS (DELETE FROM blacksky.inbox AS i USING old WHERE i.generation = old.id)
    SELECT count(*) FROM fence"
);

impl Postgres {
    /// Runs one statement that may take long.
    async fn run_apart(&self, sql: &'static str, args: PgArguments) -> Result<Vec<PgRow>, StoreError> {
        let work = async {
            let mut connection = self.apart().await?;
            let rows = sqlx::query_with(sql, args).fetch_all(&mut connection).await;
            // How it ends is of no interest.
            let _ = connection.close().await;
            rows.map_err(|error| problem::of(&error))
        };
        tokio::time::timeout(DEADLINE, work).await.unwrap_or_else(|_| Err(problem::silent(DEADLINE)))
    }
}

#[async_trait]
impl Backups for Postgres {
    async fn backups(&self, session: Option<&str>) -> Result<Vec<BackupInfo>, StoreError> {
        let rows = self.run(LIST, args![session]).await?;
        rows.iter()
            .map(|row| {
                Ok(BackupInfo {
                    id: column(row, 0)?,
                    session: column(row, 1)?,
                    taken_at: time(row, 2)?,
                    checked_at: time(row, 3)?,
                    generation: column(row, 4)?,
                    digest: Digest::of_stored(&column::<Vec<u8>>(row, 5)?),
                    rows: count(row, 6)?,
                    size: count(row, 7)?,
                })
            })
            .collect()
    }

    async fn backup_value(&self, session: &str, id: i64) -> Result<Option<(i64, Vec<u8>)>, StoreError> {
        let rows = self.run_apart(VALUE, args![session, id]).await?;
        rows.first().map(|row| Ok((column(row, 0)?, column(row, 1)?))).transpose()
    }

    async fn put_backup(&self, bond: &Bond, row: BackupRow) -> Result<i64, StoreError> {
        let rows = i64::try_from(row.rows).unwrap_or(i64::MAX);
        let args =
            args![&bond.session, bond.epoch, bond.generation, row.taken_at, &row.digest[..], rows, row.value];
        column(&passed(self.run_apart(PUT, args).await?)?, 1)
    }

    async fn note_backup(&self, bond: &Bond, id: i64, checked_at: i64) -> Result<(), StoreError> {
        let args = args![&bond.session, bond.epoch, bond.generation, id, checked_at];
        self.run_fenced(NOTE, args).await.map(drop)
    }

    async fn drop_backups(&self, bond: &Bond, ids: &[i64]) -> Result<(), StoreError> {
        let args = args![&bond.session, bond.epoch, bond.generation, ids];
        self.run_fenced(DROP, args).await.map(drop)
    }

    async fn sessions(&self) -> Result<Vec<SessionInfo>, StoreError> {
        let rows = self.run(SESSIONS, args![SET_ASIDE]).await?;
        rows.iter()
            .map(|row| {
                let until: Option<i64> = column(row, 4)?;
                let owner: String = column(row, 3)?;
                let until = until.and_then(DateTime::from_timestamp_micros);
                Ok(SessionInfo {
                    session: column(row, 0)?,
                    generation: column(row, 1)?,
                    wa_version: column::<Option<String>>(row, 2)?.as_deref().and_then(version_of),
                    holder: until.map(|until| Holder { owner, until: Some(until) }),
                    rows: count(row, 5)?,
                    size: count(row, 6)?,
                    unhandled: count(row, 7)?,
                })
            })
            .collect()
    }

    async fn generations(&self, session: &str) -> Result<Vec<GenerationInfo>, StoreError> {
        let rows = self.run(GENERATIONS, args![session, SET_ASIDE]).await?;
        rows.iter()
            .map(|row| {
                Ok(GenerationInfo {
                    id: column(row, 0)?,
                    opened_at: time(row, 1)?,
                    archived_at: column::<Option<i64>>(row, 2)?.and_then(DateTime::from_timestamp_micros),
                    rows: count(row, 3)?,
                    size: count(row, 4)?,
                })
            })
            .collect()
    }

    async fn drop_generation(&self, bond: &Bond, id: i64) -> Result<(), StoreError> {
        let args = args![&bond.session, bond.epoch, bond.generation, id];
        self.run_fenced(DROP_GENERATION, args).await.map(drop)
    }
}

fn time(row: &PgRow, index: usize) -> Result<DateTime<Utc>, StoreError> {
    Ok(DateTime::from_timestamp_micros(column(row, index)?).unwrap_or_default())
}

fn count(row: &PgRow, index: usize) -> Result<u64, StoreError> {
    Ok(column::<i64>(row, index)?.unsigned_abs())
}
