//! The dynos: real processes, each with an empty disk and roads of its own to WhatsApp and the database.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::fault::{BACKOFF, DEADLINE, HANDOVER_WAIT, PERIOD, Whose};
use super::journal::Journal;
use super::links::{Links, Road};
use crate::support::blacksky::Blacksky;
use crate::support::postgres::{PASSWORD, USER};
use crate::support::proxy::Proxy;

/// Heroku's limit from start to a bound port.
const BOOT_LIMIT: Duration = Duration::from_secs(60);
/// Heroku's limit from SIGTERM to SIGKILL.
const STOP_LIMIT: Duration = Duration::from_secs(30);

const FILE: &str = r#"
[bots.main]
prefix = "!"
[bots.main.commands]
echo = "echo {args}"
"#;

/// Where the dynos find what they need.
pub struct Surroundings {
    pub simulator: SocketAddr,
    pub database: SocketAddr,
    pub database_name: String,
    pub ttl: Duration,
    /// Logs go here.
    pub folder: PathBuf,
    pub debug: bool,
}

/// One process.
pub struct Dyno {
    pub name: String,
    pub url: String,
    pub born: Instant,
    pub link: Arc<Proxy>,
    pub database: Proxy,
    pub log: PathBuf,
    pub paused: bool,
    road: Road,
    process: Child,
    pid: u32,
    term_at: Option<Instant>,
    _disk: tempfile::TempDir,
}

/// All of them.
pub struct Fleet {
    surroundings: Surroundings,
    journal: Journal,
    links: Links,
    http: reqwest::Client,
    /// Those that are to stay, oldest first.
    pub dynos: Vec<Dyno>,
    /// Those that got SIGTERM.
    leaving: Vec<Dyno>,
    started: u32,
}

impl Fleet {
    pub fn new(surroundings: Surroundings, journal: Journal, links: Links) -> Self {
        let http = crate::support::http::client();
        Self { surroundings, journal, links, http, dynos: Vec::new(), leaving: Vec::new(), started: 0 }
    }

    /// Starts a dyno and waits until its port is bound.
    pub async fn start(&mut self) -> Result<(), String> {
        self.started += 1;
        let name = format!("dyno-{:04}", self.started);
        let at = &self.surroundings;
        let disk = tempfile::tempdir().map_err(|error| error.to_string())?;
        std::fs::write(disk.path().join("blacksky.toml"), FILE).map_err(|error| error.to_string())?;
        let link = Arc::new(Proxy::start(at.simulator).await);
        let database = Proxy::start(at.database).await;
        let log = at.folder.join(format!("{name}.log"));
        let url = format!(
            "postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{}?sslmode=disable",
            database.port(),
            at.database_name
        );
        let millis = |period: Duration| format!("{}ms", period.as_millis());
        let mut program = Blacksky::in_folder(disk.path())
            .arg("run")
            .arg("--link")
            .arg(format!("ws://{}{}", link.address(), blacksky::sim::PATH))
            .env("DATABASE_URL", url)
            .env("BLACKSKY_DATABASE_TLS", "disable")
            .env("BLACKSKY_SECRET_KEY", "a secret key for the chaos suite")
            .env("BLACKSKY_LEASE_TTL", millis(at.ttl))
            .env("BLACKSKY_LEASE_HANDOVER_WAIT", millis(HANDOVER_WAIT))
            .env("BLACKSKY_BACKOFF_INITIAL", millis(BACKOFF.0))
            .env("BLACKSKY_BACKOFF_MAX", millis(BACKOFF.1))
            .env("BLACKSKY_BACKOFF_JITTER", BACKOFF.2.to_string())
            .env("BLACKSKY_BACKOFF_RESET_AFTER", "2s")
            .env("BLACKSKY_HEARTBEAT_PERIOD", millis(PERIOD))
            .env("BLACKSKY_HEARTBEAT_DEADLINE", millis(DEADLINE));
        if self.started > 1 {
            // The first one shows the QR, which a dyno would not without a token.
            program = program.env("DYNO", format!("web.{}", self.started));
        }
        if at.debug {
            program = program.env("BLACKSKY_LOG_LEVEL", "debug");
        }
        let mut command = Command::from(program.command());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        command.stderr(std::fs::File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?);
        let mut process = command.spawn().map_err(|error| format!("the program does not start: {error}"))?;
        let born = Instant::now();
        let pid = process.id().ok_or("the program ended at once")?;
        let mut lines = BufReader::new(process.stdout.take().ok_or("no stdout")?).lines();
        let ready = tokio::time::timeout(BOOT_LIMIT, lines.next_line()).await;
        let line = ready.ok().and_then(Result::ok).flatten().unwrap_or_default();
        let port = serde_json::from_str::<Value>(&line).ok().and_then(|ready| ready["port"].as_u64());
        let port = port.ok_or_else(|| format!("{name} bound no port: {line:?}, {}", log.display()))?;
        self.journal.note(&format!("{name} started, pid {pid}, port bound after {:?}", born.elapsed()));
        let road = self.links.watch(&name, Arc::clone(&link));
        let url = format!("http://127.0.0.1:{port}");
        self.dynos.push(Dyno {
            name,
            url,
            born,
            link,
            database,
            log,
            paused: false,
            road,
            process,
            pid,
            term_at: None,
            _disk: disk,
        });
        Ok(())
    }

    /// The places of these dynos, now.
    pub fn places(&self, whose: Whose) -> Vec<usize> {
        let holder = self.dynos.iter().position(|dyno| !dyno.paused && dyno.link.open() > 0).unwrap_or(0);
        let all = 0..self.dynos.len();
        match whose {
            Whose::All => all.collect(),
            Whose::Holder => all.filter(|place| *place == holder).collect(),
            Whose::Standby => all.filter(|place| *place != holder).take(1).collect(),
        }
    }

