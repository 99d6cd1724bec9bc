//! What Heroku does to a process, for real.
//!
//! A [`Dyno`] is a group of processes under an account of its own (where the tests may choose one), in a
//! fresh folder that holds the slug and nothing else. The platform gives it PORT and DYNO, kills it when the
//! port is not bound in time (R10), watches its memory (R14, R15), ends it by SIGTERM to every process and
//! by SIGKILL after the grace (R12). An [`App`] is the formation above it, with a [`Router`] in front.
//! Times are Heroku's; a test shortens what it cannot wait for.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::RngExt;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::task::AbortOnDropHandle;

mod app;
mod processes;
mod router;
mod slug;

pub use app::App;
pub use router::{Limits, Router, Table};
pub use slug::{Rules, Slug};

use processes::{Members, listening};

/// What a platform notes about a dyno, by Heroku's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// The port was not bound in time: killed.
    R10,
    /// Not ended in time after SIGTERM: killed.
    R12,
    /// More memory than the quota.
    R14,
    /// Twice the quota: killed.
    R15,
}

/// Where a dyno is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Started; its port is not bound yet.
    Starting,
    /// Its port is bound.
    Up,
    /// SIGTERM has been sent.
    Stopping,
    /// All its processes are gone.
    Ended(End),
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Exit code and signal of its first process.
    pub status: ExitStatus,
    /// SIGTERM had been sent: anything else is a crash.
    pub asked: bool,
    /// From SIGTERM to the end.
    pub took: Option<Duration>,
}

/// A running dyno; killed, all of it, when dropped.
pub struct Dyno {
    /// As DYNO says it; the successor of a dyno has the same name while both run.
    pub name: String,
    /// Port of its web process on loopback.
    pub port: Option<u16>,
    /// Start of the process.
    pub started: Instant,
    members: Members,
    folder: tempfile::TempDir,
    shared: Arc<Shared>,
    orders: mpsc::UnboundedSender<()>,
    _supervisor: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Shared {
    state: watch::Sender<State>,
    log: Mutex<String>,
    codes: Mutex<Vec<Code>>,
    /// The highest number of bytes seen.
    peak: Mutex<u64>,
}

impl Dyno {
    /// Starts `slug` as `name`.
    pub fn start(slug: &Slug, name: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("dyno-").tempdir_in(base()).expect("a folder");
        let user = account(Path::new(&slug.command[0]));
        let app = folder.path().join("app");
        let tmp = folder.path().join("tmp");
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("permissions");
        for path in [&app, &tmp] {
            fs::create_dir(path).expect("a folder");
        }
        if let Some(archive) = &slug.archive {
            let unpacked =
                std::process::Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(&app).status();
            assert!(unpacked.expect("tar").success(), "{} cannot be unpacked", archive.display());
        }
        for (file, text) in &slug.files {
            let path = app.join(file);
            fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder");
            fs::write(path, text).expect("a file of the slug");
        }
        give(folder.path(), user);
        // After the folder was given away: what a link points to is not the dyno's.
        for (name, target) in &slug.links {
            std::os::unix::fs::symlink(target, app.join(name)).expect("a link of the slug");
        }

        let port = (slug.process == "web").then(free_port);
        let mut command = Command::new(&slug.command[0]);
        command
            .args(&slug.command[1..])
            .current_dir(&app)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &app)
            .env("TMPDIR", &tmp)
            .env("DYNO", name)
            .envs(port.map(|port| ("PORT", port.to_string())))
            .envs(&slug.env)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        let started = Instant::now();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{:?}: {error}", slug.command));
        let members = Members { first: child.id().expect("it has just started"), user };
        let shared = Arc::new(Shared {
            state: watch::Sender::new(if port.is_some() { State::Starting } else { State::Up }),
            log: Mutex::default(),
            codes: Mutex::default(),
            peak: Mutex::default(),
        });
        tokio::spawn(collect(child.stdout.take().expect("piped"), Arc::clone(&shared)));
        tokio::spawn(collect(child.stderr.take().expect("piped"), Arc::clone(&shared)));
        let (orders, asked) = mpsc::unbounded_channel();
        let supervisor =
            Supervisor { members, port, started, rules: slug.rules, shared: Arc::clone(&shared) };
        Self {
            name: name.to_owned(),
            port,
            started,
            members,
            folder,
            shared,
            orders,
            _supervisor: AbortOnDropHandle::new(tokio::spawn(supervisor.run(child, asked))),
        }
    }

