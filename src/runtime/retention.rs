//! Removes what was kept long enough, a few rows at a time: of the sessions that are held here, and of the jobs.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use super::backups::Backups;
use super::clock;
use super::status::Board;
use crate::config::{self, Keeps};
use crate::store::{DeliveryLimits, KeptRows, Lease, Store, StoreError};

/// A start has the database for itself that long.
const FIRST: Duration = Duration::from_secs(60);
/// Between two rounds.
const ROUND: Duration = Duration::from_secs(600);
/// Rows that one statement removes: it is over before anybody notices.
const BATCH: u32 = 500;
/// Between two statements, which others use.
const PAUSE: Duration = Duration::from_millis(100);
/// Statements of one table in a round; the rest has its turn in the next one.
const BATCHES: u32 = 200;

/// What the task needs.
pub(super) struct Retention {
    pub store: Store,
    pub config: config::Retention,
    /// Knows which sessions are held here.
    pub backups: Backups,
    pub board: Board,
    /// Whose jobs.
    pub app: String,
}

/// Works until `stop`.
pub(super) async fn keep(retention: Retention, stop: CancellationToken) {
    let work = async {
        tokio::time::sleep(FIRST).await;
        loop {
            retention.round().await;
            tokio::time::sleep(ROUND).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}

impl Retention {
    async fn round(&self) {
        let (store, config, now) = (&self.store, &self.config, clock::now());
        for (bot, lease) in self.backups.leases() {
            let (session, held) = (lease.session.as_str(), store.session(&lease));
            let rows = kept(config.history, now);
            self.clean("history", &bot, || store.prune_history(session, rows, BATCH)).await;
            let rows = kept(config.outbox, now);
            self.clean("outbox", &bot, || store.prune_outbox(session, rows, BATCH)).await;
            let rows = kept(config.inbox, now);
            self.clean("inbox", &bot, || held.prune_inbox(rows, BATCH)).await;
            self.dead_letters(&bot, &lease, now).await;
        }
        let (runs, output) = (kept(config.job_runs, now), kept(config.job_output, now));
        self.clean("jobs", &self.app, || store.prune_jobs(&self.app, runs, output, BATCH)).await;
    }

    /// Removes batch after batch, until there is nothing more to remove.
    async fn clean<F>(&self, table: &str, of: &str, batch: impl Fn() -> F)
    where
        F: Future<Output = Result<u64, StoreError>>,
    {
        let mut removed = 0;
        for _ in 0..BATCHES {
            match batch().await {
                Ok(gone) => {
                    removed += gone;
                    if gone < u64::from(BATCH) {
                        break;
                    }
                }
                // Another dyno has the session by now.
                Err(StoreError::Fenced) => break,
                Err(error) => {
                    tracing::debug!(table, of, %error, "old rows are removed later");
                    break;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        if removed > 0 {
            tracing::info!(table, of, removed, "old rows removed");
        }
    }

    /// Those of a bot whose webhook is gone too.
    async fn dead_letters(&self, bot: &str, lease: &Lease, now: DateTime<Utc>) {
        let kept = kept(self.config.dead_letters, now);
        let limits = DeliveryLimits { waiting: u32::MAX, dead: kept.rows, dead_since: kept.since };
        match self.store.session(lease).thin_deliveries(&limits, now).await {
            Ok(thinned) if thinned.removed > 0 => {
                tracing::warn!(bot, removed = thinned.removed, "the oldest dead letters were removed");
                self.board.bot(bot, |status| {
                    if let Some(webhook) = &mut status.webhook {
                        webhook.removed += thinned.removed;
                    }
                });
            }
            Ok(_) | Err(StoreError::Fenced) => {}
            Err(error) => tracing::debug!(bot, %error, "old dead letters are removed later"),
        }
    }
}

fn kept(keeps: Keeps, now: DateTime<Utc>) -> KeptRows {
    let age = TimeDelta::from_std(keeps.age.get()).unwrap_or(TimeDelta::days(365));
    KeptRows { since: now - age, rows: keeps.rows }
}
