//! Owns every task that a client starts, so that a client can be ended without its cooperation.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wacore::runtime::{AbortHandle, Runtime};

type Task = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// whatsapp-rust's runtime for one client; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Executor {
    tasks: TaskTracker,
    end: CancellationToken,
}

impl Executor {
    /// Where other tasks of the same client belong.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Runs a task until the client ends.
    pub fn run(&self, task: impl Future<Output = ()> + Send + 'static) {
        let end = self.end.clone();
        self.tasks.spawn(async move {
            let _ = end.run_until_cancelled_owned(task).await;
        });
    }

    /// Drops every task where it stands, soon: nothing is flushed.
    pub fn end(&self) {
        self.end.cancel();
        self.tasks.close();
    }

    /// Drops every task where it stands, and waits until they are gone, at most `deadline`; `false` when
    /// some are not (work in a blocking thread cannot be dropped).
    pub async fn kill(&self, deadline: Duration) -> bool {
        self.end();
        tokio::time::timeout(deadline, self.tasks.wait()).await.is_ok()
    }
}

#[async_trait]
impl Runtime for Executor {
    fn spawn(&self, task: Task) -> AbortHandle {
        let end = self.end.clone();
        let handle = self.tasks.spawn(async move {
            let _ = end.run_until_cancelled_owned(task).await;
        });
        AbortHandle::new(move || handle.abort())
    }

    fn spawn_detached(&self, task: Task) {
        self.run(task);
    }

    fn sleep(&self, duration: Duration) -> Task {
        Box::pin(tokio::time::sleep(duration))
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send + 'static>) -> Task {
        let handle = self.tasks.spawn_blocking(work);
        Box::pin(async move {
            let _ = handle.await;
        })
    }

    fn yield_now(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn kill_drops_tasks_where_they_stand() {
        let executor = Executor::default();
        let held = Arc::new(());
        let in_task = held.clone();
        executor.spawn_detached(Box::pin(async move {
            let _in_task = in_task;
            std::future::pending::<()>().await;
        }));
        let in_task = held.clone();
        let handle = executor.spawn(Box::pin(async move {
            let _in_task = in_task;
            std::future::pending::<()>().await;
        }));
        handle.detach();
        assert!(executor.kill(Duration::from_secs(5)).await);
        assert_eq!(Arc::strong_count(&held), 1, "a task still holds what it held");
        // A task that comes late does not run.
        let in_task = held.clone();
        executor.run(async move {
            let _in_task = in_task;
            std::future::pending::<()>().await;
        });
        assert!(executor.kill(Duration::from_secs(5)).await);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
