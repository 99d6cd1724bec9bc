//! The dynos on one database, as they tell each other: who is up, and could go on for whom.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Owner, Store, StoreError};

/// How often a dyno that stops looks for a successor, should no notice come.
const LOOK: Duration = Duration::from_secs(1);
/// A dyno that was there when this one began to stop counts as successor only after this: when a whole app
/// is stopped, the others get their SIGTERM at about the same time.
const SETTLE: Duration = Duration::from_secs(1);

/// One dyno.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dyno {
    /// Who it is in leases.
    pub owner: Owner,
    /// The platform's name for it, such as "web.1".
    pub name: String,
    /// When its process began.
    pub booted_at: DateTime<Utc>,
    /// The sessions it stands by for or keeps.
    pub sessions: Vec<String>,
    /// Could open a link at once: database up and migrated, the way to WhatsApp warmed, and not stopping.
    pub ready: bool,
}

impl Store {
    /// Writes this dyno down for `ttl`, in place of what was written before, and tells the others.
    pub async fn register(&self, dyno: &Dyno, ttl: Duration) -> Result<(), StoreError> {
        self.engine.register(dyno, ttl).await
    }

    /// Removes a dyno and tells the others; one that is not there is no error.
    pub async fn unregister(&self, owner: &Owner) -> Result<(), StoreError> {
        self.engine.unregister(owner).await
    }

    /// The dynos that were seen within their time. On SQLite none but this one.
    pub async fn dynos(&self) -> Result<Vec<Dyno>, StoreError> {
        self.engine.dynos().await
    }

    /// Who holds the leases of these sessions; one whose lease is free is not among them. On SQLite
    /// those of this process.
    pub async fn holders(&self, sessions: &[String]) -> Result<Vec<(String, Owner)>, StoreError> {
        self.engine.holders(sessions).await
    }
}

/// Who could go on with a session: names of dynos by session.
type Successors = BTreeMap<String, String>;

/// Looks for successors once this dyno leaves: one look for all its bots.
#[derive(Debug)]
pub(super) struct Handover {
    pub(super) leaving: CancellationToken,
    successors: watch::Sender<Successors>,
}

impl Default for Handover {
    fn default() -> Self {
        Self { leaving: CancellationToken::new(), successors: watch::Sender::default() }
    }
}

impl Handover {
    /// The name of a dyno that is ready to go on with the session. Waits until there is one.
    pub(super) async fn successor(&self, session: &str) -> String {
        let mut successors = self.successors.subscribe();
        loop {
            if let Some(name) = successors.borrow_and_update().get(session) {
                return name.clone();
            }
            if successors.changed().await.is_err() {
                // Not while `self` is there.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Looks, from when this dyno leaves, for ever.
    pub(super) async fn look(&self, store: &Store, me: &Owner) {
        self.leaving.cancelled().await;
        // First subscribed, then looked: a dyno that comes in between is seen by one of the two.
        let mut notices = store.notices();
        let settled = Instant::now() + SETTLE;
        let mut from_before: Option<HashSet<String>> = None;
        loop {
            let now = Instant::now();
            if let Ok(dynos) = store.dynos().await {
                let others: Vec<Dyno> =
                    dynos.into_iter().filter(|dyno| dyno.owner != *me && dyno.ready).collect();
                let from_before = from_before
                    .get_or_insert_with(|| others.iter().map(|dyno| dyno.owner.0.clone()).collect());
                let successors =
                    successors(&others, |dyno| now >= settled || !from_before.contains(&dyno.owner.0));
                self.successors.send_replace(successors);
            }
            let next = if now < settled { settled } else { now + LOOK };
            tokio::select! {
                () = notices.dynos() => {}
                () = tokio::time::sleep_until(next) => {}
            }
        }
    }
}

fn successors(dynos: &[Dyno], counts: impl Fn(&Dyno) -> bool) -> Successors {
    let mut successors = Successors::new();
    for dyno in dynos.iter().filter(|dyno| counts(dyno)) {
        for session in &dyno.sessions {
            successors.insert(session.clone(), dyno.name.clone());
        }
    }
    successors
}
