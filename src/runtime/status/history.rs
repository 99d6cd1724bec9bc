//! What the link of a bot did, whichever dyno held it: from the database.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

/// The last 24 hours of a bot, and the last 30 days in figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BotHistory {
    /// When it was put together; what lasts, lasted until then.
    pub at: DateTime<Utc>,
    /// Since when something is known, at most 24 hours ago; `None` while nothing is.
    pub since: Option<DateTime<Utc>>,
    /// For how much of that time the link was open, in percent.
    pub open_percent: Option<f64>,
    /// Where the link stood, oldest first, without a gap from `since` on.
    pub pieces: Vec<Piece>,
    /// Times an open link was interrupted, the latest first.
    pub interruptions: Vec<Interruption>,
    /// How many those were; more than are listed.
    pub interrupted: u64,
    /// Messages of 24 hours, the last being the present one.
    pub hours: Vec<Hour>,
    /// The last 30 days.
    pub month: Month,
}

/// A time in which the link stood in one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Piece {
    pub from: DateTime<Utc>,
    pub until: DateTime<Utc>,
    /// The word of the state, or [`NOT_KEPT`].
    pub state: String,
}

/// No process kept the link: stopped, asleep, killed, or without its database.
pub const NOT_KEPT: &str = "not_kept";
/// A short time between two processes.
pub const HANDOVER: &str = "handover";

/// A link that was open and then was not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Interruption {
    /// When it ended.
    pub at: DateTime<Utc>,
    /// When it was open again; `None` while it is not.
    pub until: Option<DateTime<Utc>>,
    /// How long it was not open.
    pub seconds: u64,
    /// A word as in `last_disconnect`, [`NOT_KEPT`] or [`HANDOVER`].
    pub reason: String,
    /// The same in a sentence.
    pub text: String,
    /// Dials that failed meanwhile.
    pub tries: u32,
}

/// Messages of an hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hour {
    /// When it begins.
    pub hour: DateTime<Utc>,
    pub received: u64,
    pub sent: u64,
}

/// The last 30 days.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Month {
    /// Since when something is known.
    pub since: Option<DateTime<Utc>>,
    /// For how much of that time the link was open, in percent.
    pub open_percent: Option<f64>,
    /// How often the link ended or was not made, by reason.
    pub reasons: BTreeMap<String, u64>,
}
