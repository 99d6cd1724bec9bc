//! Files for messages of the outbox.

use async_trait::async_trait;

use super::{Postgres, args, column};
use crate::store::StoreError;
use crate::store::engine::Files;
use crate::store::media::{MOST_BYTES, MOST_FILES};

const BEGIN: &str = "
    WITH there AS (SELECT count(*) AS files, coalesce(sum(size), 0) AS bytes FROM blacksky.media), put AS (
        INSERT INTO blacksky.media (session, id, size, used_at)
        SELECT $1, $2, $3, $4 FROM there WHERE files < $5 AND bytes + $3 <= $6
        ON CONFLICT DO NOTHING RETURNING 1
    )
    SELECT (SELECT count(*) FROM put) > 0
        OR EXISTS (SELECT 1 FROM blacksky.media WHERE session = $1 AND id = $2)";
const PIECE: &str = "
    INSERT INTO blacksky.media_piece (session, id, part, value) VALUES ($1, $2, $3, $4)
    ON CONFLICT (session, id, part) DO UPDATE SET value = excluded.value";
const FINISH: &str = "
    UPDATE blacksky.media SET size = $3, mimetype = $4, complete = true WHERE session = $1 AND id = $2
    RETURNING 1";
const FILE: &str = "SELECT size, mimetype FROM blacksky.media WHERE session = $1 AND id = $2 AND complete";
const READ: &str = "SELECT value FROM blacksky.media_piece WHERE session = $1 AND id = $2 AND part = $3";
const DROP: &str = "
    DELETE FROM blacksky.media AS m WHERE session = $1 AND id = $2 AND NOT EXISTS (
        SELECT 1 FROM blacksky.outbox AS o WHERE o.session = m.session AND o.media = m.id AND o.ended_at IS NULL)";
/// The time stands outside as well: a file that is used at this moment is looked at again once that is over.
const PRUNE: &str = "
    WITH gone AS (
        DELETE FROM blacksky.media WHERE used_at < $1 AND (session, id) IN (
            SELECT session, id FROM blacksky.media AS m WHERE used_at < $1 AND NOT EXISTS (
                SELECT 1 FROM blacksky.outbox AS o
                WHERE o.session = m.session AND o.media = m.id AND o.ended_at IS NULL)
            ORDER BY used_at LIMIT $2)
        RETURNING 1
    )
    SELECT count(*) FROM gone";

#[async_trait]
impl Files for Postgres {
    async fn begin_file(&self, session: &str, id: &str, size: i64, at: i64) -> Result<bool, StoreError> {
        let rows = self.run(BEGIN, args![session, id, size, at, MOST_FILES, MOST_BYTES]).await?;
        rows.first().map_or(Ok(false), |row| column(row, 0))
    }

    async fn put_piece(&self, session: &str, id: &str, part: u32, value: Vec<u8>) -> Result<(), StoreError> {
        self.run(PIECE, args![session, id, i64::from(part), value]).await.map(drop)
    }

    async fn finish_file(
        &self,
        session: &str,
        id: &str,
        size: i64,
        mimetype: &str,
    ) -> Result<(), StoreError> {
        let rows = self.run(FINISH, args![session, id, size, mimetype]).await?;
        if rows.is_empty() { Err(gone()) } else { Ok(()) }
    }

    async fn file(&self, session: &str, id: &str) -> Result<Option<(i64, String)>, StoreError> {
        let rows = self.run(FILE, args![session, id]).await?;
        rows.first().map(|row| Ok((column(row, 0)?, column(row, 1)?))).transpose()
    }

    async fn piece(&self, session: &str, id: &str, part: u32) -> Result<Option<Vec<u8>>, StoreError> {
        let rows = self.run(READ, args![session, id, i64::from(part)]).await?;
        rows.first().map(|row| column(row, 0)).transpose()
    }

    async fn drop_file(&self, session: &str, id: &str) -> Result<(), StoreError> {
        self.run(DROP, args![session, id]).await.map(drop)
    }

    async fn prune_files(&self, before: i64, most: i64) -> Result<u64, StoreError> {
        let rows = self.run(PRUNE, args![before, most]).await?;
        rows.first().map_or(Ok(0), |row| column::<i64>(row, 0).map(i64::unsigned_abs))
    }
}

fn gone() -> StoreError {
    StoreError::Unavailable { problem: "the file was removed while it came: send it again".into() }
}
