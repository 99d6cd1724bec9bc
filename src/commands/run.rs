//! `blacksky run`: keep the bots linked until a signal.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::cli::{self, Cli};
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::link::LinkAddress;
use crate::runtime::signal::StopSignals;
use crate::runtime::{Running, logging};

/// Runs until SIGTERM or SIGINT. A second signal stops at once.
pub(super) fn run(cli: &Cli, args: &cli::Run) -> Result<Exit, Failure> {
    let config = super::load::load(cli)?.config;
    logging::start(config.log);
    let link = LinkAddress::decide(args.link.clone()).map_err(|error| Failure::new(Exit::Usage, error))?;
    let mut again = false;
    let exit = super::block_on(run_until_signal(config, link, &mut again))?;
    if again { begin_anew() } else { Ok(exit) }
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
    let mut running =
        Running::start(config, link).await.map_err(|error| Failure::new(Exit::Unavailable, error))?;
    print_ready_line(running.address().port());
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
    let mut stopping = std::pin::pin!(running.stop());
    let clean = loop {
        tokio::select! {
            clean = &mut stopping => break clean,
            signal = signals.next() => {
                if std::mem::take(again) {
                    tracing::info!(signal, "stopping for good");
                } else {
                    tracing::warn!(signal, "second signal: stopping at once");
                    break false;
                }
            }
        }
    };
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

/// The one line `run` prints to stdout, as soon as the port is bound:
/// `{"event":"listening","port":3000,"url":"http://localhost:3000/"}`.
fn print_ready_line(port: u16) {
    let line = serde_json::json!({
        "event": "listening",
        "port": port,
        "url": format!("http://localhost:{port}/"),
    });
    let mut stdout = std::io::stdout().lock();
    // Whoever reads the line may have gone; the bot goes on.
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
