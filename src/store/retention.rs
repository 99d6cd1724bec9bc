//! Removing what was kept long enough. Each call removes a few rows, so that nobody waits for it; twice at once, by
//! two dynos, does the same as once.

use super::history::KeptRows;
use super::{SessionStore, Store, StoreError};

impl Store {
    /// Removes at most `batch` messages of the outbox that were sent or given up, and says how many.
    pub async fn prune_outbox(&self, session: &str, kept: KeptRows, batch: u32) -> Result<u64, StoreError> {
        self.engine.prune_outbox(session, kept, batch).await
    }

    /// Removes at most `batch` runs of an app's jobs, and what at most as many wrote; says how many rows changed.
    /// Limits count for each job, and for what somebody asked for by itself. The last run always stays: by it is
    /// known what was missed.
    pub async fn prune_jobs(
        &self,
        app: &str,
        runs: KeptRows,
        output: KeptRows,
        batch: u32,
    ) -> Result<u64, StoreError> {
        self.engine.prune_jobs(app, runs, output, batch).await
    }
}

impl SessionStore {
    /// Removes at most `batch` handled messages of the inbox, and says how many. By those that stay it is known
    /// that a message was handled.
    pub async fn prune_inbox(&self, kept: KeptRows, batch: u32) -> Result<u64, StoreError> {
        self.noting(self.engine.prune_inbox(&self.bond, kept, batch).await)
    }
}
