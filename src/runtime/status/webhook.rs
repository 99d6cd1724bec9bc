//! What is known of a bot's webhook.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The webhook of a native bot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookStatus {
    /// Messages that wait to be posted.
    pub waiting: u64,
    /// When the oldest of them came.
    pub oldest_waiting_at: Option<DateTime<Utc>>,
    /// Messages that were given up and are kept.
    pub dead: u64,
    /// Dead letters that were removed by this process, being too many or too old.
    pub removed: u64,
    /// Messages that the receiver took, in this process.
    pub delivered: u64,
    /// Posts that it did not take, in this process.
    pub failed: u64,
    /// When it took the last one.
    pub delivered_at: Option<DateTime<Utc>>,
    /// Why the last post was not taken, unless one was taken since.
    pub problem: Option<WebhookProblem>,
}

/// Why a post was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookProblem {
    /// When.
    pub at: DateTime<Utc>,
    /// One sentence, without the address.
    pub text: String,
}
