//! A linked bot with messages flowing, and its page being asked all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use blacksky::sim::Server;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::restarts::pair;
use crate::support::blacksky::{Blacksky, Process};
use crate::support::eventually::eventually;
use crate::support::postgres::PASSWORD;
use crate::support::sim::{assert_clean, simulator};

const PHONE: &str = "4915100000001";
const FRIEND: &str = "4915100000002";
const KEY: &str = "a secret key for the trouble tests";
/// Long enough for a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What the bot answers.
const CONFIG: &str = "[bots.main]\nprefix = \"!\"\n[bots.main.commands]\nping = \"pong {args}\"\n";

pub struct Scene {
    pub sim: Server,
    folder: TempDir,
    pub url: String,
    env: Vec<(&'static str, String)>,
    process: Option<Process>,
    words: Vec<String>,
    /// The longest the page took to answer, in µs.
    slowest: Arc<AtomicU64>,
    port: Arc<Mutex<Option<u16>>>,
    _asking: AbortOnDropHandle<()>,
}

impl Scene {
    /// Linked, on the database of this URL.
    pub async fn linked(url: impl Into<String>) -> Self {
        let mut scene = Self::new(url);
        scene.start();
        pair(&scene.sim, scene.process()).await;
        scene.talk(3);
        scene.all_answered().await;
        scene
    }

    /// Nothing runs yet.
    pub fn new(url: impl Into<String>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("blacksky.toml"), CONFIG).expect("written");
        let (slowest, port) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(None)));
        let asking = AbortOnDropHandle::new(tokio::spawn(ask(slowest.clone(), port.clone())));
        Self {
            sim: simulator(),
            folder,
            url: url.into(),
            env: Vec::new(),
            process: None,
            words: Vec::new(),
            slowest,
            port,
            _asking: asking,
        }
    }

    /// A Config Var of every process from now on.
    pub fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.env.push((name, value.into()));
    }

    /// How a process on this database starts.
    pub fn blacksky(&self) -> Blacksky {
        let mut blacksky = Blacksky::in_folder(self.folder.path())
            .env("DATABASE_URL", self.url.as_str())
            .env("BLACKSKY_DATABASE_TLS", "disable")
            .env("BLACKSKY_SECRET_KEY", KEY);
        for (name, value) in &self.env {
            blacksky = blacksky.env(name, value.as_str());
        }
        blacksky
    }

    pub fn start(&mut self) {
        let process = self.blacksky().run(&self.sim.url());
        *self.port.try_lock().expect("asked for a moment only") = Some(process.port);
        self.process = Some(process);
    }

    /// SIGTERM, and a new process.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.start();
    }

    pub async fn stop(&mut self) {
        *self.port.lock().await = None;
        let mut process = self.process.take().expect("it runs");
        process.term();
        assert!(process.ended(Duration::from_secs(30)).await.success(), "{}", process.log());
    }

    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("it runs")
    }

    /// Sends messages that want an answer.
    pub fn talk(&mut self, count: usize) {
        for _ in 0..count {
            let word = format!("w{}", self.words.len());
            self.say(word);
        }
    }

    /// One message; the bot must say it back.
    pub fn say(&mut self, word: String) {
        self.sim.handle().send_text(FRIEND, PHONE, &format!("!ping {word}")).expect("sent");
        self.words.push(word);
    }

    /// Waits until every message so far was answered.
    pub async fn all_answered(&self) {
        for word in &self.words {
            let answered =
                self.sim.handle().wait_for_text(FRIEND, &format!("pong {word}"), PATIENCE).await.is_ok();
            assert!(answered, "{word} was never answered; log:\n{}", self.process().log());
        }
    }

    /// Waits until bot `main` is in a state; how long that took.
    pub async fn until(&self, state: &str) -> Duration {
        let begun = Instant::now();
        self.process().until(state, PATIENCE).await;
        begun.elapsed()
    }

    /// Waits until the page says all of `words` about the database or the bot; what it says.
    pub async fn until_said(&self, words: &[&str]) -> String {
        let mut said = String::new();
        let what = format!("the page says {words:?}; log:\n{}", self.process().log());
        eventually(&what, PATIENCE, async || {
            let status = self.process().status().await.unwrap_or_default();
            let part = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            said = part(&status["bots"]["main"]["advice"]) + " / " + &part(&status["database"]["problem"]);
            words.iter().all(|word| said.contains(word))
        })
        .await;
        said
    }

    /// Why the link ended last.
    pub async fn last_disconnect(&self) -> String {
        let status = self.process().status().await.unwrap_or_default();
        status["bots"]["main"]["last_disconnect"]["reason"].as_str().unwrap_or_default().to_owned()
    }

    /// Times the link opened again in this process.
    pub async fn reconnects(&self) -> u64 {
        let status = self.process().status().await.unwrap_or_default();
        status["bots"]["main"]["reconnects"].as_u64().unwrap_or_default()
    }

    /// All is well in the end: every message answered, no second QR, no key used twice, the page always quick,
    /// no secret in the log.
    pub async fn end(mut self) {
        self.talk(2);
        self.all_answered().await;
        let handle = self.sim.handle();
        for sent in handle.sent() {
            handle.wait_for_acknowledgement(&sent.id, PATIENCE).await.expect("acknowledged");
        }
        assert_eq!(handle.counters().registrations, 1, "a second QR; log:\n{}", self.process().log());
        assert_clean(&handle);
        let slowest = Duration::from_micros(self.slowest.load(Ordering::Relaxed));
        assert!(slowest < Duration::from_secs(1), "the page took {slowest:?}");
        let log = self.process().log();
        for secret in [PASSWORD, KEY, self.url.as_str(), "@127.0.0.1", "panicked"] {
            assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
        }
        self.stop().await;
    }
}

/// Asks the page ten times a second.
async fn ask(slowest: Arc<AtomicU64>, port: Arc<Mutex<Option<u16>>>) {
    let client = crate::support::http::client();
    loop {
        if let Some(port) = *port.lock().await {
            let begun = Instant::now();
            let asked =
                client.get(format!("http://127.0.0.1:{port}/")).timeout(Duration::from_secs(5)).send();
            if asked.await.is_ok() {
                slowest.fetch_max(begun.elapsed().as_micros() as u64, Ordering::Relaxed);
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// One line of the table of troubles.
pub fn report(trouble: &str, said: &str, recovered: Duration) {
    println!("{trouble} | {said} | back after {:.1} s", recovered.as_secs_f64());
}
