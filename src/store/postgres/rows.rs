//! The rows of a session and its inbox.

use sqlx::postgres::{PgArguments, PgRow};

use super::{Postgres, args, column};
use crate::store::StoreError;
use crate::store::engine::{Bond, InboxRow, Last, Merge, Which};
use crate::store::kind::{Kind, Name, Row, SET_ASIDE};

/// A write. $1 to $3 are session, epoch and generation; the first column it gives back is how many
/// rows `fence` found: 1, or 0 when the bond no longer holds.
macro_rules! fenced {
    ($($body:expr),* $(,)?) => {
        concat!(
            "WITH fence AS MATERIALIZED (SELECT 1 FROM blacksky.session
                WHERE id = $1 AND epoch = $2 AND generation = $3 FOR KEY SHARE)",
            $($body),*
        )
    };
}
pub(super) use fenced;

macro_rules! select {
    ($($body:expr),* $(,)?) => { concat!("SELECT key, sub, value, at, mark FROM blacksky.session_row ", $($body),*) };
}

macro_rules! insert {
    ($before:expr, $conflict:expr) => {
        fenced!(
            $before,
            ", put AS (
                INSERT INTO blacksky.session_row AS r (generation, kind, key, sub, value, at, mark)
                SELECT $3, $4, u.* FROM fence,
                    unnest($5::bytea[], $6::bytea[], $7::bytea[], $8::bigint[], $9::bigint[])
                        AS u (key, sub, value, at, mark)
                ON CONFLICT (generation, kind, key, sub) ",
            $conflict,
            ") SELECT count(*) FROM fence"
        )
    };
}

const PUT: &str = insert!("", "DO UPDATE SET value = excluded.value, at = excluded.at, mark = excluded.mark");
const PUT_KEEP: &str = insert!("", "DO NOTHING");
const PUT_LID: &str = insert!(
    ", gone AS (DELETE FROM blacksky.session_row AS r USING fence
        WHERE r.generation = $3 AND r.kind = $4 AND r.key = ANY($5::bytea[])
        AND NOT EXISTS (SELECT 1 FROM unnest($5::bytea[], $6::bytea[]) AS n (key, sub)
            WHERE n.key = r.key AND n.sub = r.sub))",
    "DO UPDATE SET value = excluded.value, at = excluded.at"
);
const PUT_TC_SENDER: &str = insert!("", "DO UPDATE SET mark = greatest(r.mark, excluded.mark)");
const PUT_TC_RECEIVED: &str = insert!(
    "",
    "DO UPDATE SET value = excluded.value, at = excluded.at
        WHERE length(r.value) = 0 OR excluded.at >= r.at"
);
const PUT_MSG_SECRET: &str = insert!(
    "",
    "DO UPDATE SET value = excluded.value,
        at = CASE WHEN r.at = 0 OR excluded.at = 0 THEN 0 ELSE greatest(r.at, excluded.at) END,
        mark = greatest(r.mark, excluded.mark)"
);

const EXCHANGE: &str = insert!(
    ", gone AS (DELETE FROM blacksky.session_row AS r USING fence
        WHERE r.generation = $3 AND r.kind = $4
        AND (r.key, r.sub) IN (SELECT * FROM unnest($10::bytea[], $11::bytea[]) AS n (key, sub)))",
    "DO UPDATE SET value = excluded.value, at = excluded.at, mark = excluded.mark"
);

macro_rules! delete {
    ($($condition:expr),* $(,)?) => {
        fenced!(
            ", gone AS (DELETE FROM blacksky.session_row AS r USING fence
                WHERE r.generation = $3 AND r.kind = $4 ",
            $($condition,)*
            " RETURNING 1) SELECT (SELECT count(*) FROM fence), (SELECT count(*) FROM gone)"
        )
    };
}

const DELETE_ALL: &str = delete!("");
const DELETE_NAMED: &str =
    delete!("AND (r.key, r.sub) IN (SELECT * FROM unnest($5::bytea[], $6::bytea[]) AS n (key, sub))");
const DELETE_KEY: &str = delete!("AND r.key = $5");
const DELETE_SUBS: &str = delete!("AND r.sub = ANY($5::bytea[])");
const DELETE_BEFORE: &str = delete!("AND r.at < $5");
const DELETE_EXPIRED: &str = delete!("AND r.at <> 0 AND r.at <= $5");
const DELETE_STALE_TC: &str =
    delete!("AND (length(r.value) = 0 OR r.at < $5) AND (r.mark IS NULL OR r.mark < $6)");

