//! LISTEN on a connection of its own.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};

use super::{CONNECT_DEADLINE, Postgres, problem};
use crate::store::StoreError;
use crate::store::notice::{Bulletin, CHANNEL, Notice};

/// With fewer connections than this there is none for listening.
const NEEDED: u32 = 3;
/// After this long without a word the connection is asked whether it is still there.
const QUIET: Duration = Duration::from_secs(15);
/// For the answer.
const ANSWER: Duration = Duration::from_secs(3);

impl Postgres {
    /// Whether one of the connections is for listening.
    pub(super) fn listens(max_connections: u32) -> bool {
        max_connections >= NEEDED
    }

    /// Listens until the connection is lost.
    pub(super) async fn listen_once(&self, bulletin: &Bulletin) -> Result<(), StoreError> {
        if !Self::listens(self.max_connections) {
            return std::future::pending().await;
        }
        // Made by a pool, as sqlx wants it; a new one each time, since a dead connection may hold up its end.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(CONNECT_DEADLINE)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(self.options.clone());
        let beginning = async {
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.eager_reconnect(false);
            listener.listen(CHANNEL).await?;
            Ok(listener)
        };
        let mut listener = match tokio::time::timeout(CONNECT_DEADLINE, beginning).await {
            Ok(listener) => listener.map_err(|error| problem::of(&error))?,
            Err(_) => return Err(problem::silent(CONNECT_DEADLINE)),
        };
        // What was told before is not heard any more.
        bulletin.tell(Notice::Missed);
        loop {
            match tokio::time::timeout(QUIET, listener.try_recv()).await {
                Ok(Ok(Some(heard))) => {
                    if let Some(notice) = Notice::read(heard.payload()) {
                        bulletin.tell(notice);
                    }
                }
                Ok(Ok(None)) => {
                    return Err(StoreError::Unavailable {
                        problem: "the connection to the database was cut".into(),
                    });
                }
                Ok(Err(error)) => return Err(problem::of(&error)),
                Err(_) => {
                    let asking = sqlx::query("SELECT 1").execute(&mut listener);
                    match tokio::time::timeout(ANSWER, asking).await {
                        Ok(Ok(_)) => {}
                        Ok(Err(error)) => return Err(problem::of(&error)),
                        Err(_) => return Err(problem::silent(ANSWER)),
                    }
                }
            }
        }
    }
}
