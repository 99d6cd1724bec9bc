//! The tables `history` and `traffic`.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::postgres::PgRow;

use super::{Postgres, args, column};
use crate::store::StoreError;
use crate::store::engine::Histories;
use crate::store::history::{HourCount, KeptRows, Stretch, Totals, Traffic, time};

const NOTE: &str = "
    WITH stretches AS (
        INSERT INTO blacksky.history AS h (session, at, process, until, state, reason, text, tries, dyno)
        SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::text[],
            $7::text[], $8::bigint[], $9::text[])
        ON CONFLICT (session, at, process) DO UPDATE SET until = greatest(h.until, excluded.until),
            state = excluded.state, reason = excluded.reason, text = excluded.text, tries = excluded.tries
    )
    INSERT INTO blacksky.traffic AS t (session, hour, process, received, sent)
    SELECT * FROM unnest($10::text[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[])
    ON CONFLICT (session, hour, process) DO UPDATE SET
        received = greatest(t.received, excluded.received), sent = greatest(t.sent, excluded.sent)";
const HISTORY: &str = "
    SELECT session, at, process, until, state, reason, text, tries, dyno FROM blacksky.history
    WHERE session = ANY($1) AND until >= $2 ORDER BY at, process";
const TRAFFIC: &str = "
    SELECT session, hour, sum(received)::bigint, sum(sent)::bigint FROM blacksky.traffic
    WHERE session = ANY($1) AND hour >= $2 GROUP BY session, hour";
const TOTALS: &str = "
    SELECT session, reason, count(*), min(at),
        coalesce(sum(until - greatest(at, $2)) FILTER (WHERE state = 'open'), 0)::bigint
    FROM blacksky.history WHERE session = ANY($1) AND until >= $2 GROUP BY session, reason";
/// `old` is where the newest rows that stay begin, one beyond.
const PRUNE: &str = "
    WITH h AS (
        DELETE FROM blacksky.history AS d USING (
            SELECT at, process FROM blacksky.history WHERE session = $1 AND (until < $2 OR at <= (
                SELECT at FROM blacksky.history WHERE session = $1 ORDER BY at DESC OFFSET $3 LIMIT 1))
            ORDER BY at LIMIT $4) AS old
        WHERE d.session = $1 AND d.at = old.at AND d.process = old.process RETURNING 1
    ), t AS (
        DELETE FROM blacksky.traffic AS d USING (
            SELECT hour, process FROM blacksky.traffic WHERE session = $1 AND (hour < $2 OR hour <= (
                SELECT hour FROM blacksky.traffic WHERE session = $1 ORDER BY hour DESC OFFSET $3 LIMIT 1))
            ORDER BY hour LIMIT $4) AS old
        WHERE d.session = $1 AND d.hour = old.hour AND d.process = old.process RETURNING 1
    )
    SELECT greatest((SELECT count(*) FROM h), (SELECT count(*) FROM t))";

#[async_trait]
impl Histories for Postgres {
    async fn note_history(&self, stretches: &[&Stretch], counts: &[&HourCount]) -> Result<(), StoreError> {
        fn each<'a, R, T>(rows: &[&'a R], column: impl Fn(&'a R) -> T) -> Vec<T> {
            rows.iter().map(|row| column(row)).collect()
        }
        let args = args![
            each(stretches, |one| one.session.as_str()),
            each(stretches, |one| one.at.timestamp_micros()),
            each(stretches, |one| one.process),
            each(stretches, |one| one.until.timestamp_micros()),
            each(stretches, |one| one.state.as_str()),
            each(stretches, |one| one.reason.as_deref()),
            each(stretches, |one| one.text.as_deref()),
            each(stretches, |one| i64::from(one.tries)),
            each(stretches, |one| one.dyno.as_str()),
            each(counts, |one| one.session.as_str()),
            each(counts, |one| one.hour.timestamp_micros()),
            each(counts, |one| one.process),
            each(counts, |one| one.received.cast_signed()),
            each(counts, |one| one.sent.cast_signed()),
        ];
        self.run(NOTE, args).await.map(drop)
    }

    async fn history(&self, sessions: &[String], since: i64) -> Result<Vec<Stretch>, StoreError> {
        self.run(HISTORY, args![sessions, since]).await?.iter().map(stretch_of).collect()
    }

    async fn traffic(
        &self,
        sessions: &[String],
        since: i64,
    ) -> Result<BTreeMap<(String, DateTime<Utc>), Traffic>, StoreError> {
        let rows = self.run(TRAFFIC, args![sessions, since]).await?;
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
        for row in self.run(TOTALS, args![sessions, since]).await? {
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
        let args = args![session, kept.since.timestamp_micros(), i64::from(kept.rows), i64::from(batch)];
        let rows = self.run(PRUNE, args).await?;
        Ok(rows.first().map_or(Ok(0), |row| column::<i64>(row, 0))?.unsigned_abs())
    }
}

fn stretch_of(row: &PgRow) -> Result<Stretch, StoreError> {
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
