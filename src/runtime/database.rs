//! Brings the database up: opens, migrates, retries, and says on the board what is wrong.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::status::{Board, DatabaseStatus};
use crate::config::{self, DatabaseLocation, Wiped};
use crate::link::LinkState;
use crate::store::{Store, StoreError};

/// Waits between two tries, in seconds; the last one repeats.
const RETRIES: [u64; 5] = [1, 2, 5, 10, 15];

/// What is wrong when there is no database, and what to do.
fn no_database(wiped: Wiped) -> String {
    format!(
        "There is no database: {}, and the login with it. Add one: {} (or accept the loss with \
         database.allow_ephemeral = true).",
        wiped.what(),
        wiped.todo()
    )
}

/// Opens and migrates the database; tries until it answers. `None` when stopped before that.
pub(super) async fn bring_up(
    database: &config::Database,
    board: &Board,
    stop: &CancellationToken,
) -> Option<Store> {
    let kind = match database.location {
        DatabaseLocation::Postgres(_) => "postgresql",
        DatabaseLocation::Sqlite(_) => "sqlite",
        DatabaseLocation::Missing(wiped) => {
            let problem = no_database(wiped);
            tracing::error!("{problem}");
            report_down(board, "postgresql", &problem);
            stop.cancelled().await;
            return None;
        }
    };
    let mut attempt = 0;
    loop {
        let opened = tokio::select! {
            () = stop.cancelled() => return None,
            opened = open_and_migrate(database) => opened,
        };
        match opened {
            Ok(store) => {
                let warning = store.warning();
                if let Some(warning) = &warning {
                    tracing::warn!("{warning}");
                }
                board.update(|snapshot| {
                    snapshot.database = DatabaseStatus::Ok { kind: store.kind(), warning }
                });
                return Some(store);
            }
            Err(error) => {
                let wait = Duration::from_secs(RETRIES[attempt.min(RETRIES.len() - 1)]);
                attempt += 1;
                tracing::error!(retry_in_s = wait.as_secs(), "database: {error}");
                report_down(board, kind, &error.to_string());
                tokio::select! {
                    () = stop.cancelled() => return None,
                    () = tokio::time::sleep(wait) => {}
                }
            }
        }
    }
}

async fn open_and_migrate(database: &config::Database) -> Result<Store, StoreError> {
    let store = Store::open(database).await?;
    let migrated = store.migrate().await?;
    if migrated.from != migrated.to {
        tracing::info!(from = migrated.from, to = migrated.to, "database schema brought up to date");
    }
    Ok(store)
}

fn report_down(board: &Board, kind: &'static str, problem: &str) {
    let now = super::clock::now();
    board.update(|snapshot| {
        snapshot.database = DatabaseStatus::Down { kind, problem: problem.to_owned() };
        for bot in snapshot.bots.values_mut() {
            if bot.state != LinkState::WaitingForDatabase {
                bot.since = now;
            }
            bot.state = LinkState::WaitingForDatabase;
            bot.advice = Some(problem.to_owned());
        }
    });
}