const GET: &str = select!(
    "WHERE generation = $1 AND kind = $2
     AND (key, sub) IN (SELECT * FROM unnest($3::bytea[], $4::bytea[]) AS n (key, sub))"
);
const GET_ONE: &str = select!("WHERE generation = $1 AND kind = $2 AND key = $3 AND sub = $4");
const LIST_ALL: &str = select!("WHERE generation = $1 AND kind = $2 ORDER BY at DESC");
const LIST_KEY: &str = select!("WHERE generation = $1 AND kind = $2 AND key = $3 ORDER BY at DESC");
const LIST_SUBS: &str =
    select!("WHERE generation = $1 AND kind = $2 AND sub = ANY($3::bytea[]) ORDER BY at DESC");
const LAST_KEY: &str = select!("WHERE generation = $1 AND kind = $2 ORDER BY key DESC LIMIT 1");
const LAST_AT: &str = select!("WHERE generation = $1 AND kind = $2 ORDER BY at DESC, key DESC LIMIT 1");
const ANY_BETWEEN: &str = "
    SELECT EXISTS (SELECT 1 FROM blacksky.session_row AS r, unnest($3::bytea[], $4::bytea[]) AS b (low, high)
        WHERE r.generation = $1 AND r.kind = ANY($2::smallint[]) AND r.key >= b.low AND r.key < b.high)";

const TAKE: &str = fenced!(
    ", gone AS (DELETE FROM blacksky.session_row AS r USING fence
        WHERE r.generation = $3 AND r.kind = $4 AND r.key = $5 AND r.sub = $6
        RETURNING r.value, r.at, r.mark)
    SELECT (SELECT count(*) FROM fence), (SELECT value FROM gone), (SELECT at FROM gone), (SELECT mark FROM gone)"
);
const MARK: &str = fenced!(
    ", put AS (UPDATE blacksky.session_row AS r SET mark = $7 FROM fence
        WHERE r.generation = $3 AND r.kind = $4
        AND (r.key, r.sub) IN (SELECT * FROM unnest($5::bytea[], $6::bytea[]) AS n (key, sub)))
    SELECT count(*) FROM fence"
);
const SET_ASIDE_ROW: &str = fenced!(
    ", gone AS (DELETE FROM blacksky.session_row AS r USING fence
        WHERE r.generation = $3 AND r.kind = $4 AND r.key = $5 AND r.sub = $6 AND r.value = $7
        RETURNING r.*),
    put AS (INSERT INTO blacksky.session_row (generation, kind, key, sub, value, at, mark)
        SELECT generation, kind + $8::smallint, key, sub, value, at, mark FROM gone
        ON CONFLICT (generation, kind, key, sub) DO UPDATE SET value = excluded.value)
    SELECT count(*) FROM fence"
);

const INBOX_PUT: &str = fenced!(
    ", put AS (
        INSERT INTO blacksky.inbox (generation, chat, sender, id, at, value)
        SELECT $3, u.* FROM fence,
            unnest($4::bytea[], $5::bytea[], $6::bytea[], $7::bigint[], $8::bytea[])
                AS u (chat, sender, id, at, value)
        ON CONFLICT (generation, chat, sender, id) DO NOTHING RETURNING 1)
    SELECT (SELECT count(*) FROM fence), (SELECT count(*) FROM put)"
);
const INBOX_UNHANDLED: &str = "
    SELECT chat, sender, id, at, value FROM blacksky.inbox
    WHERE generation = $1 AND handled_at IS NULL ORDER BY seq LIMIT $2";
const INBOX_HANDLED: &str = fenced!(
    ", put AS (UPDATE blacksky.inbox AS i SET handled_at = clock_timestamp() FROM fence
        WHERE i.generation = $3 AND i.chat = $4 AND i.sender = $5 AND i.id = $6 AND i.handled_at IS NULL)
    SELECT count(*) FROM fence"
);

impl Postgres {
    /// Runs a write; `Fenced` when its bond no longer holds. Gives its one row.
    pub(super) async fn run_fenced(&self, sql: &'static str, args: PgArguments) -> Result<PgRow, StoreError> {
        passed(self.run(sql, args).await?)
    }

