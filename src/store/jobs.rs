//! Runs of jobs: who does one, and how it went.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Owner, Store, StoreError};

/// The outcome of a row that is no run: since when the clock knows the job.
pub(super) const KNOWN: &str = "known";

/// Names a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobKey {
    /// The app that has the job.
    pub app: String,
    pub job: String,
    pub due_at: DateTime<Utc>,
    /// Somebody wanted it then; else it was due by the clock.
    pub asked: bool,
}

/// A run as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRun {
    pub key: JobKey,
    /// Who does it.
    pub owner: Owner,
    pub started_at: DateTime<Utc>,
    /// How it ended; `None` while it runs, and for ever when its process was killed.
    pub end: Option<JobEnd>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEnd {
    pub at: DateTime<Utc>,
    pub outcome: JobOutcome,
    /// In words: "HTTP 200", "exit code 1".
    pub detail: String,
    /// The end of what it wrote, without secrets.
    pub output: String,
}

/// What became of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JobOutcome {
    Ok,
    Failed,
    /// The one before had not ended.
    Skipped,
    /// Its process ended before it did.
    Interrupted,
}

impl JobOutcome {
    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Interrupted => "interrupted",
        }
    }

    /// The outcome of a word; one of a later version counts as a failure.
    pub(super) fn of_name(name: &str) -> Self {
        let all = [Self::Ok, Self::Skipped, Self::Interrupted];
        all.into_iter().find(|outcome| outcome.name() == name).unwrap_or(Self::Failed)
    }
}

impl Store {
    /// Writes down that `owner` begins a run; `false` when somebody has begun it before.
    pub async fn start_job(
        &self,
        key: &JobKey,
        owner: &Owner,
        at: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        self.engine.start_job(key, owner, at).await
    }

    /// The last time that a job was due by the clock, as far as a row says so, or else the first time that this was
    /// asked. `None` when it is asked for the first time, at `at`: from now on the job is known.
    pub async fn job_last_due(
        &self,
        app: &str,
        job: &str,
        owner: &Owner,
        at: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        self.engine.job_last_due(app, job, owner, at).await
    }

    /// Writes down how a run ended.
    pub async fn end_job(&self, key: &JobKey, end: &JobEnd) -> Result<(), StoreError> {
        self.engine.end_job(key, end).await
    }

    /// The runs of an app's jobs that are kept, the latest first.
    pub async fn job_runs(&self, app: &str) -> Result<Vec<JobRun>, StoreError> {
        self.engine.job_runs(app).await
    }
}
