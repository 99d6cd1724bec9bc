//! The table `delivery`: what is owed to webhooks.

use async_trait::async_trait;
use chrono::DateTime;

use super::rows::{args, execute, inbox_row};
use super::{Sqlite, column, problem};
use crate::store::StoreError;
use crate::store::delivery::{Backlog, DeliveryKey, DeliveryLimits, Thinned};
use crate::store::engine::{Bond, Deliveries, DeliveryRow, InboxRow};

const PUT: &str = "INSERT INTO inbox (generation, chat, sender, id, at, value)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (generation, chat, sender, id) DO NOTHING";
const OWE: &str = "INSERT INTO delivery (session, chat, sender, id, stored_at, value)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (session, chat, sender, id) DO NOTHING";
/// Walks from chat to chat by the index, so that a long backlog of one costs nothing.
const CHATS: &str = "
    WITH RECURSIVE chats (chat) AS (
        SELECT (SELECT min(d.chat) FROM delivery AS d WHERE d.session = ?1 AND d.dead_at IS NULL)
        UNION ALL
        SELECT (SELECT min(d.chat) FROM delivery AS d
            WHERE d.session = ?1 AND d.dead_at IS NULL AND d.chat > chats.chat)
        FROM chats WHERE chats.chat IS NOT NULL)
    SELECT h.chat, h.next_at FROM chats JOIN delivery AS h ON h.seq = (
        SELECT d.seq FROM delivery AS d WHERE d.session = ?1 AND d.dead_at IS NULL AND d.chat = chats.chat
        ORDER BY d.seq LIMIT 1)
    ORDER BY h.next_at, h.seq LIMIT ?2";
const OWED: &str = "SELECT chat, sender, id, stored_at, value, attempts FROM delivery
    WHERE session = ?1 AND chat = ?2 AND dead_at IS NULL ORDER BY seq LIMIT ?3";
const DELIVERED: &str = "DELETE FROM delivery WHERE session = ?1 AND chat = ?2 AND sender = ?3 AND id = ?4";
const NOT_DELIVERED: &str = "UPDATE delivery SET attempts = attempts + 1, next_at = coalesce(?5, next_at),
        dead_at = CASE WHEN ?5 IS NULL THEN ?6 END
    WHERE session = ?1 AND chat = ?2 AND sender = ?3 AND id = ?4";
const REVIVE: &str = "UPDATE delivery SET dead_at = NULL, attempts = 0, next_at = 0, stored_at = ?2
    WHERE session = ?1 AND dead_at IS NOT NULL";
const DIE: &str = "UPDATE delivery SET dead_at = ?2 WHERE seq IN (SELECT seq FROM delivery
    WHERE session = ?1 AND dead_at IS NULL ORDER BY seq DESC LIMIT -1 OFFSET ?3)";
const DROP: &str = "DELETE FROM delivery WHERE session = ?1 AND dead_at IS NOT NULL AND (dead_at < ?3 OR seq IN
    (SELECT seq FROM delivery WHERE session = ?1 AND dead_at IS NOT NULL ORDER BY seq DESC LIMIT -1 OFFSET ?2))";
const BACKLOG: &str = "SELECT count(*) FILTER (WHERE dead_at IS NULL),
        min(stored_at) FILTER (WHERE dead_at IS NULL), count(*) FILTER (WHERE dead_at IS NOT NULL)
    FROM delivery WHERE session = ?1";

impl Sqlite {
    /// Writes the messages, and what is owed for those that are new.
    pub(super) async fn delivery_put(
        &self,
        bond: &Bond,
        rows: &[InboxRow],
        bodies: &[Vec<u8>],
        now: i64,
    ) -> Result<u64, StoreError> {
        let mut transaction = self.begin(bond).await?;
        let mut new = 0;
        for (row, body) in rows.iter().zip(bodies) {
            let (chat, sender, id) = (row.chat.clone(), row.sender.clone(), row.id.clone());
            let args = args![bond.generation, chat, sender, id, row.at, row.value.clone()];
            let written = execute(&mut transaction, PUT, args).await?;
            if written > 0 {
                let (chat, sender, id) = (row.chat.clone(), row.sender.clone(), row.id.clone());
                let args = args![bond.session.clone(), chat, sender, id, now, body.clone()];
                execute(&mut transaction, OWE, args).await?;
            }
            new += written;
        }
        transaction.commit().await.map_err(|error| problem(&error))?;
        Ok(new)
    }
}

