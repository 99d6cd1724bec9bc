//! `blacksky run`: keep the bots linked until a signal.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use tokio::time::Instant;

use crate::cli::{self, Cli};
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::link::LinkAddress;
use crate::runtime::signal::StopSignals;
use crate::runtime::{Running, logging};

/// A signal that comes this soon after another is the same one: the platform signals every process of a
/// dyno, and a wrapper such as npm hands its own on.
const SAME_SIGNAL: Duration = Duration::from_millis(250);

/// Runs until SIGTERM or SIGINT. A second signal stops at once: where links wait for a successor they are
/// closed in order first, and a third one ends even that.
pub(super) fn run(cli: &Cli, args: &cli::Run) -> Result<Exit, Failure> {
    let config = super::load::load(cli)?.config;
    logging::start_on(config.log, config.platform.dyno.clone());
    keep_to_ourselves();
    let link = LinkAddress::decide(args.link.clone()).map_err(|error| Failure::new(Exit::Usage, error))?;
    let mut again = false;
    let exit = super::block_on(run_until_signal(config, link, &mut again))?;
    if again { begin_anew() } else { Ok(exit) }
}

/// Other programs of this account, such as a hosted bot and its packages, do not get to read this process: the keys are
/// in its environment and the sessions in its memory. Nor does a core dump.
fn keep_to_ourselves() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
    {
        tracing::warn!(%error, "other programs of this account can read the memory of this process");
    }
}

/// Replaces this process by a new one of itself: the pid and the port stay, so Heroku sees no crash and
/// starts no cool-off.
fn begin_anew() -> Result<Exit, Failure> {
    let program = std::env::current_exe()?;
    let error = Command::new(program).args(std::env::args_os().skip(1)).exec();
    Err(Failure::new(Exit::Failed, anyhow::Error::from(error).context("the restart did not work")))
}

async fn run_until_signal(config: Config, link: LinkAddress, again: &mut bool) -> Result<Exit, Failure> {
    let mut signals = StopSignals::arm()?;
    let base = config.web.base.clone();
    let mut running =
        Running::start(config, link).await.map_err(|error| Failure::new(Exit::Unavailable, error))?;
    print_ready_line(running.address().port(), &base);
    let restart = running.restart_wanted();
    let broken = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "stopping");
            None
        }
        ended = running.broken() => {
            tracing::error!(task = %ended.name, panicked = ended.panicked, "a task ended by itself; stopping");
            Some(ended)
        }
        () = restart.cancelled() => {
            *again = true;
            None
        }
    };
    let clean = stop(running, &mut signals, again).await;
    tracing::info!(clean, "stopped");
    match broken {
        None => Ok(Exit::Ok),
        Some(ended) => Err(Failure::new(
            Exit::Failed,
            anyhow::anyhow!(
                "the task {:?} ended by itself, which is a bug in blacksky; the log above says more",
                ended.name
            ),
        )),
    }
}

/// `true` when all ended in order and in time. A signal during a stop that was to begin anew makes it one
/// for good.
async fn stop(running: Running, signals: &mut StopSignals, again: &mut bool) -> bool {
    let mut stop_now = running.stop_now();
    if *again && let Some(now) = stop_now.take() {
        // Nobody is started for us: we are our own successor.
        now.cancel();
    }
    let waits = stop_now.is_some();
    let mut heard = Instant::now();
    let mut stopping = std::pin::pin!(running.stop());
    loop {
        let signal = tokio::select! {
            clean = &mut stopping => return clean,
            signal = signals.next() => signal,
        };
        if std::mem::take(again) {
            tracing::info!(signal, "stopping for good");
            continue;
        }
        if waits && heard.elapsed() < SAME_SIGNAL {
            continue;
        }
        heard = Instant::now();
        match stop_now.take() {
            Some(now) => {
                tracing::warn!(signal, "second signal: waiting for no other dyno");
                now.cancel();
            }
            None => {
                tracing::warn!(signal, "another signal: stopping at once");
                return false;
            }
        }
    }
}

/// The one line `run` prints to stdout, as soon as the port is bound:
/// `{"event":"listening","port":3000,"url":"http://localhost:3000/"}`, the address being that of the page.
fn print_ready_line(port: u16, base: &str) {
    let line = serde_json::json!({
        "event": "listening",
        "port": port,
        "url": format!("http://localhost:{port}{base}"),
    });
    let mut stdout = std::io::stdout().lock();
    // Whoever reads the line may have gone; the bot goes on.
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
