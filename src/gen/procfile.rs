//! Procfile: what Heroku starts.

use crate::config::Config;

/// The text of the Procfile.
///
/// The Rust buildpack copies the program to `target/release` of the slug and does not put that on the
/// PATH, so the path is written out; with any other buildpack `blacksky` is expected on the PATH.
/// Both lines run the program without a shell around it that could swallow SIGTERM.
pub fn text(config: &Config) -> String {
    let program = if config.heroku.builds_with_cargo() { "./target/release/blacksky" } else { "blacksky" };
    format!("{}: {program} run\nrelease: {program} migrate\n", config.heroku.process)
}
