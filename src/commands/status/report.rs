//! What `/status` said, as far as this command reads it.

use std::collections::BTreeMap;

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

/// A status, of this version or a later one.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Report {
    pub started_at: DateTime<Utc>,
    #[serde(default)]
    pub stopping: bool,
    pub bots: BTreeMap<String, Bot>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Bot {
    pub state: String,
    pub reason: Option<String>,
    pub since: DateTime<Utc>,
    pub advice: Option<String>,
    pub next_attempt_at: Option<DateTime<Utc>>,
    pub last_disconnect: Option<Disconnect>,
    #[serde(default)]
    pub disconnects: BTreeMap<String, u64>,
    #[serde(default)]
    pub warnings: Vec<Warning>,
    #[serde(default)]
    pub hosted: Option<Hosted>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Hosted {
    pub child: Child,
}

/// The program of a hosted bot.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Child {
    pub state: String,
    pub last_exit: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Disconnect {
    pub reason: String,
    pub text: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Warning {
    pub text: String,
}

impl Report {
    pub(super) fn of(answer: &Value) -> anyhow::Result<Self> {
        Self::deserialize(answer)
            .context("the answer is not the status of a blacksky of this version; is the address right?")
    }

    /// Whether every bot's link is open, and there is one.
    pub(super) fn all_open(&self) -> bool {
        !self.bots.is_empty() && self.bots.values().all(|bot| bot.state == "open")
    }

    /// For a terminal.
    pub(super) fn table(&self, now: DateTime<Utc>) -> String {
        let mut lines = Vec::new();
        let width = self.bots.keys().map(String::len).max().unwrap_or(0);
        for (name, bot) in &self.bots {
            let mut line = format!("{name:width$}  {}", bot.words());
            line.push_str(&format!("  for {}", length(now - bot.since)));
            if let Some(at) = bot.next_attempt_at.filter(|at| *at > now) {
                line.push_str(&format!(", next attempt in {}", length(at - now)));
            }
            lines.push(line);
            let indent = " ".repeat(width + 2);
            let ended = bot.last_disconnect.as_ref().filter(|_| bot.state != "open");
            if let Some(ended) = ended {
                lines.push(format!("{indent}{} ({})", ended.text, ended.reason));
            }
            let child =
                bot.hosted.as_ref().map(|hosted| &hosted.child).filter(|child| child.state != "running");
            if let Some(child) = child {
                let exit =
                    child.last_exit.as_ref().map(|exit| format!(", last run: {exit}")).unwrap_or_default();
                lines.push(format!("{indent}program: {}{exit}", child.state));
            }
            lines.extend(bot.advice.iter().map(|advice| format!("{indent}{advice}")));
            lines.extend(bot.warnings.iter().map(|warning| format!("{indent}warning: {}", warning.text)));
        }
        if self.bots.is_empty() {
            lines.push("there is no enabled bot".to_owned());
        }
        if self.stopping {
            lines.push("this process is stopping".to_owned());
        }
        lines.join("\n")
    }
}

impl Bot {
    /// The state, with its reason.
    pub(super) fn words(&self) -> String {
        match &self.reason {
            Some(reason) => format!("{} ({reason})", self.state),
            None => self.state.clone(),
        }
    }
}

/// In the two largest units.
fn length(duration: chrono::Duration) -> String {
    let seconds = duration.num_seconds().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}
