//! The one place that asks what time it is.

use chrono::{DateTime, Utc};

/// Wall time, for people and stored rows. Durations use `tokio::time::Instant`, so that tests pause them.
#[allow(clippy::disallowed_methods, reason = "the one place that may")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}
