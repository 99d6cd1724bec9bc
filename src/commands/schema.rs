//! `blacksky schema`: the JSON schema of blacksky.toml.

use crate::config::schema;
use crate::exit::{Exit, Failure};

use super::output;

/// Prints the schema of this version.
pub fn run() -> Result<Exit, Failure> {
    output::print(schema::EMBEDDED.trim_end())?;
    Ok(Exit::Ok)
}
