//! Backups, and what is known of sessions and generations.

use std::fs::TryLockError;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::sqlite::{SqliteArguments, SqliteRow};

use super::rows::{args, execute};
use super::{Sqlite, column, problem};
use crate::store::backup::{BackupInfo, GenerationInfo, Holder, SessionInfo};
use crate::store::engine::{BackupRow, Backups, Bond, version_of};
use crate::store::kind::SET_ASIDE;
use crate::store::{Digest, StoreError};

const LIST: &str = "SELECT id, session, taken_at, checked_at, generation, digest, rows, size FROM backup
    WHERE ?1 IS NULL OR session = ?1 ORDER BY taken_at DESC, id DESC";
const VALUE: &str = "SELECT taken_at, value FROM backup WHERE session = ?1 AND id = ?2";
const PUT: &str = "INSERT INTO backup (session, generation, taken_at, checked_at, digest, rows, size, value)
    VALUES (?1, ?2, ?3, ?3, ?4, ?5, length(?6), ?6) RETURNING id";
const NOTE: &str = "UPDATE backup SET checked_at = max(checked_at, ?3) WHERE session = ?1 AND id = ?2";
const DROP: &str = "DELETE FROM backup WHERE id = ?1";
const SESSIONS: &str = "SELECT s.id, s.generation, s.wa_version, s.owner,
        (SELECT count(*) FROM session_row AS r WHERE r.generation = s.generation AND r.kind < ?1),
        (SELECT coalesce(sum(length(r.value)), 0) FROM session_row AS r
            WHERE r.generation = s.generation AND r.kind < ?1),
        (SELECT count(*) FROM inbox AS i WHERE i.generation = s.generation AND i.handled_at IS NULL)
    FROM session AS s ORDER BY s.id";
const GENERATIONS: &str = "SELECT g.id, g.opened_at, g.archived_at,
        (SELECT count(*) FROM session_row AS r WHERE r.generation = g.id AND r.kind < ?2),
        (SELECT coalesce(sum(length(r.value)), 0) FROM session_row AS r
            WHERE r.generation = g.id AND r.kind < ?2)
    FROM generation AS g WHERE g.session = ?1 ORDER BY g.id DESC";
/// Only one that is archived, whatever the caller believes.
const DROP_GENERATION: &str =
    "DELETE FROM generation WHERE id = ?1 AND session = ?2 AND id <> ?3 AND archived_at IS NOT NULL";
const DROP_ROWS: &str = "DELETE FROM session_row WHERE generation = ?1";
const DROP_MESSAGES: &str = "DELETE FROM inbox WHERE generation = ?1";

impl Sqlite {
    async fn look(&self, sql: &'static str, args: SqliteArguments) -> Result<Vec<SqliteRow>, StoreError> {
        sqlx::query_with(sql, args).fetch_all(&self.readers).await.map_err(|error| problem(&error))
    }

    /// Whether any process has the lease: its file is locked.
    fn is_held(&self, session: &str) -> bool {
        // Not made when it is not there. The lock that this takes is gone again at once.
        match std::fs::File::open(self.lease_file(session)) {
            Ok(file) => matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)),
            Err(_) => false,
        }
    }
}

#[async_trait]
impl Backups for Sqlite {
    async fn backups(&self, session: Option<&str>) -> Result<Vec<BackupInfo>, StoreError> {
        let rows = self.look(LIST, args![session.map(str::to_owned)]).await?;
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
        let rows = self.look(VALUE, args![session.to_owned(), id]).await?;
        rows.first().map(|row| Ok((column(row, 0)?, column(row, 1)?))).transpose()
    }

    async fn put_backup(&self, bond: &Bond, row: BackupRow) -> Result<i64, StoreError> {
        let rows = i64::try_from(row.rows).unwrap_or(i64::MAX);
        let args =
            args![bond.session.clone(), bond.generation, row.taken_at, row.digest.to_vec(), rows, row.value];
        let mut transaction = self.begin(bond).await?;
        let written = sqlx::query_with(PUT, args)
            .fetch_one(&mut *transaction)
            .await
            .map_err(|error| problem(&error))?;
        transaction.commit().await.map_err(|error| problem(&error))?;
        column(&written, 0)
    }

    async fn note_backup(&self, bond: &Bond, id: i64, checked_at: i64) -> Result<(), StoreError> {
        let mut transaction = self.begin(bond).await?;
        execute(&mut transaction, NOTE, args![bond.session.clone(), id, checked_at]).await?;
        transaction.commit().await.map_err(|error| problem(&error))
    }

    async fn drop_backups(&self, bond: &Bond, ids: &[i64]) -> Result<(), StoreError> {
        let mut transaction = self.begin(bond).await?;
        for id in ids {
            execute(&mut transaction, DROP, args![*id]).await?;
        }
        transaction.commit().await.map_err(|error| problem(&error))
    }

    async fn sessions(&self) -> Result<Vec<SessionInfo>, StoreError> {
        let rows = self.look(SESSIONS, args![SET_ASIDE]).await?;
        rows.iter()
            .map(|row| {
                let session: String = column(row, 0)?;
                let owner: String = column(row, 3)?;
                Ok(SessionInfo {
                    generation: column(row, 1)?,
                    wa_version: column::<Option<String>>(row, 2)?.as_deref().and_then(version_of),
                    holder: self.is_held(&session).then_some(Holder { owner, until: None }),
                    rows: count(row, 4)?,
                    size: count(row, 5)?,
                    unhandled: count(row, 6)?,
                    session,
                })
            })
            .collect()
    }

    async fn generations(&self, session: &str) -> Result<Vec<GenerationInfo>, StoreError> {
        let rows = self.look(GENERATIONS, args![session.to_owned(), SET_ASIDE]).await?;
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
        let mut transaction = self.begin(bond).await?;
        let args = args![id, bond.session.clone(), bond.generation];
        if execute(&mut transaction, DROP_GENERATION, args).await? > 0 {
            execute(&mut transaction, DROP_ROWS, args![id]).await?;
            execute(&mut transaction, DROP_MESSAGES, args![id]).await?;
        }
        transaction.commit().await.map_err(|error| problem(&error))
    }
}

fn time(row: &SqliteRow, index: usize) -> Result<DateTime<Utc>, StoreError> {
    Ok(DateTime::from_timestamp_micros(column(row, index)?).unwrap_or_default())
}

fn count(row: &SqliteRow, index: usize) -> Result<u64, StoreError> {
    Ok(column::<i64>(row, index)?.unsigned_abs())
}
