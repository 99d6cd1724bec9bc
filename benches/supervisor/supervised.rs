//! The same bot under one supervisor or another, or none.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use blacksky::sim::{Handle, Server};
use tokio::process::{Child, Command};

use crate::support::eventually::eventually;
use crate::support::node::{self, pair_node};
use crate::support::sim::PATIENCE;

/// A session folder that nobody wrote to for so long is complete.
const AT_REST: Duration = Duration::from_millis(500);
/// Writes to the bots.
const FRIEND: &str = "4915100000030";

pub enum Supervisor {
    None,
    /// With its session at this URL.
    Blacksky(String),
    Pm2 {
        program: PathBuf,
        /// All that it writes.
        home: PathBuf,
    },
}

pub struct Supervised {
    pub name: &'static str,
    supervisor: Supervisor,
    folder: PathBuf,
    number: &'static str,
    url: String,
    /// What was started: the bot itself, or blacksky. pm2 leaves its daemon behind.
    child: Option<Child>,
    words: usize,
}

impl Supervisor {
    /// pm2, if it is there.
    pub fn pm2(root: &Path) -> Option<Self> {
        let named = std::env::var_os("BENCH_PM2").map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let on_path =
            || std::env::split_paths(&path).map(|folder| folder.join("pm2")).find(|file| file.exists());
        let program = named.or_else(on_path)?;
        assert!(program.exists(), "BENCH_PM2={} is not there", program.display());
        let home = root.join("pm2");
        std::fs::create_dir_all(&home).expect("a folder");
        Some(Self::Pm2 { program, home })
    }
}

impl Supervised {
    pub fn new(name: &'static str, supervisor: Supervisor, root: &Path, number: &'static str) -> Self {
        let folder = root.join(number);
        std::fs::create_dir_all(&folder).expect("a folder");
        Self { name, supervisor, folder, number, url: String::new(), child: None, words: 0 }
    }

    /// Links the bot for the first time, without any supervisor.
    pub async fn link(&mut self, server: &Server) {
        self.url = server.url();
        let bot = pair_node(server, &self.folder.join("session"), self.number, &[]).await;
        self.settle(&server.handle()).await;
        bot.stop().await;
    }

    pub fn is_supervised(&self) -> bool {
        !matches!(self.supervisor, Supervisor::None)
    }

    /// Baileys writes its files without waiting for them, and one that is ended meanwhile may have lost its login:
    /// waits until it has answered and its folder is at rest.
    pub async fn settle(&mut self, phone: &Handle) {
        self.words += 1;
        let word = format!("word {}", self.words);
        phone.send_text(FRIEND, self.number, &word).expect("sent");
        let echo = phone.wait_for_text(FRIEND, &format!("echo: {word}"), PATIENCE).await;
        assert!(echo.is_ok(), "the bot under {} does not answer {word}", self.name);
        let at_rest = || {
            let entries = std::fs::read_dir(self.folder.join("session")).ok()?.flatten();
            let changed = entries.filter_map(|entry| entry.metadata().ok()?.modified().ok()).max()?;
            changed.elapsed().ok().filter(|since| *since > AT_REST)
        };
        eventually("its folder is at rest", PATIENCE, async || at_rest().is_some()).await;
    }

