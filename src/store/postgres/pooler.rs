//! Recognises a connection pooler that gives each transaction another server connection: timeouts and
//! `synchronous_commit` set on a connection would not hold, and prepared statements and LISTEN break.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::{Executor as _, PgConnection, Row as _};
use tokio::time::Instant;

use super::connections::CONNECT_DEADLINE;
use super::problem;
use crate::store::StoreError;

pub(super) const TRANSACTION_MODE: &str = "a connection pooler in transaction mode stands before the \
     database, and blacksky needs connections of its own: set DATABASE_URL to the database's own URL (on Heroku \
     the add-on's, not DATABASE_CONNECTION_POOL_URL), or the pooler's pool_mode to session";

/// Who serves a connection. The server's own time tells apart two servers that happen to use the same number. Both
/// cost no look into a catalog: it is asked many times at each start.
const WHO: &str = "SELECT concat(pg_backend_pid(), ' ', pg_postmaster_start_time())";

/// For all questions.
const DEADLINE: Duration = CONNECT_DEADLINE;
/// After so many questions a slow database is asked no more.
const ENOUGH: usize = 3;
const SLOW: Duration = Duration::from_millis(300);
/// Whose turn it is: in turns and then not.
const TURNS: [bool; 6] = [true, false, false, true, true, false];
/// A pool that others use hands out its connections by chance: the turns are gone through so often, as long as
/// the answers come quickly.
const ROUNDS: usize = 5;
const QUICK: Duration = Duration::from_millis(50);

/// Fails when the two connections do not each have one server process of their own.
///
/// Without a pooler, or with one in session mode, they always have. In transaction mode each question goes to
/// the process that was used last, or that waited longest, or any: asked in turns and then not in turns, each
/// connection meets another one than before, or both meet the same.
pub(super) async fn refuse(one: &mut PgConnection, other: &mut PgConnection) -> Result<(), StoreError> {
    let asking = async {
        let begun = Instant::now();
        let (mut ones, mut others) = (BTreeSet::new(), BTreeSet::new());
        for (asked, is_one) in TURNS.into_iter().cycle().take(TURNS.len() * ROUNDS).enumerate() {
            let patience = if asked < TURNS.len() { SLOW } else { QUICK };
            if asked >= ENOUGH && begun.elapsed() > patience {
                break;
            }
            if is_one {
                ones.insert(who(one).await?);
            } else {
                others.insert(who(other).await?);
            }
            if ones.len() > 1 || others.len() > 1 || !ones.is_disjoint(&others) {
                return Ok(false);
            }
        }
        Ok(true)
    };
    match tokio::time::timeout(DEADLINE, asking).await {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err(StoreError::Unavailable { problem: TRANSACTION_MODE.into() }),
        Ok(Err(error)) => Err(problem::of(&error)),
        Err(_) => Err(problem::silent(DEADLINE)),
    }
}

/// Not prepared, which a pooler might not bear.
async fn who(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    connection.fetch_one(sqlx::raw_sql(WHO)).await?.try_get(0)
}
