//! Takes backups: of every session that this process holds every `backup.interval`, and of a session
//! whose bot stops. A backup that fails is a warning: the link does not depend on it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::status::{Board, LastBackup};
use crate::store::{Backed, BackupInfo, Lease, Store, StoreError};
use crate::{config, measure};

/// A start has the database for itself that long.
const FIRST: Duration = Duration::from_secs(1);
/// One backup; a large session over a slow network takes seconds.
const DEADLINE: Duration = Duration::from_secs(90);
/// The one at the stop of a bot: Heroku gives 30 s for everything.
const LAST_DEADLINE: Duration = Duration::from_secs(3);

/// Takes backups. Cheap to clone. Somebody must [`run`](Self::run) it.
#[derive(Debug, Clone)]
pub struct Backups(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    config: config::Backup,
    board: Board,
    /// The session of each bot.
    sessions: BTreeMap<String, String>,
    /// The sessions that this process holds, by bot.
    held: Mutex<BTreeMap<String, Lease>>,
}

/// A session that is backed up until this is dropped.
#[derive(Debug)]
pub struct Held {
    backups: Backups,
    bot: String,
    epoch: i64,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.backups.held();
        if held.get(&self.bot).is_some_and(|lease| lease.epoch == self.epoch) {
            held.remove(&self.bot);
        }
    }
}

impl Backups {
    /// Backups of the sessions of these bots in this store.
    pub fn new(
        store: Store,
        config: config::Backup,
        board: Board,
        sessions: BTreeMap<String, String>,
    ) -> Self {
        Self(Arc::new(Inner { store, config, board, sessions, held: Mutex::default() }))
    }

    /// The bot holds this lease: from now on its session is backed up.
    #[must_use]
    pub fn hold(&self, bot: &str, lease: &Lease) -> Held {
        self.held().insert(bot.to_owned(), lease.clone());
        Held { backups: self.clone(), bot: bot.to_owned(), epoch: lease.epoch }
    }

    /// The leases that this process holds, by bot.
    pub fn leases(&self) -> Vec<(String, Lease)> {
        self.held().iter().map(|(bot, lease)| (bot.clone(), lease.clone())).collect()
    }

    /// Takes backups until `stop`. The first look is at what is there already, for the page.
    pub async fn run(self, stop: CancellationToken) {
        let interval = self.0.config.interval.get();
        let mut ticks = tokio::time::interval_at(Instant::now() + interval, interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let work = async {
            tokio::time::sleep(FIRST).await;
            self.show_newest().await;
            loop {
                ticks.tick().await;
                for (bot, lease) in self.leases() {
                    self.take(&bot, &lease.session, Some(&lease), DEADLINE).await;
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
    }

    /// Takes the backup of a bot that has stopped: its link is closed and its session flushed. The lease
    /// may be another dyno's by now, so that the hand-over does not wait for this; the copy is consistent
    /// all the same.
    pub async fn last(&self, bot: &str, session: &str) {
        self.take(bot, session, None, LAST_DEADLINE).await;
    }

    async fn take(&self, bot: &str, session: &str, under: Option<&Lease>, deadline: Duration) {
        let began = Instant::now();
        let taking = self.0.store.back_up(session, under, &self.0.config);
        let outcome = tokio::time::timeout(deadline, taking).await;
        let took = began.elapsed();
        let ms = took.as_millis();
        match &outcome {
            Ok(Ok(Backed::Written(_))) => measure::backed_up(bot, "taken", took),
            Ok(Ok(Backed::Unchanged(_))) => measure::backed_up(bot, "unchanged", took),
            Ok(Ok(Backed::NotLinked) | Err(StoreError::Fenced)) => {}
            Ok(Err(_)) | Err(_) => measure::backed_up(bot, "failed", took),
        }
        match outcome {
            Ok(Ok(Backed::Written(info))) => {
                tracing::info!(
                    bot,
                    backup = info.id,
                    bytes = info.size,
                    rows = info.rows,
                    ms,
                    "backup taken"
                );
                self.show(bot, &info);
            }
            Ok(Ok(Backed::Unchanged(info))) => {
                tracing::debug!(bot, backup = info.id, ms, "nothing to back up: the session is unchanged");
                self.show(bot, &info);
            }
            Ok(Ok(Backed::NotLinked)) => tracing::debug!(bot, "nothing to back up: not linked"),
            // Another dyno takes its backups.
            Ok(Err(StoreError::Fenced)) => tracing::debug!(bot, "no backup: the session changed hands"),
            Ok(Err(error)) => self.failed(bot, &error.to_string()),
            Err(_) => self.failed(bot, &format!("it was not done within {} s", deadline.as_secs())),
        }
    }

    fn failed(&self, bot: &str, problem: &str) {
        tracing::warn!(bot, problem, "no backup was taken");
        self.0.board.bot(bot, |status| status.backup.problem = Some(problem.to_owned()));
    }

    fn show(&self, bot: &str, info: &BackupInfo) {
        let last = LastBackup {
            taken_at: info.taken_at,
            checked_at: info.checked_at,
            bytes: info.size,
            rows: info.rows,
        };
        self.0.board.bot(bot, |status| {
            status.backup.last = Some(last);
            status.backup.problem = None;
        });
    }

    /// What an earlier process left, for the page.
    async fn show_newest(&self) {
        let Ok(all) = self.0.store.backups(None).await else { return };
        for (bot, session) in &self.0.sessions {
            if let Some(newest) = all.iter().find(|backup| backup.session == *session) {
                self.show(bot, newest);
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<String, Lease>> {
        // The map is whole after each line that changes it.
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
