//! `blacksky job list|run`: what a line of Heroku Scheduler or a one-off dyno calls.

use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::bot::handle::Request;
use crate::cli::{Cli, Job as JobCommand, JobName, Json};
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::jobs::action::{self, Done, Means, Restarter};
use crate::jobs::{Schedule, answered};
use crate::runtime::signal::StopSignals;
use crate::runtime::{self, clock};
use crate::store::{JobEnd, JobKey, JobOutcome, JobRun, Store, StoreError};

use super::{load, output};

pub fn run(cli: &Cli, command: &JobCommand) -> Result<Exit, Failure> {
    let config = load::load(cli)?.config;
    super::block_on(async {
        let store = Store::open(&config.database).await.map_err(failure)?;
        let outcome = match store.migrate().await {
            Ok(_) => match command {
                JobCommand::List(args) => list(&store, &config, args).await,
                JobCommand::Run(args) => run_now(&store, &config, args).await,
            },
            Err(error) => Err(failure(error)),
        };
        store.close().await;
        outcome
    })
}

fn failure(error: StoreError) -> Failure {
    let exit = if let StoreError::Unavailable { .. } = error { Exit::Unavailable } else { Exit::Failed };
    Failure::new(exit, error)
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

async fn list(store: &Store, config: &Config, args: &Json) -> Result<Exit, Failure> {
    let runs = store.job_runs(&runtime::app(config)).await.map_err(failure)?;
    let last = |name: &str| -> Option<&JobRun> { runs.iter().find(|run| run.key.job == name) };
    let next = |job: &crate::config::Job| {
        let schedule = Schedule::new(&job.cron, job.zone).ok().filter(|_| job.enabled);
        schedule.and_then(|schedule| schedule.next(clock::now()))
    };
    if args.json {
        let jobs = config.jobs.iter().map(|(name, job)| {
            let run = last(name);
            let end = run.and_then(|run| run.end.as_ref());
            json!({
                "name": name,
                "action": job.action.word(),
                "cron": job.cron.to_string(),
                "timezone": job.zone.name(),
                "enabled": job.enabled,
                "next_at": next(job).map(time),
                "last_started_at": run.map(|run| time(run.started_at)),
                "last_outcome": end.map(|end| end.outcome.name()),
                "last_detail": end.map(|end| end.detail.clone()),
            })
        });
        output::print_json(&jobs.collect())?;
        return Ok(Exit::Ok);
    }
    if config.jobs.is_empty() {
        output::print("there are no jobs: a section [jobs.NAME] makes one, see docs/jobs.md")?;
        return Ok(Exit::Ok);
    }
    let mut rows =
        vec![["JOB", "ACTION", "CRON", "TIME ZONE", "NEXT", "LAST RUN"].map(str::to_owned).to_vec()];
    for (name, job) in &config.jobs {
        let said = last(name).map_or_else(
            || "never".to_owned(),
            |run| match &run.end {
                Some(end) => format!("{} {} ({})", time(run.started_at), end.outcome.name(), end.detail),
                None => format!("{} running", time(run.started_at)),
            },
        );
        rows.push(vec![
            name.clone(),
            job.action.word().to_owned(),
            job.cron.to_string(),
            job.zone.name().to_owned(),
            next(job).map_or_else(|| "not enabled".to_owned(), time),
            said,
        ]);
    }
    output::print(&super::session::table(&rows))?;
    Ok(Exit::Ok)
}

async fn run_now(store: &Store, config: &Config, args: &JobName) -> Result<Exit, Failure> {
    let Some(job) = config.jobs.get(&args.name) else {
        let names: Vec<&str> = config.jobs.keys().map(String::as_str).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let name = args.name.escape_debug();
        let text = anyhow::anyhow!("there is no job \"{name}\"; jobs of the file: {names}");
        return Err(Failure::new(Exit::Usage, text));
    };
    let key = JobKey { app: runtime::app(config), job: args.name.clone(), due_at: clock::now(), asked: true };
    store.start_job(&key, &runtime::owner(config), clock::now()).await.map_err(failure)?;
    let means = Means {
        store: store.clone(),
        backup: config.backup,
        sessions: runtime::sessions(config),
        folder: config.folder.clone(),
    };
    let stop = CancellationToken::new();
    let mut signals = StopSignals::arm()?;
    let keeper = Keeper { store, config };
    let performing = action::perform(&args.name, job, &means, &keeper, &stop);
    let mut performing = std::pin::pin!(performing);
    let done = tokio::select! {
        done = &mut performing => done,
        _ = signals.next() => {
            stop.cancel();
            performing.await
        }
    };
    let end = JobEnd {
        at: clock::now(),
        outcome: done.outcome,
        detail: done.detail.clone(),
        output: done.output.clone(),
    };
    store.end_job(&key, &end).await.map_err(failure)?;
    if args.json {
        output::print_json(&json!({
            "job": args.name, "outcome": done.outcome.name(), "detail": done.detail, "output": done.output,
        }))?;
    } else {
        if !done.output.is_empty() {
            output::print(done.output.trim_end())?;
        }
        output::print(&format!("{}: {} ({})", args.name, done.outcome.name(), done.detail))?;
    }
    Ok(if done.outcome == JobOutcome::Ok { Exit::Ok } else { Exit::Failed })
}

/// The process that keeps a bot.
struct Keeper<'c> {
    store: &'c Store,
    config: &'c Config,
}

#[async_trait]
impl Restarter for Keeper<'_> {
    async fn restart(&self, bot: &str) -> Done {
        let Some(session) = self.config.bots.get(bot).map(|bot| bot.session.as_str()) else {
            return Done::failed("there is no such bot");
        };
        if !self.store.is_shared() {
            return Done::failed("a bot on SQLite cannot be asked from another process: use its page");
        }
        answered(runtime::ask_holder(self.store, session, Request::RestartBot).await)
    }
}
