//! A session as a whole.

use async_trait::async_trait;
use futures_util::TryStreamExt as _;

use super::rows::{self, args, execute, inbox_row};
use super::{Sqlite, column, problem};
use crate::runtime::clock;
use crate::store::StoreError;
use crate::store::engine::{Bond, Copying, RawCopy};
use crate::store::kind::SET_ASIDE;

const ROWS: &str = "SELECT key, sub, value, at, mark, kind FROM session_row
    WHERE generation = ?1 AND kind < ?2 ORDER BY kind, key, sub";
const INBOX: &str = "SELECT chat, sender, id, at, value FROM inbox
    WHERE generation = ?1 AND handled_at IS NULL ORDER BY seq";
const PUT: &str = "INSERT INTO session_row (generation, kind, key, sub, value, at, mark)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
const CARRY: &str = "INSERT INTO inbox (generation, chat, sender, id, at, value, handled_at)
    SELECT ?2, chat, sender, id, at, value, handled_at FROM inbox WHERE generation = ?1 ORDER BY seq";
const PUT_INBOX: &str = "INSERT INTO inbox (generation, chat, sender, id, at, value)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (generation, chat, sender, id) DO NOTHING";

#[async_trait]
impl Copying for Sqlite {
    async fn copy(&self, session: &str) -> Result<Option<RawCopy>, StoreError> {
        let fail = |error: sqlx::Error| problem(&error);
        // The first statement fixes what the transaction sees; writers go on beside it.
        let mut transaction = self.readers.begin().await.map_err(fail)?;
        let found = sqlx::query("SELECT epoch, generation, wa_version FROM session WHERE id = ?")
            .bind(session)
            .fetch_optional(&mut *transaction)
            .await
            .map_err(fail)?;
        let Some(found) = found else { return Ok(None) };
        let generation: i64 = column(&found, 1)?;
        let mut raw = RawCopy {
            epoch: column(&found, 0)?,
            generation,
            wa_version: column(&found, 2)?,
            taken_at: clock::now().timestamp_micros(),
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

    async fn restore(&self, bond: &Bond, copy: RawCopy, carry_inbox: bool) -> Result<i64, StoreError> {
        let mut transaction = self.begin(bond).await?;
        let generation = Self::next_generation(&mut transaction, bond).await?;
        for (kind, row) in copy.rows {
            let args = args![generation, kind, row.name.key, row.name.sub, row.value, row.at, row.mark];
            execute(&mut transaction, PUT, args).await?;
        }
        if carry_inbox {
            execute(&mut transaction, CARRY, args![bond.generation, generation]).await?;
        }
        for message in copy.inbox {
            let args = args![generation, message.chat, message.sender, message.id, message.at, message.value];
            execute(&mut transaction, PUT_INBOX, args).await?;
        }
        const VERSION: &str = "UPDATE session SET wa_version = ?2 WHERE id = ?1 AND ?2 IS NOT NULL";
        execute(&mut transaction, VERSION, args![bond.session.clone(), copy.wa_version]).await?;
        transaction.commit().await.map_err(|error| problem(&error))?;
        Ok(generation)
    }
}
