//! `[log]`: what is logged and how.

use schemars::JsonSchema;

use super::listing::Listing;
use super::reader::{Setting, Table};
use super::values::choice::choice;

/// `[log]`.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    pub level: LogLevel,
    pub format: LogFormat,
}

choice! {
    /// The least important lines that are logged.
    pub enum LogLevel { Error = "error", Warn = "warn", Info = "info", Debug = "debug", Trace = "trace" }
}

choice! {
    /// How a line looks.
    pub enum LogFormat { Text = "text", Json = "json" }
}

/// What is logged and how.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Log")]
pub(super) struct LogLayer {
    /// The least important lines that are logged.
    level: Setting<LogLevel>,
    /// `text` for people, `json` for programs: one object a line.
    format: Setting<LogFormat>,
}

impl LogLayer {
    pub(super) fn read(mut table: Table<'_, '_>) -> Self {
        let layer = Self { level: table.key("level"), format: table.key("format") };
        table.finish();
        layer
    }

    pub(super) fn resolve(self) -> Log {
        Log {
            level: self.level.value().unwrap_or(LogLevel::Info),
            format: self.format.value().unwrap_or(LogFormat::Text),
        }
    }
}

impl Log {
    pub(super) fn list(&self, to: &mut Listing) {
        to.add("log", "level", self.level.as_str());
        to.add("log", "format", self.format.as_str());
    }
}
