//! Where a value came from.

use std::fmt;

use serde::Serialize;

/// Where the value of a key came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "from")]
pub enum Source {
    /// Neither the file nor the environment set it.
    Default,
    /// The file, at a line and column counted from 1.
    File { line: usize, column: usize },
    /// A Config Var.
    Env { variable: String },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { line, column } => write!(f, "line {line}:{column}"),
            Self::Env { variable } => write!(f, "Config Var {variable}"),
        }
    }
}
