//! Keeps the leases of this dyno and its registration: renews them all in one statement, tells each
//! holder when its lease is lost, and finds out who could go on when this dyno leaves.
//!
//! A holder must be silent before anybody else may speak. So the deadline is counted from before
//! the renewal was sent, on a clock that goes on while the process is stopped, and ends
//! [`margin`] early. The clock is polled: a process that was paused notices when it wakes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::dyno::Handover;
use super::{Dyno, Lease, Owner, Store, StoreError, boottime};
use crate::{config, measure};

/// Longest between two looks at the clock.
const LOOK: Duration = Duration::from_millis(250);
/// Wait after a renewal that failed.
const RETRY: Duration = Duration::from_secs(1);
/// How long a dyno that has more than another leaves a free lease to that one.
const COURTESY: Duration = Duration::from_millis(300);

/// How long before the lease ends the holder lets go: 2 s, or a fifth of a short `ttl`.
pub(crate) fn margin(ttl: Duration) -> Duration {
    (ttl / 5).min(Duration::from_secs(2))
}

/// Keeps leases. Cheap to clone. Somebody must [`run`](Self::run) it, else every lease is lost in time.
#[derive(Clone)]
pub struct Keeper(Arc<Inner>);

struct Inner {
    store: Store,
    owner: Owner,
    ttl: Duration,
    renew: Duration,
    clock: fn() -> Duration,
    kept: Mutex<BTreeMap<String, Entry>>,
    /// What the others are told of this dyno. Locked while that is under way, so that an older word never
    /// arrives after a newer one.
    told: tokio::sync::Mutex<Option<Dyno>>,
    handover: Handover,
    /// Another dyno holds fewer leases.
    has_more: AtomicBool,
}

struct Entry {
    lease: Lease,
    deadline: Duration,
    lost: CancellationToken,
    /// Stays the same when the lease is won anew under another epoch.
    spared: CancellationToken,
}

/// A lease that is being kept.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The lease.
    pub lease: Lease,
    lost: CancellationToken,
    spared: CancellationToken,
}

impl Kept {
    /// Cancelled once the lease may no longer be relied upon: the link must close at once.
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// Cancelled once another dyno should have the session, since it holds fewer: to be given up in order.
    pub fn spared(&self) -> &CancellationToken {
        &self.spared
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("owner", &self.0.owner).finish_non_exhaustive()
    }
}

impl Keeper {
    /// A keeper for the leases of one owner.
    pub fn new(store: Store, owner: Owner, config: config::Lease) -> Self {
        Self::with_clock(store, owner, config, boottime::now)
    }

    fn with_clock(store: Store, owner: Owner, config: config::Lease, clock: fn() -> Duration) -> Self {
        let (ttl, renew) = (config.ttl.get(), config.renew.get());
        Self(Arc::new(Inner {
            store,
            owner,
            ttl,
            renew,
            clock,
            kept: Mutex::default(),
            told: tokio::sync::Mutex::default(),
            handover: Handover::default(),
            has_more: AtomicBool::new(false),
        }))
    }

    /// Whose leases it keeps.
    pub fn owner(&self) -> &Owner {
        &self.0.owner
    }

    /// Wins the lease of a session and keeps it from now on, or `Held`. A lease of the same session
    /// that this keeper held before is lost.
    pub async fn acquire(&self, session: &str) -> Result<Kept, StoreError> {
        let sent = (self.0.clock)();
        let lease = self.0.store.acquire(session, &self.0.owner, self.0.ttl).await?;
        let lost = CancellationToken::new();
        let mut all = self.kept();
        let before = all.remove(session);
        let spared = before.as_ref().map_or_else(CancellationToken::new, |before| before.spared.clone());
        let kept = Kept { lease: lease.clone(), lost: lost.clone(), spared: spared.clone() };
        all.insert(session.to_owned(), Entry { lease, deadline: self.deadline(sent), lost, spared });
        drop(all);
        if let Some(before) = before {
            before.lost.cancel();
        }
        Ok(kept)
    }

    /// Asks whoever uses the lease of a session here to give it up in order, for another dyno.
    pub fn spare(&self, session: &str) {
        if let Some(entry) = self.kept().get(session) {
            entry.spared.cancel();
        }
    }

    /// Whether the lease of a session is kept here.
    pub fn keeps(&self, session: &str) -> bool {
        self.kept().contains_key(session)
    }

    /// Notes whether another dyno holds fewer leases than this one.
    pub fn set_has_more(&self, has_more: bool) {
        self.0.has_more.store(has_more, Ordering::Relaxed);
    }

    /// How long a lease that was given up is left to the others, before this dyno asks for it.
    pub fn courtesy(&self) -> Duration {
        if self.0.has_more.load(Ordering::Relaxed) { COURTESY } else { Duration::ZERO }
    }

