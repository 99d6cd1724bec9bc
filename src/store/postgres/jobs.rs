//! Runs of jobs.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;

use super::{Postgres, args, column};
use crate::store::engine::Jobs;
use crate::store::jobs::{JobEnd, JobKey, JobOutcome, JobRun, KNOWN};
use crate::store::notice::{CHANNEL, Notice};
use crate::store::{Owner, StoreError};

/// Whoever comes first has it.
const START: &str = "
    WITH won AS (
        INSERT INTO blacksky.job_run (app, job, due_at, asked, owner, started_at)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING job
    )
    SELECT (SELECT count(*) FROM won), (SELECT pg_notify($7, $8) FROM won)";
/// The second part does not see the row of the first.
const LAST_DUE: &str = "
    WITH known AS (
        INSERT INTO blacksky.job_run (app, job, due_at, asked, owner, started_at, ended_at, outcome)
        SELECT $1, $2, $3, false, $4, $3, $3, $5
        WHERE NOT EXISTS (SELECT FROM blacksky.job_run WHERE app = $1 AND job = $2 AND NOT asked)
        ON CONFLICT DO NOTHING
    )
    SELECT max(due_at) FROM blacksky.job_run WHERE app = $1 AND job = $2 AND NOT asked";
const END: &str = "
    WITH done AS (
        UPDATE blacksky.job_run SET ended_at = $5, outcome = $6, detail = $7, output = $8
        WHERE app = $1 AND job = $2 AND due_at = $3 AND asked = $4 RETURNING job
    )
    SELECT pg_notify($9, $10) FROM done";
const RUNS: &str = "
    SELECT job, due_at, asked, owner, started_at, ended_at, outcome, detail, output FROM blacksky.job_run
    WHERE app = $1 AND outcome IS DISTINCT FROM $2 ORDER BY due_at DESC, asked DESC, job";

#[async_trait]
impl Jobs for Postgres {
    async fn start_job(&self, key: &JobKey, owner: &Owner, at: DateTime<Utc>) -> Result<bool, StoreError> {
        let args = args![
            &key.app,
            &key.job,
            key.due_at.timestamp_micros(),
            key.asked,
            &owner.0,
            at.timestamp_micros(),
            CHANNEL,
            Notice::Jobs.to_string()
        ];
        // Not sent twice: after a lost answer nobody could tell who has it, and it is better not done than twice.
        let rows = self.run_up_to(START, args, 0).await?;
        Ok(rows.first().map_or(Ok(0), |row| column::<i64>(row, 0))? > 0)
    }

    async fn job_last_due(
        &self,
        app: &str,
        job: &str,
        owner: &Owner,
        at: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        let rows = self.run(LAST_DUE, args![app, job, at.timestamp_micros(), &owner.0, KNOWN]).await?;
        let last = rows.first().map(|row| column::<Option<i64>>(row, 0)).transpose()?.flatten();
        Ok(last.map(time))
    }

    async fn end_job(&self, key: &JobKey, end: &JobEnd) -> Result<(), StoreError> {
        let args = args![
            &key.app,
            &key.job,
            key.due_at.timestamp_micros(),
            key.asked,
            end.at.timestamp_micros(),
            end.outcome.name(),
            &end.detail,
            &end.output,
            CHANNEL,
            Notice::Jobs.to_string()
        ];
        self.run(END, args).await.map(drop)
    }

    async fn job_runs(&self, app: &str) -> Result<Vec<JobRun>, StoreError> {
        self.run(RUNS, args![app, KNOWN]).await?.iter().map(|row| run_of(row, app)).collect()
    }
}

fn time(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

fn run_of(row: &PgRow, app: &str) -> Result<JobRun, StoreError> {
    let end = match (column::<Option<i64>>(row, 5)?, column::<Option<String>>(row, 6)?) {
        (Some(at), Some(outcome)) => Some(JobEnd {
            at: time(at),
            outcome: JobOutcome::of_name(&outcome),
            detail: column(row, 7)?,
            output: column(row, 8)?,
        }),
        _ => None,
    };
    Ok(JobRun {
        key: JobKey {
            app: app.to_owned(),
            job: column(row, 0)?,
            due_at: time(column(row, 1)?),
            asked: column(row, 2)?,
        },
        owner: Owner(column(row, 3)?),
        started_at: time(column(row, 4)?),
        end,
    })
}
