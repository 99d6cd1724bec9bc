//! Doing what a job says, once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::Signal;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::bot::hosted::child::{Child, Exit, Happening, Line, Redactor, Shown, Spec, environment};
use crate::bot::outgoing::{self, Content, What};
use crate::config::{self, ChatAddress, Job, JobAction, inherited};
use crate::link::tls;
use crate::runtime::clock;
use crate::store::{Accepted, Backed, JobOutcome, NewOutgoing, Store, StoreError};

/// What is kept of the output, in bytes: its end.
const OUTPUT: usize = 4096;
/// From SIGTERM to SIGKILL for a program that takes too long or is in the way of a stop.
const GRACE: Duration = Duration::from_secs(3);
/// Tries of a backup whose session changes hands in between.
const TRIES: u32 = 3;

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    pub outcome: JobOutcome,
    /// In words.
    pub detail: String,
    /// The end of what a program wrote, without secrets.
    pub output: String,
}

impl Done {
    fn new(outcome: JobOutcome, detail: impl Into<String>) -> Self {
        Self { outcome, detail: detail.into(), output: String::new() }
    }

    pub fn ok(detail: impl Into<String>) -> Self {
        Self::new(JobOutcome::Ok, detail)
    }

    pub fn failed(detail: impl Into<String>) -> Self {
        Self::new(JobOutcome::Failed, detail)
    }

    /// blacksky ends.
    pub fn interrupted() -> Self {
        Self::new(JobOutcome::Interrupted, "blacksky stopped")
    }
}

/// What an action needs.
#[derive(Debug, Clone)]
pub struct Means {
    pub store: Store,
    pub backup: config::Backup,
    /// The session of each enabled bot.
    pub sessions: Vec<(String, String)>,
    /// Where programs run.
    pub folder: PathBuf,
}

/// Asks bots, wherever they run, to start anew.
#[async_trait]
pub trait Restarter: Send + Sync {
    /// How that went.
    async fn restart(&self, bot: &str) -> Done;
}

/// Does it. Ends early when `stop` is cancelled.
pub async fn perform(
    name: &str,
    job: &Job,
    means: &Means,
    restarter: &dyn Restarter,
    stop: &CancellationToken,
) -> Done {
    let timeout = job.timeout.get();
    let doing = async {
        match &job.action {
            // It has its own way to end.
            JobAction::Run(command) => run(name, command, &means.folder, timeout, stop).await,
            JobAction::Ping(url, status) => ping(url, *status, timeout).await,
            JobAction::Send { bot, to, text } => send(means, bot, to, text).await,
            JobAction::Backup => back_up(means).await,
            JobAction::Restart(bot) => restarter.restart(bot).await,
        }
    };
    if let JobAction::Run(_) = job.action {
        return doing.await;
    }
    tokio::select! {
        done = doing => done,
        () = stop.cancelled() => Done::interrupted(),
        () = tokio::time::sleep(timeout) => Done::failed(format!("not done within {}", job.timeout)),
    }
}

/// Puts a text into the outbox of a bot, which sends it when its link is open.
async fn send(means: &Means, bot: &str, to: &ChatAddress, text: &str) -> Done {
    let session = means.sessions.iter().find(|(name, _)| name == bot).map(|(_, session)| session);
    // The configuration was checked for both.
    let (Some(session), Some(to)) = (session, ChatAddress::jid_of(&to.0)) else {
        return Done::failed("there is no such bot");
    };
    let content = Content { to, what: What::Text { text: text.to_owned(), quotes: None } }.text();
    let id = outgoing::message_id();
    let new = NewOutgoing { id: &id, key: None, content: &content, at: clock::now(), file: None };
    match means.store.put_outgoing(session, new).await {
        Ok(Accepted::Full) => Done::failed("too many messages of the bot wait to be sent"),
        Ok(_) => Done::ok("handed to the bot"),
        Err(error) => Done::failed(error.to_string()),
    }
}

