//! `blacksky status`: how the links of a running blacksky stand, for a terminal or a script.

mod report;
mod watch;

use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use crate::cli::{self, Cli};
use crate::exit::{Exit, Failure};
use crate::link::tls;
use crate::runtime::clock;
use crate::runtime::signal::StopSignals;

use super::{load, output};
use report::Report;
use watch::Soak;

/// One question to the page.
const DEADLINE: Duration = Duration::from_secs(10);
/// Between two questions of `--watch`. What happens in between is seen by its counters.
const EVERY: Duration = Duration::from_secs(5);

/// Exit 0 when the link of every bot is open, 1 when one is not, 69 when the page does not answer. With
/// `--watch` 1 also when a link was lost without a reason that is part of normal life.
pub fn run(cli: &Cli, args: &cli::Status) -> Result<Exit, Failure> {
    let url = address(cli, args)?;
    super::block_on(async {
        let page = Page::new(url)?;
        match args.watch {
            None => once(&page, args.json).await,
            Some(length) => watch(&page, length, args.json).await,
        }
    })
}

/// `--url`, else the app's public address, else this machine.
fn address(cli: &Cli, args: &cli::Status) -> Result<Url, Failure> {
    let base = match &args.url {
        Some(url) => url.clone(),
        None => {
            let config = load::load(cli)?.config;
            match config.heroku.url {
                Some(url) => url,
                None => Url::parse(&format!("http://localhost:{}/", config.web.port))?,
            }
        }
    };
    base.join("/status").context("the address of the page").map_err(|error| Failure::new(Exit::Usage, error))
}

struct Page {
    client: reqwest::Client,
    url: Url,
}

impl Page {
    fn new(url: Url) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::config().as_ref().clone())
            .timeout(DEADLINE)
            .build()?;
        Ok(Self { client, url })
    }

    async fn ask(&self) -> anyhow::Result<Value> {
        // The address may carry a password, so no error repeats it.
        let answer = self.client.get(self.url.clone()).header("accept", "application/json").send().await;
        let answer = answer.and_then(reqwest::Response::error_for_status);
        let text = match answer {
            Ok(answer) => answer.text().await,
            Err(error) => Err(error),
        };
        let text = text.map_err(reqwest::Error::without_url)?;
        serde_json::from_str(&text)
            .context("the answer is not the status of a blacksky; is the address right?")
    }
}

async fn once(page: &Page, json: bool) -> Result<Exit, Failure> {
    let answer =
        page.ask().await.context("the page does not answer; is blacksky running, and is --url right?");
    let answer = answer.map_err(|error| Failure::new(Exit::Unavailable, error))?;
    let report = Report::of(&answer)?;
    if json {
        output::print_json(&answer)?;
    } else {
        output::print(&report.table(clock::now()))?;
    }
    Ok(if report.all_open() { Exit::Ok } else { Exit::Failed })
}

async fn watch(page: &Page, length: Duration, json: bool) -> Result<Exit, Failure> {
    let mut signals = StopSignals::arm()?;
    let end = Instant::now() + length;
    let mut soak = Soak::new(Instant::now());
    // A line that tells how it stands, for whoever looks on; nothing of it in a log.
    let terminal = console::Term::stderr();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = tokio::time::sleep_until(end) => break,
            _ = signals.next() => break,
        }
        let report = match page.ask().await {
            Ok(answer) => Some(Report::of(&answer)?),
            Err(error) => {
                tracing::debug!("{error:#}");
                None
            }
        };
        let open = report.as_ref().map(|report| (report.open(), report.bots.len()));
        clear(&terminal);
        for line in soak.see(report, Instant::now()) {
            if json {
                output::print(&serde_json::json!({ "at": clock::now(), "event": line }).to_string())?;
            } else {
                output::print(&format!("{}  {line}", clock::now().format("%Y-%m-%d %H:%M:%S UTC")))?;
            }
        }
        if terminal.is_term() {
            let left = humantime::format_duration(Duration::from_secs((end - Instant::now()).as_secs()));
            let now = open.map_or_else(
                || "the page does not answer".to_owned(),
                |(open, all)| format!("{open} of {all} open"),
            );
            let _ = terminal.write_str(&format!("{now}, {left} to go"));
        }
    }
    clear(&terminal);
    let summary = soak.summary(Instant::now());
    if json {
        output::print(&serde_json::to_string(&summary)?)?;
    } else {
        output::print(&summary.to_string())?;
    }
    Ok(if summary.good { Exit::Ok } else { Exit::Failed })
}

fn clear(terminal: &console::Term) {
    if terminal.is_term() {
        // A terminal that went away is no reason to end.
        let _ = terminal.clear_line();
    }
}
