//! The tables `history` and `traffic`.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::sqlite::SqliteRow;

use super::rows::{args, execute};
use super::{Sqlite, column, problem};
use crate::store::StoreError;
use crate::store::engine::Histories;
use crate::store::history::{HourCount, KeptRows, Stretch, Totals, Traffic, time};

const STRETCH: &str = "
    INSERT INTO history AS h (session, at, process, until, state, reason, text, tries, dyno)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
    ON CONFLICT (session, at, process) DO UPDATE SET until = max(h.until, excluded.until),
        state = excluded.state, reason = excluded.reason, text = excluded.text, tries = excluded.tries";
const COUNT: &str = "
    INSERT INTO traffic AS t (session, hour, process, received, sent) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (session, hour, process) DO UPDATE SET
        received = max(t.received, excluded.received), sent = max(t.sent, excluded.sent)";
/// Sessions travel as a JSON list.
const HISTORY: &str = "
    SELECT session, at, process, until, state, reason, text, tries, dyno FROM history
    WHERE session IN (SELECT value FROM json_each(?1)) AND until >= ?2 ORDER BY at, process";
const TRAFFIC: &str = "
    SELECT session, hour, sum(received), sum(sent) FROM traffic
    WHERE session IN (SELECT value FROM json_each(?1)) AND hour >= ?2 GROUP BY session, hour";
const TOTALS: &str = "
    SELECT session, reason, count(*), min(at),
        coalesce(sum(until - max(at, ?2)) FILTER (WHERE state = 'open'), 0)
    FROM history WHERE session IN (SELECT value FROM json_each(?1)) AND until >= ?2 GROUP BY session, reason";
const PRUNE_STRETCHES: &str = "
    DELETE FROM history WHERE session = ?1 AND (at, process) IN (
        SELECT at, process FROM history WHERE session = ?1 AND (until < ?2 OR at <= (
            SELECT at FROM history WHERE session = ?1 ORDER BY at DESC LIMIT 1 OFFSET ?3))
        ORDER BY at LIMIT ?4)";
const PRUNE_COUNTS: &str = "
    DELETE FROM traffic WHERE session = ?1 AND (hour, process) IN (
        SELECT hour, process FROM traffic WHERE session = ?1 AND (hour < ?2 OR hour <= (
            SELECT hour FROM traffic WHERE session = ?1 ORDER BY hour DESC LIMIT 1 OFFSET ?3))
        ORDER BY hour LIMIT ?4)";

#[async_trait]
impl Histories for Sqlite {
    async fn note_history(&self, stretches: &[&Stretch], counts: &[&HourCount]) -> Result<(), StoreError> {
        let mut transaction =
            self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(|error| problem(&error))?;
        for one in stretches {
            let args = args![
                one.session.clone(),
                one.at.timestamp_micros(),
                one.process,
                one.until.timestamp_micros(),
                one.state.clone(),
                one.reason.clone(),
                one.text.clone(),
                i64::from(one.tries),
                one.dyno.clone()
            ];
            execute(&mut transaction, STRETCH, args).await?;
        }
        for one in counts {
            let args = args![
                one.session.clone(),
                one.hour.timestamp_micros(),
                one.process,
                one.received.cast_signed(),
                one.sent.cast_signed()
            ];
            execute(&mut transaction, COUNT, args).await?;
        }
        transaction.commit().await.map_err(|error| problem(&error))
    }

    async fn history(&self, sessions: &[String], since: i64) -> Result<Vec<Stretch>, StoreError> {
        self.ask_of(HISTORY, sessions, since).await?.iter().map(stretch_of).collect()
    }

    async fn traffic(
        &self,
        sessions: &[String],
        since: i64,
    ) -> Result<BTreeMap<(String, DateTime<Utc>), Traffic>, StoreError> {
        let rows = self.ask_of(TRAFFIC, sessions, since).await?;
        rows.iter()
            .map(|row| {
                let received = column::<i64>(row, 2)?.unsigned_abs();
                let sent = column::<i64>(row, 3)?.unsigned_abs();
                Ok(((column(row, 0)?, time(column(row, 1)?)), Traffic { received, sent }))
            })
            .collect()
    }

    async fn totals(&self, sessions: &[String], since: i64) -> Result<BTreeMap<String, Totals>, StoreError> {
        let mut all: BTreeMap<String, Totals> = BTreeMap::new();
        for row in self.ask_of(TOTALS, sessions, since).await? {
            let totals = all.entry(column(&row, 0)?).or_default();
            totals.add(
                column(&row, 1)?,
                column::<i64>(&row, 2)?,
                time(column::<i64>(&row, 3)?.max(since)),
                TimeDelta::microseconds(column(&row, 4)?),
            );
        }
        Ok(all)
    }

    async fn prune_history(&self, session: &str, kept: KeptRows, batch: u32) -> Result<u64, StoreError> {
        let mut transaction =
            self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(|error| problem(&error))?;
        let (since, rows) = (kept.since.timestamp_micros(), i64::from(kept.rows));
        let mut most = 0;
        for sql in [PRUNE_STRETCHES, PRUNE_COUNTS] {
            let args = args![session.to_owned(), since, rows, i64::from(batch)];
            most = most.max(execute(&mut transaction, sql, args).await?);
        }
        transaction.commit().await.map_err(|error| problem(&error))?;
        Ok(most)
    }
}

impl Sqlite {
    async fn ask_of(
        &self,
        sql: &'static str,
        sessions: &[String],
        since: i64,
    ) -> Result<Vec<SqliteRow>, StoreError> {
        let sessions = serde_json::Value::from(sessions).to_string();
        let rows = sqlx::query_with(sql, args![sessions, since]).fetch_all(&self.readers).await;
        rows.map_err(|error| problem(&error))
    }
}

fn stretch_of(row: &SqliteRow) -> Result<Stretch, StoreError> {
    Ok(Stretch {
        session: column(row, 0)?,
        at: time(column(row, 1)?),
        process: column(row, 2)?,
        until: time(column(row, 3)?),
        state: column(row, 4)?,
        reason: column(row, 5)?,
        text: column(row, 6)?,
        tries: u32::try_from(column::<i64>(row, 7)?).unwrap_or(u32::MAX),
        dyno: column(row, 8)?,
    })
}