    /// Starts the supervisor with its bot; returns at once.
    pub async fn start(&mut self) {
        let bot = node::folder().join("bot.mjs");
        let mut command = match &self.supervisor {
            Supervisor::None => {
                let mut command = Command::new("node");
                command.arg(&bot).env("SIM_URL", &self.url);
                command
            }
            Supervisor::Blacksky(database) => {
                let file = format!(
                    "[bots.main]\nkind = \"hosted\"\ncommand = [\"node\", {:?}]\nsession_dir = \"session\"\n",
                    bot.display().to_string()
                );
                std::fs::write(self.folder.join("blacksky.toml"), file).expect("written");
                let mut command = Command::new(env!("CARGO_BIN_EXE_blacksky"));
                command.args(["run", "--link", &self.url]).env("PORT", "0");
                command.env("DATABASE_URL", database).env("BLACKSKY_DATABASE_TLS", "disable");
                command.env("BLACKSKY_SECRET_KEY", "a secret key for the benchmark");
                command
            }
            Supervisor::Pm2 { .. } => {
                let mut command = self.pm2(&["start"]);
                command.arg(&bot).args(["--name", "bot"]).env("SIM_URL", &self.url);
                command
            }
        };
        command.current_dir(&self.folder).env("SESSION_DIR", self.folder.join("session")).env("ORDERS", "no");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        self.child = Some(command.spawn().expect("it starts"));
    }

    /// A command of pm2, which keeps to its own folder and asks nobody for news.
    fn pm2(&self, args: &[&str]) -> Command {
        let Supervisor::Pm2 { program, home } = &self.supervisor else { panic!("not under pm2") };
        let mut command = Command::new(program);
        command.args(args).env("HOME", home).env("PM2_HOME", home).env("TMPDIR", home);
        command.env("PM2_DISABLE_VERSION_CHECK", "true");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// The supervisor's process.
    pub fn daemon(&self) -> Option<u32> {
        match &self.supervisor {
            Supervisor::None => None,
            Supervisor::Blacksky(_) => self.child.as_ref()?.id(),
            Supervisor::Pm2 { home, .. } => {
                let text = std::fs::read_to_string(home.join("pm2.pid")).ok()?;
                text.trim().parse().ok()
            }
        }
    }

    /// The bot's process.
    pub fn bot(&self) -> u32 {
        match self.daemon() {
            None => self.child.as_ref().and_then(Child::id).expect("it runs"),
            Some(daemon) => child_of(daemon).unwrap_or_else(|| panic!("{} has no child", self.name)),
        }
    }

    /// Asks the supervisor to restart the bot alone, if it has a command for that.
    pub async fn restart(&self) -> bool {
        if !matches!(self.supervisor, Supervisor::Pm2 { .. }) {
            return false;
        }
        assert!(self.pm2(&["restart", "bot"]).status().await.expect("pm2 runs").success());
        true
    }

    /// Ends all of it, and waits for that.
    pub async fn stop(&mut self) {
        let mut child = self.child.take().expect("it was started");
        if matches!(self.supervisor, Supervisor::Pm2 { .. }) {
            child.wait().await.expect("pm2 start ends");
            let daemon = self.daemon().expect("its daemon runs");
            assert!(self.pm2(&["kill"]).status().await.expect("pm2 runs").success());
            // Whoever should wait for it may not: a zombie has ended.
            let gone = || stat(daemon).is_none_or(|(state, _)| state == "Z");
            eventually("the daemon ends", PATIENCE, async || gone()).await;
            return;
        }
        kill(child.id().expect("it runs"), "TERM").await;
        tokio::time::timeout(PATIENCE, child.wait()).await.expect("it ends in time").expect("waitable");
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        // After a failure: the daemon is nobody's child.
        let left = self.child.is_some() && matches!(self.supervisor, Supervisor::Pm2 { .. });
        if let (true, Some(daemon)) = (left, self.daemon()) {
            let _ = std::process::Command::new("kill").arg(daemon.to_string()).status();
        }
    }
}

/// Sends the named signal.
pub async fn kill(pid: u32, signal: &str) {
    let sent = Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).status().await;
    assert!(sent.is_ok_and(|status| status.success()), "kill -{signal} {pid} failed");
}

/// A process whose parent this is.
fn child_of(parent: u32) -> Option<u32> {
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .find(|pid| stat(*pid).is_some_and(|(state, of)| of == parent && state != "Z"))
}

/// State and parent of a process.
fn stat(pid: u32) -> Option<(String, u32)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}
