//! `blacksky man`: the manual, from the command line's own help.

use anyhow::Context as _;
use clap::CommandFactory as _;

use crate::cli::{Cli, Man};
use crate::exit::{Exit, Failure};

use super::output;

/// Prints blacksky(1), or writes it and a page for each subcommand.
pub fn run(args: &Man) -> Result<Exit, Failure> {
    let command = Cli::command().disable_help_subcommand(true);
    if let Some(folder) = &args.folder {
        let failed = || format!("{} cannot be filled with manual pages", folder.display());
        std::fs::create_dir_all(folder).with_context(failed)?;
        clap_mangen::generate_to(command, folder).with_context(failed)?;
    } else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        output::print(String::from_utf8_lossy(&page).trim_end())?;
    }
    Ok(Exit::Ok)
}