    /// Gives a lease up. It counts as lost at once, whatever the database says.
    pub async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.drop_if(&lease.session, |entry| entry.lease.epoch == lease.epoch);
        self.0.store.release(lease).await
    }

    /// Renews at once, and whether the lease is still kept. A database that does not answer takes nothing
    /// away: the deadline goes on counting.
    pub async fn confirm(&self, lease: &Lease) -> bool {
        self.renew().await;
        self.kept().get(&lease.session).is_some_and(|entry| entry.lease.epoch == lease.epoch)
    }

    /// Writes this dyno down, ready or not; every renewal keeps it there from now on. Should the database
    /// not answer, the next renewal does it.
    pub async fn register(&self, dyno: Dyno) {
        let mut told = self.0.told.lock().await;
        if self.0.handover.leaving.is_cancelled() {
            return;
        }
        let said = self.0.store.register(&dyno, self.0.ttl).await;
        *told = Some(dyno);
        if let Err(error) = said {
            tracing::warn!(%error, "this dyno could not be registered");
        }
    }

    /// This dyno stops: it is no successor any more, and looks for its own.
    pub async fn leave(&self) {
        self.0.handover.leaving.cancel();
        let mut told = self.0.told.lock().await;
        let said = match &mut *told {
            Some(dyno) => {
                dyno.ready = false;
                self.0.store.register(dyno, self.0.ttl).await
            }
            None => Ok(()),
        };
        if let Err(error) = said {
            tracing::warn!(%error, "the other dynos were not told that this one stops");
        }
    }

    /// Once [`leave`](Self::leave) was called: the name of a dyno that is ready to go on with a session.
    /// Waits until there is one, and for ever where nobody can be (SQLite).
    pub async fn successor(&self, session: &str) -> String {
        self.0.handover.successor(session).await
    }

    /// The last word of this dyno.
    pub async fn unregister(&self) {
        let mut told = self.0.told.lock().await;
        if let Some(dyno) = told.take()
            && let Err(error) = self.0.store.unregister(&dyno.owner).await
        {
            tracing::debug!(%error, "this dyno is still registered, until its time is over");
        }
    }

    /// Renews until `stop`; the leases stay as they are then, for [`release`](Self::release).
    pub async fn run(&self, stop: CancellationToken) {
        let watch = async {
            loop {
                self.look();
                tokio::time::sleep(LOOK.min(margin(self.0.ttl) / 4)).await;
            }
        };
        let renew = async {
            loop {
                let wait = if self.renew().await { self.0.renew } else { RETRY.min(self.0.renew) };
                tokio::time::sleep(wait).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = watch => {}
            () = renew => {}
            () = self.0.handover.look(&self.0.store, &self.0.owner) => {}
        }
    }

    /// Renews all leases once; false when the database did not answer.
    async fn renew(&self) -> bool {
        let told = self.0.told.lock().await;
        let leases: Vec<Lease> = self.kept().values().map(|entry| entry.lease.clone()).collect();
        let sent = (self.0.clock)();
        let renewed = match &*told {
            Some(dyno) => self.0.store.beat(dyno, &leases, self.0.ttl).await,
            None => self.0.store.renew(&leases, self.0.ttl).await,
        };
        drop(told);
        measure::leases_renewed(renewed.is_ok(), (self.0.clock)().saturating_sub(sent));
        match renewed {
            Ok(renewed) => {
                for lease in &leases {
                    if renewed.iter().any(|one| one.session == lease.session && one.epoch == lease.epoch) {
                        let mut kept = self.kept();
                        if let Some(entry) = kept.get_mut(&lease.session)
                            && entry.lease.epoch == lease.epoch
                        {
                            entry.deadline = self.deadline(sent);
                        }
                    } else if self.drop_if(&lease.session, |entry| entry.lease.epoch == lease.epoch) {
                        measure::lease_lost("taken_over");
                        tracing::warn!(session = %lease.session, "the lease was taken over");
                    }
                }
                true
            }
            Err(error) => {
                tracing::warn!(%error, leases = leases.len(), "the leases could not be renewed");
                false
            }
        }
    }

    /// Lets go of every lease whose deadline has passed.
    fn look(&self) {
        let now = (self.0.clock)();
        let over: Vec<String> = self
            .kept()
            .iter()
            .filter(|(_, entry)| entry.deadline <= now)
            .map(|(session, _)| session.clone())
            .collect();
        for session in over {
            if self.drop_if(&session, |entry| entry.deadline <= now) {
                measure::lease_lost("expired");
                tracing::warn!(%session, "the lease ran out before it could be renewed");
            }
        }
    }

    fn drop_if(&self, session: &str, condition: impl Fn(&Entry) -> bool) -> bool {
        let mut kept = self.kept();
        if !kept.get(session).is_some_and(condition) {
            return false;
        }
        if let Some(entry) = kept.remove(session) {
            entry.lost.cancel();
        }
        true
    }

    fn deadline(&self, sent: Duration) -> Duration {
        sent + self.0.ttl - margin(self.0.ttl)
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        // The map is whole after each line that changes it.
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::{Keeper, margin};
    use crate::config::{self, Database, DatabaseLocation, Period, Tls};
    use crate::store::{Owner, Store};

    const LEASE: config::Lease = config::Lease {
        ttl: Period(Duration::from_secs(30)),
        renew: Period(Duration::from_secs(10)),
        handover_wait: Period(Duration::ZERO),
    };

    thread_local! {
        /// The clock of the test: a paused process does not see it move.
        static NOW: Cell<Duration> = const { Cell::new(Duration::from_secs(1000)) };
    }

    fn at(seconds: f64) {
        NOW.set(Duration::from_secs(1000) + Duration::from_secs_f64(seconds));
    }

    async fn keeper() -> (Keeper, Store, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&Database {
            location: DatabaseLocation::Sqlite(folder.path().join("blacksky.db")),
            tls: Tls::Require,
            max_connections: 4,
            allow_ephemeral: false,
            secret_key: None,
        })
        .await
        .expect("opens");
        store.migrate().await.expect("migrates");
        (Keeper::with_clock(store.clone(), Owner("a".into()), LEASE, || NOW.get()), store, folder)
    }

    #[test]
    fn the_margin_is_two_seconds_or_a_fifth() {
        assert_eq!(margin(Duration::from_secs(30)), Duration::from_secs(2));
        assert_eq!(margin(Duration::from_secs(1)), Duration::from_millis(200));
    }

    #[tokio::test]
    async fn a_lease_that_is_not_renewed_is_lost_two_seconds_early() {
        let (keeper, _store, _folder) = keeper().await;
        at(0.0);
        let kept = keeper.acquire("main").await.expect("wins");
        at(27.999);
        keeper.look();
        assert!(!kept.lost().is_cancelled());
        at(28.0);
        keeper.look();
        assert!(kept.lost().is_cancelled());
    }

    #[tokio::test]
    async fn a_renewal_counts_from_before_it_was_sent() {
        let (keeper, _store, _folder) = keeper().await;
        at(0.0);
        let kept = keeper.acquire("main").await.expect("wins");
        at(10.0);
        assert!(keeper.renew().await);
        at(37.9);
        keeper.look();
        assert!(!kept.lost().is_cancelled());
        // Paused for a minute, woken: the first look tells.
        at(97.0);
        keeper.look();
        assert!(kept.lost().is_cancelled());
        // It stays lost, although the database would still renew it.
        assert!(keeper.renew().await);
        assert!(kept.lost().is_cancelled());
    }

    #[tokio::test]
    async fn a_newer_lease_of_the_session_takes_the_older_ones_place() {
        let (keeper, store, _folder) = keeper().await;
        at(0.0);
        let first = keeper.acquire("main").await.expect("wins");
        let second = keeper.acquire("main").await.expect("wins");
        assert!(first.lost().is_cancelled() && !second.lost().is_cancelled());
        assert!(second.lease.epoch > first.lease.epoch);
        // Giving up the older one does not touch the newer.
        keeper.release(&first.lease).await.expect("releases");
        assert!(keeper.renew().await);
        assert!(!second.lost().is_cancelled());
        assert!(keeper.confirm(&second.lease).await && !keeper.confirm(&first.lease).await);
        store.release(&second.lease).await.expect("releases");
        assert!(!keeper.confirm(&second.lease).await);
        assert!(second.lost().is_cancelled(), "the renewal said that it is gone");
    }

    #[tokio::test]
    async fn a_lease_that_another_should_have_is_spared_also_under_its_next_epoch() {
        let (keeper, _store, _folder) = keeper().await;
        at(0.0);
        let first = keeper.acquire("main").await.expect("wins");
        let other = keeper.acquire("other").await.expect("wins");
        keeper.spare("main");
        let second = keeper.acquire("main").await.expect("wins");
        assert!(first.spared().is_cancelled() && second.spared().is_cancelled());
        assert!(!second.lost().is_cancelled() && !other.spared().is_cancelled());
        keeper.release(&second.lease).await.expect("releases");
        assert!(!keeper.keeps("main") && keeper.keeps("other"));
        let third = keeper.acquire("main").await.expect("wins");
        assert!(!third.spared().is_cancelled(), "given up, and won anew");
    }
}
