//! `blacksky run`: keep the bots linked until a signal.

use std::io::Write;

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
    super::block_on(run_until_signal(config, link))
}

async fn run_until_signal(config: Config, link: LinkAddress) -> Result<Exit, Failure> {
    let mut signals = StopSignals::arm()?;
    let mut running =
        Running::start(config, link).await.map_err(|error| Failure::new(Exit::Unavailable, error))?;
    print_ready_line(running.address().port());
    let broken = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "stopping");
            None
        }
        ended = running.broken() => {
            tracing::error!(task = %ended.name, panicked = ended.panicked, "a task ended by itself; stopping");
            Some(ended)
        }
    };
    let clean = tokio::select! {
        clean = running.stop() => clean,
        signal = signals.next() => {
            tracing::warn!(signal, "second signal: stopping at once");
            false
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
