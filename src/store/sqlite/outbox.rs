//! The outbox.

use async_trait::async_trait;
use chrono::DateTime;

use super::rows::args;
use super::{Sqlite, column, problem};
use crate::store::StoreError;
use crate::store::chats::ChatRow;
use crate::store::engine::Outbox;
use crate::store::outbox::{MOST_QUEUED, OutboxRow, OutgoingStatus, QueuedRow, Taken};

const KNOWN: &str = "SELECT id, digest FROM outbox WHERE session = ?1 AND key = ?2";
const COUNT: &str =
    "SELECT count(*) FROM (SELECT 1 FROM outbox WHERE session = ?1 AND ended_at IS NULL LIMIT ?2)";
const PUT: &str = "INSERT INTO outbox (session, id, key, digest, created_at, value, media)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
const USE: &str = "UPDATE media SET used_at = max(used_at, ?3) WHERE session = ?1 AND id = ?2 AND complete";
const QUEUED: &str = "SELECT id, created_at, value, media FROM outbox WHERE session = ?1 AND ended_at IS NULL ORDER BY seq LIMIT ?2";
const END: &str =
    "UPDATE outbox SET ended_at = ?4, sent = (?3 IS NULL), detail = coalesce(?3, ''), value = x''
    WHERE session = ?1 AND id = ?2 AND ended_at IS NULL";
const STATUS: &str = "SELECT created_at, ended_at, sent, detail FROM outbox WHERE session = ?1 AND id = ?2";

const CHATS: &str = "SELECT i.chat, max(i.at), count(*) FROM inbox AS i
    JOIN session AS s ON s.generation = i.generation
    WHERE s.id = ?1 GROUP BY i.chat ORDER BY 2 DESC LIMIT ?2";

#[async_trait]
impl Outbox for Sqlite {
    async fn put_outgoing(&self, session: &str, row: &OutboxRow<'_>) -> Result<Taken, StoreError> {
        let wrong = |error| problem(&error);
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(wrong)?;
        if let Some(key) = row.key {
            let args = args![session.to_owned(), key.to_owned()];
            let known =
                sqlx::query_with(KNOWN, args).fetch_optional(&mut *transaction).await.map_err(wrong)?;
            if let Some(known) = known {
                return Ok(Taken::Known { id: column(&known, 0)?, digest: column(&known, 1)? });
            }
        }
        let args = args![session.to_owned(), MOST_QUEUED];
        let queued = sqlx::query_with(COUNT, args).fetch_one(&mut *transaction).await.map_err(wrong)?;
        if column::<i64>(&queued, 0)? >= MOST_QUEUED {
            return Ok(Taken::Full);
        }
        if let Some(file) = row.file {
            let args = args![session.to_owned(), file.to_owned(), row.created_at];
            let used = sqlx::query_with(USE, args).execute(&mut *transaction).await.map_err(wrong)?;
            if used.rows_affected() == 0 {
                return Ok(Taken::NoFile);
            }
        }
        let args = args![
            session.to_owned(),
            row.id.to_owned(),
            row.key.map(str::to_owned),
            row.digest.to_vec(),
            row.created_at,
            row.value.clone(),
            row.file.map(str::to_owned)
        ];
        sqlx::query_with(PUT, args).execute(&mut *transaction).await.map_err(wrong)?;
        transaction.commit().await.map_err(wrong)?;
        Ok(Taken::New)
    }

    async fn outgoing(&self, session: &str, limit: u32) -> Result<Vec<QueuedRow>, StoreError> {
        let args = args![session.to_owned(), i64::from(limit)];
        let rows = sqlx::query_with(QUEUED, args).fetch_all(&self.readers).await;
        let rows = rows.map_err(|error| problem(&error))?;
        rows.iter()
            .map(|row| {
                Ok(QueuedRow {
                    id: column(row, 0)?,
                    created_at: column(row, 1)?,
                    value: column(row, 2)?,
                    file: column(row, 3)?,
                })
            })
            .collect()
    }

    async fn end_outgoing(
        &self,
        session: &str,
        id: &str,
        given_up: Option<&str>,
        at: i64,
    ) -> Result<(), StoreError> {
        let end = args![session.to_owned(), id.to_owned(), given_up.map(str::to_owned), at];
        let done = sqlx::query_with(END, end).execute(&self.writer).await;
        done.map_err(|error| problem(&error))?;
        Ok(())
    }

    async fn outgoing_status(&self, session: &str, id: &str) -> Result<Option<OutgoingStatus>, StoreError> {
        let args = args![session.to_owned(), id.to_owned()];
        let row = sqlx::query_with(STATUS, args).fetch_optional(&self.readers).await;
        let time = |micros: i64| DateTime::from_timestamp_micros(micros).unwrap_or_default();
        let status = |row: sqlx::sqlite::SqliteRow| {
            Ok(OutgoingStatus {
                created_at: time(column(&row, 0)?),
                ended_at: column::<Option<i64>>(&row, 1)?.map(time),
                sent: column(&row, 2)?,
                detail: column(&row, 3)?,
            })
        };
        row.map_err(|error| problem(&error))?.map(status).transpose()
    }

    async fn chats(&self, session: &str, limit: u32) -> Result<Vec<ChatRow>, StoreError> {
        let args = args![session.to_owned(), i64::from(limit)];
        let rows = sqlx::query_with(CHATS, args).fetch_all(&self.readers).await;
        let rows = rows.map_err(|error| problem(&error))?;
        let chat =
            |row| Ok(ChatRow { chat: column(row, 0)?, last_at: column(row, 1)?, messages: column(row, 2)? });
        rows.iter().map(chat).collect()
    }

    async fn outgoing_known(
        &self,
        session: &str,
        key: &str,
    ) -> Result<Option<(String, Vec<u8>)>, StoreError> {
        let args = args![session.to_owned(), key.to_owned()];
        let row = sqlx::query_with(KNOWN, args).fetch_optional(&self.readers).await;
        let row = row.map_err(|error| problem(&error))?;
        row.map(|row| Ok((column(&row, 0)?, column(&row, 1)?))).transpose()
    }
}
