//! The table `delivery`: what is owed to webhooks.

use async_trait::async_trait;
use chrono::DateTime;

use super::rows::{fenced, inbox_row};
use super::{Postgres, args, column};
use crate::store::StoreError;
use crate::store::delivery::{Backlog, DeliveryKey, DeliveryLimits, Thinned};
use crate::store::engine::{Bond, Deliveries, DeliveryRow, InboxRow};

const PUT: &str = fenced!(
    ", news AS (
        SELECT u.* FROM fence, unnest($4::bytea[], $5::bytea[], $6::bytea[], $7::bigint[], $8::bytea[], $9::bytea[])
            WITH ORDINALITY AS u (chat, sender, id, at, value, body, place)),
    put AS (
        INSERT INTO blacksky.inbox (generation, chat, sender, id, at, value)
        SELECT $3, chat, sender, id, at, value FROM news ORDER BY place
        ON CONFLICT (generation, chat, sender, id) DO NOTHING RETURNING chat, sender, id),
    owe AS (
        INSERT INTO blacksky.delivery (session, chat, sender, id, stored_at, value)
        SELECT $1, n.chat, n.sender, n.id, $10, n.body FROM news AS n JOIN put USING (chat, sender, id)
        ORDER BY n.place
        ON CONFLICT (session, chat, sender, id) DO NOTHING)
    SELECT (SELECT count(*) FROM fence), (SELECT count(*) FROM put)"
);
/// Walks from chat to chat by the index, so that a long backlog of one costs nothing.
const CHATS: &str = "
    WITH RECURSIVE heads AS (
        (SELECT d.chat, d.seq, d.next_at FROM blacksky.delivery AS d
            WHERE d.session = $1 AND d.dead_at IS NULL ORDER BY d.chat, d.seq LIMIT 1)
        UNION ALL
        SELECT n.chat, n.seq, n.next_at FROM heads, LATERAL (
            SELECT d.chat, d.seq, d.next_at FROM blacksky.delivery AS d
            WHERE d.session = $1 AND d.dead_at IS NULL AND d.chat > heads.chat
            ORDER BY d.chat, d.seq LIMIT 1) AS n)
    SELECT chat, next_at FROM heads ORDER BY next_at, seq LIMIT $2";
const OWED: &str = "
    SELECT chat, sender, id, stored_at, value, attempts FROM blacksky.delivery
    WHERE session = $1 AND chat = $2 AND dead_at IS NULL ORDER BY seq LIMIT $3";
const DELIVERED: &str = fenced!(
    ", gone AS (DELETE FROM blacksky.delivery AS d USING fence
        WHERE d.session = $1 AND d.chat = $4 AND d.sender = $5 AND d.id = $6)
    SELECT count(*) FROM fence"
);
const NOT_DELIVERED: &str = fenced!(
    ", put AS (UPDATE blacksky.delivery AS d SET attempts = d.attempts + 1, next_at = coalesce($7, d.next_at),
            dead_at = CASE WHEN $7::bigint IS NULL THEN $8::bigint END
        FROM fence WHERE d.session = $1 AND d.chat = $4 AND d.sender = $5 AND d.id = $6)
    SELECT count(*) FROM fence"
);
const REVIVE: &str = fenced!(
    ", put AS (UPDATE blacksky.delivery AS d SET dead_at = NULL, attempts = 0, next_at = 0, stored_at = $4
        FROM fence WHERE d.session = $1 AND d.dead_at IS NOT NULL RETURNING 1)
    SELECT (SELECT count(*) FROM fence), (SELECT count(*) FROM put)"
);
const THIN: &str = fenced!(
    ", many AS (SELECT d.seq FROM blacksky.delivery AS d, fence
        WHERE d.session = $1 AND d.dead_at IS NULL ORDER BY d.seq DESC OFFSET $5),
    died AS (UPDATE blacksky.delivery AS d SET dead_at = $4 FROM many
        WHERE d.session = $1 AND d.seq = many.seq RETURNING 1),
    old AS (SELECT d.seq FROM blacksky.delivery AS d, fence
        WHERE d.session = $1 AND d.dead_at IS NOT NULL ORDER BY d.seq DESC OFFSET $6),
    gone AS (DELETE FROM blacksky.delivery AS d USING fence
        WHERE d.session = $1 AND d.dead_at IS NOT NULL
        AND (d.dead_at < $7 OR d.seq IN (SELECT seq FROM old)) RETURNING 1)
    SELECT (SELECT count(*) FROM fence), (SELECT count(*) FROM died), (SELECT count(*) FROM gone)"
);
const BACKLOG: &str = "
    SELECT count(*) FILTER (WHERE dead_at IS NULL), min(stored_at) FILTER (WHERE dead_at IS NULL),
        count(*) FILTER (WHERE dead_at IS NOT NULL)
    FROM blacksky.delivery WHERE session = $1";

