//! The processes of a hosted bot: one run of its command, with all it starts.
//!
//! The command runs in a process group of its own, and signals go to the whole group. Its output comes line by
//! line, bounded in length and rate, so that a bot that floods its log neither fills the memory nor slows others.
//! [`Child::stop`] returns only once every process is gone, those that left the group included.

pub mod environment;
mod group;
pub(super) mod output;
pub mod redact;
mod restart;
mod tail;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use group::Group;
pub use output::Line;
pub use redact::{Redactor, Shown};
pub use restart::{Restart, Restarts};
pub use tail::Tail;

/// Lines on their way to the owner; more make the readers wait.
const LINES: usize = 64;
/// After the program has ended: for what it wrote last, while something it started may still hold the pipe.
const LAST_LINES: Duration = Duration::from_millis(500);
/// After SIGKILL: a process ends at once, unless the system is stuck.
const KILLED: Duration = Duration::from_secs(2);

/// How to start a bot's program.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The bot's name, by which processes that an earlier run left behind are known.
    pub name: String,
    /// The key of the file that names the program.
    pub key: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Where it runs.
    pub folder: PathBuf,
    /// All of its environment; see [`environment::of`].
    pub environment: Vec<(OsString, OsString)>,
}

/// Why a program could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("there is no command: set {key}, for example to [\"node\", \"index.js\"]")]
    Empty { key: String },
    #[error(
        "the program \"{program}\" of {key} is not there: check its name, and that the build installs \
         it (on Heroku a Node bot needs the buildpack heroku/nodejs)"
    )]
    NotFound { key: String, program: String },
    #[error("the program \"{program}\" of {key} is not executable: try `chmod +x {program}`")]
    NotExecutable { key: String, program: String },
    #[error("the folder {folder} of {key} cannot be entered: {problem}")]
    Folder { key: String, folder: String, problem: io::Error },
    #[error("the program \"{program}\" of {key} could not be started: {problem}")]
    Other { key: String, program: String, problem: io::Error },
}

/// What comes from a running bot.
#[derive(Debug)]
pub enum Happening {
    Line(Line),
    Exited(Exit),
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It did not end although it was killed.
    Stuck,
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, Some(signal)) => Self::Signal(signal),
            (None, None) => Self::Stuck,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(9) => f.write_str("killed (signal 9)"),
            Self::Signal(signal) => write!(f, "ended by signal {signal}"),
            Self::Stuck => f.write_str("it does not end"),
        }
    }
}

/// One run of a bot's program. Dropping it kills the group.
#[derive(Debug)]
pub struct Child {
    leader: tokio::process::Child,
    group: Group,
    lines: mpsc::Receiver<Line>,
    _readers: [AbortOnDropHandle<()>; 2],
    exit: Option<Exit>,
}

impl Child {
    /// Starts the program in a process group of its own. Its input is empty.
    ///
    /// # Errors
    /// It is not there, not executable, or its folder cannot be entered.
    pub fn start(spec: &Spec) -> Result<Self, StartError> {
        let key = || spec.key.clone();
        let Some((program, arguments)) = spec.command.split_first() else {
            return Err(StartError::Empty { key: key() });
        };
        if let Err(problem) = std::fs::read_dir(&spec.folder) {
            let folder = spec.folder.display().to_string();
            return Err(StartError::Folder { key: key(), folder, problem });
        }
        group::kill_orphans(&spec.name, &spec.folder);
        let (mark, value) = group::mark(&spec.name, &spec.folder);
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(&spec.folder)
            .env_clear()
            .envs(spec.environment.iter().map(|(name, value)| (name, value)))
            .env(mark, &value)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut leader = command.spawn().map_err(|problem| {
            let program = program.clone();
            match problem.kind() {
                io::ErrorKind::NotFound => StartError::NotFound { key: key(), program },
                io::ErrorKind::PermissionDenied => StartError::NotExecutable { key: key(), program },
                _ => StartError::Other { key: key(), program, problem },
            }
        })?;
        let group = Group::new(leader.id(), value);
        let (sender, lines) = mpsc::channel(LINES);
        let out = output::read(leader.stdout.take(), false, sender.clone());
        let err = output::read(leader.stderr.take(), true, sender);
        let _readers = [AbortOnDropHandle::new(tokio::spawn(out)), AbortOnDropHandle::new(tokio::spawn(err))];
        Ok(Self { leader, group, lines, _readers, exit: None })
    }

    /// The next line, or the end of the program once what it wrote is read. Safe to drop.
    pub async fn next(&mut self) -> Happening {
        if self.exit.is_none() {
            tokio::select! {
                biased;
                Some(line) = self.lines.recv() => return Happening::Line(line),
                status = self.leader.wait() => self.exit = Some(status.map_or(Exit::Stuck, Exit::from)),
            }
        }
        let exit = self.exit.unwrap_or(Exit::Stuck);
        match tokio::time::timeout(LAST_LINES, self.lines.recv()).await {
            Ok(Some(line)) => Happening::Line(line),
            Ok(None) | Err(_) => Happening::Exited(exit),
        }
    }

    /// Resident memory and swap of all its processes in bytes; `None` where there is no /proc.
    pub async fn memory(&self) -> Option<u64> {
        let group = self.group.clone();
        tokio::task::spawn_blocking(move || group.memory()).await.ok().flatten()
    }

    /// Ends all its processes: SIGTERM to the group, SIGKILL after `grace`. `line` gets what they write meanwhile.
    pub async fn stop(mut self, grace: Duration, mut line: impl FnMut(Line)) -> Exit {
        if self.exit.is_none() {
            self.group.signal(Signal::TERM);
        }
        let gone = async {
            loop {
                match self.next().await {
                    Happening::Line(said) => line(said),
                    Happening::Exited(exit) => {
                        self.group.gone().await;
                        break exit;
                    }
                }
            }
        };
        if let Ok(exit) = tokio::time::timeout(grace, gone).await {
            return exit;
        }
        self.group.kill_all().await;
        let reaped = tokio::time::timeout(KILLED, self.leader.wait()).await;
        let exit = match (self.exit, reaped) {
            (Some(exit), _) => exit,
            (None, Ok(Ok(status))) => Exit::from(status),
            (None, _) => Exit::Stuck,
        };
        while let Ok(said) = self.lines.try_recv() {
            line(said);
        }
        exit
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.group.signal(Signal::KILL);
    }
}

#[cfg(test)]
mod tests;
