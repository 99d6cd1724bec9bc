//! The rows of a session and its inbox. A batch is one transaction.

use sqlx::SqliteConnection;
use sqlx::sqlite::{SqliteArguments, SqliteRow};

use super::{Sqlite, column, problem};
use crate::runtime::clock;
use crate::store::StoreError;
use crate::store::engine::{Bond, InboxRow, Last, Merge, Which};
use crate::store::kind::{Kind, Name, Row, SET_ASIDE};

/// Encodes the arguments of a statement.
macro_rules! args {
    ($($value:expr),* $(,)?) => {{
        let mut args = sqlx::sqlite::SqliteArguments::default();
        $( sqlx::Arguments::add(&mut args, $value).map_err(|error| {
            crate::store::StoreError::Unavailable { problem: format!("a value cannot be given to SQLite: {error}") }
        })?; )*
        args
    }};
}
pub(super) use args;

macro_rules! select {
    ($($body:expr),* $(,)?) => { concat!("SELECT key, sub, value, at, mark FROM session_row ", $($body),*) };
}

macro_rules! insert {
    ($conflict:expr) => {
        concat!(
            "INSERT INTO session_row AS r (generation, kind, key, sub, value, at, mark)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (generation, kind, key, sub) ",
            $conflict
        )
    };
}

const PUT: &str = insert!("DO UPDATE SET value = excluded.value, at = excluded.at, mark = excluded.mark");
const PUT_KEEP: &str = insert!("DO NOTHING");
const PUT_LID: &str = insert!("DO UPDATE SET value = excluded.value, at = excluded.at");
const PUT_TC_SENDER: &str =
    insert!("DO UPDATE SET mark = max(coalesce(r.mark, excluded.mark), excluded.mark)");
const PUT_TC_RECEIVED: &str = insert!(
    "DO UPDATE SET value = excluded.value, at = excluded.at
     WHERE length(r.value) = 0 OR excluded.at >= r.at"
);
const PUT_MSG_SECRET: &str = insert!(
    "DO UPDATE SET value = excluded.value,
     at = CASE WHEN r.at = 0 OR excluded.at = 0 THEN 0 ELSE max(r.at, excluded.at) END,
     mark = max(r.mark, excluded.mark)"
);
const DROP_OTHER_NUMBERS: &str =
    "DELETE FROM session_row WHERE generation = ?1 AND kind = ?2 AND key = ?3 AND sub <> ?4";

const GET: &str = select!("WHERE generation = ?1 AND kind = ?2 AND key = ?3 AND sub = ?4");
const LIST_ALL: &str = select!("WHERE generation = ?1 AND kind = ?2 ORDER BY at DESC");
const LIST_KEY: &str = select!("WHERE generation = ?1 AND kind = ?2 AND key = ?3 ORDER BY at DESC");
const LIST_SUB: &str = select!("WHERE generation = ?1 AND kind = ?2 AND sub = ?3 ORDER BY at DESC");
const LAST_KEY: &str = select!("WHERE generation = ?1 AND kind = ?2 ORDER BY key DESC LIMIT 1");
const LAST_AT: &str = select!("WHERE generation = ?1 AND kind = ?2 ORDER BY at DESC, key DESC LIMIT 1");
const ANY_BETWEEN: &str =
    "SELECT 1 FROM session_row WHERE generation = ?1 AND kind = ?2 AND key >= ?3 AND key < ?4 LIMIT 1";

macro_rules! delete {
    ($condition:expr) => {
        concat!("DELETE FROM session_row WHERE generation = ?1 AND kind = ?2 ", $condition)
    };
}

const DELETE_ALL: &str = delete!("");
const DELETE_NAMED: &str = delete!("AND key = ?3 AND sub = ?4");
const DELETE_KEY: &str = delete!("AND key = ?3");
const DELETE_SUB: &str = delete!("AND sub = ?3");
const DELETE_BEFORE: &str = delete!("AND at < ?3");
const DELETE_EXPIRED: &str = delete!("AND at <> 0 AND at <= ?3");
const DELETE_STALE_TC: &str = delete!("AND (length(value) = 0 OR at < ?3) AND (mark IS NULL OR mark < ?4)");