    /// Process id of its first process.
    pub fn pid(&self) -> u32 {
        self.members.first
    }

    /// Its folder: what is written there is gone with it.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().join("app")
    }

    /// Its folder for temporary files.
    pub fn temporary(&self) -> PathBuf {
        self.folder.path().join("tmp")
    }

    pub fn state(&self) -> State {
        *self.shared.state.borrow()
    }

    /// A reader of its state.
    pub fn states(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
    }

    /// All it has printed.
    pub fn log(&self) -> String {
        self.shared.log.lock().expect("not poisoned").clone()
    }

    /// What the platform noted.
    pub fn codes(&self) -> Vec<Code> {
        self.shared.codes.lock().expect("not poisoned").clone()
    }

    /// Resident memory of all its processes now, and the highest that the platform saw.
    pub fn memory(&self) -> (u64, u64) {
        (self.members.resident(), *self.shared.peak.lock().expect("not poisoned"))
    }

    /// SIGTERM to every process, SIGKILL after the grace. Again: another SIGTERM.
    pub fn term(&self) {
        // It may have ended already.
        let _ = self.orders.send(());
    }

    /// SIGKILL to every process: the machine is gone.
    pub fn kill(&self) {
        self.signal("KILL");
    }

    /// SIGSTOP to every process.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// SIGCONT to every process.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// The named signal to every process.
    pub fn signal(&self, name: &str) {
        self.members.signal(name);
    }

    /// Waits until its port is bound.
    pub async fn until_up(&self) {
        let mut states = self.states();
        let up = states.wait_for(|state| *state != State::Starting).await.expect("it is kept");
        assert_eq!(*up, State::Up, "{} did not boot; log:\n{}", self.name, self.log());
    }

    /// Waits for its end.
    pub async fn ended(&self, deadline: Duration) -> End {
        let mut states = self.states();
        let ended = states.wait_for(|state| matches!(state, State::Ended(_)));
        let Ok(ended) = tokio::time::timeout(deadline, ended).await else {
            panic!("{} has not ended within {deadline:?}; log:\n{}", self.name, self.log())
        };
        match *ended.expect("it is kept") {
            State::Ended(end) => end,
            other => panic!("{other:?}"),
        }
    }

    /// The address of its web process, around the router.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port.expect("a web dyno"))
    }

    /// Its own `/status` as JSON, around the router.
    pub async fn status(&self) -> Option<Value> {
        status(&self.url("/status")).await
    }

    /// The state of bot `main` as it says it.
    pub async fn link(&self) -> String {
        link_of(self.status().await)
    }

    /// Waits until bot `main` is in `state`.
    pub async fn until(&self, state: &str, deadline: Duration) {
        let begun = Instant::now();
        while self.link().await != state {
            assert!(
                begun.elapsed() < deadline,
                "{}: bot main is not {state} within {deadline:?} but {:?}; log:\n{}",
                self.name,
                self.link().await,
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Dyno {
    fn drop(&mut self) {
        if !matches!(self.state(), State::Ended(_)) {
            self.members.signal("KILL");
        }
    }
}

/// `/status` of some address.
pub(crate) async fn status(url: &str) -> Option<Value> {
    let request = super::http::client().get(url).header("accept", "application/json");
    let answer = request.timeout(Duration::from_secs(2)).send().await.ok()?;
    serde_json::from_str(&answer.text().await.ok()?).ok()
}

/// The state of bot `main` in a `/status`.
pub(crate) fn link_of(status: Option<Value>) -> String {
    let status = status.unwrap_or_default();
    let bot = &status["bots"]["main"];
    // A standby's page shows the state at its holder.
    let state = if bot["dyno"]["role"] == "standby" { &bot["dyno"]["role"] } else { &bot["state"] };
    state.as_str().unwrap_or_default().to_owned()
}

/// The task beside each dyno.
struct Supervisor {
    members: Members,
    port: Option<u16>,
    started: Instant,
    rules: Rules,
    shared: Arc<Shared>,
}

impl Supervisor {
    async fn run(self, mut child: Child, mut orders: mpsc::UnboundedReceiver<()>) {
        let mut boot = tokio::time::interval(Duration::from_millis(5));
        let mut look = tokio::time::interval(self.rules.look);
        for interval in [&mut boot, &mut look] {
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let mut over = false;
        let mut term: Option<Instant> = None;
        let mut again: Option<Instant> = None;
        let mut kill: Option<Instant> = None;
        let status = loop {
            let starting = *self.shared.state.borrow() == State::Starting;
            tokio::select! {
                status = child.wait() => break status.expect("it is our child"),
                Some(()) = orders.recv() => {
                    if term.is_none() {
                        let now = Instant::now();
                        term = Some(now);
                        kill = Some(now + self.rules.grace);
                        again = self.rules.term_again.map(|wait| now + wait);
                        self.shared.state.send_replace(State::Stopping);
                    }
                    self.members.signal("TERM");
                }
                () = until(again), if again.is_some() => {
                    again = None;
                    self.members.signal("TERM");
                }
                () = until(kill), if kill.is_some() => {
                    kill = None;
                    self.note(Code::R12);
                    self.members.signal("KILL");
                }
                _ = boot.tick(), if starting => {
                    if self.port.is_none_or(listening) {
                        self.shared.state.send_replace(State::Up);
                    } else if self.started.elapsed() > self.rules.boot {
                        self.note(Code::R10);
                        self.members.signal("KILL");
                    }
                }
                _ = look.tick() => {
                    let bytes = self.members.resident();
                    let mut peak = self.shared.peak.lock().expect("not poisoned");
                    *peak = bytes.max(*peak);
                    drop(peak);
                    if bytes > self.rules.memory && !over {
                        self.note(Code::R14);
                    }
                    over = bytes > self.rules.memory;
                    if bytes > 2 * self.rules.memory {
                        self.note(Code::R15);
                        self.members.signal("KILL");
                    }
                }
            }
        };
        // A dyno ends with its first process, whatever else still runs in it.
        while self.members.signal("KILL") > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let took = term.map(|term| term.elapsed());
        self.shared.state.send_replace(State::Ended(End { status, asked: term.is_some(), took }));
    }

    fn note(&self, code: Code) {
        let mut codes = self.shared.codes.lock().expect("not poisoned");
        // Each look sees a process that is on its way out; one note is enough.
        if matches!(code, Code::R14) || !codes.contains(&code) {
            codes.push(code);
        }
    }
}

async fn until(instant: Option<Instant>) {
    if let Some(instant) = instant {
        tokio::time::sleep_until(instant).await;
    }
}

async fn collect(mut pipe: impl AsyncRead + Unpin, shared: Arc<Shared>) {
    let mut buffer = vec![0; 8192];
    while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
        shared.log.lock().expect("not poisoned").push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
}

/// A folder for temporary files that any account can reach into.
pub fn base() -> PathBuf {
    let folder = std::env::temp_dir();
    if reachable(&folder) { folder } else { "/tmp".into() }
}

fn reachable(path: &Path) -> bool {
    path.ancestors()
        .filter(|part| !part.as_os_str().is_empty())
        .all(|part| part.metadata().is_ok_and(|data| data.mode() & 0o001 != 0))
}

/// An account that no other dyno of any test uses, if the tests may choose one and it can reach `program`.
pub fn account(program: &Path) -> Option<u32> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 200_000;
    let root = fs::metadata("/proc/self").is_ok_and(|data| data.uid() == 0);
    // User namespaces may hold few accounts.
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let count: u32 = map.split_ascii_whitespace().nth(2).and_then(|count| count.parse().ok()).unwrap_or(0);
    if !root || count < 8_000_000 || (program.is_absolute() && !reachable(program)) {
        return None;
    }
    let of_these_tests = FIRST + std::process::id() % 7_000 * 1_000;
    Some(of_these_tests + NEXT.fetch_add(1, Ordering::Relaxed) % 1_000)
}

/// Gives a folder and all in it to the account.
pub(super) fn give(path: &Path, user: Option<u32>) {
    let Some(user) = user else { return };
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).expect("a folder").flatten() {
            give(&entry.path(), Some(user));
        }
    }
    lchown(path, Some(user), Some(user)).expect("the tests may give it away");
}

/// A port that is free now, below those that the system gives to outgoing connections.
fn free_port() -> u16 {
    let mut random = rand::rng();
    loop {
        let port = random.random_range(10_000..32_000);
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
}