#[async_trait]
impl Deliveries for Sqlite {
    async fn owed_chats(&self, session: &str, limit: u32) -> Result<Vec<(Vec<u8>, i64)>, StoreError> {
        let rows = sqlx::query_with(CHATS, args![session.to_owned(), i64::from(limit)])
            .fetch_all(&self.readers)
            .await
            .map_err(|error| problem(&error))?;
        rows.iter().map(|row| Ok((column(row, 0)?, column(row, 1)?))).collect()
    }

    async fn owed_of(&self, session: &str, chat: &[u8], limit: u32) -> Result<Vec<DeliveryRow>, StoreError> {
        let rows = sqlx::query_with(OWED, args![session.to_owned(), chat.to_vec(), i64::from(limit)])
            .fetch_all(&self.readers)
            .await
            .map_err(|error| problem(&error))?;
        rows.iter().map(|row| Ok(DeliveryRow { row: inbox_row(row)?, attempts: column(row, 5)? })).collect()
    }

    async fn delivered(&self, bond: &Bond, key: &DeliveryKey) -> Result<(), StoreError> {
        let mut transaction = self.begin(bond).await?;
        let args = args![bond.session.clone(), key.chat.clone(), key.sender.clone(), key.id.clone()];
        execute(&mut transaction, DELIVERED, args).await?;
        transaction.commit().await.map_err(|error| problem(&error))
    }

    async fn not_delivered(
        &self,
        bond: &Bond,
        key: &DeliveryKey,
        now: i64,
        next: Option<i64>,
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin(bond).await?;
        let (chat, sender, id) = (key.chat.clone(), key.sender.clone(), key.id.clone());
        let args = args![bond.session.clone(), chat, sender, id, next, now];
        execute(&mut transaction, NOT_DELIVERED, args).await?;
        transaction.commit().await.map_err(|error| problem(&error))
    }

    async fn revive_deliveries(&self, bond: &Bond, now: i64) -> Result<u64, StoreError> {
        let mut transaction = self.begin(bond).await?;
        let revived = execute(&mut transaction, REVIVE, args![bond.session.clone(), now]).await?;
        transaction.commit().await.map_err(|error| problem(&error))?;
        Ok(revived)
    }

    async fn thin_deliveries(
        &self,
        bond: &Bond,
        limits: &DeliveryLimits,
        now: i64,
    ) -> Result<Thinned, StoreError> {
        let mut transaction = self.begin(bond).await?;
        let args = args![bond.session.clone(), i64::from(limits.dead), limits.dead_since.timestamp_micros()];
        let removed = execute(&mut transaction, DROP, args).await?;
        let args = args![bond.session.clone(), now, i64::from(limits.waiting)];
        let died = execute(&mut transaction, DIE, args).await?;
        transaction.commit().await.map_err(|error| problem(&error))?;
        Ok(Thinned { died, removed })
    }

    async fn backlog(&self, session: &str) -> Result<Backlog, StoreError> {
        let rows = sqlx::query_with(BACKLOG, args![session.to_owned()])
            .fetch_all(&self.readers)
            .await
            .map_err(|error| problem(&error))?;
        let Some(row) = rows.first() else { return Ok(Backlog::default()) };
        Ok(Backlog {
            waiting: column::<i64>(row, 0)?.unsigned_abs(),
            oldest: column::<Option<i64>>(row, 1)?.and_then(DateTime::from_timestamp_micros),
            dead: column::<i64>(row, 2)?.unsigned_abs(),
        })
    }
}
