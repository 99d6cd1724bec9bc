//! The rows of the dynos. Each statement that others wait for tells them in its own transaction.

use std::time::Duration;

use chrono::DateTime;
use sqlx::postgres::PgArguments;

use super::{Postgres, args, column};
use crate::store::dyno::Dyno;
use crate::store::notice::{CHANNEL, Notice};
use crate::store::{Lease, Owner, StoreError};

/// Writes the dyno of `$1` to `$6`. `macro_rules` because a statement is one literal.
macro_rules! put_dyno {
    () => {
        "INSERT INTO blacksky.dyno (owner, name, booted_at, sessions, ready, seen_at, expires_at)
         VALUES ($1, $2, to_timestamp($3::bigint / 1000000.0), $4, $5, clock_timestamp(),
             clock_timestamp() + make_interval(secs => $6))
         ON CONFLICT (owner) DO UPDATE SET sessions = excluded.sessions, ready = excluded.ready,
             seen_at = excluded.seen_at, expires_at = excluded.expires_at"
    };
}

/// Those who left without a word go with the next one who comes.
const REGISTER: &str = concat!(
    "WITH put AS (",
    put_dyno!(),
    "), gone AS (
        DELETE FROM blacksky.dyno WHERE expires_at <= clock_timestamp() AND owner <> $1
    )
    SELECT pg_notify($7, $8)"
);

const UNREGISTER: &str = "
    WITH gone AS (DELETE FROM blacksky.dyno WHERE owner = $1 RETURNING owner)
    SELECT pg_notify($2, $3) FROM gone";

const DYNOS: &str = "
    SELECT owner, name, (extract(epoch FROM booted_at) * 1000000)::bigint, sessions, ready
    FROM blacksky.dyno WHERE expires_at > clock_timestamp() ORDER BY booted_at, owner";

const HOLDERS: &str = "
    SELECT id, owner FROM blacksky.session
    WHERE id = ANY($1) AND expires_at > clock_timestamp() AND owner <> ''";

/// All leases and the dyno itself, in one go.
const BEAT: &str = concat!(
    "WITH put AS (",
    put_dyno!(),
    "), kept AS (
        UPDATE blacksky.session AS s SET expires_at = clock_timestamp() + make_interval(secs => $6)
        FROM unnest($7::text[], $8::bigint[]) AS l (id, epoch)
        WHERE s.id = l.id AND s.epoch = l.epoch AND s.owner = $1
        RETURNING s.id, s.epoch
    )
    SELECT id, epoch FROM kept"
);

impl Postgres {
    pub(super) async fn dyno_register(&self, dyno: &Dyno, ttl: Duration) -> Result<(), StoreError> {
        let (booted, ttl) = (dyno.booted_at.timestamp_micros(), ttl.as_secs_f64());
        let args = args![
            &dyno.owner.0,
            &dyno.name,
            booted,
            &dyno.sessions,
            dyno.ready,
            ttl,
            CHANNEL,
            Notice::Dynos.to_string()
        ];
        self.run_lease(REGISTER, args).await.map(drop)
    }

    pub(super) async fn dyno_unregister(&self, owner: &Owner) -> Result<(), StoreError> {
        self.run_lease(UNREGISTER, args![&owner.0, CHANNEL, Notice::Dynos.to_string()]).await.map(drop)
    }

    pub(super) async fn dyno_list(&self) -> Result<Vec<Dyno>, StoreError> {
        let rows = self.run_lease(DYNOS, PgArguments::default()).await?;
        rows.iter()
            .map(|row| {
                Ok(Dyno {
                    owner: Owner(column(row, 0)?),
                    name: column(row, 1)?,
                    booted_at: DateTime::from_timestamp_micros(column(row, 2)?).unwrap_or_default(),
                    sessions: column(row, 3)?,
                    ready: column(row, 4)?,
                })
            })
            .collect()
    }

    pub(super) async fn dyno_holders(&self, sessions: &[String]) -> Result<Vec<(String, Owner)>, StoreError> {
        let rows = self.run_lease(HOLDERS, args![sessions]).await?;
        rows.iter().map(|row| Ok((column(row, 0)?, Owner(column(row, 1)?)))).collect()
    }

    pub(super) async fn dyno_beat(
        &self,
        dyno: &Dyno,
        leases: &[Lease],
        ttl: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        let sessions: Vec<&str> = leases.iter().map(|lease| lease.session.as_str()).collect();
        let epochs: Vec<i64> = leases.iter().map(|lease| lease.epoch).collect();
        let (booted, ttl) = (dyno.booted_at.timestamp_micros(), ttl.as_secs_f64());
        let args =
            args![&dyno.owner.0, &dyno.name, booted, &dyno.sessions, dyno.ready, ttl, sessions, epochs];
        let rows = self.run_lease(BEAT, args).await?;
        super::lease::still_held(&rows, leases)
    }
}