async fn ping(url: &Url, expected: Option<u16>, timeout: Duration) -> Done {
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls::config().as_ref().clone())
        .timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("blacksky/", env!("CARGO_PKG_VERSION")))
        .build();
    let answer = match client {
        Ok(client) => client.get(url.clone()).send().await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(answer) => {
            let status = answer.status().as_u16();
            match expected {
                Some(expected) if status == expected => Done::ok(format!("HTTP {status}")),
                Some(expected) => Done::failed(format!("HTTP {status}, not {expected}")),
                None if status < 400 => Done::ok(format!("HTTP {status}")),
                None => Done::failed(format!("HTTP {status}")),
            }
        }
        Err(error) if error.is_timeout() => Done::failed(format!("no answer within {} s", timeout.as_secs())),
        Err(error) if error.is_connect() => {
            Done::failed("nothing listens there, or its name or certificate is wrong")
        }
        // The address may hold a token.
        Err(error) => Done::failed(error.without_url().to_string()),
    }
}

async fn back_up(means: &Means) -> Done {
    let (mut written, mut unchanged, mut failed) = (0, 0, Vec::new());
    for (bot, session) in &means.sessions {
        let mut tries = 1;
        let backed = loop {
            match means.store.back_up(session, None, &means.backup).await {
                Err(StoreError::Fenced) if tries < TRIES => tries += 1,
                result => break result,
            }
        };
        match backed {
            Ok(Backed::Written(_)) => written += 1,
            Ok(Backed::Unchanged(_) | Backed::NotLinked) => unchanged += 1,
            Err(error) => failed.push(format!("{bot}: {error}")),
        }
    }
    if failed.is_empty() {
        return Done::ok(format!("{written} written, {unchanged} with nothing new"));
    }
    Done::failed(failed.join("; "))
}

async fn run(
    name: &str,
    command: &[String],
    folder: &Path,
    timeout: Duration,
    stop: &CancellationToken,
) -> Done {
    let mut environment = environment::without_ours(inherited());
    environment.push(("BLACKSKY_JOB".into(), name.into()));
    let spec = Spec {
        // What an earlier run left behind is that one's.
        name: format!("job {name} {:016x}", rand::random::<u64>()),
        key: format!("jobs.{name}.run"),
        command: command.to_vec(),
        folder: folder.to_owned(),
        environment,
    };
    let mut child = match Child::start(&spec) {
        Ok(child) => child,
        Err(error) => return Done::failed(error.to_string()),
    };
    let mut output = Output { name, redactor: Redactor::of_process(), text: String::new() };
    let over = tokio::time::sleep(timeout);
    let mut over = std::pin::pin!(over);
    let (exit, done) = loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break (None, Done::interrupted()),
            () = &mut over => {
                let detail = format!("not done within {}: it was ended", config::Period(timeout));
                break (None, Done::failed(detail));
            }
            happening = child.next() => match happening {
                Happening::Line(line) => output.push(&line),
                Happening::Exited(exit) => {
                    let detail = exit.to_string();
                    let outcome = match exit {
                        Exit::Code(0) => JobOutcome::Ok,
                        // The platform sends it to every process when the dyno stops.
                        Exit::Signal(signal) if signal == Signal::TERM.as_raw() => JobOutcome::Interrupted,
                        Exit::Code(_) | Exit::Signal(_) | Exit::Stuck => JobOutcome::Failed,
                    };
                    break (Some(exit), Done::new(outcome, detail));
                }
            },
        }
    };
    // What it started ends with it.
    let grace = if exit.is_some() { Duration::ZERO } else { GRACE };
    child.stop(grace, |line| output.push(&line)).await;
    Done { output: output.text, ..done }
}

/// The end of what a program writes.
struct Output<'n> {
    name: &'n str,
    redactor: Redactor,
    text: String,
}

impl Output<'_> {
    fn push(&mut self, line: &Line) {
        let Shown::Text { log, .. } = self.redactor.show(&line.raw) else { return };
        tracing::info!(job = self.name, "{log}");
        self.text.push_str(&log);
        self.text.push('\n');
        if let Some(excess) = self.text.len().checked_sub(OUTPUT) {
            let cut = (excess..self.text.len()).find(|&place| self.text.is_char_boundary(place));
            self.text.drain(..cut.unwrap_or(excess));
        }
    }
}

#[cfg(test)]
#[path = "action_tests.rs"]
mod tests;
