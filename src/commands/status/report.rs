//! What `/status` said, as far as this command reads it.

use std::collections::BTreeMap;

use anyhow::Context;
use chrono::{DateTime, Utc};
use console::style;
use serde::Deserialize;
use serde_json::Value;

/// A status, of this version or another one: what is not there was not known to it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Report {
    #[serde(default)]
    pub version: String,
    pub started_at: DateTime<Utc>,
    #[serde(default)]
    pub dyno: Option<String>,
    #[serde(default)]
    pub stopping: bool,
    #[serde(default)]
    pub memory: Option<Memory>,
    #[serde(default)]
    pub database: Database,
    #[serde(default)]
    pub anti_idle: Option<AntiIdle>,
    #[serde(default)]
    pub jobs: BTreeMap<String, Job>,
    pub bots: BTreeMap<String, Bot>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Memory {
    pub used_bytes: u64,
    pub quota_bytes: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Database {
    #[serde(default)]
    pub state: String,
    #[serde(default)]
    pub kind: Option<String>,
    #[serde(default)]
    pub problem: Option<String>,
    #[serde(default)]
    pub warning: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct AntiIdle {
    pub targets: Vec<Target>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Target {
    pub target: String,
    pub last: Option<Ping>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Ping {
    pub problem: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Job {
    #[serde(default)]
    pub next_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub runs: Vec<Run>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Run {
    pub outcome: Option<String>,
    pub detail: Option<String>,
    pub ended_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Bot {
    #[serde(default)]
    pub dyno: Dyno,
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
    pub reconnects: u64,
    #[serde(default)]
    pub messages_in: u64,
    #[serde(default)]
    pub messages_out: u64,
    #[serde(default)]
    pub last_backup: Option<Backup>,
    #[serde(default)]
    pub backup_problem: Option<String>,
    #[serde(default)]
    pub webhook: Option<Webhook>,
    #[serde(default)]
    pub hosted: Option<Hosted>,
}

/// Who holds the link, as far as it is known.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Dyno {
    #[serde(default)]
    pub holder: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Backup {
    pub checked_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Webhook {
    pub waiting: u64,
    pub dead: u64,
    #[serde(default)]
    pub problem: Option<Problem>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Problem {
    pub text: String,
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

    /// How many links are open.
    pub(super) fn open(&self) -> usize {
        self.bots.values().filter(|bot| bot.state == "open").count()
    }

    /// Whether every bot's link is open, and there is one.
    pub(super) fn all_open(&self) -> bool {
        !self.bots.is_empty() && self.open() == self.bots.len()
    }

    /// For a person: the bots, the jobs, what is wrong with anti-idle, and the process. Coloured in a terminal.
    pub(super) fn table(&self, now: DateTime<Utc>) -> String {
        let mut lines = Vec::new();
        let names = self.bots.keys().map(String::len).max().unwrap_or(0);
        let states = self.bots.values().map(|bot| bot.words().len()).max().unwrap_or(0);
        for (name, bot) in &self.bots {
            lines.push(format!("{name:names$}  {}", bot.line(states, now)));
            let indent = " ".repeat(names + 2);
            lines.extend(bot.details().into_iter().map(|detail| format!("{indent}{detail}")));
        }
        if self.bots.is_empty() {
            lines.push("there is no enabled bot".to_owned());
        }
        lines.extend(self.jobs.iter().map(|(name, job)| job.line(name, now)));
        let targets = self.anti_idle.iter().flat_map(|all| &all.targets);
        for target in targets {
            if let Some(problem) = target.last.as_ref().and_then(|last| last.problem.as_ref()) {
                lines.push(format!("anti-idle: {} does not answer: {problem}", target.target));
            }
        }
        lines.push(self.process(now));
        if self.stopping {
            lines.push("this process is stopping".to_owned());
        }
        lines.join("\n")
    }

    fn process(&self, now: DateTime<Utc>) -> String {
        let mut parts = vec![format!("blacksky {}", self.version).trim_end().to_owned()];
        parts.extend(self.dyno.iter().map(|dyno| format!("on {dyno}")));
        parts.push(format!("up {}", length(now - self.started_at)));
        if let Some(memory) = &self.memory {
            parts.push(format!("memory {} of {} MB", memory.used_bytes >> 20, memory.quota_bytes >> 20));
        }
        let database = &self.database;
        let kind = database.kind.as_deref().unwrap_or_default();
        match database.state.as_str() {
            "ok" => parts.push(format!("database {kind}")),
            "down" => {
                let problem = database.problem.as_deref().unwrap_or_default();
                parts.push(style(format!("database does not answer: {problem}")).red().to_string());
            }
            _ => {}
        }
        let warning = database.warning.as_ref().map(|warning| format!("\nwarning: {warning}"));
        format!("{}{}", parts.join(", "), warning.unwrap_or_default())
    }
}

impl Job {
    fn line(&self, name: &str, now: DateTime<Utc>) -> String {
        let last = match self.runs.first() {
            None => "not run yet".to_owned(),
            Some(Run { outcome: None, .. }) => "runs now".to_owned(),
            Some(Run { outcome: Some(outcome), detail, ended_at }) => {
                let when = ended_at.map(|at| format!(" {} ago", length(now - at))).unwrap_or_default();
                let detail = detail.as_ref().map(|detail| format!(": {detail}"));
                let good = outcome == "ok";
                let words = format!("{outcome}{when}{}", detail.filter(|_| !good).unwrap_or_default());
                if good { words } else { style(words).yellow().to_string() }
            }
        };
        let next = self
            .next_at
            .map_or_else(|| "not enabled".to_owned(), |at| format!("next in {}", length(at - now)));
        format!("job {name}: {last}; {next}")
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

    fn line(&self, width: usize, now: DateTime<Utc>) -> String {
        let words = style(format!("{:width$}", self.words()));
        let words = match self.state.as_str() {
            "open" => words.green(),
            "parked" | "logged_out" | "waiting_for_database" => words.red(),
            _ => words.yellow(),
        };
        let mut parts = vec![format!("{words}  for {}", length(now - self.since))];
        if let Some(at) = self.next_attempt_at.filter(|at| *at > now) {
            parts.push(format!("next attempt in {}", length(at - now)));
        }
        parts.push(format!("{} in, {} out", self.messages_in, self.messages_out));
        parts.push(format!("{} reconnects", self.reconnects));
        parts.extend(
            self.last_backup.iter().map(|backup| format!("backup {} ago", length(now - backup.checked_at))),
        );
        parts.extend(self.dyno.holder.iter().map(|holder| format!("on {holder}")));
        parts.join(", ")
    }

    /// What a person should know beside the line.
    fn details(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(ended) = self.last_disconnect.as_ref().filter(|_| self.state != "open") {
            lines.push(format!("{} ({})", ended.text, ended.reason));
        }
        let child = self.hosted.as_ref().map(|hosted| &hosted.child).filter(|child| child.state != "running");
        if let Some(child) = child {
            let exit = child.last_exit.as_ref().map(|exit| format!(", last run: {exit}"));
            lines.push(format!("program: {}{}", child.state, exit.unwrap_or_default()));
        }
        if let Some(webhook) = self.webhook.as_ref().filter(|webhook| webhook.waiting + webhook.dead > 0) {
            let problem = webhook.problem.as_ref().map(|problem| format!(": {}", problem.text));
            let (waiting, dead) = (webhook.waiting, webhook.dead);
            lines.push(format!("webhook: {waiting} waiting, {dead} dead{}", problem.unwrap_or_default()));
        }
        lines.extend(self.backup_problem.iter().map(|problem| format!("no backup: {problem}")));
        lines.extend(self.advice.clone());
        lines.extend(self.warnings.iter().map(|warning| format!("warning: {}", warning.text)));
        lines
    }
}

/// In the two largest units.
pub(super) fn length(duration: chrono::Duration) -> String {
    let seconds = duration.num_seconds().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_says_what_there_is_and_what_is_wrong() {
        console::set_colors_enabled(false);
        let now: DateTime<Utc> = "2026-01-02T12:00:00Z".parse().expect("a time");
        let answer = json!({
            "version": "1.2.3", "started_at": "2026-01-02T09:00:00Z", "dyno": "web.1", "stopping": false,
            "memory": { "used_bytes": 41 << 20, "quota_bytes": 512 << 20, "tight": false },
            "database": { "state": "ok", "kind": "postgresql", "warning": null },
            "anti_idle": { "targets": [{ "target": "self", "last": { "problem": "no answer within 30 s" } }] },
            "jobs": {
                "look": { "next_at": "2026-01-02T12:30:00Z", "runs": [
                    { "outcome": "failed", "detail": "status 500", "ended_at": "2026-01-02T11:59:00Z" },
                ] },
                "save": { "next_at": null, "runs": [] },
            },
            "bots": {
                "main": {
                    "state": "open", "since": "2026-01-02T09:46:00Z", "messages_in": 12, "messages_out": 7,
                    "reconnects": 2, "last_backup": { "checked_at": "2026-01-02T11:57:00Z" },
                    "dyno": { "role": "holder", "holder": "web.1" },
                    "webhook": { "waiting": 3, "dead": 1, "problem": { "text": "nothing listens there" } },
                    "last_disconnect": { "reason": "eof", "text": "It ended." },
                },
                "shop": {
                    "state": "parked", "reason": "refused", "since": "2026-01-02T11:59:30Z",
                    "advice": "Look at the phone.", "hosted": { "child": { "state": "crash_loop", "last_exit": "code 1" } },
                    "warnings": [{ "text": "5 attempts failed." }], "backup_problem": "too large",
                    "last_disconnect": { "reason": "failure_403", "text": "WhatsApp refused the login." },
                },
            },
        });
        let report = Report::of(&answer).expect("a report");
        let wanted = "\
main  open              for 2 h 14 min, 12 in, 7 out, 2 reconnects, backup 3 min 0 s ago, on web.1
      webhook: 3 waiting, 1 dead: nothing listens there
shop  parked (refused)  for 30 s, 0 in, 0 out, 0 reconnects
      WhatsApp refused the login. (failure_403)
      program: crash_loop, last run: code 1
      no backup: too large
      Look at the phone.
      warning: 5 attempts failed.
job look: failed 1 min 0 s ago: status 500; next in 30 min 0 s
job save: not run yet; not enabled
anti-idle: self does not answer: no answer within 30 s
blacksky 1.2.3, on web.1, up 3 h 0 min, memory 41 of 512 MB, database postgresql";
        assert_eq!(report.table(now), wanted);
        assert!(!report.all_open());
    }

    #[test]
    fn a_status_of_an_older_version_is_read() {
        let answer = json!({ "started_at": "2026-01-02T09:00:00Z", "bots": {} });
        let report = Report::of(&answer).expect("a report");
        assert!(!report.all_open(), "no bot is not all bots");
        assert_eq!(report.table(report.started_at), "there is no enabled bot\nblacksky, up 0 s");
    }
}
