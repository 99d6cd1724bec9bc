//! The published Node client (Baileys) as an unmodified user of the simulator.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use blacksky::sim::Server;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::sim::PATIENCE;

/// The folder of `package.json` and the bot.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node")
}

/// Installs the locked packages once; says what is missing otherwise.
pub fn install() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        let folder = folder();
        let run = |program: &str, args: &[&str]| {
            let output = Command::new(program).args(args).current_dir(&folder).stdin(Stdio::null()).output();
            match output {
                Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
                Ok(output) => {
                    panic!("{program} {args:?} failed:\n{}", String::from_utf8_lossy(&output.stderr))
                }
                Err(error) => {
                    panic!("{program} cannot be run ({error}): install Node.js 20 or newer with npm")
                }
            }
        };
        let version = run("node", &["--version"]);
        let major: u32 = version
            .trim()
            .trim_start_matches('v')
            .split('.')
            .next()
            .and_then(|major| major.parse().ok())
            .unwrap_or_default();
        assert!(major >= 20, "Node.js {} is too old: install 20 or newer", version.trim());
        let locked = std::fs::read(folder.join("package-lock.json")).expect("the lock file");
        let marker = folder.join("node_modules/.locked");
        if std::fs::read(&marker).is_ok_and(|installed| installed == locked) {
            return;
        }
        run("npm", &["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        std::fs::write(marker, locked).expect("node_modules can be written");
    });
}

/// A running Baileys bot that echoes every text as `echo: TEXT`.
pub struct NodeBot {
    child: Child,
    stdin: ChildStdin,
    lines: Arc<Mutex<Vec<Value>>>,
    count: watch::Receiver<usize>,
    read: usize,
}

impl NodeBot {
    /// Connects to `url` with its session in `session`.
    pub fn start(url: &str, session: &Path) -> Self {
        Self::with_env(url, session, &[])
    }

    /// The same with further settings of the bot.
    pub fn with_env(url: &str, session: &Path, env: &[(&str, &str)]) -> Self {
        Self::program("bot.mjs", url, session, env)
    }

    /// The same by another program of the folder.
    pub fn program(program: &str, url: &str, session: &Path, env: &[(&str, &str)]) -> Self {
        install();
        let mut child = Command::new("node")
            .arg(folder().join(program))
            .current_dir(folder())
            .env("SIM_URL", url)
            .env("SESSION_DIR", session)
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let stdin = child.stdin.take().expect("piped");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (counter, count) = watch::channel(0);
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let line =
                    serde_json::from_str(&line).unwrap_or_else(|_| json!({ "event": "noise", "line": line }));
                sink.lock().expect("not poisoned").push(line);
                counter.send_modify(|n| *n += 1);
            }
        });
        Self { child, stdin, lines, count, read: 0 }
    }

    /// The next line that it says with this `event`; lines before it are passed over.
    pub async fn next(&mut self, event: &str) -> Value {
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                self.count.mark_unchanged();
                {
                    let lines = self.lines.lock().expect("not poisoned");
                    if let Some(at) = lines[self.read..].iter().position(|line| line["event"] == event) {
                        self.read += at + 1;
                        return lines[self.read - 1].clone();
                    }
                }
                self.count
                    .changed()
                    .await
                    .unwrap_or_else(|_| panic!("node ended before {event:?}: {:?}", self.said()));
            }
        });
        let found = found.await;
        found.unwrap_or_else(|_| panic!("no {event:?} in time; it said {:?}", self.said()))
    }

    /// Waits for a text with these words.
    pub async fn text(&mut self, text: &str) -> Value {
        loop {
            let line = self.next("text").await;
            if line["text"] == text {
                return line;
            }
        }
    }

    /// Waits until Baileys logs this message; lines before it are passed over.
    pub async fn log(&mut self, message: &str) {
        while self.next("log").await["message"] != message {}
    }

    /// All that it has said.
    pub fn said(&self) -> Vec<Value> {
        self.lines.lock().expect("not poisoned").clone()
    }

    /// How often it has said this.
    pub fn times(&self, event: &str) -> usize {
        self.said().iter().filter(|line| line["event"] == event).count()
    }

    /// Sends a text to a number.
    pub fn send(&mut self, number: &str, text: &str) {
        self.order(&json!({ "do": "send", "to": number, "text": text }));
    }

    /// Ends it as a program that closes its socket.
    pub async fn stop(mut self) {
        self.order(&json!({ "do": "stop" }));
        let ended = tokio::time::Instant::now() + Duration::from_secs(10);
        while tokio::time::Instant::now() < ended {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("node did not end");
    }

    fn order(&mut self, order: &Value) {
        writeln!(self.stdin, "{order}").and_then(|()| self.stdin.flush()).expect("node listens");
    }
}

impl Drop for NodeBot {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Pairs a fresh Baileys bot with the phone of `number`.
pub async fn pair_node(server: &Server, session: &Path, number: &str, env: &[(&str, &str)]) -> NodeBot {
    let mut bot = NodeBot::with_env(&server.url(), session, env);
    let qr = bot.next("qr").await;
    server.handle().scan(qr["qr"].as_str().expect("a text"), number).expect("the QR is good");
    bot.next("open").await;
    server.handle().wait_for_login(number, PATIENCE).await.expect("it logs in");
    bot
}
