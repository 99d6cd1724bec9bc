//! Runs of jobs.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteRow;

use super::rows::args;
use super::{Sqlite, column, problem};
use crate::store::engine::Jobs;
use crate::store::jobs::{JobEnd, JobKey, JobOutcome, JobRun, KNOWN};
use crate::store::{Owner, StoreError};

const START: &str = "INSERT INTO job_run (app, job, due_at, asked, owner, started_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING";
const LAST_DUE: &str = "SELECT max(due_at) FROM job_run WHERE app = ?1 AND job = ?2 AND NOT asked";
const NOTE: &str = "INSERT INTO job_run (app, job, due_at, asked, owner, started_at, ended_at, outcome)
    VALUES (?1, ?2, ?3, FALSE, ?4, ?3, ?3, ?5) ON CONFLICT DO NOTHING";
const END: &str = "UPDATE job_run SET ended_at = ?5, outcome = ?6, detail = ?7, output = ?8
    WHERE app = ?1 AND job = ?2 AND due_at = ?3 AND asked = ?4";
const RUNS: &str =
    "SELECT job, due_at, asked, owner, started_at, ended_at, outcome, detail, output FROM job_run
    WHERE app = ?1 AND outcome IS NOT ?2 ORDER BY due_at DESC, asked DESC, job";

#[async_trait]
impl Jobs for Sqlite {
    async fn start_job(&self, key: &JobKey, owner: &Owner, at: DateTime<Utc>) -> Result<bool, StoreError> {
        let (app, job, due_at) = (key.app.clone(), key.job.clone(), key.due_at.timestamp_micros());
        let row = args![app, job, due_at, key.asked, owner.0.clone(), at.timestamp_micros()];
        let done =
            sqlx::query_with(START, row).execute(&self.writer).await.map_err(|error| problem(&error))?;
        Ok(done.rows_affected() > 0)
    }

    async fn job_last_due(
        &self,
        app: &str,
        job: &str,
        owner: &Owner,
        at: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        let (app, job) = (app.to_owned(), job.to_owned());
        let asking = sqlx::query_with(LAST_DUE, args![app.clone(), job.clone()]);
        let row = asking.fetch_one(&self.writer).await.map_err(|error| problem(&error))?;
        if let Some(last) = column::<Option<i64>>(&row, 0)? {
            return Ok(Some(time(last)));
        }
        let args = args![app, job, at.timestamp_micros(), owner.0.clone(), KNOWN];
        let noted = sqlx::query_with(NOTE, args).execute(&self.writer).await;
        noted.map(|_| None).map_err(|error| problem(&error))
    }

    async fn end_job(&self, key: &JobKey, end: &JobEnd) -> Result<(), StoreError> {
        let args = args![
            key.app.clone(),
            key.job.clone(),
            key.due_at.timestamp_micros(),
            key.asked,
            end.at.timestamp_micros(),
            end.outcome.name().to_owned(),
            end.detail.clone(),
            end.output.clone()
        ];
        let ended = sqlx::query_with(END, args).execute(&self.writer).await;
        ended.map(drop).map_err(|error| problem(&error))
    }

    async fn job_runs(&self, app: &str) -> Result<Vec<JobRun>, StoreError> {
        let rows = sqlx::query_with(RUNS, args![app.to_owned(), KNOWN]).fetch_all(&self.readers).await;
        rows.map_err(|error| problem(&error))?.iter().map(|row| run_of(row, app)).collect()
    }
}

fn time(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

fn run_of(row: &SqliteRow, app: &str) -> Result<JobRun, StoreError> {
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
