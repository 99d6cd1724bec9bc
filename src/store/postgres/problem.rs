//! What a database error means and what to do about it. Never with the URL, its host or its password.

use std::io;
use std::time::Duration;

use sqlx::migrate::MigrateError;

use crate::store::StoreError;

pub(super) const BAD_URL: &str =
    "DATABASE_URL is not a PostgreSQL URL such as postgres://user:password@host:5432/name";

/// The certificate does not verify.
const UNTRUSTED: &str = "the TLS handshake with the database failed: its certificate is not trusted; \
     database.tls = \"require\" accepts any certificate, as Heroku Postgres needs it";

/// The error of an operation in the store's words.
pub(super) fn of(error: &sqlx::Error) -> StoreError {
    StoreError::Unavailable { problem: text(error) }
}

/// No answer within the deadline.
pub(super) fn silent(deadline: Duration) -> StoreError {
    StoreError::Unavailable {
        problem: format!("the database did not answer within {} s", deadline.as_secs_f64()),
    }
}

pub(super) fn of_migration(error: &MigrateError) -> StoreError {
    let problem = match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            format!("the migration failed: {}", text(error))
        }
        MigrateError::VersionMismatch(version) => format!(
            "migration {version} in the database is not the one of this blacksky: \
             the schema was made by another build"
        ),
        other => format!("the migration failed: {other}"),
    };
    StoreError::Unavailable { problem }
}

/// Whether the statement failed only because its connection was dead before or while it was sent.
pub(super) fn is_dead_connection(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => is_cut(error.kind()),
        // The server ended the connection: shutdown, crash of another back-end, idle timeouts.
        sqlx::Error::Database(error) => {
            matches!(error.code().as_deref(), Some("57P01" | "57P02" | "57P05" | "25P03"))
        }
        _ => false,
    }
}

fn is_cut(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::NotConnected
    )
}

/// Whether a connection that could not be made now may be made in a moment.
pub(super) fn may_pass(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => {
            matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
                || is_cut(error.kind())
        }
        // No connection left; starting, stopping or restarting.
        sqlx::Error::Database(error) => {
            matches!(error.code().as_deref(), Some("53300" | "57P01" | "57P02" | "57P03"))
        }
        _ => false,
    }
}

/// Whether the connection can take another statement after this error.
pub(super) fn leaves_connection(error: &sqlx::Error) -> bool {
    // "Read-only" may be how the session began: a new one shows whether it still is so.
    matches!(error, sqlx::Error::Database(error) if error.code().as_deref() != Some("25006"))
        && !is_dead_connection(error)
}

/// Whether the schema or table is not there.
pub(super) fn is_undefined(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if matches!(error.code().as_deref(), Some("42P01" | "3F000")))
}

/// What it means and what to do.
pub(super) fn text(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => server(error.code().as_deref().unwrap_or("")),
        sqlx::Error::Io(error) => network(error),
        sqlx::Error::Tls(error) if error.to_string().contains("does not support TLS") => {
            "the database does not offer TLS: set database.tls = \"disable\" if it is on this machine \
             or in a private network"
                .into()
        }
        sqlx::Error::Tls(_) => UNTRUSTED.into(),
        sqlx::Error::PoolTimedOut => "no connection to the database could be made in time".into(),
        sqlx::Error::Configuration(_) => BAD_URL.into(),
        sqlx::Error::Protocol(_) => {
            "what answers at DATABASE_URL does not speak PostgreSQL's protocol".into()
        }
        other => format!("the database answered something unexpected: {other}"),
    }
}

/// By SQLSTATE, since the server's own words may hold names and values.
fn server(code: &str) -> String {
    match code {
        "28P01" => "the database refuses the user or password in DATABASE_URL: if the password was changed, \
             restart with the new DATABASE_URL (Heroku does both by itself)"
            .into(),
        "28000" => "the database refuses this user from here: check the user in DATABASE_URL, and whether \
             the server wants TLS (database.tls = \"require\")"
            .into(),
        "3D000" => "the database named in DATABASE_URL does not exist on the server".into(),
        "53300" => "the database has no connection left: its limit (20 for heroku-postgresql:essential-0) is for \
             all its users together, and each dyno of blacksky takes up to database.max_connections of it; stop \
             other clients, lower database.max_connections or take a larger plan"
            .into(),
        "57P01" | "57P02" | "57P03" => "the database is starting up or shutting down".into(),
        "57014" => "the database took longer than its statement timeout".into(),
        "55P03" => "a lock in the database did not become free in time".into(),
        "42501" => "the database user may not write to the schema \"blacksky\" or create it: grant it CREATE on \
             the database; Heroku also takes the right to write away while a database is over the size of its plan \
             (`heroku pg:info` says so): delete data or take a larger plan"
            .into(),
        "42P01" | "3F000" => "the tables are not there: run `blacksky migrate`".into(),
        "42703" => "a column is not there: run `blacksky migrate`".into(),
        "25006" => "the database is read-only: DATABASE_URL names a follower, or the database is under \
             maintenance, which ends by itself, or over its size limit (`heroku pg:info` says so)"
            .into(),
        "53100" => "the database's disk is full: delete data or take a larger plan".into(),
        "26000" | "42P05" => super::pooler::TRANSACTION_MODE.into(),
        // What PgBouncer says to all that it does not like.
        "08P01" => "what stands before the database, such as a connection pooler, refuses the connection: set \
             DATABASE_URL to the database's own URL"
            .into(),
        code => format!("the database refuses (SQLSTATE {code})"),
    }
}

fn network(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "the database refuses connections: nothing listens at the host \
             and port of DATABASE_URL"
            .into(),
        io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            "the database's host is not reachable".into()
        }
        io::ErrorKind::NotFound => "the database's Unix socket is not there".into(),
        io::ErrorKind::PermissionDenied => "the database's Unix socket is not ours to use".into(),
        io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::UnexpectedEof => "the connection to the database was cut".into(),
        // rustls speaks through the socket's errors.
        io::ErrorKind::InvalidData if error.to_string().contains("certificate") => UNTRUSTED.into(),
        io::ErrorKind::InvalidData => "the TLS handshake with the database failed".into(),
        _ if error.to_string().contains("lookup") => "the host in DATABASE_URL is not known to DNS".into(),
        kind => format!("the database cannot be reached ({kind})"),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{is_dead_connection, network, server};

    #[test]
    fn unknown_codes_are_named() {
        assert_eq!(server("XX000"), "the database refuses (SQLSTATE XX000)");
    }

    #[test]
    fn an_unknown_host_is_said_without_its_name() {
        let error = io::Error::other("failed to lookup address information: Name or service not known");
        assert_eq!(network(&error), "the host in DATABASE_URL is not known to DNS");
    }

    #[test]
    fn a_timeout_is_no_dead_connection() {
        assert!(!is_dead_connection(&sqlx::Error::Io(io::ErrorKind::TimedOut.into())));
        assert!(is_dead_connection(&sqlx::Error::Io(io::ErrorKind::UnexpectedEof.into())));
        assert!(!is_dead_connection(&sqlx::Error::PoolTimedOut));
    }
}
