//! Where log lines go: stderr, as text or JSON. stdout carries only what a command prints.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat, LogLevel};

/// Starts logging for this process. A second call changes nothing.
///
/// The client library writes message ids and addresses at its finer levels, so it never goes below
/// `info`, whatever `log.level` says.
pub fn start(log: Log) {
    let subscriber = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(filter(log.level))
        .with_target(false);
    let _already = match log.format {
        LogFormat::Text => subscriber.with_ansi(false).finish().try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).finish().try_init(),
    };
}

fn filter(level: LogLevel) -> EnvFilter {
    let (ours, theirs) = match level {
        LogLevel::Error => ("error", "error"),
        LogLevel::Warn => ("warn", "error"),
        LogLevel::Info => ("info", "error"),
        LogLevel::Debug => ("debug", "warn"),
        LogLevel::Trace => ("trace", "info"),
    };
    EnvFilter::new(format!("{theirs},blacksky={ours}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_library_is_never_more_talkative_than_info() {
        for level in [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace] {
            let text = filter(level).to_string();
            let theirs = text.split(',').find(|directive| !directive.contains('=')).unwrap_or_default();
            assert!(["error", "warn", "info"].contains(&theirs), "{level:?}: {text}");
        }
    }
}
