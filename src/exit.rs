//! Exit codes of the `blacksky` command, one documented enum.

use std::process::{ExitCode, Termination};

/// How a command ended. The numbers follow `sysexits.h` where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All went well.
    Ok = 0,
    /// The command ran and failed; the message says why.
    Failed = 1,
    /// The command line is wrong (`EX_USAGE`).
    Usage = 64,
    /// Something outside is not there: database, port, server (`EX_UNAVAILABLE`).
    Unavailable = 69,
    /// blacksky.toml or a Config Var is wrong (`EX_CONFIG`).
    BadConfig = 78,
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}

/// An error that ends a command, with the exit code it stands for.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What went wrong and what to do, printed to stderr as a chain.
    pub error: anyhow::Error,
}

impl Failure {
    /// A failure with the given code.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into() }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(Exit::Failed, error)
    }
}
