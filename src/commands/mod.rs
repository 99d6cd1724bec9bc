//! One file a subcommand, each thin: load the config, call the room, print.

mod alerts;
mod check;
mod completions;
mod config;
#[cfg(feature = "simulator")]
mod demo;
mod doctor;
mod explain;
mod r#gen;
mod init;
mod job;
pub mod load;
mod man;
mod migrate;
pub mod output;
mod run;
mod schema;
mod session;
mod sim;
mod status;

use std::time::Duration;

use crate::cli::{Cli, Command};
use crate::exit::{Exit, Failure};

/// Runs the parsed command line.
pub fn dispatch(cli: Cli) -> Result<Exit, Failure> {
    match &cli.command {
        Command::Run(args) => run::run(&cli, args),
        Command::Check(args) => check::run(&cli, args),
        Command::Config(args) => config::run(&cli, args),
        Command::Gen(args) => r#gen::run(&cli, args),
        Command::Init(args) => init::run(&cli, args),
        Command::Schema => schema::run(),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
        Command::Migrate(args) => migrate::run(&load::load(&cli)?.config.database, args.json),
        Command::Doctor(args) => doctor::run(&cli, args),
        Command::Explain(args) => explain::run(args),
        Command::Status(args) => status::run(&cli, args),
        Command::Alerts(args) => alerts::run(&cli, args),
        Command::Job(command) => job::run(&cli, command),
        Command::Session(command) => session::run(&cli, command),
        Command::Sim(args) => sim::run(args),
        #[cfg(feature = "simulator")]
        Command::Demo => demo::run(&cli),
    }
}

/// Runs a command's future to its end. Work that a second signal left behind does not hold the process.
fn block_on(work: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(work);
    runtime.shutdown_timeout(Duration::from_millis(100));
    outcome
}
