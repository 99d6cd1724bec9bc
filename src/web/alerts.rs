//! Alerts on the page.

use chrono::{DateTime, Utc};

use super::page::Moment;
use super::words::Tone;
use crate::runtime::status::AlertStatus;

/// One alert, and what became of it.
pub struct AlertLine<'a> {
    pub alert: &'a AlertStatus,
    /// "main: logged out".
    pub title: String,
    pub tone: Tone,
    pub at: Moment,
    /// Whether somebody was told.
    pub outcome: String,
}

impl<'a> AlertLine<'a> {
    pub fn of(alert: &'a AlertStatus, webhook: bool, now: DateTime<Utc>) -> Self {
        let event = alert.event.replace('_', " ");
        let (tone, outcome) = match (&alert.problem, alert.sent_at) {
            (Some(problem), _) => (Tone::Act, format!("not sent: {problem}")),
            (None, Some(_)) => (Tone::Good, "sent".to_owned()),
            (None, None) if webhook => (Tone::Wait, "on its way".to_owned()),
            (None, None) => (Tone::Idle, "only told here".to_owned()),
        };
        Self {
            title: alert.bot.as_ref().map_or_else(|| event.clone(), |bot| format!("{bot}: {event}")),
            tone,
            at: Moment::past(alert.at, now),
            outcome,
            alert,
        }
    }
}
