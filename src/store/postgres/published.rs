//! The tables `status` and `control`: what holders say, and what is asked of them.

use std::time::Duration;

use async_trait::async_trait;

use super::{Postgres, args, column};
use crate::store::engine::Publishing;
use crate::store::published::{Asked, FoundStatus, StatusRow};
use crate::store::{Owner, StoreError};

/// No lock on the session's row: a take-over need not wait for this. Whoever was the holder when the
/// statement began may come late, and then finds the newer epoch or is not read.
const PUBLISH: &str = "
    WITH news AS (
        SELECT * FROM unnest($2::text[], $3::text[], $4::bytea[], $5::bigint[], $6::boolean[])
            AS n (session, status, qr, until, loud)
    ), put AS (
        INSERT INTO blacksky.status AS t (session, epoch, owner, published_at, status, qr, qr_expires_at)
        SELECT s.id, s.epoch, s.owner, clock_timestamp(), n.status, n.qr, to_timestamp(n.until / 1000000.0)
        FROM news AS n JOIN blacksky.session AS s ON s.id = n.session
        WHERE s.owner = $1 AND s.expires_at > clock_timestamp()
        ON CONFLICT (session) DO UPDATE SET
            epoch = excluded.epoch, owner = excluded.owner, published_at = excluded.published_at,
            status = excluded.status, qr = excluded.qr, qr_expires_at = excluded.qr_expires_at
        WHERE t.epoch <= excluded.epoch
        RETURNING t.session
    )
    SELECT put.session, CASE WHEN n.loud THEN pg_notify('blacksky', 'status ' || put.session)::text END
    FROM put JOIN news AS n ON n.session = put.session";

const PUBLISHED: &str = "
    SELECT t.session, t.owner, (extract(epoch FROM clock_timestamp() - t.published_at) * 1000000)::bigint,
        t.status, CASE WHEN t.qr_expires_at > clock_timestamp() THEN t.qr END,
        (extract(epoch FROM t.qr_expires_at) * 1000000)::bigint
    FROM blacksky.status AS t
    JOIN blacksky.session AS s ON s.id = t.session AND s.epoch = t.epoch AND s.owner = t.owner
    WHERE t.session = ANY($1) AND s.expires_at > clock_timestamp()";

/// Old requests are of no use to anybody.
const ASK: &str = "
    WITH old AS (
        DELETE FROM blacksky.control WHERE asked_at < clock_timestamp() - interval '10 minutes'
    ), put AS (
        INSERT INTO blacksky.control (session, action) VALUES ($1, $2) RETURNING id
    )
    SELECT put.id, pg_notify('blacksky', 'control')::text FROM put";

const TAKE: &str = "
    UPDATE blacksky.control AS c SET taken_at = clock_timestamp()
    FROM blacksky.session AS s
    WHERE s.id = c.session AND s.owner = $1 AND s.expires_at > clock_timestamp()
    AND c.taken_at IS NULL AND c.asked_at > clock_timestamp() - make_interval(secs => $2)
    RETURNING c.id, c.session, c.action";

const ANSWER: &str = "
    WITH done AS (
        UPDATE blacksky.control SET done_at = clock_timestamp(), outcome = $2 WHERE id = $1 RETURNING 1
    )
    SELECT pg_notify('blacksky', 'control')::text FROM done";

const ANSWER_TO: &str = "SELECT outcome FROM blacksky.control WHERE id = $1";

#[async_trait]
impl Publishing for Postgres {
    fn is_shared(&self) -> bool {
        true
    }

    async fn publish(&self, owner: &Owner, rows: &[StatusRow]) -> Result<Vec<String>, StoreError> {
        let sessions: Vec<&str> = rows.iter().map(|row| row.session.as_str()).collect();
        let statuses: Vec<&str> = rows.iter().map(|row| row.status.as_str()).collect();
        let codes: Vec<Option<&[u8]>> = rows.iter().map(|row| row.qr.as_deref()).collect();
        let ends: Vec<Option<i64>> = rows.iter().map(|row| row.qr_until).collect();
        let loud: Vec<bool> = rows.iter().map(|row| row.loud).collect();
        let rows = self.run(PUBLISH, args![&owner.0, sessions, statuses, codes, ends, loud]).await?;
        rows.iter().map(|row| column(row, 0)).collect()
    }

    async fn published(&self, sessions: &[String]) -> Result<Vec<FoundStatus>, StoreError> {
        let rows = self.run(PUBLISHED, args![sessions]).await?;
        rows.iter()
            .map(|row| {
                let age: i64 = column(row, 2)?;
                Ok(FoundStatus {
                    owner: column(row, 1)?,
                    age: Duration::from_micros(age.max(0).unsigned_abs()),
                    row: StatusRow {
                        session: column(row, 0)?,
                        status: column(row, 3)?,
                        qr: column(row, 4)?,
                        qr_until: column(row, 5)?,
                        loud: false,
                    },
                })
            })
            .collect()
    }

    async fn ask_holder(&self, session: &str, action: &str) -> Result<Option<i64>, StoreError> {
        let rows = self.run(ASK, args![session, action]).await?;
        rows.first().map(|row| column(row, 0)).transpose()
    }

    async fn take_asked(&self, owner: &Owner, expiry: Duration) -> Result<Vec<Asked>, StoreError> {
        let rows = self.run(TAKE, args![&owner.0, expiry.as_secs_f64()]).await?;
        let mut asked = rows
            .iter()
            .map(|row| Ok(Asked { id: column(row, 0)?, session: column(row, 1)?, action: column(row, 2)? }))
            .collect::<Result<Vec<_>, StoreError>>()?;
        asked.sort_by_key(|one| one.id);
        Ok(asked)
    }

    async fn answer(&self, id: i64, outcome: &str) -> Result<(), StoreError> {
        self.run(ANSWER, args![id, outcome]).await.map(drop)
    }

    async fn answer_to(&self, id: i64) -> Result<Option<String>, StoreError> {
        let rows = self.run(ANSWER_TO, args![id]).await?;
        Ok(rows.first().map(|row| column(row, 0)).transpose()?.flatten())
    }
}
