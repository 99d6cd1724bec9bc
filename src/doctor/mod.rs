//! Live checks of the environment: `blacksky doctor`.
//!
//! Nothing is changed: tables are not brought up, no lease is taken, what is written is taken back. Every check
//! has a deadline and all run at once, but they are told in order. No message holds a secret, and hosts only where
//! they are not the database's.

mod configuration;
mod database;
mod hosted;
mod machine;
mod page;
mod targets;
#[cfg(test)]
mod tests;
mod whatsapp;

use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::{self, StreamExt as _};
use serde::Serialize;

use crate::config::{Client, Loaded, Problems};
use crate::link::LinkAddress;
use crate::link::dial::{self, Network};

/// The longest a check may take, when it does not say otherwise.
const DEADLINE: Duration = Duration::from_secs(10);
/// For the ones that wait for several answers.
const LONG_DEADLINE: Duration = Duration::from_secs(25);
/// Checks at the same time.
const AT_ONCE: usize = 16;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// It works, and somebody should know; or it is nobody's fault here.
    Warn,
    /// It does not work.
    Fail,
    /// It could not be looked at, since something else failed, or does not apply.
    Skip,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at; a stable word, such as `database.tls`.
    pub check: String,
    pub outcome: Outcome,
    /// What is so.
    pub message: String,
    /// What to do about it.
    pub todo: Option<String>,
}

impl Finding {
    fn ok(check: impl Into<String>, message: impl Into<String>) -> Self {
        Self { check: check.into(), outcome: Outcome::Ok, message: message.into(), todo: None }
    }

    fn skip(check: impl Into<String>, message: impl Into<String>) -> Self {
        Self { outcome: Outcome::Skip, ..Self::ok(check, message) }
    }

    fn warn(check: impl Into<String>, message: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { outcome: Outcome::Warn, todo: Some(todo.into()), ..Self::ok(check, message) }
    }

    fn fail(check: impl Into<String>, message: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { outcome: Outcome::Fail, ..Self::warn(check, message, todo) }
    }
}

/// Some findings about one thing, under one deadline.
struct Check<'c> {
    name: &'static str,
    deadline: Duration,
    work: BoxFuture<'c, Vec<Finding>>,
}

impl<'c> Check<'c> {
    fn new(name: &'static str, work: impl Future<Output = Vec<Finding>> + Send + 'c) -> Self {
        Self { name, deadline: DEADLINE, work: work.boxed() }
    }

    fn within(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    async fn run(self) -> Vec<Finding> {
        match tokio::time::timeout(self.deadline, self.work).await {
            Ok(findings) => findings,
            Err(_) => vec![Finding::fail(
                self.name,
                format!("did not come to an end within {} s", self.deadline.as_secs()),
                "look for what is slow or swallows packets: a firewall, a disk, a database under load",
            )],
        }
    }
}

/// The only finding about a configuration that does not hold: nothing else can be looked at.
pub fn of_problems(problems: &Problems) -> Vec<Finding> {
    configuration::broken(problems)
}

/// Looks at everything and tells each finding in order. `link` is where WhatsApp is; `None` when this build may
/// not dial it.
pub async fn examine(loaded: &Loaded, link: Option<LinkAddress>, tell: impl FnMut(Finding)) {
    run(checks(loaded, link), tell).await;
}

async fn run(checks: Vec<Check<'_>>, mut tell: impl FnMut(Finding)) {
    let mut running = stream::iter(checks.into_iter().map(Check::run)).buffered(AT_ONCE);
    while let Some(findings) = running.next().await {
        findings.into_iter().for_each(&mut tell);
    }
}

fn checks(loaded: &Loaded, link: Option<LinkAddress>) -> Vec<Check<'_>> {
    let config = &loaded.config;
    let mut checks = vec![
        Check::new("config", async { configuration::holds(loaded) }),
        Check::new("port", page::port(config)),
        Check::new("admin_token", async { page::admin_token(config) }),
        Check::new("address", page::address(config)),
        Check::new("disk", async { machine::disk(config) }),
        Check::new("memory", async { machine::memory(config) }),
        Check::new("database", database::look(config)).within(LONG_DEADLINE),
    ];
    checks.push(match link {
        Some(address) => {
            let silence = config.heartbeat.period.get() + config.heartbeat.deadline.get();
            let (host, is_whatsapp) = whatsapp::named(&address);
            let network = Network { address, silence };
            Check::new("whatsapp", async move { whatsapp::reach(&network, &host, is_whatsapp).await })
                .within(dial::DEADLINE + Duration::from_secs(1))
        }
        None => Check::new("whatsapp", async { whatsapp::not_by_this_build() }),
    });
    for (name, bot) in &config.bots {
        if let (true, Client::Hosted(bot)) = (bot.enabled, &bot.client) {
            checks.push(Check::new("bot", hosted::look(config, name, bot)));
        }
    }
    checks.push(Check::new("targets", targets::look(config)));
    checks
}
