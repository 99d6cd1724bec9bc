//! What this process told, or would have told, of its bots.

use chrono::{DateTime, Utc};
use serde::Serialize;

/// Alerts that are kept to be shown.
const SHOWN: usize = 8;

/// The alerts of this process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AlertsStatus {
    /// There is a webhook that they are sent to.
    pub webhook: bool,
    /// How many the webhook took.
    pub sent: u64,
    /// How many it did not take, whatever was tried.
    pub not_sent: u64,
    /// The latest 8, the latest first.
    pub latest: Vec<AlertStatus>,
    /// How many there were.
    #[serde(skip)]
    noted: u64,
}

/// One alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AlertStatus {
    /// When it was raised.
    pub at: DateTime<Utc>,
    /// Its word, such as "parked".
    pub event: &'static str,
    /// The bot it is about; `None` when it is about the dyno.
    pub bot: Option<String>,
    /// What happened, without secrets or personal data.
    pub text: String,
    /// How many of the same were left out before it.
    pub left_out: u32,
    /// When the webhook took it.
    pub sent_at: Option<DateTime<Utc>>,
    /// Why it did not, once that is certain.
    pub problem: Option<String>,
    #[serde(skip)]
    number: u64,
}

impl AlertsStatus {
    /// None yet.
    pub fn new(webhook: bool) -> Self {
        Self { webhook, ..Self::default() }
    }

    /// Takes an alert as the latest; the number tells it apart from the others.
    pub fn note(
        &mut self,
        event: &'static str,
        bot: Option<String>,
        text: String,
        left_out: u32,
        at: DateTime<Utc>,
    ) -> u64 {
        self.noted += 1;
        let number = self.noted;
        let alert = AlertStatus { at, event, bot, text, left_out, sent_at: None, problem: None, number };
        self.latest.insert(0, alert);
        self.latest.truncate(SHOWN);
        number
    }

    /// How the alert with this number ended: when it was taken, or why it was not.
    pub fn ended(&mut self, number: u64, outcome: Result<DateTime<Utc>, String>) {
        match outcome {
            Ok(_) => self.sent += 1,
            Err(_) => self.not_sent += 1,
        }
        if let Some(alert) = self.latest.iter_mut().find(|alert| alert.number == number) {
            match outcome {
                Ok(at) => alert.sent_at = Some(at),
                Err(problem) => alert.problem = Some(problem),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock;

    #[test]
    fn the_latest_are_kept_and_each_gets_its_own_end() {
        let mut alerts = AlertsStatus::new(true);
        let now = clock::now();
        let numbers: Vec<u64> = (0..10).map(|n| alerts.note("down", None, format!("{n}"), 0, now)).collect();
        let texts: Vec<&str> = alerts.latest.iter().map(|alert| alert.text.as_str()).collect();
        assert_eq!(texts, ["9", "8", "7", "6", "5", "4", "3", "2"]);
        alerts.ended(numbers[0], Ok(now));
        alerts.ended(numbers[8], Err("the webhook answered 500".to_owned()));
        alerts.ended(numbers[9], Ok(now));
        assert_eq!((alerts.sent, alerts.not_sent), (2, 1));
        assert_eq!(alerts.latest[0].sent_at, Some(now));
        assert_eq!(alerts.latest[1].problem.as_deref(), Some("the webhook answered 500"));
        assert!(alerts.latest[2..].iter().all(|alert| alert.sent_at.is_none() && alert.problem.is_none()));
    }
}
