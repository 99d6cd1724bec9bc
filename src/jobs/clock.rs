//! Does jobs when they are due, once for all dynos, and when somebody asks.
//!
//! Every dyno waits for every job. Whoever writes the row of a run first does it; the others see the row and leave
//! it. A run whose process was killed is not repeated: what it had done by then is not known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::action::{self, Done, Means, Restarter};
use super::schedule::Schedule;
use crate::bot::handle::{Answer, BotHandle, Request};
use crate::config::{CatchUp, Job, Overlap};
use crate::measure;
use crate::runtime::clock;
use crate::runtime::status::{Board, JobRunStatus, JobStatus, Role};
use crate::store::{JobEnd, JobKey, JobOutcome, JobRun, Owner, StoreError};

/// The clock may be set, and the machine may sleep: the wall is looked at this often.
const LOOK: Duration = Duration::from_secs(30);
/// A start has the database for itself that long.
const FIRST: Duration = Duration::from_secs(1);
/// Between two looks at what other dynos did.
const REFRESH: Duration = Duration::from_secs(15);
/// Wait before the database is asked again.
const RETRY: Duration = Duration::from_secs(2);
/// A run that was due longer ago is not begun any more when the database was away.
const TOO_LATE: TimeDelta = TimeDelta::minutes(10);
/// A run that has not ended so long after its timeout has lost its process.
const LOST: TimeDelta = TimeDelta::minutes(1);
/// For what runs when blacksky stops: longer than the grace of a program.
const STOP: Duration = Duration::from_secs(6);
/// Runs of a job that the page shows.
const SHOWN: usize = 5;

/// What the task needs.
pub struct Clock {
    /// Which app the jobs are of.
    pub app: String,
    pub jobs: BTreeMap<String, Job>,
    pub means: Means,
    pub owner: Owner,
    pub handles: BTreeMap<String, BotHandle>,
    pub board: Board,
}

type Runs<'c> = FuturesUnordered<BoxFuture<'c, ()>>;

/// Jobs with a run that waits for the database. One that is due again meanwhile is begun once when it answers.
#[derive(Debug, Default)]
struct Waiting(Mutex<BTreeSet<String>>);