    /// Sends SIGTERM; the dyno counts as leaving from now on.
    pub async fn term(&mut self, place: usize) {
        let mut dyno = self.dynos.remove(place);
        dyno.term_at = Some(Instant::now());
        self.journal.note(&format!("SIGTERM to {}", dyno.name));
        dyno.signal("TERM").await;
        self.leaving.push(dyno);
    }

    /// Sends SIGTERM once more to those that are leaving.
    pub async fn term_again(&mut self) {
        for dyno in &self.leaving {
            self.journal.note(&format!("SIGTERM again to {}", dyno.name));
            dyno.signal("TERM").await;
        }
    }

    /// Sends SIGKILL and waits for the end.
    pub async fn kill(&mut self, place: usize) -> Result<(), String> {
        let mut dyno = self.dynos.remove(place);
        self.journal.note(&format!("SIGKILL to {}", dyno.name));
        dyno.process.kill().await.map_err(|error| format!("{}: {error}", dyno.name))?;
        self.inspect(&dyno)
    }

    /// Sends SIGSTOP or SIGCONT.
    pub async fn pause(&mut self, place: usize, paused: bool) {
        let dyno = &mut self.dynos[place];
        if paused {
            dyno.signal("STOP").await;
        }
        dyno.road.paused(paused);
        dyno.paused = paused;
        if !paused {
            dyno.signal("CONT").await;
        }
        self.journal.note(&format!("{} to {}", if paused { "SIGSTOP" } else { "SIGCONT" }, dyno.name));
    }

    /// Looks for ends: those that leave must do so in time and in order, the others must not end at all.
    pub fn reap(&mut self) -> Result<(), String> {
        for dyno in &mut self.dynos {
            if let Ok(Some(status)) = dyno.process.try_wait() {
                return Err(format!("{} ended by itself, {status}: {}", dyno.name, dyno.log.display()));
            }
        }
        let mut place = 0;
        while let Some(dyno) = self.leaving.get_mut(place) {
            let took = dyno.term_at.map(|at| at.elapsed()).unwrap_or_default();
            match dyno.process.try_wait() {
                Ok(None) if took > STOP_LIMIT => {
                    return Err(format!("{} did not end within {STOP_LIMIT:?} of SIGTERM", dyno.name));
                }
                Ok(None) => place += 1,
                Ok(Some(status)) => {
                    let dyno = self.leaving.remove(place);
                    self.journal.note(&format!("{} ended {took:?} after SIGTERM, {status}", dyno.name));
                    if !status.success() {
                        return Err(format!("{} ended with {status}: {}", dyno.name, dyno.log.display()));
                    }
                    self.inspect(&dyno)?;
                }
                Err(error) => return Err(format!("{}: {error}", dyno.name)),
            }
        }
        Ok(())
    }

    /// Waits until all that got SIGTERM are gone.
    pub async fn left(&mut self) -> Result<(), String> {
        while !self.leaving.is_empty() {
            self.reap()?;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Why the fleet is not at rest; `None` when it is: nobody leaves, one dyno has the link, the other
    /// stands by.
    pub async fn unrest(&self) -> Option<String> {
        if let Some(dyno) = self.leaving.first() {
            return Some(format!("{} is leaving", dyno.name));
        }
        for dyno in &self.dynos {
            let state = self.state(dyno).await;
            if state != "open" && state != "standby" {
                return Some(format!("{} is {state}", dyno.name));
            }
        }
        None
    }

    /// The state of the bot in the dyno.
    pub async fn state(&self, dyno: &Dyno) -> String {
        let asking = async {
            let asked = self.http.get(format!("{}/status", dyno.url)).header("accept", "application/json");
            let answer = asked.timeout(Duration::from_secs(2)).send().await.ok()?.text().await.ok()?;
            let status: Value = serde_json::from_str(&answer).ok()?;
            let bot = &status["bots"]["main"];
            // A standby's page shows the state at its holder.
            let state = if bot["dyno"]["role"] == "standby" { &bot["dyno"]["role"] } else { &bot["state"] };
            state.as_str().map(str::to_owned)
        };
        asking.await.unwrap_or_else(|| "silent".to_owned())
    }

    /// The QR on the first dyno's page.
    pub async fn qr(&self) -> Option<String> {
        let page = self.http.get(format!("{}/", self.dynos.first()?.url)).send().await.ok()?;
        crate::support::qr::on_page(&page.text().await.ok()?)
    }

    /// Ends all, in order; then looks at their logs.
    pub async fn stop(&mut self) -> Result<(), String> {
        while !self.dynos.is_empty() {
            self.term(0).await;
        }
        self.left().await
    }

    /// What must not be in a log.
    fn inspect(&self, dyno: &Dyno) -> Result<(), String> {
        let log = std::fs::read_to_string(&dyno.log).map_err(|error| error.to_string())?;
        for wrong in ["panicked at", "ended by itself", "a bug in blacksky", PASSWORD, "!echo "] {
            if log.contains(wrong) {
                return Err(format!("the log of {} has {wrong:?}: {}", dyno.name, dyno.log.display()));
            }
        }
        Ok(())
    }
}

impl Dyno {
    async fn signal(&self, name: &str) {
        // It may have ended on its own by now, which `reap` sees.
        let _ = Command::new("kill").arg(format!("-{name}")).arg(self.pid.to_string()).status().await;
    }

    /// Resident memory in KiB.
    pub fn memory(&self) -> Option<u64> {
        let status =
            std::fs::read_to_string(Path::new("/proc").join(self.pid.to_string()).join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    }
}
