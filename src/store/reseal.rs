//! A change of the secret key: what is sealed under an old key, or was stored before there was one, is
//! sealed under the first key.
//!
//! Only the holder of a session does it, under its lease's epoch, in small batches, and a value only if it is
//! still what was read. Nothing is remembered between two runs: what does not begin with the first key's id
//! is left to do. A value that does not open stays as it is.

use std::collections::BTreeMap;
use std::time::Duration;

use super::engine::Bond;
use super::seal::{KeyId, OpenError, Place, Under};
use super::sealed_places::{SEALED_PLACES, SealedPlace, Share, Stored, Swap};
use super::{Owner, Store, StoreError};

/// Pause between two batches, which the bot has for itself.
const PAUSE: Duration = Duration::from_millis(20);
/// Progress is logged once per this many values.
const PROGRESS: u64 = 1000;

/// Seals the values of some sessions anew.
#[derive(Debug)]
pub struct Resealer {
    store: Store,
    owner: Owner,
    /// The sessions of this app's bots.
    sessions: Vec<String>,
    /// Sessions with nothing left to do, with the epoch in which this was found and what does not open.
    done: BTreeMap<String, Done>,
    resealed: u64,
    counted: bool,
}

#[derive(Debug, Clone, Copy)]
struct Done {
    epoch: i64,
    damaged: u64,
}

/// Under which keys the database's values are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealing {
    /// Ids of the keys that are set; the first seals.
    pub keys: Vec<KeyId>,
    /// Values that this process has sealed under the first key.
    pub resealed: u64,
    /// Values of this app's sessions that are stored plain or under an old key, and open.
    pub left: u64,
    /// Values under an old key by session, of sessions that no bot of this app uses.
    pub elsewhere: BTreeMap<String, u64>,
    /// Values of this app's sessions by the key that is wanted and not set.
    pub lost: BTreeMap<KeyId, u64>,
    /// Values that open under no key, since they are damaged.
    pub damaged: u64,
}

impl Sealing {
    /// No stored value needs a key but the first.
    pub fn old_keys_unused(&self) -> bool {
        self.left == 0 && self.elsewhere.is_empty()
    }
}

impl Resealer {
    /// For the sessions of the bots of one process; `owner` is who holds their leases.
    pub fn new(store: Store, owner: Owner, sessions: Vec<String>) -> Self {
        Self { store, owner, sessions, done: BTreeMap::new(), resealed: 0, counted: false }
    }

    /// Whether there is a key to seal under. Without one nothing is ever unsealed either.
    pub fn has_key(&self) -> bool {
        self.store.sealer.seals()
    }

    /// Seals what is left in the sessions that are held now. Gives the result of a new count, once every
    /// session is held and done: before, another dyno may still write under an old key. Dropping it midway
    /// loses nothing.
    pub async fn pass(&mut self) -> Result<Option<Sealing>, StoreError> {
        let Some(prefix) = self.store.sealer.prefix() else { return Ok(None) };
        let bonds = self.store.engine.bonds(&self.owner).await?;
        let ours = |bond: &&Bond| self.sessions.contains(&bond.session);
        for bond in bonds.iter().filter(ours).cloned().collect::<Vec<_>>() {
            if self.done.get(&bond.session).is_some_and(|done| done.epoch == bond.epoch) {
                continue;
            }
            self.counted = false;
            self.done.remove(&bond.session);
            if let Some(damaged) = self.session(&bond, &prefix).await? {
                self.done.insert(bond.session, Done { epoch: bond.epoch, damaged });
            }
        }
        let all_done = self.sessions.iter().all(|session| {
            let bond = bonds.iter().find(|bond| bond.session == *session);
            bond.is_some_and(|bond| self.done.get(session).is_some_and(|done| done.epoch == bond.epoch))
        });
        if self.counted || !all_done {
            return Ok(None);
        }
        let sealing = self.count().await?;
        self.counted = true;
        Ok(Some(sealing))
    }

