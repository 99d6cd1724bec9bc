//! What is known of the pings that keep a dyno awake.

use chrono::{DateTime, Utc};
use serde::Serialize;

/// The pings of this process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AntiIdleStatus {
    /// In the order of the file.
    pub targets: Vec<TargetStatus>,
}

/// One target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TargetStatus {
    /// "self" or its URL; of a URL with a secret only the host.
    pub target: String,
    /// The last ping.
    pub last: Option<Ping>,
    /// When the next one is due.
    pub next_at: Option<DateTime<Utc>>,
    /// Pings that were answered, in this process.
    pub answered: u64,
    /// Pings that were not.
    pub failed: u64,
}

/// How a ping went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ping {
    /// When it ended.
    pub at: DateTime<Utc>,
    /// The HTTP status; any answer keeps the dyno awake.
    pub status: Option<u16>,
    /// Why there was no answer.
    pub problem: Option<String>,
}

impl TargetStatus {
    /// Takes a ping as the last.
    pub fn count(&mut self, ping: Ping) {
        match ping.problem {
            None => self.answered += 1,
            Some(_) => self.failed += 1,
        }
        self.last = Some(ping);
    }
}
