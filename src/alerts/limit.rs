//! Not too often: one alert of a kind about a bot in a while, and a bound on all together.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Alert;
use crate::config::AlertKind;

/// Most alerts in [`WINDOW`].
const MOST: usize = 30;
const WINDOW: Duration = Duration::from_secs(3600);

/// Lets alerts pass or counts them.
#[derive(Debug)]
pub(super) struct Limit {
    repeat_after: Duration,
    last: HashMap<(Option<AlertKind>, Option<String>), (Instant, u32)>,
    passed: Vec<Instant>,
}

impl Limit {
    pub(super) fn new(repeat_after: Duration) -> Self {
        Self { repeat_after, last: HashMap::new(), passed: Vec::new() }
    }

    /// The alert, with what was left out before it, or nothing when it is too soon.
    pub(super) fn pass(&mut self, alert: Alert, now: Instant) -> Option<Alert> {
        let key = (alert.kind, alert.bot.clone());
        let before = self.last.get(&key).copied();
        let too_soon = before.is_some_and(|(at, _)| now < at + self.repeat_after);
        self.passed.retain(|at| now < *at + WINDOW);
        let too_many = self.passed.len() >= MOST;
        if too_many {
            tracing::warn!(kind = ?alert.kind, bot = ?alert.bot, most = MOST, "an alert was left out: too many in an hour");
        }
        if too_soon || too_many {
            let (at, left_out) = before.unwrap_or((now, 0));
            self.last.insert(key, (at, left_out.saturating_add(1)));
            return None;
        }
        self.passed.push(now);
        self.last.insert(key, (now, 0));
        Some(Alert { left_out: before.map_or(0, |(_, left_out)| left_out), ..alert })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock;

    fn alert(bot: &str) -> Alert {
        Alert {
            kind: Some(AlertKind::Down),
            bot: Some(bot.into()),
            text: String::new(),
            at: clock::now(),
            left_out: 0,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_alert_waits_and_says_how_many_were_left_out() {
        let mut limit = Limit::new(Duration::from_secs(900));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(limit.pass(alert("a"), at(0)).is_some());
        assert!(limit.pass(alert("b"), at(0)).is_some(), "another bot is another matter");
        assert!(limit.pass(alert("a"), at(10)).is_none());
        assert!(limit.pass(alert("a"), at(899)).is_none());
        assert_eq!(limit.pass(alert("a"), at(900)).map(|alert| alert.left_out), Some(2));
        assert_eq!(limit.pass(alert("a"), at(1800)).map(|alert| alert.left_out), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_ends_at_the_bound() {
        let mut limit = Limit::new(Duration::ZERO);
        let start = Instant::now();
        let passed = (0..500).filter(|n| limit.pass(alert(&format!("b{n}")), start).is_some()).count();
        assert_eq!(passed, MOST);
        assert!(limit.pass(alert("late"), start + WINDOW).is_some());
    }
}
