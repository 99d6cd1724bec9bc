//! Starts the real binary in an empty folder, on a free port, and reads its status as a user would.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use super::eventually::eventually;

/// By this name in its arguments an example that includes this file knows that it is to be blacksky.
pub const NAME: &str = "blacksky";

/// The program. Cargo names it to tests and benchmarks; an example starts itself under that name.
fn program() -> Command {
    match option_env!("CARGO_BIN_EXE_blacksky") {
        Some(path) => Command::new(path),
        None => {
            let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
            command.arg0(NAME);
            command
        }
    }
}

/// How to start it.
pub struct Blacksky {
    folder: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
    /// A program that becomes it, with its arguments.
    within: Vec<String>,
}

/// A running process; killed when dropped.
pub struct Process {
    child: Child,
    pub port: u16,
    stderr: Arc<Mutex<String>>,
}

impl Blacksky {
    /// In `folder`, with no inherited configuration and any free port.
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            args: Vec::new(),
            env: vec![("PORT".into(), "0".into())],
            within: Vec::new(),
        }
    }

    /// Started by another program that becomes it, such as `nsenter`.
    pub fn within(mut self, starter: &[&str]) -> Self {
        self.within = starter.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.into(), value.into()));
        self
    }

    /// The bare command: PATH and HOME are all it inherits.
    pub fn command(&self) -> Command {
        let mut command = match self.within.split_first() {
            None => program(),
            Some((starter, words)) => {
                let mut command = Command::new(starter);
                command.args(words).arg(program().get_program());
                command
            }
        };
        command.current_dir(&self.folder).env_clear().args(&self.args);
        for name in ["PATH", "HOME", "TMPDIR"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command that ends by itself: (exit code, stdout, stderr).
    pub fn output(&self) -> (i32, String, String) {
        let output = self.command().stdin(Stdio::null()).output().expect("the binary starts");
        (
            output.status.code().unwrap_or(-1),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    }

    /// Starts `run` and waits for its ready line.
    pub fn run(self, link: &str) -> Process {
        let mut child = self
            .arg("run")
            .arg("--link")
            .arg(link)
            .command()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stderr = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&stderr);
        let mut pipe = child.stderr.take().expect("piped");
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = pipe.read(&mut buffer) {
                sink.lock().expect("not poisoned").push_str(&String::from_utf8_lossy(&buffer[..read]));
            }
        });
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("stdout is text");
        let port = serde_json::from_str::<Value>(&line)
            .ok()
            .and_then(|ready| ready["port"].as_u64())
            .and_then(|port| u16::try_from(port).ok());
        let Some(port) = port else {
            let _ = child.wait();
            panic!("no ready line, but {line:?}; stderr:\n{}", stderr.lock().expect("not poisoned"));
        };
        Process { child, port, stderr }
    }
}

impl Process {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All it has logged.
    pub fn log(&self) -> String {
        self.stderr.lock().expect("not poisoned").clone()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// `/status` as JSON.
    pub async fn status(&self) -> Option<Value> {
        let answer = super::http::client()
            .get(self.url("/status"))
            .header("accept", "application/json")
            .timeout(Duration::from_secs(2))
            .send()
            .await
            .ok()?;
        serde_json::from_str(&answer.text().await.ok()?).ok()
    }

    /// The state of bot `main` in this process. "standby" although the page shows what its holder says.
    pub async fn state(&self) -> String {
        let status = self.status().await.unwrap_or_default();
        let bot = &status["bots"]["main"];
        let state = if bot["dyno"]["role"] == "standby" { &bot["dyno"]["role"] } else { &bot["state"] };
        state.as_str().unwrap_or_default().to_owned()
    }

    /// The payload of the QR on the page, if it shows one.
    pub async fn qr(&self) -> Option<String> {
        let page =
            super::http::client().get(self.url("/")).timeout(Duration::from_secs(2)).send().await.ok()?;
        super::qr::on_page(&page.text().await.ok()?)
    }

    /// Waits until bot `main` is in `state`.
    pub async fn until(&self, state: &str, deadline: Duration) {
        eventually(&format!("bot main is {state}; log:\n{}", self.log()), deadline, async || {
            self.state().await == state
        })
        .await;
    }

    /// Sends SIGTERM.
    pub fn term(&self) {
        self.signal("TERM");
    }

    /// Sends the named signal.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{name} failed");
    }

    /// SIGKILL, as Heroku does after 30 s.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for the end.
    pub async fn ended(&mut self, deadline: Duration) -> ExitStatus {
        let mut status = None;
        eventually("the process ends", deadline, async || {
            status = self.child.try_wait().expect("waitable");
            status.is_some()
        })
        .await;
        status.expect("just seen")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
