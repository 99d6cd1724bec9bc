//! `blacksky explain CODE`: what a code means here, and what to do.

use serde_json::{Value, json};

use crate::cli::Explain;
use crate::config::suggest;
use crate::exit::{Exit, Failure};
use crate::explain;

use super::output;

/// Prints one text, or the list of codes. Exit 64 when nothing is known by this code.
pub fn run(args: &Explain) -> Result<Exit, Failure> {
    if args.code.is_empty() {
        if args.json {
            output::print_json(&Value::from_iter(explain::all().map(|entry| json!(entry))))?;
        } else {
            output::print(&explain::list())?;
        }
        return Ok(Exit::Ok);
    }
    let typed = args.code.join(" ");
    let Some(entry) = explain::find(&typed) else {
        return Err(Failure::new(Exit::Usage, anyhow::anyhow!(unknown(&typed))));
    };
    if args.json {
        output::print_json(&json!(entry))?;
    } else {
        output::print(&explain::text(entry))?;
    }
    Ok(Exit::Ok)
}

fn unknown(typed: &str) -> String {
    let shown = suggest::showable(typed);
    match explain::nearest(typed) {
        Some(near) => format!("nothing is known about \"{shown}\"; did you mean {near}?"),
        None => format!("nothing is known about \"{shown}\"; `blacksky explain` lists what is"),
    }
}
