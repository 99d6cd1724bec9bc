//! Connections to the server, lent to one statement at a time.
//!
//! Each is made in a task of its own: when the server is slow to let anybody in, whoever asked first may
//! have given up, and the next one finds it ready. Whoever gives up says what the last attempt met, and not
//! only that time ran out. In the same way a statement goes on when nobody waits for it any more, or a slow
//! database would lose a connection, and all that is prepared on it, with each. One that may be dead is not kept.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, SqlStr};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::problem;
use crate::measure::{self, Pool};
use crate::store::StoreError;

/// Making one, DNS, TLS and password included.
pub(super) const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// A statement waits this long for a connection after the last one came back: while others are served, the
/// database is only slow. The attempts to make one go on meanwhile.
const LEND_DEADLINE: Duration = Duration::from_millis(1500);
/// Longest in that queue.
const LONGEST_QUEUE: Duration = Duration::from_secs(6);
/// The server has ended a statement by itself before that.
const LONGEST_STATEMENT: Duration = Duration::from_secs(5);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);
/// Most a statement may take, and most a transaction may be left open.
const STATEMENT_TIMEOUT: &str = "3s";
/// For the connection that migrates.
pub(super) const MIGRATION_TIMEOUT: &str = "60s";

/// A number of connections. Dropping it closes those that are not lent.
pub(super) struct Connections {
    shared: Arc<Shared>,
    /// What makes connections and runs statements.
    tasks: TaskTracker,
    closing: CancellationToken,
}

struct Shared {
    measured: Pool,
    options: PgConnectOptions,
    most: usize,
    state: Mutex<State>,
    /// One permit for each idle connection, so that whoever waits longest is served first.
    idle: Semaphore,
    /// An attempt failed, or a connection was not kept: whoever waits looks again.
    news: watch::Sender<Option<Refusal>>,
}

#[derive(Default)]
struct State {
    idle: Vec<PgConnection>,
    /// Idle, lent and being made.
    alive: usize,
    /// When one was last made or given back.
    returned: Option<Instant>,
}

/// Why a connection was not made.
#[derive(Debug, Clone)]
struct Refusal {
    error: StoreError,
    /// The server may let us in any moment.
    passing: bool,
}

/// Without the options, which hold the password.
impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("most", &self.shared.most).finish_non_exhaustive()
    }
}

impl Connections {
    /// At most this many, made when they are needed.
    pub(super) fn new(name: &'static str, options: PgConnectOptions, most: u32) -> Self {
        let most = usize::try_from(most).unwrap_or(1).max(1);
        let shared = Shared {
            measured: measure::pool(name, most),
            options,
            most,
            state: Mutex::default(),
            idle: Semaphore::new(0),
            news: watch::Sender::new(None),
        };
        Self { shared: Arc::new(shared), tasks: TaskTracker::new(), closing: CancellationToken::new() }
    }

    /// An idle connection, or a new one. Gives up after 1.5 s without any, or at once when the server does not
    /// want us.
    pub(super) async fn lend(&self) -> Result<Lent, StoreError> {
        let begun = Instant::now();
        let last = Mutex::new(None);
        let waiting = self.wait(&last, true);
        tokio::pin!(waiting);
        loop {
            let until = self.patience_ends(begun);
            if let Ok(result) = tokio::time::timeout_at(until, &mut waiting).await {
                return result;
            }
            if self.patience_ends(begun) <= Instant::now() {
                let last = last.lock().unwrap_or_else(PoisonError::into_inner).take();
                return Err(last.unwrap_or_else(|| problem::silent(LEND_DEADLINE)));
            }
        }
    }

    fn patience_ends(&self, begun: Instant) -> Instant {
        let from = self.shared.state().returned.map_or(begun, |returned| returned.max(begun));
        (from + LEND_DEADLINE).min(begun + LONGEST_QUEUE)
    }

    /// Runs a statement. It ends, and its connection stays, although whoever waits gives up.
    pub(super) async fn run(
        &self,
        mut connection: Lent,
        sql: SqlStr,
        args: PgArguments,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        let (answer, answered) = oneshot::channel();
        self.tasks.spawn(async move {
            let running = sqlx::query_with(sql, args).fetch_all(&mut *connection);
            if let Ok(result) = tokio::time::timeout(LONGEST_STATEMENT, running).await {
                if result.as_ref().map_or_else(problem::leaves_connection, |_| true) {
                    connection.keep();
                }
                // Nobody may wait for it any more.
                let _ = answer.send(result);
            }
        });
        answered.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }

