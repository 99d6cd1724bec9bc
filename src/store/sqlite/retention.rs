//! Removing what was kept long enough.

use async_trait::async_trait;

use super::rows::{args, execute};
use super::{Sqlite, problem};
use crate::store::StoreError;
use crate::store::engine::{Bond, Retention};
use crate::store::history::KeptRows;

const INBOX: &str = "
    DELETE FROM inbox WHERE seq IN (
        SELECT seq FROM inbox WHERE generation = ?1 AND handled_at IS NOT NULL
        AND (handled_at < ?2 OR handled_at <= (
            SELECT handled_at FROM inbox WHERE generation = ?1 AND handled_at IS NOT NULL
            ORDER BY handled_at DESC LIMIT 1 OFFSET ?3))
        ORDER BY handled_at LIMIT ?4)";
const OUTBOX: &str = "
    DELETE FROM outbox WHERE seq IN (
        SELECT seq FROM outbox WHERE session = ?1 AND ended_at IS NOT NULL
        AND (ended_at < ?2 OR ended_at <= (
            SELECT ended_at FROM outbox WHERE session = ?1 AND ended_at IS NOT NULL
            ORDER BY ended_at DESC LIMIT 1 OFFSET ?3))
        ORDER BY ended_at LIMIT ?4)";
/// `place` counts from the newest run of a job on.
const RUNS: &str = "
    DELETE FROM job_run WHERE app = ?1 AND (job, due_at, asked) IN (
        SELECT job, due_at, asked FROM (
            SELECT job, due_at, asked, row_number() OVER (PARTITION BY job, asked ORDER BY due_at DESC) AS place
            FROM job_run WHERE app = ?1)
        WHERE place > 1 AND (due_at < ?2 OR place > ?3) ORDER BY due_at LIMIT ?4)";
const OUTPUT: &str = "
    UPDATE job_run SET output = '' WHERE app = ?1 AND (job, due_at, asked) IN (
        SELECT job, due_at, asked FROM (
            SELECT job, due_at, asked, output,
                row_number() OVER (PARTITION BY job, asked ORDER BY due_at DESC) AS place
            FROM job_run WHERE app = ?1)
        WHERE output <> '' AND (due_at < ?2 OR place > ?3) ORDER BY due_at LIMIT ?4)";

#[async_trait]
impl Retention for Sqlite {
    async fn prune_inbox(&self, bond: &Bond, kept: KeptRows, batch: u32) -> Result<u64, StoreError> {
        let mut transaction = self.begin(bond).await?;
        let (since, rows) = (kept.since.timestamp_micros(), i64::from(kept.rows));
        let args = args![bond.generation, since, rows, i64::from(batch)];
        let gone = execute(&mut transaction, INBOX, args).await?;
        transaction.commit().await.map_err(|error| problem(&error))?;
        Ok(gone)
    }

    async fn prune_outbox(&self, session: &str, kept: KeptRows, batch: u32) -> Result<u64, StoreError> {
        self.prune(OUTBOX, session, kept, batch).await
    }

    async fn prune_jobs(
        &self,
        app: &str,
        runs: KeptRows,
        output: KeptRows,
        batch: u32,
    ) -> Result<u64, StoreError> {
        Ok(self.prune(RUNS, app, runs, batch).await? + self.prune(OUTPUT, app, output, batch).await?)
    }
}

impl Sqlite {
    async fn prune(
        &self,
        sql: &'static str,
        of: &str,
        kept: KeptRows,
        batch: u32,
    ) -> Result<u64, StoreError> {
        let (since, rows) = (kept.since.timestamp_micros(), i64::from(kept.rows));
        let args = args![of.to_owned(), since, rows, i64::from(batch)];
        let done = sqlx::query_with(sql, args).execute(&self.writer).await;
        Ok(done.map_err(|error| problem(&error))?.rows_affected())
    }
}
