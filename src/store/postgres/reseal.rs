//! Sealing anew, table by table. The statements are made from the constants of
//! [`crate::store::sealed_places`] and nothing else.

use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgArguments, PgRow};

use super::rows::fenced;
use super::{Failed, Postgres, args, column, run_on};
use crate::store::engine::Bond;
use crate::store::sealed_places::{OwnerColumn, PREFIX, Part, PartKind, SealedPlace, Share, Stored, Swap};
use crate::store::{Owner, StoreError};

const BONDS: &str = "
    SELECT id, epoch, generation FROM blacksky.session
    WHERE owner = $1 AND expires_at > clock_timestamp()";

impl Postgres {
    /// Runs a statement once. What fails in the background is tried again by the next pass.
    async fn run_made(&self, sql: String, args: PgArguments) -> Result<Vec<PgRow>, StoreError> {
        run_on(&self.pool, AssertSqlSafe(sql), args, 0).await.map_err(Failed::into_error)
    }

    pub(super) async fn reseal_bonds(&self, owner: &Owner) -> Result<Vec<Bond>, StoreError> {
        let rows = self.run(BONDS, args![&owner.0]).await?;
        rows.iter()
            .map(|row| {
                Ok(Bond { session: column(row, 0)?, epoch: column(row, 1)?, generation: column(row, 2)? })
            })
            .collect()
    }

    pub(super) async fn reseal_shares(&self, place: &SealedPlace) -> Result<Vec<Share>, StoreError> {
        let (value, rows) = (place.value, of_sessions(place));
        // Of a plain value the first byte tells; the others would make a group of each.
        let sql = format!(
            "SELECT session, prefix, count(*) FROM (
                SELECT o.session, CASE WHEN get_byte(r.{value}, 0) = 1
                    THEN substring(r.{value} FROM 1 FOR {PREFIX}) ELSE substring(r.{value} FROM 1 FOR 1) END AS prefix
                FROM {rows}) AS v GROUP BY 1, 2"
        );
        let rows = self.run_made(sql, PgArguments::default()).await?;
        rows.iter()
            .map(|row| {
                let count = column::<i64>(row, 2)?.unsigned_abs();
                Ok(Share { session: column(row, 0)?, prefix: column(row, 1)?, count })
            })
            .collect()
    }

    pub(super) async fn reseal_stale(
        &self,
        place: &SealedPlace,
        session: &str,
        prefix: &[u8],
        after: Option<&[Part]>,
    ) -> Result<Vec<Stored>, StoreError> {
        let value = place.value;
        let keys = names(place, "r");
        let mut args = args![session, prefix, place.batch];
        let mut page = String::new();
        if let Some(after) = after {
            let marks: Vec<String> = (4..).take(after.len()).map(|n| format!("${n}")).collect();
            page = format!("AND ({keys}) > ({})", marks.join(", "));
            for (part, (_, kind)) in after.iter().zip(place.key) {
                bind(&mut args, part, *kind)?;
            }
        }
        let sql = format!(
            "SELECT r.{value}, {keys} FROM {}
             AND o.session = $1 AND substring(r.{value} FROM 1 FOR length($2::bytea)) <> $2 {page}
             ORDER BY {keys} LIMIT $3",
            of_sessions(place)
        );
        let rows = self.run_made(sql, args).await?;
        rows.iter()
            .map(|row| {
                let key = place.key.iter().enumerate().map(|(at, (_, kind))| part(row, at + 1, *kind));
                Ok(Stored { value: column(row, 0)?, key: key.collect::<Result<_, _>>()? })
            })
            .collect()
    }

    /// A row that a client is writing at this moment is left out rather than waited for: two statements that
    /// wait for each other's rows would cost the client its session.
    pub(super) async fn reseal_swap(
        &self,
        bond: &Bond,
        place: &SealedPlace,
        swaps: &[Swap],
    ) -> Result<u64, StoreError> {
        let (table, value) = (place.table, place.value);
        let mut args = args![&bond.session, bond.epoch, bond.generation];
        let mut arrays = Vec::new();
        for (at, (_, kind)) in place.key.iter().enumerate() {
            arrays.push(format!("${}::{}[]", at + 4, sql_type(*kind)));
            bind_all(&mut args, swaps.iter().filter_map(|swap| swap.row.key.get(at)), *kind)?;
        }
        let next = place.key.len() + 4;
        arrays.push(format!("${next}::bytea[], ${}::bytea[]", next + 1));
        let old: Vec<&[u8]> = swaps.iter().map(|swap| swap.row.value.as_slice()).collect();
        let fresh: Vec<&[u8]> = swaps.iter().map(|swap| swap.fresh.as_slice()).collect();
        add(&mut args, old)?;
        add(&mut args, fresh)?;
        let columns: Vec<&str> = place.key.iter().map(|(name, _)| *name).collect();
        let same = |one: &str, other: &str| {
            columns
                .iter()
                .map(|name| format!("{one}.{name} = {other}.{name}"))
                .collect::<Vec<_>>()
                .join(" AND ")
        };
        let sql = format!(
            "{}, pick AS (
                SELECT n.* FROM fence, blacksky.{table} AS r
                JOIN unnest({}) AS n ({}, old, fresh) ON {} AND r.{value} = n.old
                FOR UPDATE OF r SKIP LOCKED),
            put AS (UPDATE blacksky.{table} AS r SET {value} = p.fresh FROM pick AS p WHERE {} RETURNING 1)
            SELECT (SELECT count(*) FROM fence), (SELECT count(*) FROM put)",
            fenced!(""),
            arrays.join(", "),
            columns.join(", "),
            same("r", "n"),
            same("r", "p"),
        );
        let rows = self.run_made(sql, args).await?;
        let row = rows.first().ok_or(StoreError::Fenced)?;
        if column::<i64>(row, 0)? == 0 {
            return Err(StoreError::Fenced);
        }
        Ok(column::<i64>(row, 1)?.unsigned_abs())
    }
}