pub(super) async fn execute(
    connection: &mut SqliteConnection,
    sql: &'static str,
    args: SqliteArguments,
) -> Result<u64, StoreError> {
    let done = sqlx::query_with(sql, args).execute(connection).await;
    done.map(|done| done.rows_affected()).map_err(|error| problem(&error))
}

async fn fetch(
    connection: &mut SqliteConnection,
    sql: &'static str,
    args: SqliteArguments,
) -> Result<Vec<SqliteRow>, StoreError> {
    sqlx::query_with(sql, args).fetch_all(connection).await.map_err(|error| problem(&error))
}

impl Sqlite {
    async fn read(&self, sql: &'static str, args: SqliteArguments) -> Result<Vec<Row>, StoreError> {
        let rows = sqlx::query_with(sql, args).fetch_all(&self.readers).await.map_err(|e| problem(&e))?;
        rows.iter().map(row).collect()
    }

    pub(super) async fn rows_get(
        &self,
        generation: i64,
        kind: Kind,
        names: &[Name],
    ) -> Result<Vec<Row>, StoreError> {
        let mut connection = self.readers.acquire().await.map_err(|error| problem(&error))?;
        let mut found = Vec::with_capacity(names.len());
        for name in names {
            let args = args![generation, kind.number(), name.key.clone(), name.sub.clone()];
            for one in fetch(&mut connection, GET, args).await? {
                found.push(row(&one)?);
            }
        }
        Ok(found)
    }

    pub(super) async fn rows_list(
        &self,
        generation: i64,
        kind: Kind,
        which: &Which,
    ) -> Result<Vec<Row>, StoreError> {
        match which {
            Which::Key(key) => self.read(LIST_KEY, args![generation, kind.number(), key.clone()]).await,
            Which::Subs(subs) => {
                let mut found = Vec::new();
                for sub in subs {
                    found.extend(self.read(LIST_SUB, args![generation, kind.number(), sub.clone()]).await?);
                }
                found.sort_by_key(|row| std::cmp::Reverse(row.at));
                Ok(found)
            }
            _ => self.read(LIST_ALL, args![generation, kind.number()]).await,
        }
    }

    pub(super) async fn rows_last(
        &self,
        generation: i64,
        kind: Kind,
        last: Last,
    ) -> Result<Option<Row>, StoreError> {
        let sql = match last {
            Last::Key => LAST_KEY,
            Last::At => LAST_AT,
        };
        Ok(self.read(sql, args![generation, kind.number()]).await?.into_iter().next())
    }

