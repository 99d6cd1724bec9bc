//! What the links did: stretches of time with the state of a link, and messages by the hour.
//!
//! Rows say what one process saw. They are not fenced: what a dyno saw until it lost a lease is true all the same,
//! and nothing but the page and `/status` reads them. A row may be written any number of times.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Store, StoreError};

/// A stretch of time in which a link stood somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// The session whose link it is.
    pub session: String,
    /// When it began.
    pub at: DateTime<Utc>,
    /// The process that saw it.
    pub process: i64,
    /// Seen until then.
    pub until: DateTime<Utc>,
    /// The word of the state, as in `/status`.
    pub state: String,
    /// Why the link ended that was there before, in a word.
    pub reason: Option<String>,
    /// The same in a sentence.
    pub text: Option<String>,
    /// Dials that failed in it.
    pub tries: u32,
    /// The dyno, e.g. "web.1".
    pub dyno: String,
}

/// Messages of an hour, as one process counted them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HourCount {
    pub session: String,
    /// When the hour begins.
    pub hour: DateTime<Utc>,
    pub process: i64,
    /// Inbound messages stored.
    pub received: u64,
    /// Messages handed to WhatsApp.
    pub sent: u64,
}

/// Messages of an hour, of all processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    pub received: u64,
    pub sent: u64,
}

/// A longer time in figures.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Totals {
    /// When the first stretch in it began.
    pub since: Option<DateTime<Utc>>,
    /// How long the link was open.
    pub open: TimeDelta,
    /// How often an open link ended or was not made, by reason.
    pub reasons: BTreeMap<String, u64>,
}

/// What is kept of a table for one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptRows {
    /// What is older goes.
    pub since: DateTime<Utc>,
    /// Beyond so many the oldest go.
    pub rows: u32,
}

impl Store {
    /// Writes stretches and counts, or what has become of them since they were last written; all or nothing.
    pub async fn note_history(&self, stretches: &[Stretch], counts: &[HourCount]) -> Result<(), StoreError> {
        if stretches.is_empty() && counts.is_empty() {
            return Ok(());
        }
        // One statement may not write a row twice.
        let stretches: BTreeMap<_, _> =
            stretches.iter().map(|one| ((&one.session, one.at, one.process), one)).collect();
        let counts: BTreeMap<_, _> =
            counts.iter().map(|one| ((&one.session, one.hour, one.process), one)).collect();
        let (stretches, counts): (Vec<_>, Vec<_>) =
            (stretches.into_values().collect(), counts.into_values().collect());
        self.engine.note_history(&stretches, &counts).await
    }

    /// The stretches of these sessions that were not over at `since`, in the order in which they began.
    pub async fn history(
        &self,
        sessions: &[String],
        since: DateTime<Utc>,
    ) -> Result<Vec<Stretch>, StoreError> {
        self.engine.history(sessions, since.timestamp_micros()).await
    }

    /// Messages by session and hour, from the hour of `since` on.
    pub async fn traffic(
        &self,
        sessions: &[String],
        since: DateTime<Utc>,
    ) -> Result<BTreeMap<(String, DateTime<Utc>), Traffic>, StoreError> {
        self.engine.traffic(sessions, since.timestamp_micros()).await
    }

    /// Each session since then in figures.
    pub async fn totals(
        &self,
        sessions: &[String],
        since: DateTime<Utc>,
    ) -> Result<BTreeMap<String, Totals>, StoreError> {
        self.engine.totals(sessions, since.timestamp_micros()).await
    }

    /// Removes at most `batch` rows of each of the two tables that are too old or too many; gives how many went
    /// of the one of which more did.
    pub async fn prune_history(&self, session: &str, kept: KeptRows, batch: u32) -> Result<u64, StoreError> {
        self.engine.prune_history(session, kept, batch).await
    }
}

impl Totals {
    /// Counts in the stretches of one reason.
    pub(super) fn add(&mut self, reason: Option<String>, count: i64, first: DateTime<Utc>, open: TimeDelta) {
        self.open += open;
        self.since = Some(self.since.map_or(first, |since| since.min(first)));
        if let Some(reason) = reason {
            *self.reasons.entry(reason).or_default() += count.unsigned_abs();
        }
    }
}

/// A time as it is stored.
pub(super) fn time(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}
