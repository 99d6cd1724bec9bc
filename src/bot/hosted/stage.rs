//! What a hosted bot's program finds around it: its port, a private folder for temporary files, the relay and
//! the preload that leads its WebSocket there.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

use super::Hosted;
use super::child::{Line, Redactor, Shown, Spec, environment};
use super::preload::{self, Preload};
use crate::config::inherited;
use crate::link::relay::{Relay, Report, Setting};

/// The surroundings of a bot for as long as its lease is held.
pub struct Stage {
    relay: Relay,
    /// Without it the bot goes around the relay.
    preload: Option<Preload>,
    /// Its folder goes when this is dropped.
    scratch: tempfile::TempDir,
    port: u16,
}

impl Stage {
    /// Makes the surroundings.
    ///
    /// # Errors
    /// The folder for temporary files cannot be made, or no port of this machine can be had.
    pub async fn set(hosted: &Hosted) -> io::Result<Self> {
        // Only its owner may look into it.
        let scratch = tempfile::Builder::new().prefix("blacksky-").tempdir().map_err(|error| {
            let help = "set TMPDIR to a folder that can be written";
            io::Error::new(error.kind(), format!("no private folder for temporary files ({error}): {help}"))
        })?;
        let relay = Relay::start(Setting {
            upstream: hosted.link.clone(),
            deadline: hosted.heartbeat.deadline.get(),
            backoff: hosted.backoff,
        })
        .await?;
        let preload = Preload::write(scratch.path())
            .inspect_err(|error| {
                tracing::error!(bot = %hosted.name, %error, "the preload cannot be written: the bot starts without it, and goes around the relay");
            })
            .ok();
        Ok(Self { relay, preload, scratch, port: free_port()? })
    }

    /// The port that the bot is given.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How to start the program.
    pub fn spec(&self, hosted: &Hosted) -> Spec {
        let (options, more) = match &self.preload {
            Some(preload) => {
                (preload.node_options(), preload::variables(&self.relay.address(), hosted.bot.relay))
            }
            None => (String::new(), Vec::new()),
        };
        let given = environment::Given {
            port: self.port,
            scratch: self.scratch.path(),
            node_options: &options,
            more,
            session: &hosted.session,
            memory: hosted.memory,
            command: &hosted.bot.command,
        };
        Spec {
            name: hosted.name.clone(),
            key: format!("bots.{}.command", hosted.name),
            command: hosted.bot.command.clone(),
            folder: hosted.folder.clone(),
            environment: environment::of(inherited(), &given),
        }
    }

    /// Knows what must not be shown of the bot's output.
    pub fn redactor(&self) -> Redactor {
        Redactor::of_process()
    }

    /// Logs what the bot says while it is being stopped.
    pub fn last_words(&self, bot: &str, line: &Line) {
        if let Shown::Text { log, .. } = self.redactor().show(&line.raw) {
            tracing::info!(bot, "{log}");
        }
    }

    /// What comes from the relay.
    pub async fn next(&mut self) -> Report {
        self.relay.next().await
    }

    /// Lets the bot dial.
    pub fn admit(&self) {
        self.relay.admit();
    }

    /// Ends the bot's link, and lets it dial no more.
    pub fn refuse(&self) {
        self.relay.refuse();
        self.relay.cut();
    }

    /// Ends the bot's link; its next dial need not wait.
    pub fn reconnect(&self) {
        self.relay.cut();
        self.relay.at_once();
    }
}

/// A port of this machine that nobody uses.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