    /// The first one: gives up at the first refusal, whatever it is.
    pub(super) async fn first(&self) -> Result<Lent, StoreError> {
        self.wait(&Mutex::new(None), false).await
    }

    async fn wait(&self, last: &Mutex<Option<StoreError>>, patient: bool) -> Result<Lent, StoreError> {
        let shared = &self.shared;
        let mut news = shared.news.subscribe();
        loop {
            self.make_if_needed();
            tokio::select! {
                biased;
                permit = shared.idle.acquire() => {
                    let Ok(permit) = permit else { return Err(closed()) };
                    permit.forget();
                    let Some(connection) = shared.change(|state| state.idle.pop()) else { continue };
                    return Ok(Lent { connection: Some(connection), shared: Arc::clone(shared) });
                }
                changed = news.changed() => {
                    let refusal = news.borrow_and_update().clone();
                    if let (Ok(()), Some(refusal)) = (changed, refusal) {
                        *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal.error.clone());
                        // One that is lent may come back.
                        if !patient || (!refusal.passing && shared.state().alive == 0) {
                            return Err(refusal.error);
                        }
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        }
    }

    /// Begins to make one when none is idle and there may be another.
    fn make_if_needed(&self) {
        {
            let mut state = self.shared.state();
            if !state.idle.is_empty() || state.alive >= self.shared.most {
                return;
            }
            state.alive += 1;
            self.shared.measured.has(state.alive, state.idle.len());
        }
        let (shared, closing) = (Arc::clone(&self.shared), self.closing.clone());
        self.tasks.spawn(async move {
            let made = closing.run_until_cancelled(connect(&shared.options, STATEMENT_TIMEOUT));
            match made.await {
                Some(Ok(connection)) => shared.put(connection),
                Some(Err(refusal)) => shared.gone(Some(refusal)),
                None => {}
            }
        });
    }

    /// Closes all that are idle, and makes no more.
    pub(super) async fn close(&self) {
        self.shared.idle.close();
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let idle = std::mem::take(&mut self.shared.state().idle);
        for connection in idle {
            // A courtesy to the server.
            let _ = connection.close().await;
        }
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // It is whole after each line that changes it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what there is, and measures it.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let result = change(&mut state);
        self.measured.has(state.alive, state.idle.len());
        result
    }

    fn put(&self, connection: PgConnection) {
        self.change(|state| {
            state.idle.push(connection);
            state.returned = Some(Instant::now());
        });
        self.idle.add_permits(1);
    }

    fn gone(&self, refusal: Option<Refusal>) {
        self.change(|state| state.alive -= 1);
        self.news.send_replace(refusal);
    }
}

/// A connection of the number, for one statement. Dropped without [`keep`](Self::keep), it is closed.
pub(super) struct Lent {
    connection: Option<PgConnection>,
    shared: Arc<Shared>,
}

impl Lent {
    /// Gives it back: its statement has ended, and it can take another.
    pub(super) fn keep(mut self) {
        if let Some(connection) = self.connection.take() {
            self.shared.put(connection);
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if self.connection.take().is_some() {
            self.shared.gone(None);
        }
    }
}

impl Deref for Lent {
    type Target = PgConnection;

    #[allow(clippy::expect_used, reason = "only `keep` and `drop` take it, and they take the whole")]
    fn deref(&self) -> &PgConnection {
        self.connection.as_ref().expect("it is there until it is kept or dropped")
    }
}

impl DerefMut for Lent {
    #[allow(clippy::expect_used, reason = "only `keep` and `drop` take it, and they take the whole")]
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("it is there until it is kept or dropped")
    }
}

/// One connection of its own, for migrations.
pub(super) async fn one(options: &PgConnectOptions, timeout: &str) -> Result<PgConnection, StoreError> {
    connect(options, timeout).await.map_err(|refusal| refusal.error)
}

async fn connect(options: &PgConnectOptions, timeout: &str) -> Result<PgConnection, Refusal> {
    let connecting = async {
        let mut connection = options.connect().await?;
        // Not in the startup message: a pooler refuses what it does not know there, or passes over it.
        let settings = format!(
            "SET statement_timeout = '{timeout}'; SET idle_in_transaction_session_timeout = '{STATEMENT_TIMEOUT}'; \
             SET synchronous_commit = on"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(settings)).execute(&mut connection).await?;
        Ok(connection)
    };
    match tokio::time::timeout(CONNECT_DEADLINE, connecting).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(Refusal { passing: problem::may_pass(&error), error: problem::of(&error) }),
        Err(_) => Err(Refusal { passing: true, error: problem::silent(CONNECT_DEADLINE) }),
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable { problem: "the store is closed".into() }
}
