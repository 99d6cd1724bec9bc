//! Files for messages of the outbox.

use async_trait::async_trait;

use super::rows::args;
use super::{Sqlite, column, problem};
use crate::store::StoreError;
use crate::store::engine::Files;
use crate::store::media::{MOST_BYTES, MOST_FILES};

const BEGIN: &str = "INSERT INTO media (session, id, size, used_at)
    SELECT ?1, ?2, ?3, ?4 WHERE (SELECT count(*) FROM media) < ?5
        AND (SELECT coalesce(sum(size), 0) FROM media) + ?3 <= ?6";
const PIECE: &str = "INSERT INTO media_piece (session, id, part, value) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (session, id, part) DO UPDATE SET value = excluded.value";
const FINISH: &str = "UPDATE media SET size = ?3, mimetype = ?4, complete = 1 WHERE session = ?1 AND id = ?2";
const FILE: &str = "SELECT size, mimetype FROM media WHERE session = ?1 AND id = ?2 AND complete";
const READ: &str = "SELECT value FROM media_piece WHERE session = ?1 AND id = ?2 AND part = ?3";
const DROP: &str = "DELETE FROM media WHERE session = ?1 AND id = ?2 AND NOT EXISTS (
    SELECT 1 FROM outbox AS o WHERE o.session = media.session AND o.media = media.id AND o.ended_at IS NULL)";
const PRUNE: &str = "DELETE FROM media WHERE (session, id) IN (
    SELECT session, id FROM media AS m WHERE used_at < ?1 AND NOT EXISTS (
        SELECT 1 FROM outbox AS o WHERE o.session = m.session AND o.media = m.id AND o.ended_at IS NULL)
    ORDER BY used_at LIMIT ?2)";

#[async_trait]
impl Files for Sqlite {
    async fn begin_file(&self, session: &str, id: &str, size: i64, at: i64) -> Result<bool, StoreError> {
        let args = args![session.to_owned(), id.to_owned(), size, at, MOST_FILES, MOST_BYTES];
        let done = sqlx::query_with(BEGIN, args).execute(&self.writer).await;
        Ok(done.map_err(|error| problem(&error))?.rows_affected() > 0)
    }

    async fn put_piece(&self, session: &str, id: &str, part: u32, value: Vec<u8>) -> Result<(), StoreError> {
        let args = args![session.to_owned(), id.to_owned(), i64::from(part), value];
        let done = sqlx::query_with(PIECE, args).execute(&self.writer).await;
        done.map(drop).map_err(|error| problem(&error))
    }

    async fn finish_file(
        &self,
        session: &str,
        id: &str,
        size: i64,
        mimetype: &str,
    ) -> Result<(), StoreError> {
        let args = args![session.to_owned(), id.to_owned(), size, mimetype.to_owned()];
        let done = sqlx::query_with(FINISH, args).execute(&self.writer).await;
        if done.map_err(|error| problem(&error))?.rows_affected() == 0 {
            let problem = "the file was removed while it came: send it again".into();
            return Err(StoreError::Unavailable { problem });
        }
        Ok(())
    }

    async fn file(&self, session: &str, id: &str) -> Result<Option<(i64, String)>, StoreError> {
        let args = args![session.to_owned(), id.to_owned()];
        let row = sqlx::query_with(FILE, args).fetch_optional(&self.readers).await;
        let row = row.map_err(|error| problem(&error))?;
        row.map(|row| Ok((column(&row, 0)?, column(&row, 1)?))).transpose()
    }

    async fn piece(&self, session: &str, id: &str, part: u32) -> Result<Option<Vec<u8>>, StoreError> {
        let args = args![session.to_owned(), id.to_owned(), i64::from(part)];
        let row = sqlx::query_with(READ, args).fetch_optional(&self.readers).await;
        row.map_err(|error| problem(&error))?.map(|row| column(&row, 0)).transpose()
    }

    async fn drop_file(&self, session: &str, id: &str) -> Result<(), StoreError> {
        let args = args![session.to_owned(), id.to_owned()];
        let done = sqlx::query_with(DROP, args).execute(&self.writer).await;
        done.map(drop).map_err(|error| problem(&error))
    }

    async fn prune_files(&self, before: i64, most: i64) -> Result<u64, StoreError> {
        let done = sqlx::query_with(PRUNE, args![before, most]).execute(&self.writer).await;
        Ok(done.map_err(|error| problem(&error))?.rows_affected())
    }
}