/// The rows of a place as `r` with their session as `o.session`, ready for more conditions.
fn of_sessions(place: &SealedPlace) -> String {
    let (table, value) = (place.table, place.value);
    let owner = match place.owner {
        OwnerColumn::Generation => "JOIN blacksky.generation AS o ON o.id = r.generation",
        // The same column under the name that the other has.
        OwnerColumn::Session => {
            "JOIN (SELECT DISTINCT session FROM blacksky.@) AS o ON o.session = r.session"
        }
    };
    let owner = owner.replace('@', table);
    let except = place.except.map(|sql| format!(" AND NOT ({sql})")).unwrap_or_default();
    format!("blacksky.{table} AS r {owner} WHERE length(r.{value}) > 0{except}")
}

fn names(place: &SealedPlace, table: &str) -> String {
    place.key.iter().map(|(name, _)| format!("{table}.{name}")).collect::<Vec<_>>().join(", ")
}

const fn sql_type(kind: PartKind) -> &'static str {
    match kind {
        PartKind::Big => "bigint",
        PartKind::Small => "smallint",
        PartKind::Bytes => "bytea",
        PartKind::Text => "text",
    }
}

fn part(row: &PgRow, at: usize, kind: PartKind) -> Result<Part, StoreError> {
    Ok(match kind {
        PartKind::Big => Part::Number(column(row, at)?),
        PartKind::Small => Part::Number(column::<i16>(row, at)?.into()),
        PartKind::Bytes => Part::Bytes(column(row, at)?),
        PartKind::Text => Part::Text(column(row, at)?),
    })
}

fn bind(args: &mut PgArguments, part: &Part, kind: PartKind) -> Result<(), StoreError> {
    match (part, kind) {
        (Part::Number(number), PartKind::Small) => add(args, small(*number)),
        (Part::Number(number), _) => add(args, *number),
        (Part::Bytes(bytes), _) => add(args, bytes.clone()),
        (Part::Text(text), _) => add(args, text.clone()),
    }
}

fn bind_all<'a>(
    args: &mut PgArguments,
    parts: impl Iterator<Item = &'a Part>,
    kind: PartKind,
) -> Result<(), StoreError> {
    let (mut numbers, mut bytes, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    for part in parts {
        match part {
            Part::Number(number) => numbers.push(*number),
            Part::Bytes(one) => bytes.push(one.as_slice()),
            Part::Text(text) => texts.push(text.as_str()),
        }
    }
    match kind {
        PartKind::Big => add(args, numbers),
        PartKind::Small => add(args, numbers.into_iter().map(small).collect::<Vec<i16>>()),
        PartKind::Bytes => add(args, bytes),
        PartKind::Text => add(args, texts),
    }
}

/// Read from a `smallint` before.
fn small(number: i64) -> i16 {
    i16::try_from(number).unwrap_or(i16::MAX)
}

fn add<'q, T>(args: &mut PgArguments, value: T) -> Result<(), StoreError>
where
    T: sqlx::Encode<'q, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    sqlx::Arguments::add(args, value).map_err(|error| StoreError::Unavailable {
        problem: format!("a value cannot be sent to the database: {error}"),
    })
}
