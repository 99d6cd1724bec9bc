//! History: writes down what the links did that are held here, and shows on the board what all dynos wrote.
//!
//! ```text
//! board → recorder → history and traffic tables → day → board (`Snapshot::history`)
//! ```

mod day;
mod record;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::clock;
use super::status::{Board, BotHistory};
use crate::store::{Store, StoreError, Stretch, Totals, Traffic};
use record::{Recorder, Rows};

/// What the page shows in full.
const SPAN: TimeDelta = TimeDelta::hours(24);
/// What the page shows in figures.
const MONTH: TimeDelta = TimeDelta::days(30);
/// Longest between two writes: what is killed was seen so long before at most.
const BEAT: Duration = Duration::from_secs(20);
/// News are written so long after they came, together with those that follow; a start has the database for itself
/// that long.
const SETTLE: Duration = Duration::from_secs(1);
/// Shortest between two looks at the board.
const PACE: Duration = Duration::from_millis(50);
/// Between two looks at the last 30 days.
const FIGURES: Duration = Duration::from_secs(600);
/// The last write, when blacksky stops.
const LAST: Duration = Duration::from_millis(500);

/// What the task needs.
pub(super) struct History {
    pub store: Store,
    pub board: Board,
    /// The session of each enabled bot.
    pub sessions: BTreeMap<String, String>,
    /// The dyno, e.g. "web.1".
    pub dyno: String,
}

/// What was read.
struct Read {
    rows: Rows,
    days: Vec<Stretch>,
    traffic: BTreeMap<(String, DateTime<Utc>), Traffic>,
    totals: Option<BTreeMap<String, Totals>>,
}

/// Writes and shows until stopped; what was seen last is written then.
pub(super) async fn keep(history: History, stop: CancellationToken) {
    let History { store, board, sessions, dyno } = history;
    let mut recorder = Recorder::new(rand::random::<i64>(), &dyno, &sessions);
    let all: Vec<String> = sessions.values().cloned().collect();
    let mut changes = board.subscribe();
    changes.mark_changed();
    let mut totals: BTreeMap<String, Totals> = BTreeMap::new();
    let mut figures_at = Instant::now();
    let mut write_at = Instant::now() + SETTLE;
    let mut look_at = Instant::now();
    let mut under_way: Option<BoxFuture<'static, Result<Read, StoreError>>> = None;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            read = finish(&mut under_way) => {
                under_way = None;
                write_at = write_at.max(Instant::now() + SETTLE);
                match read {
                    Ok(read) => {
                        recorder.written(&read.rows, clock::now());
                        if let Some(found) = read.totals {
                            totals = found;
                            figures_at = Instant::now() + FIGURES;
                        }
                        show(&board, &sessions, &read.days, &read.traffic, &totals);
                    }
                    // The next write has it too.
                    Err(error) => tracing::debug!(%error, "the history is written later"),
                }
            }
            changed = async {
                tokio::time::sleep_until(look_at).await;
                changes.changed().await
            } => {
                if changed.is_err() {
                    return;
                }
                let news = recorder.look(&changes.borrow_and_update().bots, clock::now());
                look_at = Instant::now() + PACE;
                if news {
                    write_at = write_at.min(Instant::now() + SETTLE);
                }
            }
            () = tokio::time::sleep_until(write_at), if under_way.is_none() => {
                write_at = Instant::now() + BEAT;
                let figures = figures_at <= Instant::now();
                under_way = Some(exchange(store.clone(), recorder.rows(clock::now()), all.clone(), figures).boxed());
            }
        }
    }
    recorder.look(&changes.borrow_and_update().bots, clock::now());
    let rows = recorder.rows(clock::now());
    let last = store.note_history(&rows.stretches, &rows.counts);
    if !matches!(tokio::time::timeout(LAST, last).await, Ok(Ok(()))) {
        tracing::debug!("what was seen last is not in the history");
    }
}

/// Pending for ever while nothing is under way. Safe to drop.
async fn finish(
    under_way: &mut Option<BoxFuture<'static, Result<Read, StoreError>>>,
) -> Result<Read, StoreError> {
    match under_way {
        Some(exchange) => exchange.await,
        None => std::future::pending().await,
    }
}

/// Writes what there is, and reads what all have written.
async fn exchange(
    store: Store,
    rows: Rows,
    sessions: Vec<String>,
    figures: bool,
) -> Result<Read, StoreError> {
    store.note_history(&rows.stretches, &rows.counts).await?;
    let now = clock::now();
    let days = store.history(&sessions, now - SPAN).await?;
    let traffic = store.traffic(&sessions, now - SPAN).await?;
    let totals = if figures { Some(store.totals(&sessions, now - MONTH).await?) } else { None };
    Ok(Read { rows, days, traffic, totals })
}

fn show(
    board: &Board,
    sessions: &BTreeMap<String, String>,
    days: &[Stretch],
    traffic: &BTreeMap<(String, DateTime<Utc>), Traffic>,
    totals: &BTreeMap<String, Totals>,
) {
    let now = clock::now();
    let mut stretches: BTreeMap<&str, Vec<&Stretch>> = BTreeMap::new();
    for one in days {
        stretches.entry(&one.session).or_default().push(one);
    }
    let mut hours: BTreeMap<&str, BTreeMap<DateTime<Utc>, Traffic>> = BTreeMap::new();
    for ((session, hour), count) in traffic {
        hours.entry(session).or_default().insert(*hour, *count);
    }
    let (nothing, none, unknown) = (Vec::new(), BTreeMap::new(), Totals::default());
    let of = |session: &String| -> BotHistory {
        day::history(
            stretches.get(session.as_str()).unwrap_or(&nothing),
            hours.get(session.as_str()).unwrap_or(&none),
            totals.get(session).unwrap_or(&unknown),
            now,
        )
    };
    let history = sessions.iter().map(|(name, session)| (name.clone(), Arc::new(of(session)))).collect();
    board.update(|snapshot| snapshot.history = history);
}
