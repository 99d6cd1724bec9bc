//! Where log lines go: stderr, as text or JSON. stdout carries only what a command prints.

mod layer;
mod line;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogLevel};
use layer::Lines;

/// Where the client library dials and ends connections.
const CONNECTING: &str = "whatsapp_rust::client::lifecycle";

/// Starts logging for this process. A second call changes nothing.
///
/// The client library logs phone numbers from `info` on, under targets of its own choosing, and its Signal
/// part logs keys in warnings and errors. So foreign code is heard from `warn` up at the most, whatever
/// `log.level` says, and the Signal part not at all.
pub fn start(log: Log) {
    start_on(log, None);
}

/// The same on a dyno, whose name each line of JSON carries.
pub fn start_on(log: Log, dyno: Option<String>) {
    let lines = Lines { format: log.format, dyno, writer: std::io::stderr };
    let _already = tracing_subscriber::registry().with(filter(log.level)).with(lines).try_init();
}

fn filter(level: LogLevel) -> EnvFilter {
    // `CONNECTING` says "Failed to connect … Will retry" of every attempt; whether and when it is tried again
    // is decided by us, and said once, with the reason.
    let (ours, theirs, connecting) = match level {
        LogLevel::Error => ("error", "error", "off"),
        LogLevel::Warn => ("warn", "error", "off"),
        LogLevel::Info => ("info", "error", "off"),
        LogLevel::Debug => ("debug", "warn", "warn"),
        LogLevel::Trace => ("trace", "warn", "warn"),
    };
    EnvFilter::new(format!("{theirs},wacore_libsignal=off,{CONNECTING}={connecting},blacksky={ours}"))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// One line of every level from a target.
    macro_rules! say {
        ($target:literal) => {
            tracing::error!(target: $target, "error");
            tracing::warn!(target: $target, "warn");
            tracing::info!(target: $target, "info");
            tracing::debug!(target: $target, "debug");
            tracing::trace!(target: $target, "trace");
        };
    }

    /// What is written at a level: per target the finest level heard.
    fn heard(level: LogLevel) -> Vec<String> {
        let page = Page::default();
        let writer = page.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .without_time()
            .with_level(false)
            .with_env_filter(filter(level))
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            say!("blacksky::bot");
            say!("whatsapp_rust::message::receive");
            say!("whatsapp_rust::client::lifecycle");
            say!("Client/Send");
            say!("wacore::store");
            say!("wacore_libsignal::protocol::session_cipher");
            say!("sqlx::query");
        });
        let page = page.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&page);
        let mut finest = std::collections::BTreeMap::new();
        for line in text.lines() {
            let (target, level) = line.rsplit_once(": ").expect("a target and a level");
            finest.insert(target.trim().to_owned(), level.to_owned());
        }
        finest.into_iter().map(|(target, level)| format!("{target} {level}")).collect()
    }

    #[test]
    fn foreign_code_is_heard_from_warnings_up_and_keys_are_not() {
        let levels = [
            (LogLevel::Error, "error", "error"),
            (LogLevel::Warn, "warn", "error"),
            (LogLevel::Info, "info", "error"),
            (LogLevel::Debug, "debug", "warn"),
            (LogLevel::Trace, "trace", "warn"),
        ];
        for (level, ours, theirs) in levels {
            let wanted = [
                format!("Client/Send {theirs}"),
                format!("blacksky::bot {ours}"),
                format!("sqlx::query {theirs}"),
                format!("wacore::store {theirs}"),
                format!("whatsapp_rust::message::receive {theirs}"),
            ];
            let mut wanted = wanted.to_vec();
            if theirs == "warn" {
                wanted.insert(4, "whatsapp_rust::client::lifecycle warn".to_owned());
            }
            assert_eq!(heard(level), wanted, "{level:?}");
        }
    }
}
