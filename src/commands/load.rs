//! Reading the config on behalf of a command.

use crate::cli::Cli;
use crate::config::{Config, Environment, Loaded, ProcessEnvironment, problem};
use crate::exit::{Exit, Failure};

use super::output;

/// Loads the config with the Config Vars of this process. Warnings and problems are printed to stderr;
/// problems end the command with exit code 78.
pub fn load(cli: &Cli) -> Result<Loaded, Failure> {
    load_with(cli, &ProcessEnvironment)
}

/// The same with another environment.
pub fn load_with(cli: &Cli, env: &dyn Environment) -> Result<Loaded, Failure> {
    let colour = output::colour_on_stderr(&ProcessEnvironment);
    match Config::load(&cli.config, env) {
        Ok(loaded) => {
            if !loaded.warnings.is_empty() {
                let text = problem::render_all(&cli.config, &loaded.warnings, colour);
                output::print_error(&format!("{text}\n"))?;
            }
            Ok(loaded)
        }
        Err(problems) => {
            output::print_error(&format!("{}\n", problems.render(colour)))?;
            Err(Failure::new(Exit::BadConfig, anyhow::anyhow!(problems.summary())))
        }
    }
}