    pub(super) async fn rows_any_between(
        &self,
        generation: i64,
        kinds: &[Kind],
        ranges: &[(Vec<u8>, Vec<u8>)],
    ) -> Result<bool, StoreError> {
        let mut connection = self.readers.acquire().await.map_err(|error| problem(&error))?;
        for kind in kinds {
            for (low, high) in ranges {
                let args = args![generation, kind.number(), low.clone(), high.clone()];
                if !fetch(&mut connection, ANY_BETWEEN, args).await?.is_empty() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    pub(super) async fn rows_put(
        &self,
        bond: &Bond,
        kind: Kind,
        rows: &[Row],
        merge: Merge,
    ) -> Result<(), StoreError> {
        let sql = match merge {
            Merge::Replace => PUT,
            Merge::Keep => PUT_KEEP,
            Merge::Lid => PUT_LID,
            Merge::TcSender => PUT_TC_SENDER,
            Merge::TcReceived => PUT_TC_RECEIVED,
            Merge::MsgSecret => PUT_MSG_SECRET,
        };
        let mut transaction = self.begin(bond).await?;
        for row in rows {
            let (key, sub) = (&row.name.key, &row.name.sub);
            if merge == Merge::Lid {
                let args = args![bond.generation, kind.number(), key.clone(), sub.clone()];
                execute(&mut transaction, DROP_OTHER_NUMBERS, args).await?;
            }
            let args = args![
                bond.generation,
                kind.number(),
                key.clone(),
                sub.clone(),
                row.value.clone(),
                row.at,
                row.mark
            ];
            execute(&mut transaction, sql, args).await?;
        }
        transaction.commit().await.map_err(|error| problem(&error))
    }

    pub(super) async fn rows_exchange(
        &self,
        bond: &Bond,
        kind: Kind,
        rows: &[Row],
        gone: &[Name],
    ) -> Result<(), StoreError> {
        let (generation, kind) = (bond.generation, kind.number());
        let mut transaction = self.begin(bond).await?;
        for Row { name: Name { key, sub }, value, at, mark } in rows {
            let args = args![generation, kind, key.clone(), sub.clone(), value.clone(), *at, *mark];
            execute(&mut transaction, PUT, args).await?;
        }
        for Name { key, sub } in gone {
            execute(&mut transaction, DELETE_NAMED, args![generation, kind, key.clone(), sub.clone()])
                .await?;
        }
        transaction.commit().await.map_err(|error| problem(&error))
    }

    pub(super) async fn rows_delete(
        &self,
        bond: &Bond,
        kind: Kind,
        which: &Which,
    ) -> Result<u64, StoreError> {
        let (generation, kind) = (bond.generation, kind.number());
        let mut transaction = self.begin(bond).await?;
        let connection = &mut *transaction;
        let count = match which {
            Which::All => execute(connection, DELETE_ALL, args![generation, kind]).await?,
            Which::Named(names) => {
                let mut count = 0;
                for name in names {
                    let args = args![generation, kind, name.key.clone(), name.sub.clone()];
                    count += execute(connection, DELETE_NAMED, args).await?;
                }
                count
            }
            Which::Key(key) => execute(connection, DELETE_KEY, args![generation, kind, key.clone()]).await?,
            Which::Subs(subs) => {
                let mut count = 0;
                for sub in subs {
                    count += execute(connection, DELETE_SUB, args![generation, kind, sub.clone()]).await?;
                }
                count
            }
            Which::Before(time) => execute(connection, DELETE_BEFORE, args![generation, kind, *time]).await?,
            Which::Expired(time) => {
                execute(connection, DELETE_EXPIRED, args![generation, kind, *time]).await?
            }
            Which::StaleTc { token, sender } => {
                execute(connection, DELETE_STALE_TC, args![generation, kind, *token, *sender]).await?
            }
        };
        transaction.commit().await.map_err(|error| problem(&error))?;
        Ok(count)
    }

    pub(super) async fn rows_take(
        &self,
        bond: &Bond,
        kind: Kind,
        name: &Name,
    ) -> Result<Option<Row>, StoreError> {
        let names = |name: &Name| {
            Ok::<_, StoreError>(args![bond.generation, kind.number(), name.key.clone(), name.sub.clone()])
        };
        let mut transaction = self.begin(bond).await?;
        let found = fetch(&mut transaction, GET, names(name)?).await?.first().map(row).transpose()?;
        if found.is_some() {
            execute(&mut transaction, DELETE_NAMED, names(name)?).await?;
        }
        transaction.commit().await.map_err(|error| problem(&error))?;
        Ok(found)
    }

    pub(super) async fn rows_mark(
        &self,
        bond: &Bond,
        kind: Kind,
        names: &[Name],
        mark: i64,
    ) -> Result<(), StoreError> {
        const MARK: &str = "UPDATE session_row SET mark = ?5
            WHERE generation = ?1 AND kind = ?2 AND key = ?3 AND sub = ?4";
        let mut transaction = self.begin(bond).await?;
        for name in names {
            let args = args![bond.generation, kind.number(), name.key.clone(), name.sub.clone(), mark];
            execute(&mut transaction, MARK, args).await?;
        }
        transaction.commit().await.map_err(|error| problem(&error))
    }

    pub(super) async fn rows_set_aside(&self, bond: &Bond, kind: Kind, row: &Row) -> Result<(), StoreError> {
        const COPY: &str = "INSERT INTO session_row (generation, kind, key, sub, value, at, mark)
            SELECT generation, kind + ?6, key, sub, value, at, mark FROM session_row
            WHERE generation = ?1 AND kind = ?2 AND key = ?3 AND sub = ?4 AND value = ?5
            ON CONFLICT (generation, kind, key, sub) DO UPDATE SET value = excluded.value";
        const DROP: &str = "DELETE FROM session_row
            WHERE generation = ?1 AND kind = ?2 AND key = ?3 AND sub = ?4 AND value = ?5";
        let (generation, kind) = (bond.generation, kind.number());
        let (key, sub, value) = (&row.name.key, &row.name.sub, &row.value);
        let mut transaction = self.begin(bond).await?;
        let args = args![generation, kind, key.clone(), sub.clone(), value.clone(), SET_ASIDE];
        execute(&mut transaction, COPY, args).await?;
        let args = args![generation, kind, key.clone(), sub.clone(), value.clone()];
        execute(&mut transaction, DROP, args).await?;
        transaction.commit().await.map_err(|error| problem(&error))
    }

    pub(super) async fn inbox_put(&self, bond: &Bond, rows: &[InboxRow]) -> Result<u64, StoreError> {
        const PUT: &str = "INSERT INTO inbox (generation, chat, sender, id, at, value)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (generation, chat, sender, id) DO NOTHING";
        let mut transaction = self.begin(bond).await?;
        let mut new = 0;
        for row in rows {
            let args = args![
                bond.generation,
                row.chat.clone(),
                row.sender.clone(),
                row.id.clone(),
                row.at,
                row.value.clone()
            ];
            new += execute(&mut transaction, PUT, args).await?;
        }
        transaction.commit().await.map_err(|error| problem(&error))?;
        Ok(new)
    }

    pub(super) async fn inbox_unhandled(
        &self,
        generation: i64,
        limit: u32,
    ) -> Result<Vec<InboxRow>, StoreError> {
        const UNHANDLED: &str = "SELECT chat, sender, id, at, value FROM inbox
            WHERE generation = ? AND handled_at IS NULL ORDER BY seq LIMIT ?";
        let rows = sqlx::query_with(UNHANDLED, args![generation, i64::from(limit)])
            .fetch_all(&self.readers)
            .await
            .map_err(|error| problem(&error))?;
        rows.iter().map(inbox_row).collect()
    }

    pub(super) async fn inbox_handled(
        &self,
        bond: &Bond,
        chat: &[u8],
        sender: &[u8],
        id: &[u8],
    ) -> Result<(), StoreError> {
        const HANDLED: &str = "UPDATE inbox SET handled_at = ?5
            WHERE generation = ?1 AND chat = ?2 AND sender = ?3 AND id = ?4 AND handled_at IS NULL";
        let now = clock::now();
        let mut transaction = self.begin(bond).await?;
        let args =
            args![bond.generation, chat.to_vec(), sender.to_vec(), id.to_vec(), now.timestamp_micros()];
        execute(&mut transaction, HANDLED, args).await?;
        transaction.commit().await.map_err(|error| problem(&error))
    }
}

pub(super) fn inbox_row(row: &SqliteRow) -> Result<InboxRow, StoreError> {
    Ok(InboxRow {
        chat: column(row, 0)?,
        sender: column(row, 1)?,
        id: column(row, 2)?,
        at: column(row, 3)?,
        value: column(row, 4)?,
    })
}

pub(super) fn row(row: &SqliteRow) -> Result<Row, StoreError> {
    Ok(Row {
        name: Name { key: column(row, 0)?, sub: column(row, 1)? },
        value: column(row, 2)?,
        at: column(row, 3)?,
        mark: column(row, 4)?,
    })
}
