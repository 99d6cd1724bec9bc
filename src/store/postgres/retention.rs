//! Removing what was kept long enough.

use async_trait::async_trait;

use super::rows::fenced;
use super::{Postgres, args, column};
use crate::store::StoreError;
use crate::store::engine::{Bond, Retention};
use crate::store::history::KeptRows;

const INBOX: &str = fenced!(
    ", old AS (SELECT i.chat, i.sender, i.id FROM blacksky.inbox AS i, fence
        WHERE i.generation = $3 AND i.handled_at IS NOT NULL
        AND (i.handled_at < to_timestamp($4::bigint / 1000000.0) OR i.handled_at <= (
            SELECT handled_at FROM blacksky.inbox WHERE generation = $3 AND handled_at IS NOT NULL
            ORDER BY handled_at DESC OFFSET $5 LIMIT 1))
        ORDER BY i.handled_at LIMIT $6),
    gone AS (DELETE FROM blacksky.inbox AS i USING old
        WHERE i.generation = $3 AND i.chat = old.chat AND i.sender = old.sender AND i.id = old.id RETURNING 1)
    SELECT (SELECT count(*) FROM fence), (SELECT count(*) FROM gone)"
);
const OUTBOX: &str = "
    WITH gone AS (
        DELETE FROM blacksky.outbox WHERE (session, id) IN (
            SELECT session, id FROM blacksky.outbox
            WHERE session = $1 AND ended_at IS NOT NULL AND (ended_at < $2 OR ended_at <= (
                SELECT ended_at FROM blacksky.outbox WHERE session = $1 AND ended_at IS NOT NULL
                ORDER BY ended_at DESC OFFSET $3 LIMIT 1))
            ORDER BY ended_at LIMIT $4) RETURNING 1
    )
    SELECT count(*) FROM gone";
/// `place` counts from the newest run of a job on.
const JOBS: &str = "
    WITH placed AS (
        SELECT job, due_at, asked, output <> '' AS wrote,
            row_number() OVER (PARTITION BY job, asked ORDER BY due_at DESC) AS place
        FROM blacksky.job_run WHERE app = $1
    ), old AS (
        SELECT job, due_at, asked FROM placed WHERE place > 1 AND (due_at < $2 OR place > $3)
        ORDER BY due_at LIMIT $6
    ), gone AS (
        DELETE FROM blacksky.job_run AS r USING old
        WHERE r.app = $1 AND r.job = old.job AND r.due_at = old.due_at AND r.asked = old.asked RETURNING 1
    ), emptied AS (
        UPDATE blacksky.job_run AS r SET output = '' FROM (
            SELECT job, due_at, asked FROM placed WHERE wrote AND (due_at < $4 OR place > $5)
            EXCEPT SELECT job, due_at, asked FROM old
            LIMIT $6) AS o
        WHERE r.app = $1 AND r.job = o.job AND r.due_at = o.due_at AND r.asked = o.asked RETURNING 1
    )
    SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM emptied)";

#[async_trait]
impl Retention for Postgres {
    async fn prune_inbox(&self, bond: &Bond, kept: KeptRows, batch: u32) -> Result<u64, StoreError> {
        let args = args![
            &bond.session,
            bond.epoch,
            bond.generation,
            kept.since.timestamp_micros(),
            i64::from(kept.rows),
            i64::from(batch)
        ];
        let row = self.run_fenced(INBOX, args).await?;
        Ok(column::<i64>(&row, 1)?.unsigned_abs())
    }

    async fn prune_outbox(&self, session: &str, kept: KeptRows, batch: u32) -> Result<u64, StoreError> {
        let args = args![session, kept.since.timestamp_micros(), i64::from(kept.rows), i64::from(batch)];
        let rows = self.run(OUTBOX, args).await?;
        Ok(rows.first().map_or(Ok(0), |row| column::<i64>(row, 0))?.unsigned_abs())
    }

    async fn prune_jobs(
        &self,
        app: &str,
        runs: KeptRows,
        output: KeptRows,
        batch: u32,
    ) -> Result<u64, StoreError> {
        let args = args![
            app,
            runs.since.timestamp_micros(),
            i64::from(runs.rows),
            output.since.timestamp_micros(),
            i64::from(output.rows),
            i64::from(batch)
        ];
        let rows = self.run(JOBS, args).await?;
        Ok(rows.first().map_or(Ok(0), |row| column::<i64>(row, 0))?.unsigned_abs())
    }
}
