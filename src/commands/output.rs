//! Printing to stdout and stderr; a closed pipe is no error and no panic.

use std::io::{ErrorKind, IsTerminal, Write};

use crate::exit::Failure;

/// Prints to stdout, with a line end.
pub fn print(text: &str) -> Result<(), Failure> {
    write_line(std::io::stdout().lock(), text)
}

/// Prints to stderr, with a line end.
pub fn print_error(text: &str) -> Result<(), Failure> {
    write_line(std::io::stderr().lock(), text)
}

/// Prints JSON to stdout.
pub fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    print(&serde_json::to_string_pretty(value)?)
}

/// stderr shows colours.
pub fn colour_on_stderr(env: &dyn crate::config::Environment) -> bool {
    std::io::stderr().is_terminal() && env.get("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn write_line(mut out: impl Write, text: &str) -> Result<(), Failure> {
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
