//! The real binary with a bot `main` that is linked to the simulator, its session in a SQLite file.

use std::path::Path;
use std::time::Duration;

use blacksky::sim::Server;
use serde_json::Value;

use super::blacksky::{Blacksky, Process};
use super::eventually::eventually;

/// Long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// How to start it in `folder`, with these Config Vars.
pub fn bot(folder: &Path, env: &[(&str, &str)]) -> Blacksky {
    let file = "[bots.main]\nprefix = \"!\"\n[bots.main.commands]\nping = \"pong {args}\"\n";
    std::fs::write(folder.join("blacksky.toml"), file).expect("written");
    env.iter().fold(Blacksky::in_folder(folder), |bot, (name, value)| bot.env(name, *value))
}

/// Starts it and links it to the phone `number`.
pub async fn linked(server: &Server, bot: Blacksky, url: &str, number: &str) -> Process {
    let process = bot.run(url);
    let mut qr = None;
    eventually("a QR on the page", PATIENCE, async || {
        qr = process.qr().await;
        qr.is_some()
    })
    .await;
    server.handle().scan(&qr.expect("just seen"), number).expect("the QR of the page can be scanned");
    process.until("open", PATIENCE).await;
    process
}

impl Process {
    /// Bot `main` in `/status`.
    pub async fn bot(&self) -> Value {
        self.status().await.map(|status| status["bots"]["main"].clone()).unwrap_or_default()
    }

    /// Waits until bot `main` in `/status` is as wanted.
    pub async fn until_bot(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let begun = tokio::time::Instant::now();
        loop {
            let bot = self.bot().await;
            if wanted(&bot) {
                return bot;
            }
            assert!(begun.elapsed() < PATIENCE, "no {what}: {bot:#}\nlog:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Presses "Reconnect now".
    pub async fn reconnect(&self) {
        let origin = self.url("");
        let asked = super::http::client().post(self.url("/bots/main/reconnect")).header("origin", origin);
        let answer = asked.send().await.expect("it answers");
        assert!(answer.status().is_success(), "{}", answer.status());
    }
}