    pub(super) async fn rows_get(
        &self,
        generation: i64,
        kind: Kind,
        names: &[Name],
    ) -> Result<Vec<Row>, StoreError> {
        let rows = match names {
            [] => return Ok(Vec::new()),
            [name] => self.run(GET_ONE, args![generation, kind.number(), &name.key, &name.sub]).await?,
            names => {
                let (keys, subs) = split(names);
                self.run(GET, args![generation, kind.number(), keys, subs]).await?
            }
        };
        rows.iter().map(row).collect()
    }

    pub(super) async fn rows_list(
        &self,
        generation: i64,
        kind: Kind,
        which: &Which,
    ) -> Result<Vec<Row>, StoreError> {
        let rows = match which {
            Which::Key(key) => self.run(LIST_KEY, args![generation, kind.number(), key]).await?,
            Which::Subs(subs) => self.run(LIST_SUBS, args![generation, kind.number(), subs]).await?,
            _ => self.run(LIST_ALL, args![generation, kind.number()]).await?,
        };
        rows.iter().map(row).collect()
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
        self.run(sql, args![generation, kind.number()]).await?.first().map(row).transpose()
    }

    pub(super) async fn rows_any_between(
        &self,
        generation: i64,
        kinds: &[Kind],
        ranges: &[(Vec<u8>, Vec<u8>)],
    ) -> Result<bool, StoreError> {
        let kinds: Vec<i16> = kinds.iter().map(|kind| kind.number()).collect();
        let low: Vec<&[u8]> = ranges.iter().map(|range| range.0.as_slice()).collect();
        let high: Vec<&[u8]> = ranges.iter().map(|range| range.1.as_slice()).collect();
        let rows = self.run(ANY_BETWEEN, args![generation, kinds, low, high]).await?;
        rows.first().map_or(Ok(false), |row| column(row, 0))
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
        let keys: Vec<&[u8]> = rows.iter().map(|row| row.name.key.as_slice()).collect();
        let subs: Vec<&[u8]> = rows.iter().map(|row| row.name.sub.as_slice()).collect();
        let values: Vec<&[u8]> = rows.iter().map(|row| row.value.as_slice()).collect();
        let at: Vec<i64> = rows.iter().map(|row| row.at).collect();
        let mark: Vec<Option<i64>> = rows.iter().map(|row| row.mark).collect();
        let args =
            args![&bond.session, bond.epoch, bond.generation, kind.number(), keys, subs, values, at, mark];
        self.run_fenced(sql, args).await.map(drop)
    }

    pub(super) async fn rows_exchange(
        &self,
        bond: &Bond,
        kind: Kind,
        rows: &[Row],
        gone: &[Name],
    ) -> Result<(), StoreError> {
        let keys: Vec<&[u8]> = rows.iter().map(|row| row.name.key.as_slice()).collect();
        let subs: Vec<&[u8]> = rows.iter().map(|row| row.name.sub.as_slice()).collect();
        let values: Vec<&[u8]> = rows.iter().map(|row| row.value.as_slice()).collect();
        let at: Vec<i64> = rows.iter().map(|row| row.at).collect();
        let mark: Vec<Option<i64>> = rows.iter().map(|row| row.mark).collect();
        let (gone_keys, gone_subs) = split(gone);
        let (session, epoch, generation) = (&bond.session, bond.epoch, bond.generation);
        let args = args![
            session,
            epoch,
            generation,
            kind.number(),
            keys,
            subs,
            values,
            at,
            mark,
            gone_keys,
            gone_subs
        ];
        self.run_fenced(EXCHANGE, args).await.map(drop)
    }

    pub(super) async fn rows_delete(
        &self,
        bond: &Bond,
        kind: Kind,
        which: &Which,
    ) -> Result<u64, StoreError> {
        let (session, epoch, generation, kind) = (&bond.session, bond.epoch, bond.generation, kind.number());
        let (sql, args) = match which {
            Which::All => (DELETE_ALL, args![session, epoch, generation, kind]),
            Which::Named(names) => {
                let (keys, subs) = split(names);
                (DELETE_NAMED, args![session, epoch, generation, kind, keys, subs])
            }
            Which::Key(key) => (DELETE_KEY, args![session, epoch, generation, kind, key]),
            Which::Subs(subs) => (DELETE_SUBS, args![session, epoch, generation, kind, subs]),
            Which::Before(time) => (DELETE_BEFORE, args![session, epoch, generation, kind, *time]),
            Which::Expired(time) => (DELETE_EXPIRED, args![session, epoch, generation, kind, *time]),
            Which::StaleTc { token, sender } => {
                (DELETE_STALE_TC, args![session, epoch, generation, kind, *token, *sender])
            }
        };
        let row = self.run_fenced(sql, args).await?;
        Ok(column::<i64>(&row, 1)?.unsigned_abs())
    }

