//! A session as a whole, on a connection of its own: what takes seconds must not keep the sessions' own
//! statements waiting.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use sqlx::postgres::PgRow;
use sqlx::{Connection as _, PgConnection};

use super::rows::inbox_row;
use super::{Postgres, args, column, connections, problem, rows};
use crate::store::StoreError;
use crate::store::engine::{Bond, Copying, InboxRow, RawCopy};
use crate::store::kind::{Row, SET_ASIDE};

/// For all of it.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);
/// One statement; a large session is read by a single one.
const TIMEOUT: &str = "60s";
/// Rows one statement writes.
const BATCH: usize = 500;

const SESSION: &str = "
    SELECT epoch, generation, wa_version, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
    FROM blacksky.session WHERE id = $1";
const ROWS: &str = "
    SELECT key, sub, value, at, mark, kind FROM blacksky.session_row WHERE generation = $1 AND kind < $2
    ORDER BY kind, key, sub";
const INBOX: &str = "
    SELECT chat, sender, id, at, value FROM blacksky.inbox
    WHERE generation = $1 AND handled_at IS NULL ORDER BY seq";

const OPEN: &str = "INSERT INTO blacksky.generation (session) VALUES ($1) RETURNING id";
const PUT: &str = "
    INSERT INTO blacksky.session_row (generation, kind, key, sub, value, at, mark)
    SELECT $1, u.* FROM unnest($2::smallint[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bigint[], $7::bigint[])
        AS u (kind, key, sub, value, at, mark)";
/// The last step: it waits for writes under way in the old generation, and holds the row only until the commit.
const SWITCH: &str = "
    WITH fence AS (
        SELECT 1 FROM blacksky.session WHERE id = $1 AND epoch = $2 AND generation = $3 FOR UPDATE
    ), old AS (
        UPDATE blacksky.generation SET archived_at = clock_timestamp() FROM fence WHERE id = $3
    )
    UPDATE blacksky.session AS s SET generation = $4, wa_version = coalesce($5, s.wa_version) FROM fence
    WHERE s.id = $1 RETURNING 1";
const CARRY: &str = "
    INSERT INTO blacksky.inbox (generation, chat, sender, id, at, value, handled_at)
    SELECT $2, chat, sender, id, at, value, handled_at FROM blacksky.inbox WHERE generation = $1 ORDER BY seq";
const PUT_INBOX: &str = "
    INSERT INTO blacksky.inbox (generation, chat, sender, id, at, value)
    SELECT $1, u.* FROM unnest($2::bytea[], $3::bytea[], $4::bytea[], $5::bigint[], $6::bytea[])
        AS u (chat, sender, id, at, value)
    ON CONFLICT (generation, chat, sender, id) DO NOTHING";

impl Postgres {
    /// A connection for work that takes long.
    pub(super) async fn apart(&self) -> Result<PgConnection, StoreError> {
        connections::one(&self.options, TIMEOUT).await
    }

    async fn copy_in(connection: &mut PgConnection, session: &str) -> Result<Option<RawCopy>, StoreError> {
        const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        let fail = |error: sqlx::Error| problem::of(&error);
        let mut transaction = connection.begin_with(SNAPSHOT).await.map_err(fail)?;
        let found = sqlx::query_with(SESSION, args![session])
            .fetch_optional(&mut *transaction)
            .await
            .map_err(fail)?;
        let Some(found) = found else { return Ok(None) };
        let generation: i64 = column(&found, 1)?;
        let mut raw = RawCopy {
            epoch: column(&found, 0)?,
            generation,
            wa_version: column(&found, 2)?,
            taken_at: column(&found, 3)?,
            rows: Vec::new(),
            inbox: Vec::new(),
        };
        let mut rows = sqlx::query_with(ROWS, args![generation, SET_ASIDE]).fetch(&mut *transaction);
        while let Some(row) = rows.try_next().await.map_err(fail)? {
            raw.rows.push((column(&row, 5)?, rows::row(&row)?));
        }
        drop(rows);
        let mut messages = sqlx::query_with(INBOX, args![generation]).fetch(&mut *transaction);
        while let Some(row) = messages.try_next().await.map_err(fail)? {
            raw.inbox.push(inbox_row(&row)?);
        }
        drop(messages);
        transaction.commit().await.map_err(fail)?;
        Ok(Some(raw))
    }

    async fn restore_in(
        connection: &mut PgConnection,
        bond: &Bond,
        copy: RawCopy,
        carry_inbox: bool,
    ) -> Result<i64, StoreError> {
        let fail = |error: sqlx::Error| problem::of(&error);
        let mut transaction = connection.begin().await.map_err(fail)?;
        let opened: PgRow =
            sqlx::query_with(OPEN, args![&bond.session]).fetch_one(&mut *transaction).await.map_err(fail)?;
        let generation: i64 = column(&opened, 0)?;
        for batch in copy.rows.chunks(BATCH) {
            let kinds: Vec<i16> = batch.iter().map(|(kind, _)| *kind).collect();
            let part =
                |of: fn(&Row) -> &[u8]| -> Vec<&[u8]> { batch.iter().map(|(_, row)| of(row)).collect() };
            let at: Vec<i64> = batch.iter().map(|(_, row)| row.at).collect();
            let mark: Vec<Option<i64>> = batch.iter().map(|(_, row)| row.mark).collect();
            let args = args![
                generation,
                kinds,
                part(|row| &row.name.key),
                part(|row| &row.name.sub),
                part(|row| &row.value),
                at,
                mark
            ];
            sqlx::query_with(PUT, args).execute(&mut *transaction).await.map_err(fail)?;
        }
        let version = copy.wa_version;
        let args = args![&bond.session, bond.epoch, bond.generation, generation, version];
        let switched =
            sqlx::query_with(SWITCH, args).fetch_optional(&mut *transaction).await.map_err(fail)?;
        if switched.is_none() {
            return Err(StoreError::Fenced);
        }
        if carry_inbox {
            let args = args![bond.generation, generation];
            sqlx::query_with(CARRY, args).execute(&mut *transaction).await.map_err(fail)?;
        }
        for batch in copy.inbox.chunks(BATCH) {
            let part = |of: fn(&InboxRow) -> &[u8]| -> Vec<&[u8]> { batch.iter().map(of).collect() };
            let at: Vec<i64> = batch.iter().map(|row| row.at).collect();
            let args = args![
                generation,
                part(|row| &row.chat),
                part(|row| &row.sender),
                part(|row| &row.id),
                at,
                part(|row| &row.value)
            ];
            sqlx::query_with(PUT_INBOX, args).execute(&mut *transaction).await.map_err(fail)?;
        }
        transaction.commit().await.map_err(fail)?;
        Ok(generation)
    }
}

#[async_trait]
impl Copying for Postgres {
    async fn copy(&self, session: &str) -> Result<Option<RawCopy>, StoreError> {
        let work = async {
            let mut connection = self.apart().await?;
            let copy = Self::copy_in(&mut connection, session).await;
            // How it ends is of no interest.
            let _ = connection.close().await;
            copy
        };
        tokio::time::timeout(DEADLINE, work).await.unwrap_or_else(|_| Err(problem::silent(DEADLINE)))
    }

    async fn restore(&self, bond: &Bond, copy: RawCopy, carry_inbox: bool) -> Result<i64, StoreError> {
        let work = async {
            let mut connection = self.apart().await?;
            let generation = Self::restore_in(&mut connection, bond, copy, carry_inbox).await;
            let _ = connection.close().await;
            generation
        };
        tokio::time::timeout(DEADLINE, work).await.unwrap_or_else(|_| Err(problem::silent(DEADLINE)))
    }
}
