//! One file a subcommand, each thin: load the config, call the room, print.

mod sim;

use crate::cli::{Cli, Command};
use crate::exit::{Exit, Failure};

/// Runs the parsed command line.
pub fn dispatch(cli: Cli) -> Result<Exit, Failure> {
    match cli.command {
        Command::Run(_) => todo!(),
        Command::Check(_) => todo!(),
        Command::Config(_) => todo!(),
        Command::Gen(_) => todo!(),
        Command::Schema => todo!(),
        Command::Migrate(_) => todo!(),
        Command::Sim(args) => sim::run(&args),
        #[cfg(feature = "simulator")]
        Command::Demo => todo!(),
    }
}
