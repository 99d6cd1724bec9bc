//! What a server says of itself to [`crate::store::examine`].

use std::net::IpAddr;

use chrono::{DateTime, TimeDelta};
use sqlx::{Connection as _, Executor as _, Row as _};
use tokio::time::Instant;

use super::connections::one;
use super::{options, pooler, problem};
use crate::config::{Secret, Tls};
use crate::runtime::clock;
use crate::store::StoreError;
use crate::store::examine::Server;

/// Most a statement may take.
const TIMEOUT: &str = "3s";

/// The clock is asked for alone, so that nothing else is between question and answer.
const CLOCK: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/// The lowest of the limits counts; a superuser has none of his own.
const FACTS: &str = "
    SELECT current_setting('server_version'),
           (SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl),
           greatest(0, least(
               current_setting('max_connections')::int
                   - current_setting('superuser_reserved_connections')::int,
               (SELECT CASE WHEN rolsuper OR rolconnlimit < 0 THEN NULL ELSE rolconnlimit END
                  FROM pg_roles WHERE rolname = current_user),
               (SELECT CASE WHEN datconnlimit < 0 THEN NULL ELSE datconnlimit END
                  FROM pg_database WHERE datname = current_database()))),
           (SELECT count(*)::int FROM pg_stat_activity
             WHERE usename = current_user AND backend_type = 'client backend'),
           pg_database_size(current_database())";

/// A row that nobody sees, and that is taken back; before the first migration, a schema.
const WRITE: &str = "BEGIN; INSERT INTO blacksky.dyno (owner, name, booted_at, sessions, ready, seen_at, expires_at) \
     VALUES ('blacksky doctor', '', now(), '{}', false, now(), now()); ROLLBACK";
const CREATE: &str = "BEGIN; CREATE SCHEMA IF NOT EXISTS blacksky; \
     CREATE TABLE blacksky.doctor (n int); ROLLBACK";

pub(in crate::store) async fn examine(url: &Secret, tls: Tls) -> Result<Server, StoreError> {
    let options = options(url, tls)?;
    let local = options.get_socket().is_some()
        || options.get_host().starts_with('/')
        || options.get_host() == "localhost"
        || options.get_host().parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let (mut first, mut second) = tokio::try_join!(one(&options, TIMEOUT), one(&options, TIMEOUT))?;
    let failed = |error: sqlx::Error| problem::of(&error);

    let pooler_problem = match pooler::refuse(&mut first, &mut second).await {
        Ok(()) => None,
        Err(StoreError::Unavailable { problem }) => Some(problem),
        Err(other) => return Err(other),
    };
    // Not prepared, which a pooler might not bear.
    let (asked, before) = (Instant::now(), clock::now());
    let row = first.fetch_one(sqlx::raw_sql(CLOCK)).await.map_err(failed)?;
    let round_trip = asked.elapsed();
    let half = TimeDelta::from_std(round_trip / 2).unwrap_or_default();
    let theirs: i64 = row.try_get(0).map_err(failed)?;
    let theirs = DateTime::from_timestamp_micros(theirs).unwrap_or(before);

    let row = first.fetch_one(sqlx::raw_sql(FACTS)).await.map_err(failed)?;
    let number = |index| row.try_get::<i32, _>(index).map(|n| u32::try_from(n).unwrap_or_default());
    let version: String = row.try_get(0).map_err(failed)?;
    let mut server = Server {
        // "15.18 (Debian 15.18-0+deb12u1)"
        version: version.split_whitespace().next().unwrap_or_default().to_owned(),
        round_trip,
        encrypted: row.try_get(1).map_err(failed)?,
        local,
        clock_ahead: theirs - (before + half),
        connection_limit: number(2).map_err(failed)?,
        connections: number(3).map_err(failed)?,
        size: row.try_get::<i64, _>(4).map_or(0, |size| u64::try_from(size).unwrap_or_default()),
        write_problem: None,
        pooler_problem,
    };
    // The last, since its transaction may be left open.
    let written = second.execute(sqlx::raw_sql(WRITE)).await;
    let written = match written {
        Err(error) if problem::is_undefined(&error) => first.execute(sqlx::raw_sql(CREATE)).await,
        other => other,
    };
    if let Err(error) = written {
        server.write_problem = Some(problem::text(&error));
    }
    // Courtesies to the server.
    let _ = tokio::join!(first.close(), second.close());
    Ok(server)
}