impl Waiting {
    /// Whether none waited yet.
    fn enter(&self, name: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned())
    }

    fn leave(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

impl Clock {
    /// Does jobs until stopped. `asked` gives the names of those that somebody wants now.
    pub async fn run(self, mut asked: mpsc::Receiver<String>, stop: CancellationToken) {
        self.announce();
        let schedules: BTreeMap<&str, Schedule> =
            self.enabled().filter_map(|(name, job)| Some((name, self.schedule(name, job)?))).collect();
        let waiting = Waiting::default();
        let mut runs: Runs<'_> = FuturesUnordered::new();
        let now = clock::now();
        for (name, schedule) in &schedules {
            runs.push(Box::pin(self.catch_up(name, schedule, now, &waiting, &stop)));
        }
        let mut next: BTreeMap<&str, DateTime<Utc>> =
            schedules.iter().filter_map(|(name, schedule)| Some((*name, schedule.next(now)?))).collect();
        let mut refresh = tokio::time::interval_at(Instant::now() + FIRST, REFRESH);
        refresh.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut notices = self.means.store.notices();
        let mut unasked = false;
        loop {
            self.show_next(&next);
            let first = next.iter().min_by_key(|(_, at)| **at).map(|(name, at)| (*name, *at));
            let wait =
                first.map_or(LOOK, |(_, at)| (at - clock::now()).to_std().unwrap_or_default().min(LOOK));
            tokio::select! {
                () = stop.cancelled() => break,
                name = asked.recv(), if !unasked => match name {
                    Some(name) => {
                        if let Some((name, _)) = self.jobs.get_key_value(&name) {
                            runs.push(Box::pin(self.asked(name, &stop)));
                        }
                    }
                    None => unasked = true,
                },
                Some(()) = runs.next() => self.refresh().await,
                _ = refresh.tick() => self.refresh().await,
                () = notices.jobs() => self.refresh().await,
                () = tokio::time::sleep(wait) => {}
            }
            let now = clock::now();
            for (name, at) in &mut next {
                if *at <= now
                    && let Some(schedule) = schedules.get(name)
                {
                    runs.push(Box::pin(self.due(name, *at, &waiting, &stop)));
                    // Those that passed meanwhile are left out.
                    *at = schedule.next(now).unwrap_or(DateTime::<Utc>::MAX_UTC);
                }
            }
        }
        let last = async { while runs.next().await.is_some() {} };
        if tokio::time::timeout(STOP, last).await.is_err() {
            tracing::warn!("a job did not end in time");
        }
    }

    fn enabled(&self) -> impl Iterator<Item = (&str, &Job)> {
        self.jobs.iter().filter(|(_, job)| job.enabled).map(|(name, job)| (name.as_str(), job))
    }

    fn schedule(&self, job: &str, of: &Job) -> Option<Schedule> {
        Schedule::new(&of.cron, of.zone)
            .inspect_err(|error| tracing::error!(job, %error, "this job is never due"))
            .ok()
    }

    fn key(&self, job: &str, due_at: DateTime<Utc>, asked: bool) -> JobKey {
        JobKey { app: self.app.clone(), job: job.to_owned(), due_at, asked }
    }

    /// Does what was due while no process was there.
    async fn catch_up(
        &self,
        name: &str,
        schedule: &Schedule,
        now: DateTime<Utc>,
        waiting: &Waiting,
        stop: &CancellationToken,
    ) {
        if self.jobs.get(name).is_none_or(|job| job.catch_up == CatchUp::Skip) {
            return;
        }
        let store = &self.means.store;
        let known = self.ask(now, stop, || store.job_last_due(&self.app, name, &self.owner, now)).await;
        // One that is new has missed nothing.
        let Some(missed) = known.flatten().and_then(|last| schedule.last(last, now)) else { return };
        tracing::info!(job = name, due = %missed, "this job was due while nobody was there: doing it now");
        self.due(name, missed, waiting, stop).await;
    }

    async fn due(&self, name: &str, at: DateTime<Utc>, waiting: &Waiting, stop: &CancellationToken) {
        if !waiting.enter(name) {
            tracing::warn!(job = name, "left out: the run before it still waits for the database");
            return;
        }
        let key = self.key(name, at, false);
        let before = self.win(&key, stop).await;
        waiting.leave(name);
        if let Some(before) = before {
            self.perform(name, key, &before, stop).await;
        }
    }

    async fn asked(&self, name: &str, stop: &CancellationToken) {
        let key = self.key(name, clock::now(), true);
        if let Some(before) = self.win(&key, stop).await {
            self.perform(name, key, &before, stop).await;
        }
    }

    /// Writes the row of a run; the runs that were there before it, unless somebody else has it.
    async fn win(&self, key: &JobKey, stop: &CancellationToken) -> Option<Vec<JobRun>> {
        let store = &self.means.store;
        let begun = self.ask(clock::now(), stop, || async move {
            // Before its own row is there.
            let before = store.job_runs(&self.app).await?;
            Ok((store.start_job(key, &self.owner, clock::now()).await?, before))
        });
        begun.await.and_then(|(won, before)| won.then_some(before))
    }

    /// Does a run that is ours and writes down how it ended.
    async fn perform(&self, name: &str, key: JobKey, before: &[JobRun], stop: &CancellationToken) {
        let Some(job) = self.jobs.get(name) else { return };
        let mut others = before.iter().filter(|run| run.key.job == name);
        if job.overlap == Overlap::Skip && !key.asked && others.any(|run| is_running(run, job, clock::now()))
        {
            let detail = "the run before it had not ended";
            tracing::warn!(job = name, "left out: {detail}");
            let done =
                Done { outcome: JobOutcome::Skipped, detail: detail.to_owned(), output: String::new() };
            measure::job_ran(name, done.outcome.name(), Duration::ZERO);
            return self.end(&key, done, stop).await;
        }
        tracing::info!(job = name, action = job.action.word(), asked = key.asked, "a job begins");
        self.running(name, 1);
        let began = tokio::time::Instant::now();
        let done = action::perform(name, job, &self.means, self, stop).await;
        measure::job_ran(name, done.outcome.name(), began.elapsed());
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (outcome, detail) = (done.outcome.name(), &done.detail);
        match done.outcome {
            JobOutcome::Ok => tracing::info!(job = name, outcome, ms, "a job ended: {detail}"),
            _ => tracing::warn!(job = name, outcome, ms, "a job ended: {detail}"),
        }
        self.running(name, -1);
        self.end(&key, done, stop).await;
    }

    /// Writes down how a run ended, as soon as the database takes it.
    async fn end(&self, key: &JobKey, done: Done, stop: &CancellationToken) {
        let Done { outcome, detail, output } = done;
        let end = JobEnd { at: clock::now(), outcome, detail, output };
        let end = &end;
        if self.ask(end.at, stop, || self.means.store.end_job(key, end)).await.is_none() {
            tracing::warn!(job = key.job, "how the job ended was not written down");
        }
    }

    /// Asks the database until it answers, is too late, or blacksky stops.
    async fn ask<T, F>(
        &self,
        since: DateTime<Utc>,
        stop: &CancellationToken,
        asking: impl Fn() -> F,
    ) -> Option<T>
    where
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        loop {
            match asking().await {
                Ok(answer) => return Some(answer),
                Err(error) if clock::now() - since > TOO_LATE => {
                    tracing::error!(%error, "the database did not answer for a job");
                    return None;
                }
                Err(error) => tracing::debug!(%error, "the database is asked again for the jobs"),
            }
            tokio::select! {
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }

    fn announce(&self) {
        let jobs = self.jobs.iter().map(|(name, job)| (name.clone(), JobStatus::of(job))).collect();
        self.board.update(|snapshot| snapshot.jobs = jobs);
    }

    fn show_next(&self, next: &BTreeMap<&str, DateTime<Utc>>) {
        self.board.update_if(|snapshot| {
            let mut changed = false;
            for (name, job) in &mut snapshot.jobs {
                let at = next.get(name.as_str()).copied().filter(|at| *at < DateTime::<Utc>::MAX_UTC);
                changed |= job.next_at != at;
                job.next_at = at;
            }
            changed
        });
    }

    fn running(&self, name: &str, more: i32) {
        self.board.update(|snapshot| {
            if let Some(job) = snapshot.jobs.get_mut(name) {
                job.running = job.running.saturating_add_signed(more);
            }
        });
    }

    /// Shows what was done, here and elsewhere; marks runs that have lost their process.
    async fn refresh(&self) {
        let Ok(all) = self.means.store.job_runs(&self.app).await else { return };
        let now = clock::now();
        for run in all.iter().filter(|run| run.end.is_none()) {
            let timeout = self.jobs.get(&run.key.job).map_or(TimeDelta::days(1), timeout);
            if now - run.started_at > timeout + LOST {
                let outcome = JobOutcome::Interrupted;
                let detail = "its process was killed".to_owned();
                let end = JobEnd { at: now, outcome, detail, output: String::new() };
                // Tried again with the next look.
                if let Err(error) = self.means.store.end_job(&run.key, &end).await {
                    tracing::debug!(job = run.key.job, %error, "an interrupted run was not marked");
                }
            }
        }
        self.board.update_if(|snapshot| {
            let mut changed = false;
            for (name, job) in &mut snapshot.jobs {
                let runs = all.iter().filter(|run| run.key.job == *name).take(SHOWN).map(JobRunStatus::of);
                let runs: Vec<JobRunStatus> = runs.collect();
                changed |= job.runs != runs;
                job.runs = runs;
            }
            changed
        });
    }
}

#[async_trait]
impl Restarter for Clock {
    async fn restart(&self, bot: &str) -> Done {
        let Some(handle) = self.handles.get(bot) else { return Done::failed("there is no such bot") };
        let snapshot = self.board.subscribe();
        let elsewhere = snapshot.borrow().bots.get(bot).is_some_and(|bot| bot.role() == Role::Standby);
        if !elsewhere {
            let took = handle.ask(Request::RestartBot);
            return if took { Done::ok("asked the bot") } else { Done::failed("the bot is busy or ending") };
        }
        let Some(answer) = handle.ask_holder(Request::RestartBot) else {
            return Done::failed("another process keeps the bot, and there is no way to ask it");
        };
        answered(answer.await.unwrap_or(Answer::NotSent))
    }
}

/// What the dyno that keeps a bot said.
pub fn answered(answer: Answer) -> Done {
    match answer {
        Answer::Took => Done::ok("asked the dyno that keeps the bot"),
        Answer::Busy => Done::failed("the bot is busy or ending"),
        Answer::Silent => Done::failed("the dyno that keeps the bot did not answer within 10 s"),
        Answer::NotSent => Done::failed("the request could not be left in the database"),
    }
}

fn timeout(job: &Job) -> TimeDelta {
    TimeDelta::from_std(job.timeout.get()).unwrap_or(TimeDelta::days(1))
}

fn is_running(run: &JobRun, job: &Job, now: DateTime<Utc>) -> bool {
    run.end.is_none() && now - run.started_at <= timeout(job) + LOST
}
