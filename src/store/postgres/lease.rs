//! The row of a session: lease, epoch, generation. Time is the database's `clock_timestamp()`.

use std::collections::HashSet;
use std::time::Duration;

use chrono::TimeDelta;
use sqlx::postgres::PgRow;

use super::{Postgres, args, column, rows::fenced};
use crate::config::WaVersion;
use crate::runtime::clock;
use crate::store::engine::{Bond, Won, version_of, version_text};
use crate::store::notice::{CHANNEL, Notice};
use crate::store::{Lease, Owner, StoreError};

/// A holder is only looked at, so that waiting dynos do not lock the row. When there is none, the row
/// is taken, which waits for writers that hold it with the old epoch.
const ACQUIRE: &str = "
    WITH held AS (
        SELECT owner, expires_at FROM blacksky.session
        WHERE id = $1 AND expires_at > clock_timestamp() AND owner <> $2
    ), fresh AS (
        INSERT INTO blacksky.generation (session)
        SELECT $1 WHERE NOT EXISTS (SELECT 1 FROM blacksky.session WHERE id = $1)
        RETURNING id
    ), won AS (
        INSERT INTO blacksky.session AS s (id, generation, epoch, owner, expires_at)
        SELECT $1, coalesce((SELECT id FROM fresh), 0),
            (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, $2,
            clock_timestamp() + make_interval(secs => $3)
        WHERE NOT EXISTS (SELECT 1 FROM held)
        ON CONFLICT (id) DO UPDATE SET
            owner = excluded.owner,
            epoch = greatest(s.epoch + 1, excluded.epoch),
            expires_at = excluded.expires_at
        WHERE s.expires_at <= clock_timestamp() OR s.owner = excluded.owner
        RETURNING epoch, generation
    )
    SELECT (SELECT epoch FROM won), (SELECT generation FROM won),
        (SELECT owner FROM held),
        (SELECT (extract(epoch FROM expires_at - clock_timestamp()) * 1000000)::bigint FROM held)";

const RENEW: &str = "
    UPDATE blacksky.session AS s SET expires_at = clock_timestamp() + make_interval(secs => $4)
    FROM unnest($1::text[], $2::bigint[], $3::text[]) AS l (id, epoch, owner)
    WHERE s.id = l.id AND s.epoch = l.epoch AND s.owner = l.owner
    RETURNING s.id, s.epoch";

/// Tells the dynos that wait in the same transaction.
const RELEASE: &str = "
    WITH gone AS (
        UPDATE blacksky.session SET owner = '', expires_at = '-infinity'
        WHERE id = $1 AND epoch = $2 AND owner = $3
        RETURNING id
    )
    SELECT pg_notify($4, $5) FROM gone";

/// The key changes, so this waits for writes under way in the old generation.
const ARCHIVE: &str = "
    WITH fence AS (
        SELECT 1 FROM blacksky.session WHERE id = $1 AND epoch = $2 AND generation = $3 FOR UPDATE
    ), old AS (
        UPDATE blacksky.generation SET archived_at = clock_timestamp() FROM fence WHERE id = $3
    ), fresh AS (
        INSERT INTO blacksky.generation (session) SELECT $1 FROM fence RETURNING id
    )
    UPDATE blacksky.session AS s SET generation = fresh.id FROM fresh
    WHERE s.id = $1 AND s.epoch = $2 AND s.generation = $3
    RETURNING s.generation";

const WA_VERSION: &str = "SELECT wa_version FROM blacksky.session WHERE id = $1";

const PUT_WA_VERSION: &str = fenced!(
    ", put AS (UPDATE blacksky.session AS s SET wa_version = $4 FROM fence
        WHERE s.id = $1 AND s.wa_version IS DISTINCT FROM $4)
    SELECT count(*) FROM fence"
);

const IS_IMPORTED: &str = "SELECT 1 FROM blacksky.imported WHERE session = $1 AND digest = $2";

const NOTE_IMPORTED: &str = fenced!(
    ", put AS (INSERT INTO blacksky.imported (session, digest) SELECT $1, $4 FROM fence ON CONFLICT DO NOTHING)
    SELECT count(*) FROM fence"
);

