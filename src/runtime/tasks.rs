//! Every background task has a name, an owner and a way to stop; this is the owner.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

/// Named tasks under one stop token. Dropping it aborts what still runs.
#[derive(Debug)]
pub struct Tasks {
    set: JoinSet<()>,
    names: HashMap<Id, String>,
    stop: CancellationToken,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its name.
    pub name: String,
    /// It panicked.
    pub panicked: bool,
}

impl Tasks {
    /// No tasks yet; `stop` is what they watch.
    pub fn new(stop: CancellationToken) -> Self {
        Self { set: JoinSet::new(), names: HashMap::new(), stop }
    }

    /// The token the tasks watch.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task.
    pub fn spawn(&mut self, name: impl Into<String>, task: impl Future<Output = ()> + Send + 'static) {
        let name = name.into();
        let span = tracing::error_span!("task", task = %name);
        self.spawn_in(span, name, task);
    }

    /// Starts the task of a bot, whose log lines name it.
    pub fn spawn_bot(&mut self, bot: &str, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_in(tracing::error_span!("bot", bot = %bot), format!("bot {bot}"), task);
    }

    fn spawn_in(&mut self, span: Span, name: String, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.set.spawn(task.instrument(span)).id();
        self.names.insert(id, name);
    }

    /// Waits for the next task to end; pending for ever when there is none. Safe to drop.
    pub async fn next_end(&mut self) -> Ended {
        match self.set.join_next_with_id().await {
            Some(joined) => self.ended(joined),
            None => std::future::pending().await,
        }
    }

    /// Asks all to stop and waits at most `deadline`. Gives the names of those that did not end in time;
    /// they are aborted.
    pub async fn stop_all(&mut self, deadline: Duration) -> Vec<String> {
        self.stop.cancel();
        let drained = tokio::time::timeout(deadline, async {
            while let Some(joined) = self.set.join_next_with_id().await {
                self.ended(joined);
            }
        });
        if drained.await.is_ok() {
            return Vec::new();
        }
        self.set.abort_all();
        let mut late: Vec<String> = self.names.drain().map(|(_, name)| name).collect();
        late.sort();
        late
    }

    fn ended(&mut self, joined: Result<(Id, ()), tokio::task::JoinError>) -> Ended {
        let (id, panicked) = match &joined {
            Ok((id, ())) => (*id, false),
            Err(error) => (error.id(), error.is_panic()),
        };
        Ended { name: self.names.remove(&id).unwrap_or_default(), panicked }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_watches_the_token_ends_in_time() {
        let mut tasks = Tasks::new(CancellationToken::new());
        let stop = tasks.stop_token();
        tasks.spawn("polite", async move { stop.cancelled().await });
        assert_eq!(tasks.stop_all(Duration::from_secs(1)).await, Vec::<String>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_hangs_is_named_and_aborted_at_the_deadline() {
        let mut tasks = Tasks::new(CancellationToken::new());
        let stop = tasks.stop_token();
        tasks.spawn("polite", async move { stop.cancelled().await });
        tasks.spawn("deaf", std::future::pending());
        let before = tokio::time::Instant::now();
        assert_eq!(tasks.stop_all(Duration::from_secs(3)).await, vec!["deaf".to_owned()]);
        assert_eq!(before.elapsed(), Duration::from_secs(3));
    }

    #[tokio::test]
    async fn a_panic_is_reported_with_the_name() {
        let mut tasks = Tasks::new(CancellationToken::new());
        tasks.spawn("broken", async { panic!("on purpose") });
        assert_eq!(tasks.next_end().await, Ended { name: "broken".into(), panicked: true });
    }
}