    pub(super) async fn rows_take(
        &self,
        bond: &Bond,
        kind: Kind,
        name: &Name,
    ) -> Result<Option<Row>, StoreError> {
        let args = args![&bond.session, bond.epoch, bond.generation, kind.number(), &name.key, &name.sub];
        // Not sent twice: the first might have taken the row, and the second would say there was none.
        let row = passed(self.run_up_to(TAKE, args, 0).await?)?;
        let (Some(value), Some(at)) = (column(&row, 1)?, column(&row, 2)?) else { return Ok(None) };
        Ok(Some(Row { name: name.clone(), value, at, mark: column(&row, 3)? }))
    }

    pub(super) async fn rows_mark(
        &self,
        bond: &Bond,
        kind: Kind,
        names: &[Name],
        mark: i64,
    ) -> Result<(), StoreError> {
        let (keys, subs) = split(names);
        let args = args![&bond.session, bond.epoch, bond.generation, kind.number(), keys, subs, mark];
        self.run_fenced(MARK, args).await.map(drop)
    }

    pub(super) async fn rows_set_aside(&self, bond: &Bond, kind: Kind, row: &Row) -> Result<(), StoreError> {
        let args = args![
            &bond.session,
            bond.epoch,
            bond.generation,
            kind.number(),
            &row.name.key,
            &row.name.sub,
            &row.value,
            SET_ASIDE
        ];
        self.run_fenced(SET_ASIDE_ROW, args).await.map(drop)
    }

    pub(super) async fn inbox_put(&self, bond: &Bond, rows: &[InboxRow]) -> Result<u64, StoreError> {
        let chats: Vec<&[u8]> = rows.iter().map(|row| row.chat.as_slice()).collect();
        let senders: Vec<&[u8]> = rows.iter().map(|row| row.sender.as_slice()).collect();
        let ids: Vec<&[u8]> = rows.iter().map(|row| row.id.as_slice()).collect();
        let at: Vec<i64> = rows.iter().map(|row| row.at).collect();
        let values: Vec<&[u8]> = rows.iter().map(|row| row.value.as_slice()).collect();
        let args = args![&bond.session, bond.epoch, bond.generation, chats, senders, ids, at, values];
        let row = self.run_fenced(INBOX_PUT, args).await?;
        Ok(column::<i64>(&row, 1)?.unsigned_abs())
    }

    pub(super) async fn inbox_unhandled(
        &self,
        generation: i64,
        limit: u32,
    ) -> Result<Vec<InboxRow>, StoreError> {
        let rows = self.run(INBOX_UNHANDLED, args![generation, i64::from(limit)]).await?;
        rows.iter().map(inbox_row).collect()
    }

    pub(super) async fn inbox_handled(
        &self,
        bond: &Bond,
        chat: &[u8],
        sender: &[u8],
        id: &[u8],
    ) -> Result<(), StoreError> {
        let args = args![&bond.session, bond.epoch, bond.generation, chat, sender, id];
        self.run_fenced(INBOX_HANDLED, args).await.map(drop)
    }
}

/// The row of a write whose fence held.
pub(super) fn passed(rows: Vec<PgRow>) -> Result<PgRow, StoreError> {
    let row = rows.into_iter().next().ok_or(StoreError::Fenced)?;
    if column::<i64>(&row, 0)? == 0 { Err(StoreError::Fenced) } else { Ok(row) }
}

fn split(names: &[Name]) -> (Vec<&[u8]>, Vec<&[u8]>) {
    names.iter().map(|name| (name.key.as_slice(), name.sub.as_slice())).unzip()
}

pub(super) fn inbox_row(row: &PgRow) -> Result<InboxRow, StoreError> {
    Ok(InboxRow {
        chat: column(row, 0)?,
        sender: column(row, 1)?,
        id: column(row, 2)?,
        at: column(row, 3)?,
        value: column(row, 4)?,
    })
}

pub(super) fn row(row: &PgRow) -> Result<Row, StoreError> {
    Ok(Row {
        name: Name { key: column(row, 0)?, sub: column(row, 1)? },
        value: column(row, 2)?,
        at: column(row, 3)?,
        mark: column(row, 4)?,
    })
}