/// The leases whose session and epoch came back.
pub(super) fn still_held(rows: &[PgRow], leases: &[Lease]) -> Result<Vec<Lease>, StoreError> {
    let kept = rows
        .iter()
        .map(|row| Ok((column(row, 0)?, column(row, 1)?)))
        .collect::<Result<HashSet<(String, i64)>, StoreError>>()?;
    Ok(leases.iter().filter(|l| kept.contains(&(l.session.clone(), l.epoch))).cloned().collect())
}

impl Postgres {
    pub(super) async fn lease_acquire(
        &self,
        session: &str,
        owner: &Owner,
        ttl: Duration,
    ) -> Result<Won, StoreError> {
        // Nothing comes back when another dyno made the row in the same instant: then look again.
        for _ in 0..3 {
            let rows = self.run_lease(ACQUIRE, args![session, &owner.0, ttl.as_secs_f64()]).await?;
            let Some(row) = rows.first() else { continue };
            if let (Some(epoch), Some(generation)) = (column(row, 0)?, column(row, 1)?) {
                return Ok(Won { epoch, generation });
            }
            if let (Some(owner), Some(left)) = (column(row, 2)?, column::<Option<i64>>(row, 3)?) {
                // Told in our own time: the two clocks may differ.
                let until = clock::now() + TimeDelta::microseconds(left);
                return Err(StoreError::Held { owner, until });
            }
        }
        Err(StoreError::Unavailable { problem: "several dynos ask for the lease at once".into() })
    }

    pub(super) async fn lease_renew(
        &self,
        leases: &[Lease],
        ttl: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        let sessions: Vec<&str> = leases.iter().map(|lease| lease.session.as_str()).collect();
        let epochs: Vec<i64> = leases.iter().map(|lease| lease.epoch).collect();
        let owners: Vec<&str> = leases.iter().map(|lease| lease.owner.0.as_str()).collect();
        let rows = self.run_lease(RENEW, args![sessions, epochs, owners, ttl.as_secs_f64()]).await?;
        still_held(&rows, leases)
    }

    pub(super) async fn lease_release(&self, lease: &Lease) -> Result<(), StoreError> {
        let notice = Notice::Lease { session: lease.session.clone() }.to_string();
        let args = args![&lease.session, lease.epoch, &lease.owner.0, CHANNEL, notice];
        self.run_lease(RELEASE, args).await.map(drop)
    }

    pub(super) async fn lease_archive(&self, bond: &Bond) -> Result<i64, StoreError> {
        // Not sent twice: after a lost answer the bond no longer holds, and the error would mislead.
        let rows = self.run_up_to(ARCHIVE, args![&bond.session, bond.epoch, bond.generation], 0).await?;
        rows.first().map_or(Err(StoreError::Fenced), |row| column(row, 0))
    }

    pub(super) async fn lease_wa_version(&self, session: &str) -> Result<Option<WaVersion>, StoreError> {
        let rows = self.run(WA_VERSION, args![session]).await?;
        let text: Option<String> = rows.first().map(|row| column(row, 0)).transpose()?.flatten();
        Ok(text.as_deref().and_then(version_of))
    }

    pub(super) async fn lease_put_wa_version(
        &self,
        bond: &Bond,
        version: WaVersion,
    ) -> Result<(), StoreError> {
        self.run_fenced(
            PUT_WA_VERSION,
            args![&bond.session, bond.epoch, bond.generation, version_text(version)],
        )
        .await
        .map(drop)
    }

    pub(super) async fn lease_is_imported(
        &self,
        session: &str,
        digest: &[u8; 32],
    ) -> Result<bool, StoreError> {
        Ok(!self.run(IS_IMPORTED, args![session, &digest[..]]).await?.is_empty())
    }

    pub(super) async fn lease_note_imported(&self, bond: &Bond, digest: &[u8; 32]) -> Result<(), StoreError> {
        let args = args![&bond.session, bond.epoch, bond.generation, &digest[..]];
        self.run_fenced(NOTE_IMPORTED, args).await.map(drop)
    }
}
