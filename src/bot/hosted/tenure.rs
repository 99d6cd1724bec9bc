//! Winning the lease of a hosted bot, and holding it.

use std::time::Duration;

use rand::rngs::StdRng;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::Hosted;
use super::view::View;
use crate::bot::handle::Request;
use crate::link::backoff;
use crate::measure;
use crate::runtime::backups::Held;
use crate::runtime::clock;
use crate::store::{Kept, Notices, SessionStore, StoreError};

/// The database answers within this or counts as down.
pub const DATABASE_DEADLINE: Duration = Duration::from_secs(5);
/// For giving the lease up at the end.
const RELEASE_DEADLINE: Duration = Duration::from_secs(2);
/// Shortest wait before a lease that is about to expire is asked for again.
const SHORTEST_ASK: Duration = Duration::from_millis(100);

/// The lease, as long as it is held.
pub struct Tenure {
    pub kept: Kept,
    /// Writes the session under the lease.
    pub session: SessionStore,
    _backed_up: Held,
}

/// How asking for the lease went.
enum Asked {
    Won(Tenure),
    /// Another dyno has it: ask again after this.
    Held(Duration),
    Down(String),
}

async fn ask(hosted: &Hosted, view: &View) -> Asked {
    match timeout(DATABASE_DEADLINE, hosted.keeper.acquire(&hosted.session)).await {
        Ok(Ok(kept)) => {
            tracing::info!(bot = %hosted.name, epoch = kept.lease.epoch, "the lease was won");
            measure::lease_won(&hosted.name, kept.lease.epoch);
            let session = hosted.store.session(&kept.lease);
            let _backed_up = hosted.backups.hold(&hosted.name, &kept.lease);
            Asked::Won(Tenure { kept, session, _backed_up })
        }
        Ok(Err(StoreError::Held { owner, until })) => {
            let left = (until - clock::now()).to_std().unwrap_or_default();
            view.standby(&owner);
            Asked::Held(left.clamp(SHORTEST_ASK, hosted.lease.renew.get()))
        }
        Ok(Err(StoreError::Fenced)) => Asked::Held(SHORTEST_ASK),
        Ok(Err(error)) => Asked::Down(error.to_string()),
        Err(_) => Asked::Down("the database does not answer within 5 s".to_owned()),
    }
}

/// Waits until the lease is won; `None` when the bot is to stop before.
pub async fn win(
    hosted: &Hosted,
    requests: &mut mpsc::Receiver<Request>,
    notices: &mut Notices,
    view: &View,
    rng: &mut StdRng,
) -> Option<Tenure> {
    let mut failures = 0;
    loop {
        if hosted.stop.is_cancelled() {
            return None;
        }
        let (wait, stands_by) = match ask(hosted, view).await {
            Asked::Won(tenure) => {
                hosted.board.database_up(hosted.store.kind(), hosted.store.warning());
                return Some(tenure);
            }
            Asked::Held(wait) => {
                hosted.board.database_up(hosted.store.kind(), hosted.store.warning());
                failures = 0;
                (wait, true)
            }
            Asked::Down(problem) => {
                hosted.board.database_down(hosted.store.kind(), &problem);
                view.waits_for_database(&problem);
                let wait = backoff::delay(&hosted.backoff, failures, rng).min(hosted.lease.renew.get());
                failures = failures.saturating_add(1);
                (wait, false)
            }
        };
        tokio::select! {
            () = hosted.stop.cancelled() => return None,
            () = notices.lease(&hosted.session), if stands_by => sleep(hosted.keeper.courtesy()).await,
            // Whatever is asked of a bot that does not run yet: look at once.
            Some(_) = requests.recv() => {}
            () = sleep(wait) => {}
        }
    }
}

impl Tenure {
    /// A new handle to the session after the old one broke, under a new epoch that fences what the old one may
    /// still have under way. Fails with `Held` or `Fenced` when another dyno has the lease.
    pub async fn rebind(&mut self, hosted: &Hosted) -> Result<(), StoreError> {
        let asking = timeout(DATABASE_DEADLINE, hosted.keeper.acquire(&hosted.session));
        let kept = asking.await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable { problem: "the database does not answer within 5 s".to_owned() })
        })?;
        self.session = hosted.store.session(&kept.lease);
        self._backed_up = hosted.backups.hold(&hosted.name, &kept.lease);
        self.kept = kept;
        Ok(())
    }

    /// Gives the lease up; should the database not hear it, the lease ends by itself.
    pub async fn release(&self, hosted: &Hosted) {
        let outcome = match timeout(RELEASE_DEADLINE, hosted.keeper.release(&self.kept.lease)).await {
            Ok(Ok(())) => "released",
            Ok(Err(error)) => {
                tracing::warn!(bot = %hosted.name, %error, "the lease was not given up: it expires");
                "expires"
            }
            Err(_) => "expires",
        };
        tracing::info!(bot = %hosted.name, step = "lease", outcome, "stopping");
    }
}
