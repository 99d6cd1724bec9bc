//! How quickly a stored session is linked again, and what it costs to stay linked, beside a bare Baileys
//! bot in the same run.
//!
//! ```text
//! (cd tests/node && npm ci)
//! BENCH_DATABASE_URL=postgres://… cargo bench --features simulator --bench boot
//! ```
//!
//! Without BENCH_DATABASE_URL only SQLite is measured. `BENCH_RUNS` (20) and `BENCH_IDLE_S` (60) make it
//! shorter. The clock starts before the process is made and stops at the line that says the link is open.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::Duration;

use blacksky::sim::{Handle, Options, Server};
use tokio::time::Instant;

const PHONES: [&str; 3] = ["4915100000011", "4915100000012", "4915100000013"];

/// Writes to the bots.
const FRIEND: &str = "4915100000010";

/// A program that links itself with a stored session.
struct Contender {
    name: &'static str,
    phone: &'static str,
    folder: PathBuf,
    database: Option<String>,
    to_port: Vec<Duration>,
    to_open: Vec<Duration>,
}

/// A started one, linked.
struct Linked {
    child: Child,
    to_port: Option<Duration>,
    to_open: Duration,
}

impl Contender {
    fn new(name: &'static str, phone: &'static str, root: &Path, database: Option<String>) -> Self {
        let folder = root.join(phone);
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("blacksky.toml"), "").expect("written");
        Self { name, phone, folder, database, to_port: Vec::new(), to_open: Vec::new() }
    }

    fn is_node(&self) -> bool {
        self.name.starts_with("Baileys")
    }

    fn start(&self, server: &Server) -> Linked {
        if self.is_node() { self.start_node(server) } else { self.start_blacksky(server) }
    }

    fn start_blacksky(&self, server: &Server) -> Linked {
        let mut command = Command::new(env!("CARGO_BIN_EXE_blacksky"));
        command.args(["run", "--link", &server.url()]).current_dir(&self.folder).env_clear();
        command.env("PORT", "0").env("BLACKSKY_BOTS_MAIN_SESSION", session());
        if let Some(url) = &self.database {
            command.env("DATABASE_URL", url).env("BLACKSKY_SECRET_KEY", "a secret key for the benchmark");
            command.env("BLACKSKY_DATABASE_TLS", "disable");
        }
        let begun = Instant::now();
        let (mut child, stdout, stderr) = spawn(&mut command);
        let mut out = BufReader::new(stdout);
        let mut line = String::new();
        out.read_line(&mut line).expect("stdout is text");
        let to_port = begun.elapsed();
        assert!(line.contains("\"port\""), "no ready line: {line}");
        let mut err = BufReader::new(stderr);
        if !until(&mut err, "Connection established") {
            let _ = child.kill();
            panic!("{} did not link", self.name);
        }
        let to_open = begun.elapsed();
        drain(err.into_inner());
        Linked { child, to_port: Some(to_port), to_open }
    }

    fn start_node(&self, server: &Server) -> Linked {
        let begun = Instant::now();
        let (child, stdout, stderr) = spawn(&mut self.node(server));
        drain(stderr);
        let mut out = BufReader::new(stdout);
        assert!(until(&mut out, "\"event\":\"open\""), "Baileys did not link");
        let to_open = begun.elapsed();
        drain(out.into_inner());
        Linked { child, to_port: None, to_open }
    }

    fn node(&self, server: &Server) -> Command {
        let bot = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node/bot.mjs");
        let mut command = Command::new("node");
        command.arg(bot).current_dir(&self.folder).stdin(Stdio::piped());
        command.env("SIM_URL", server.url()).env("SESSION_DIR", self.folder.join("session"));
        command
    }

    /// Baileys writes its files without waiting for them, and one that is ended meanwhile may have lost its
    /// login: once it has answered, they are on disk.
    async fn settle(&self, phone: &Handle, run: u64) {
        if self.is_node() {
            phone.send_text(FRIEND, self.phone, &format!("run {run}")).expect("sent");
            let answer = format!("echo: run {run}");
            phone.wait_for_text(FRIEND, &answer, Duration::from_secs(20)).await.expect("Baileys answers");
        }
    }

    /// Links it for the first time.
    async fn pair(&self, server: &Server, phone: &Handle) {
        if self.is_node() {
            let (mut child, stdout, stderr) = spawn(&mut self.node(server));
            drain(stderr);
            let mut out = BufReader::new(stdout);
            let mut line = String::new();
            while !line.contains("\"event\":\"qr\"") {
                line.clear();
                assert!(out.read_line(&mut line).expect("stdout is text") > 0, "Baileys showed no QR");
            }
            let said: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            phone.scan(said["qr"].as_str().expect("a QR"), self.phone).expect("scanned");
            assert!(until(&mut out, "\"event\":\"open\""), "Baileys did not link");
            drain(out.into_inner());
            self.settle(phone, 0).await;
            end(&mut child);
            return;
        }
        let url = self
            .database
            .clone()
            .unwrap_or_else(|| format!("sqlite:{}", self.folder.join("blacksky.db").display()));
        let mut env = BTreeMap::from([
            ("PORT".to_owned(), "0".to_owned()),
            ("BLACKSKY_BOTS_MAIN_SESSION".to_owned(), session()),
            ("DATABASE_URL".to_owned(), url),
        ]);
        if self.database.is_some() {
            env.insert("BLACKSKY_SECRET_KEY".to_owned(), "a secret key for the benchmark".to_owned());
            env.insert("BLACKSKY_DATABASE_TLS".to_owned(), "disable".to_owned());
        }
        let file = self.folder.join("blacksky.toml");
        let loaded = blacksky::config::Config::load(&file, &env).expect("a config");
        let url = server.url().parse().expect("a URL");
        let link = blacksky::link::LinkAddress::decide(Some(url)).expect("loopback");
        let running = blacksky::runtime::Running::start(loaded.config, link).await.expect("starts");
        let mut status = running.snapshot();
        let shown = status.wait_for(|s| s.bots["main"].qr.is_some()).await.expect("a QR");
        let qr = shown.bots["main"].qr.clone().expect("just seen");
        drop(shown);
        phone.scan(&qr.payload, self.phone).expect("scanned");
        let open =
            |s: &blacksky::runtime::status::Snapshot| s.bots["main"].state == blacksky::link::LinkState::Open;
        drop(status.wait_for(open).await.expect("open"));
        running.stop().await;
    }
}

