//! `blacksky sim`: the simulated WhatsApp server, until a signal.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};

use anyhow::Context;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Sim;
use crate::exit::{Exit, Failure};
use crate::sim::{Options, Server};

/// Runs the command.
pub fn run(args: &Sim) -> Result<Exit, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port))
        .with_context(|| {
            format!("port {} of 127.0.0.1 cannot be bound; choose another with --port", args.port)
        })
        .map_err(|error| Failure::new(Exit::Unavailable, error))?;
    // Its own log, on stderr: stdout carries only the ready line.
    let _ = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing::Level::INFO)
        .try_init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let server = Server::start(Options { listener, state_dir: args.state.clone() })?;
        let ready = json!({ "ready": true, "url": server.url(), "control": server.control_url() });
        let mut stdout = std::io::stdout();
        writeln!(stdout, "{ready}")
            .and_then(|()| stdout.flush())
            .context("the ready line cannot be printed")?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        server.shutdown().await?;
        Ok(Exit::Ok)
    })
}
