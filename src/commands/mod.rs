//! One file a subcommand, each thin: load the config, call the room, print.

mod check;
mod config;
pub mod load;
mod migrate;
pub mod output;
mod schema;
mod sim;

use crate::cli::{Cli, Command};
use crate::exit::{Exit, Failure};

/// Runs the parsed command line.
pub fn dispatch(cli: Cli) -> Result<Exit, Failure> {
    match &cli.command {
        Command::Run(_) => todo!(),
        Command::Check(args) => check::run(&cli, args),
        Command::Config(args) => config::run(&cli, args),
        Command::Gen(_) => todo!(),
        Command::Schema => schema::run(),
        Command::Migrate(args) => migrate::run(&load::load(&cli)?.config.database, args.json),
        Command::Sim(args) => sim::run(args),
        #[cfg(feature = "simulator")]
        Command::Demo => todo!(),
    }
}
