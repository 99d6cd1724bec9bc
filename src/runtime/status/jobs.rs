//! What is known of the jobs.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::config::Job;
use crate::store::{JobOutcome, JobRun};

/// One job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobStatus {
    /// "ping", "run", "backup" or "restart".
    pub action: &'static str,
    /// As in the file.
    pub cron: String,
    pub timezone: &'static str,
    pub enabled: bool,
    /// When it is due next; `None` while it is not enabled.
    pub next_at: Option<DateTime<Utc>>,
    /// Runs under way in this process.
    pub running: u32,
    /// The latest runs, wherever they were, the latest first.
    pub runs: Vec<JobRunStatus>,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobRunStatus {
    /// When it was due, or asked for.
    pub due_at: DateTime<Utc>,
    /// Somebody asked for it; else it was due by the clock.
    pub asked: bool,
    pub started_at: DateTime<Utc>,
    /// `None` while it runs.
    pub ended_at: Option<DateTime<Utc>>,
    pub outcome: Option<JobOutcome>,
    /// In words.
    pub detail: Option<String>,
    /// The end of what it wrote: for admins only.
    #[serde(skip)]
    pub output: String,
}

impl JobStatus {
    /// A job of which nothing is known yet.
    pub fn of(job: &Job) -> Self {
        Self {
            action: job.action.word(),
            cron: job.cron.to_string(),
            timezone: job.zone.name(),
            enabled: job.enabled,
            next_at: None,
            running: 0,
            runs: Vec::new(),
        }
    }
}

impl JobRunStatus {
    /// A run as the database has it.
    pub fn of(run: &JobRun) -> Self {
        let end = run.end.as_ref();
        Self {
            due_at: run.key.due_at,
            asked: run.key.asked,
            started_at: run.started_at,
            ended_at: end.map(|end| end.at),
            outcome: end.map(|end| end.outcome),
            detail: end.map(|end| end.detail.clone()),
            output: end.map_or_else(String::new, |end| end.output.clone()),
        }
    }
}
