//! The outbox.

use async_trait::async_trait;
use chrono::DateTime;

use super::{Postgres, args, column};
use crate::store::StoreError;
use crate::store::chats::ChatRow;
use crate::store::engine::Outbox;
use crate::store::notice::{CHANNEL, Notice};
use crate::store::outbox::{MOST_QUEUED, OutboxRow, OutgoingStatus, QueuedRow, Taken};

const PUT: &str = "
    WITH known AS (
        SELECT id, digest FROM blacksky.outbox WHERE session = $1 AND key = $3
    ), queued AS (
        SELECT count(*) AS count FROM (
            SELECT 1 FROM blacksky.outbox WHERE session = $1 AND ended_at IS NULL LIMIT $7) AS q
    ), file AS (
        UPDATE blacksky.media SET used_at = greatest(used_at, $5)
        WHERE session = $1 AND id = $10 AND complete RETURNING 1
    ), put AS (
        INSERT INTO blacksky.outbox (session, id, key, digest, created_at, value, media)
        SELECT $1, $2, $3, $4, $5, $6, $10 FROM queued
        WHERE count < $7 AND NOT EXISTS (SELECT 1 FROM known) AND ($10::text IS NULL OR EXISTS (SELECT 1 FROM file))
        ON CONFLICT DO NOTHING RETURNING id
    )
    SELECT (SELECT count(*) FROM put), (SELECT count >= $7 FROM queued), (SELECT id FROM known),
        (SELECT digest FROM known), (SELECT pg_notify($8, $9) FROM put),
        $10::text IS NULL OR EXISTS (SELECT 1 FROM file)";
const QUEUED: &str = "
    SELECT id, created_at, value, media FROM blacksky.outbox WHERE session = $1 AND ended_at IS NULL ORDER BY seq LIMIT $2";
const END: &str = "
    UPDATE blacksky.outbox SET ended_at = $4, sent = ($3::text IS NULL), detail = coalesce($3, ''), value = ''
    WHERE session = $1 AND id = $2 AND ended_at IS NULL";
const KNOWN: &str = "SELECT id, digest FROM blacksky.outbox WHERE session = $1 AND key = $2";
const STATUS: &str =
    "SELECT created_at, ended_at, sent, detail FROM blacksky.outbox WHERE session = $1 AND id = $2";

const CHATS: &str = "
    SELECT i.chat, max(i.at), count(*) FROM blacksky.inbox AS i
    JOIN blacksky.session AS s ON s.generation = i.generation
    WHERE s.id = $1 GROUP BY i.chat ORDER BY 2 DESC LIMIT $2";

#[async_trait]
impl Outbox for Postgres {
    async fn put_outgoing(&self, session: &str, row: &OutboxRow<'_>) -> Result<Taken, StoreError> {
        let notice = Notice::Outbox { session: session.to_owned() }.to_string();
        // Nothing of it comes back when another one used the key in the same instant: then look again.
        for _ in 0..3 {
            let args = args![
                session,
                row.id,
                row.key,
                &row.digest[..],
                row.created_at,
                &row.value[..],
                MOST_QUEUED,
                CHANNEL,
                &notice,
                row.file
            ];
            let rows = self.run(PUT, args).await?;
            let Some(found) = rows.first() else { continue };
            if column::<i64>(found, 0)? > 0 {
                return Ok(Taken::New);
            }
            if let (Some(id), Some(digest)) = (column(found, 2)?, column(found, 3)?) {
                // A statement that was sent again after a lost answer finds itself.
                let own = id == row.id;
                return Ok(if own { Taken::New } else { Taken::Known { id, digest } });
            }
            if column::<Option<bool>>(found, 1)? == Some(true) {
                return Ok(Taken::Full);
            }
            if !column::<bool>(found, 5)? {
                return Ok(Taken::NoFile);
            }
            if row.key.is_none() {
                // Only its own id can be in the way.
                return Ok(Taken::New);
            }
        }
        Err(StoreError::Unavailable { problem: "several requests with one key at once: try again".into() })
    }

    async fn outgoing(&self, session: &str, limit: u32) -> Result<Vec<QueuedRow>, StoreError> {
        let rows = self.run(QUEUED, args![session, i64::from(limit)]).await?;
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
        self.run(END, args![session, id, given_up, at]).await.map(drop)
    }

    async fn outgoing_status(&self, session: &str, id: &str) -> Result<Option<OutgoingStatus>, StoreError> {
        let rows = self.run(STATUS, args![session, id]).await?;
        let time = |micros: i64| DateTime::from_timestamp_micros(micros).unwrap_or_default();
        let status = |row| {
            Ok(OutgoingStatus {
                created_at: time(column(row, 0)?),
                ended_at: column::<Option<i64>>(row, 1)?.map(time),
                sent: column(row, 2)?,
                detail: column(row, 3)?,
            })
        };
        rows.first().map(status).transpose()
    }

    async fn chats(&self, session: &str, limit: u32) -> Result<Vec<ChatRow>, StoreError> {
        let rows = self.run(CHATS, args![session, i64::from(limit)]).await?;
        let chat =
            |row| Ok(ChatRow { chat: column(row, 0)?, last_at: column(row, 1)?, messages: column(row, 2)? });
        rows.iter().map(chat).collect()
    }

    async fn outgoing_known(
        &self,
        session: &str,
        key: &str,
    ) -> Result<Option<(String, Vec<u8>)>, StoreError> {
        let rows = self.run(KNOWN, args![session, key]).await?;
        rows.first().map(|row| Ok((column(row, 0)?, column(row, 1)?))).transpose()
    }
}
