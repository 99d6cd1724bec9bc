//! Procfile: what Heroku starts.

use crate::config::Config;

/// The text of the Procfile.
///
/// Both lines run the program without a shell around it that could swallow SIGTERM.
pub fn text(config: &Config) -> String {
    let program = config.heroku.program();
    format!("{}: {program} run\nrelease: {program} migrate\n", config.heroku.process)
}
