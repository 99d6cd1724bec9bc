//! Sealing anew, table by table. The statements are made from the constants of
//! [`crate::store::sealed_places`] and nothing else.

use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments as _, AssertSqlSafe};

use super::{Sqlite, column, problem};
use crate::store::engine::Bond;
use crate::store::sealed_places::{OwnerColumn, PREFIX, Part, PartKind, SealedPlace, Share, Stored, Swap};
use crate::store::{Owner, StoreError};

impl Sqlite {
    pub(super) async fn reseal_bonds(&self, owner: &Owner) -> Result<Vec<Bond>, StoreError> {
        let ours: Vec<(String, i64)> = self
            .held()?
            .iter()
            .filter(|(_, held)| held.owner == owner.0)
            .map(|(session, held)| (session.clone(), held.epoch))
            .collect();
        let mut bonds = Vec::with_capacity(ours.len());
        for (session, epoch) in ours {
            let row = sqlx::query("SELECT generation FROM session WHERE id = ? AND epoch = ?")
                .bind(&session)
                .bind(epoch)
                .fetch_optional(&self.readers)
                .await
                .map_err(|error| problem(&error))?;
            if let Some(row) = row {
                bonds.push(Bond { session, epoch, generation: column(&row, 0)? });
            }
        }
        Ok(bonds)
    }

    pub(super) async fn reseal_shares(&self, place: &SealedPlace) -> Result<Vec<Share>, StoreError> {
        let (value, rows) = (place.value, of_sessions(place));
        let sql = format!(
            "SELECT o.session, CASE WHEN substr(r.{value}, 1, 1) = X'01' THEN substr(r.{value}, 1, {PREFIX})
                ELSE substr(r.{value}, 1, 1) END, count(*) FROM {rows} GROUP BY 1, 2"
        );
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&self.readers).await.map_err(|e| problem(&e))?;
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
        let keys = place.key.iter().map(|(name, _)| format!("r.{name}")).collect::<Vec<_>>().join(", ");
        let mut args = SqliteArguments::default();
        add(&mut args, session.to_owned())?;
        add(&mut args, prefix.to_vec())?;
        add(&mut args, place.batch)?;
        let mut page = String::new();
        if let Some(after) = after {
            let marks: Vec<String> = (4..).take(after.len()).map(|n| format!("?{n}")).collect();
            page = format!("AND ({keys}) > ({})", marks.join(", "));
            after.iter().try_for_each(|part| bind(&mut args, part))?;
        }
        let sql = format!(
            "SELECT r.{value}, {keys} FROM {}
             AND o.session = ?1 AND substr(r.{value}, 1, length(?2)) <> ?2 {page}
             ORDER BY {keys} LIMIT ?3",
            of_sessions(place)
        );
        let rows = sqlx::query_with(AssertSqlSafe(sql), args)
            .fetch_all(&self.readers)
            .await
            .map_err(|error| problem(&error))?;
        rows.iter()
            .map(|row| {
                let key = place.key.iter().enumerate().map(|(at, (_, kind))| part(row, at + 1, *kind));
                Ok(Stored { value: column(row, 0)?, key: key.collect::<Result<_, _>>()? })
            })
            .collect()
    }

    pub(super) async fn reseal_swap(
        &self,
        bond: &Bond,
        place: &SealedPlace,
        swaps: &[Swap],
    ) -> Result<u64, StoreError> {
        let value = place.value;
        let same: Vec<String> =
            place.key.iter().zip(3..).map(|((name, _), n)| format!("{name} = ?{n}")).collect();
        let sql =
            format!("UPDATE {} SET {value} = ?1 WHERE {value} = ?2 AND {}", place.table, same.join(" AND "));
        let mut transaction = self.begin(bond).await?;
        let mut done = 0;
        for swap in swaps {
            let mut args = SqliteArguments::default();
            add(&mut args, swap.fresh.clone())?;
            add(&mut args, swap.row.value.clone())?;
            swap.row.key.iter().try_for_each(|part| bind(&mut args, part))?;
            let one = sqlx::query_with(AssertSqlSafe(sql.as_str()), args).execute(&mut *transaction).await;
            done += one.map_err(|error| problem(&error))?.rows_affected();
        }
        transaction.commit().await.map_err(|error| problem(&error))?;
        Ok(done)
    }
}

/// The rows of a place as `r` with their session as `o.session`, ready for more conditions.
fn of_sessions(place: &SealedPlace) -> String {
    let (table, value) = (place.table, place.value);
    let owner = match place.owner {
        OwnerColumn::Generation => "JOIN generation AS o ON o.id = r.generation",
        // The same column under the name that the other has.
        OwnerColumn::Session => "JOIN (SELECT DISTINCT session FROM @) AS o ON o.session = r.session",
    };
    let owner = owner.replace('@', table);
    let except = place.except.map(|sql| format!(" AND NOT ({sql})")).unwrap_or_default();
    format!("{table} AS r {owner} WHERE length(r.{value}) > 0{except}")
}

fn part(row: &SqliteRow, at: usize, kind: PartKind) -> Result<Part, StoreError> {
    Ok(match kind {
        PartKind::Big | PartKind::Small => Part::Number(column(row, at)?),
        PartKind::Bytes => Part::Bytes(column(row, at)?),
        PartKind::Text => Part::Text(column(row, at)?),
    })
}

fn bind(args: &mut SqliteArguments, part: &Part) -> Result<(), StoreError> {
    match part {
        Part::Number(number) => add(args, *number),
        Part::Bytes(bytes) => add(args, bytes.clone()),
        Part::Text(text) => add(args, text.clone()),
    }
}

fn add<'q, T>(args: &mut SqliteArguments, value: T) -> Result<(), StoreError>
where
    T: sqlx::Encode<'q, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    args.add(value).map_err(|error| StoreError::Unavailable {
        problem: format!("a value cannot be given to SQLite: {error}"),
    })
}