    /// Seals a session anew. Gives how many of its values are damaged, or nothing when some were in use at
    /// the moment and are left for the next time.
    async fn session(&mut self, bond: &Bond, prefix: &[u8]) -> Result<Option<u64>, StoreError> {
        let (mut damaged, mut missed, mut moved, mut told) = (0, 0, 0, 0);
        for place in SEALED_PLACES {
            let mut after = None;
            loop {
                let stale = self.store.engine.stale(place, &bond.session, prefix, after.as_deref()).await?;
                let Some(last) = stale.last() else { break };
                after = Some(last.key.clone());
                let read = stale.len() as u64;
                let swaps: Vec<Swap> =
                    stale.into_iter().filter_map(|row| self.anew(&bond.session, place, row)).collect();
                damaged += read - swaps.len() as u64;
                if !swaps.is_empty() {
                    let swapped = self.store.engine.swap(bond, place, &swaps).await?;
                    missed += swaps.len() as u64 - swapped;
                    moved += swapped;
                    self.resealed += swapped;
                }
                if moved / PROGRESS > told {
                    told = moved / PROGRESS;
                    tracing::info!(session = %bond.session, values = moved, "sealing stored values anew");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
        if moved > 0 {
            tracing::info!(session = %bond.session, values = moved, "stored values were sealed under the first secret key");
        }
        Ok((missed == 0).then_some(damaged))
    }

    /// The value under the first key; `None` when it does not open.
    fn anew(&self, session: &str, place: &SealedPlace, row: Stored) -> Option<Swap> {
        let sealer = &self.store.sealer;
        let resealed = (place.bound)(&row.key).ok_or(OpenError::Damaged).and_then(|(kind, name)| {
            let bound = Place { session, kind, name: &name };
            sealer.open(&bound, &row.value).and_then(|value| sealer.seal(&bound, &value))
        });
        match resealed {
            Ok(fresh) => Some(Swap { row, fresh }),
            Err(problem) => {
                tracing::debug!(session, table = place.table, %problem, "a stored value stays as it is");
                None
            }
        }
    }

    async fn count(&self) -> Result<Sealing, StoreError> {
        let mut shares = Vec::new();
        for place in SEALED_PLACES {
            shares.extend(self.store.engine.shares(place).await?);
        }
        Ok(self.sum(&shares))
    }

    fn sum(&self, shares: &[Share]) -> Sealing {
        let keys = self.store.sealer.keys();
        let mut sealing = Sealing {
            keys: keys.clone(),
            resealed: self.resealed,
            left: 0,
            elsewhere: BTreeMap::new(),
            lost: BTreeMap::new(),
            damaged: self.done.values().map(|done| done.damaged).sum(),
        };
        let (mut lost, mut unknown) = (0, 0);
        for share in shares {
            let ours = self.sessions.contains(&share.session);
            match Under::of(&share.prefix) {
                Under::Key(id) if keys.first() == Some(&id) => {}
                Under::Key(id) if keys.contains(&id) => {
                    if ours {
                        sealing.left += share.count;
                    } else {
                        *sealing.elsewhere.entry(share.session.clone()).or_default() += share.count;
                    }
                }
                Under::Key(id) if ours => {
                    *sealing.lost.entry(id).or_default() += share.count;
                    lost += share.count;
                }
                Under::Plain if ours => sealing.left += share.count,
                Under::Unknown if ours => unknown += share.count,
                Under::Key(_) | Under::Plain | Under::Unknown => {}
            }
        }
        // What a pass found not to open is either of a lost key or damaged.
        sealing.damaged = sealing.damaged.saturating_sub(lost).max(unknown);
        sealing.left = sealing.left.saturating_sub(sealing.damaged - unknown);
        sealing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Database, DatabaseLocation, Secret, Tls};
    use crate::store::seal::Sealer;

    const NEW: &str = "the new key of this test";
    const OLD: &str = "the old key of this test";

    fn prefix(key: &str) -> Vec<u8> {
        Sealer::new(Some(&Secret::new(key))).prefix().expect("seals")
    }

    async fn resealer(folder: &tempfile::TempDir) -> Resealer {
        let store = Store::open(&Database {
            location: DatabaseLocation::Sqlite(folder.path().join("blacksky.db")),
            tls: Tls::Require,
            max_connections: 4,
            allow_ephemeral: false,
            secret_key: Some(Secret::new(format!("{NEW},{OLD}"))),
        })
        .await
        .expect("opens");
        store.migrate().await.expect("migrates");
        Resealer::new(store, Owner("a".into()), vec!["main".into()])
    }

    fn share(session: &str, prefix: Vec<u8>, count: u64) -> Share {
        Share { session: session.into(), prefix, count }
    }

    #[tokio::test]
    async fn the_old_key_is_needed_as_long_as_anything_opens_under_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut resealer = resealer(&folder).await;
        let done = [share("main", prefix(NEW), 10), share("other", prefix("a third key, of another app"), 3)];
        assert!(resealer.sum(&done).old_keys_unused());
        for left in [share("main", prefix(OLD), 1), share("main", vec![0], 1), share("other", prefix(OLD), 1)]
        {
            let sealing = resealer.sum(&[&done[..], std::slice::from_ref(&left)].concat());
            assert!(!sealing.old_keys_unused(), "{left:?}: {sealing:?}");
        }
        // What no key opens does not hold the old key back: one is damaged, one is of a lost key.
        resealer.done.insert("main".into(), Done { epoch: 1, damaged: 2 });
        let lost = share("main", prefix("a lost key of this test"), 1);
        let sealing = resealer.sum(&[&done[..], &[share("main", prefix(OLD), 1), lost]].concat());
        assert!(sealing.old_keys_unused(), "{sealing:?}");
        assert_eq!((sealing.damaged, sealing.lost.values().sum::<u64>()), (1, 1));
    }

    #[tokio::test]
    async fn nothing_is_said_before_every_session_is_held() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut resealer = resealer(&folder).await;
        assert_eq!(resealer.pass().await.expect("passes"), None);
        let store = resealer.store.clone();
        let lease = store.acquire("main", &Owner("a".into()), Duration::from_secs(30)).await.expect("wins");
        assert!(resealer.pass().await.expect("passes").is_some_and(|sealing| sealing.old_keys_unused()));
        assert_eq!(resealer.pass().await.expect("passes"), None, "said once");
        store.release(&lease).await.expect("releases");
        store.acquire("main", &Owner("b".into()), Duration::from_secs(30)).await.expect("wins");
        resealer.counted = false;
        assert_eq!(
            resealer.pass().await.expect("passes"),
            None,
            "another process may write under the old key"
        );
    }
}
