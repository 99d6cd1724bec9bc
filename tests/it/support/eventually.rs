//! Waits for a condition with a deadline.

use std::time::Duration;

/// Polls `condition` every 10 ms until it holds; panics with `what` at the deadline.
pub async fn eventually(what: &str, deadline: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let begun = tokio::time::Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < deadline, "not within {deadline:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