impl Postgres {
    /// Writes the messages, and what is owed for those that are new.
    pub(super) async fn delivery_put(
        &self,
        bond: &Bond,
        rows: &[InboxRow],
        bodies: &[Vec<u8>],
        now: i64,
    ) -> Result<u64, StoreError> {
        let chats: Vec<&[u8]> = rows.iter().map(|row| row.chat.as_slice()).collect();
        let senders: Vec<&[u8]> = rows.iter().map(|row| row.sender.as_slice()).collect();
        let ids: Vec<&[u8]> = rows.iter().map(|row| row.id.as_slice()).collect();
        let at: Vec<i64> = rows.iter().map(|row| row.at).collect();
        let values: Vec<&[u8]> = rows.iter().map(|row| row.value.as_slice()).collect();
        let bodies: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
        let args =
            args![&bond.session, bond.epoch, bond.generation, chats, senders, ids, at, values, bodies, now];
        let row = self.run_fenced(PUT, args).await?;
        Ok(column::<i64>(&row, 1)?.unsigned_abs())
    }
}

#[async_trait]
impl Deliveries for Postgres {
    async fn owed_chats(&self, session: &str, limit: u32) -> Result<Vec<(Vec<u8>, i64)>, StoreError> {
        let rows = self.run(CHATS, args![session, i64::from(limit)]).await?;
        rows.iter().map(|row| Ok((column(row, 0)?, column(row, 1)?))).collect()
    }

    async fn owed_of(&self, session: &str, chat: &[u8], limit: u32) -> Result<Vec<DeliveryRow>, StoreError> {
        let rows = self.run(OWED, args![session, chat, i64::from(limit)]).await?;
        rows.iter().map(|row| Ok(DeliveryRow { row: inbox_row(row)?, attempts: column(row, 5)? })).collect()
    }

    async fn delivered(&self, bond: &Bond, key: &DeliveryKey) -> Result<(), StoreError> {
        let args = args![&bond.session, bond.epoch, bond.generation, &key.chat, &key.sender, &key.id];
        self.run_fenced(DELIVERED, args).await.map(drop)
    }

    async fn not_delivered(
        &self,
        bond: &Bond,
        key: &DeliveryKey,
        now: i64,
        next: Option<i64>,
    ) -> Result<(), StoreError> {
        let args =
            args![&bond.session, bond.epoch, bond.generation, &key.chat, &key.sender, &key.id, next, now];
        self.run_fenced(NOT_DELIVERED, args).await.map(drop)
    }

    async fn revive_deliveries(&self, bond: &Bond, now: i64) -> Result<u64, StoreError> {
        let row = self.run_fenced(REVIVE, args![&bond.session, bond.epoch, bond.generation, now]).await?;
        Ok(column::<i64>(&row, 1)?.unsigned_abs())
    }

    async fn thin_deliveries(
        &self,
        bond: &Bond,
        limits: &DeliveryLimits,
        now: i64,
    ) -> Result<Thinned, StoreError> {
        let args = args![
            &bond.session,
            bond.epoch,
            bond.generation,
            now,
            i64::from(limits.waiting),
            i64::from(limits.dead),
            limits.dead_since.timestamp_micros()
        ];
        let row = self.run_fenced(THIN, args).await?;
        let (died, removed) = (column::<i64>(&row, 1)?, column::<i64>(&row, 2)?);
        Ok(Thinned { died: died.unsigned_abs(), removed: removed.unsigned_abs() })
    }

    async fn backlog(&self, session: &str) -> Result<Backlog, StoreError> {
        let rows = self.run(BACKLOG, args![session]).await?;
        let Some(row) = rows.first() else { return Ok(Backlog::default()) };
        Ok(Backlog {
            waiting: column::<i64>(row, 0)?.unsigned_abs(),
            oldest: column::<Option<i64>>(row, 1)?.and_then(DateTime::from_timestamp_micros),
            dead: column::<i64>(row, 2)?.unsigned_abs(),
        })
    }
}