/// Another one each time: a database may hold the session of an earlier benchmark.
fn session() -> String {
    format!("bench-{}", std::process::id())
}

fn spawn(command: &mut Command) -> (Child, ChildStdout, ChildStderr) {
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let (stdout, stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    (child, stdout, stderr)
}

fn until(reader: &mut impl BufRead, wanted: &str) -> bool {
    let mut line = String::new();
    loop {
        line.clear();
        match reader.read_line(&mut line) {
            Ok(1..) if line.contains(wanted) => return true,
            Ok(1..) => {}
            _ => return false,
        }
    }
}

/// Reads the rest in the background, so that the program never waits for us.
fn drain(mut pipe: impl Read + Send + 'static) {
    std::thread::spawn(move || std::io::copy(&mut pipe, &mut std::io::sink()));
}

fn end(child: &mut Child) {
    let _ = Command::new("kill").arg(child.id().to_string()).status();
    child.wait().expect("ends");
}

fn kib(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default().as_secs_f64() * 1000.0
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var_os(name).and_then(|value| value.to_str()?.parse().ok()).unwrap_or(default)
}

#[tokio::main]
async fn main() {
    let root = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = Server::start(Options { listener, state_dir: None }).expect("the simulator starts");
    let phone = server.handle();
    let mut contenders = vec![
        Contender::new("Baileys rc14, files", PHONES[0], root.path(), None),
        Contender::new("blacksky, SQLite", PHONES[1], root.path(), None),
    ];
    if let Some(url) = std::env::var_os("BENCH_DATABASE_URL").and_then(|url| url.into_string().ok()) {
        contenders.push(Contender::new("blacksky, PostgreSQL", PHONES[2], root.path(), Some(url)));
    }
    for contender in &contenders {
        contender.pair(&server, &phone).await;
    }
    let runs = setting("BENCH_RUNS", 20);
    for run in 0..=runs {
        for contender in &mut contenders {
            let mut linked = tokio::task::block_in_place(|| contender.start(&server));
            contender.to_open.push(linked.to_open);
            contender.to_port.extend(linked.to_port);
            contender.settle(&phone, run + 1).await;
            tokio::task::block_in_place(|| end(&mut linked.child));
        }
    }
    println!("exec → port and exec → link open: medians of {runs} runs; resident memory after the idle time");
    let idle = Duration::from_secs(setting("BENCH_IDLE_S", 60));
    let started: Vec<Linked> =
        contenders.iter().map(|one| tokio::task::block_in_place(|| one.start(&server))).collect();
    tokio::time::sleep(idle).await;
    let baseline = (median(&mut contenders[0].to_open[1..]), kib(started[0].child.id(), "VmRSS:"));
    for (contender, mut linked) in contenders.iter_mut().zip(started) {
        // The first run of each warmed the caches and does not count.
        let open = median(&mut contender.to_open[1..]);
        let port = match contender.to_port.get_mut(1..) {
            Some(times) => format!("{:6.1} ms", median(times)),
            None => "        –".to_owned(),
        };
        let resident = kib(linked.child.id(), "VmRSS:");
        println!(
            "{:<22} port {port}   open {open:7.1} ms ({:4.1}× quicker)   resident {:6.1} MB ({:4.1}× less) after {} s, peak {:.1} MB",
            contender.name,
            baseline.0 / open,
            resident as f64 / 1024.0,
            baseline.1 as f64 / resident as f64,
            idle.as_secs(),
            kib(linked.child.id(), "VmHWM:") as f64 / 1024.0,
        );
        end(&mut linked.child);
    }
    let keys = phone.ratchets();
    assert!(keys.reused.is_empty(), "{:?}", keys.reused);
    server.shutdown().await.expect("stops");
}
