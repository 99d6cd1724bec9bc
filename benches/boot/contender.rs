//! A program that links itself with a stored session.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use blacksky::sim::{Handle, Server};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::Instant;

use crate::support::node;
use crate::support::sim::PATIENCE;

/// Writes to the bots.
const FRIEND: &str = "4915100000010";
/// What each says of an open link.
const OPEN: &str = "\"event\":\"open\"";
const BLACKSKY_OPEN: &str = "Connection established";

pub enum Kind {
    Baileys,
    WhatsappRust,
    Sqlite,
    /// Its URL.
    Postgres(String),
}

pub struct Contender {
    pub name: &'static str,
    kind: Kind,
    folder: PathBuf,
    number: &'static str,
    pub to_port: Vec<Duration>,
    pub to_open: Vec<Duration>,
}

/// A started one, linked.
pub struct Linked {
    child: Child,
    pub to_port: Option<Duration>,
    pub to_open: Duration,
}

impl Contender {
    pub fn new(name: &'static str, kind: Kind, root: &Path, number: &'static str) -> Self {
        let folder = root.join(number);
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("blacksky.toml"), "").expect("written");
        Self { name, kind, folder, number, to_port: Vec::new(), to_open: Vec::new() }
    }

    fn is_blacksky(&self) -> bool {
        matches!(self.kind, Kind::Sqlite | Kind::Postgres(_))
    }

    fn command(&self, server: &Server) -> Command {
        let mut command = match self.kind {
            Kind::WhatsappRust => super::bare::command(&server.url(), &self.folder.join("session.db")),
            Kind::Baileys => {
                let mut command = std::process::Command::new("node");
                command.arg(node::folder().join("bot.mjs"));
                command.env("SIM_URL", server.url()).env("SESSION_DIR", self.folder.join("session"));
                command
            }
            Kind::Sqlite | Kind::Postgres(_) => {
                let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_blacksky"));
                command.args(["run", "--link", &server.url()]).env_clear().env("PORT", "0");
                // No other dyno takes over here, and none is waited for.
                command.env("BLACKSKY_LEASE_HANDOVER_WAIT", "0s");
                command
            }
        };
        if let Kind::Postgres(url) = &self.kind {
            command.env("DATABASE_URL", url).env("BLACKSKY_DATABASE_TLS", "disable");
            command.env("BLACKSKY_SECRET_KEY", "a secret key for the benchmark");
        }
        command.current_dir(&self.folder).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        // The Baileys bot ends with its standard input.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut command = Command::from(command);
        command.kill_on_drop(true);
        command
    }

    fn spawn(&self, server: &Server) -> (Child, BufReader<ChildStdout>, BufReader<ChildStderr>) {
        let mut child = self.command(server).spawn().expect("the program starts");
        let (stdout, stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        (child, BufReader::new(stdout), BufReader::new(stderr))
    }

    /// From before its process is made to its open link.
    pub async fn start(&self, server: &Server) -> Linked {
        let begun = Instant::now();
        let (child, mut stdout, mut stderr) = self.spawn(server);
        let mut to_port = None;
        if self.is_blacksky() {
            self.until(&mut stdout, "\"port\"").await;
            to_port = Some(begun.elapsed());
        }
        self.opens(&mut stdout, &mut stderr).await;
        let to_open = begun.elapsed();
        drain(stdout);
        drain(stderr);
        Linked { child, to_port, to_open }
    }

    /// Links it for the first time, and ends it.
    pub async fn pair(&self, server: &Server) {
        let phone = server.handle();
        let (child, mut stdout, mut stderr) = self.spawn(server);
        let shown = if self.is_blacksky() { "\"url\"" } else { "\"event\":\"qr\"" };
        let said: serde_json::Value =
            serde_json::from_str(&self.until(&mut stdout, shown).await).expect("JSON");
        let qr = match said["url"].as_str() {
            Some(url) => on_page(url).await,
            None => said["qr"].as_str().expect("a QR").to_owned(),
        };
        phone.scan(&qr, self.number).expect("the QR can be scanned");
        self.opens(&mut stdout, &mut stderr).await;
        drain(stdout);
        drain(stderr);
        self.settle(&phone, "paired").await;
        Linked { child, to_port: None, to_open: Duration::ZERO }.end().await;
    }

    /// Baileys writes its files without waiting for them, and one that is ended meanwhile may have lost its
    /// login: once it has answered, they are on disk.
    pub async fn settle(&self, phone: &Handle, word: &str) {
        if matches!(self.kind, Kind::Baileys) {
            phone.send_text(FRIEND, self.number, word).expect("sent");
            phone.wait_for_text(FRIEND, &format!("echo: {word}"), PATIENCE).await.expect("Baileys answers");
        }
    }

    /// Waits for the line that says so.
    async fn opens(&self, stdout: &mut BufReader<ChildStdout>, stderr: &mut BufReader<ChildStderr>) {
        if self.is_blacksky() {
            self.until(stderr, BLACKSKY_OPEN).await;
        } else {
            self.until(stdout, OPEN).await;
        }
    }

    /// The next line with these words.
    async fn until(&self, reader: &mut (impl AsyncBufRead + Unpin), wanted: &str) -> String {
        let reading = async {
            let mut line = String::new();
            while !line.contains(wanted) {
                line.clear();
                let read = reader.read_line(&mut line).await.expect("text");
                assert!(read > 0, "{} ended before it said {wanted}", self.name);
            }
            line
        };
        let found = tokio::time::timeout(PATIENCE, reading).await;
        found.unwrap_or_else(|_| panic!("{} did not say {wanted} in time", self.name))
    }
}

impl Linked {
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// SIGTERM, and its end.
    pub async fn end(mut self) {
        let sent = Command::new("kill").arg(self.pid().to_string()).status().await;
        assert!(sent.is_ok_and(|status| status.success()), "kill failed");
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it ends in time").expect("waitable");
    }
}

/// The QR on a page.
async fn on_page(url: &str) -> String {
    let mut found = None;
    crate::support::eventually::eventually("a QR on the page", PATIENCE, async || {
        let Ok(answer) = crate::support::http::client().get(url).send().await else { return false };
        found = crate::support::qr::on_page(&answer.text().await.unwrap_or_default());
        found.is_some()
    })
    .await;
    found.expect("just seen")
}

/// Reads the rest in the background, so that the program never waits for us.
fn drain(mut pipe: impl AsyncRead + Unpin + Send + 'static) {
    tokio::spawn(async move { tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await });
}
