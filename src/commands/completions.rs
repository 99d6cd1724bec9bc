//! `blacksky completions`: what a shell needs to complete the command line.

use clap::CommandFactory as _;

use crate::cli::{Cli, Completions};
use crate::exit::{Exit, Failure};

use super::output;

/// Prints the script of one shell.
pub fn run(args: &Completions) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "blacksky", &mut script);
    output::print(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Ok)
}
