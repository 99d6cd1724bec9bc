//! The one place that asks what time it is.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rustix::time::{ClockId, clock_gettime};

/// Wall time, for people and stored rows. Durations use `tokio::time::Instant`, so that tests pause them.
#[allow(clippy::disallowed_methods, reason = "the one place that may")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// What this process has used of the processors.
pub fn cpu() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(used.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(used.tv_nsec).unwrap_or_default())
}
