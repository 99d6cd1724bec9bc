//! A session under one epoch: seals what goes to the engine, opens what comes back, and breaks at
//! the first failure.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use super::engine::{Bond, Engine, Last, Merge, Which};
use super::kind::{Kind, Name, Row};
use super::order::Order;
use super::seal::{OpenError, Place, Sealer};
use super::{Generation, StoreError};
use crate::config;

/// One session under one epoch. Cheap to clone.
///
/// It breaks at the first operation that fails for want of the database or of the lease: from then
/// on every write is refused, so that nothing a client remembers wrongly is stored. The client is to
/// be discarded without a flush; the next one gets a new lease, since the new epoch waits for a write
/// that may still be under way.
#[derive(Debug, Clone)]
pub struct SessionStore {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) sealer: Sealer,
    pub(super) bond: Arc<Bond>,
    pub(super) current: Generation,
    broken: Arc<Broken>,
    order: Order,
}

#[derive(Debug, Default)]
struct Broken {
    token: CancellationToken,
    error: OnceLock<StoreError>,
}

/// An opened row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Opened {
    pub name: Name,
    pub value: Vec<u8>,
    pub at: i64,
    pub mark: Option<i64>,
}

/// A row to seal. Empty values of [`Kind::TcToken`] and [`Kind::SenderKeyDevice`] are stored as they are.
#[derive(Debug)]
pub(super) struct Unsealed<'a> {
    pub name: Name,
    pub value: &'a [u8],
    pub at: i64,
    pub mark: Option<i64>,
}

impl<'a> Unsealed<'a> {
    /// A row that has neither time nor mark.
    pub(super) fn plain(name: Name, value: &'a [u8]) -> Self {
        Self { name, value, at: 0, mark: None }
    }
}

impl SessionStore {
    pub(super) fn new(engine: Arc<dyn Engine>, sealer: Sealer, bond: Bond, current: Generation) -> Self {
        let (broken, order) = (Arc::default(), Order::default());
        Self { engine, sealer, bond: Arc::new(bond), current, broken, order }
    }

    /// Waits until this handle has broken and says why.
    pub async fn failure(&self) -> StoreError {
        self.broken.token.cancelled().await;
        self.broken.error.get().cloned().unwrap_or(StoreError::Fenced)
    }

    /// Why this handle has broken, if it has.
    pub fn problem(&self) -> Option<StoreError> {
        self.broken.error.get().cloned()
    }

    /// Ends the session: its rows stay in an archived generation, and the next [`super::Store::session`]
    /// of the lease starts anew. This handle can write no more.
    pub async fn archive(&self) -> Result<(), StoreError> {
        self.sound()?;
        let generation = self.noting(self.engine.archive(&self.bond).await)?;
        self.current.set(generation);
        Ok(())
    }

    /// Last WhatsApp Web version that led to an open link.
    pub async fn wa_version(&self) -> Result<Option<config::WaVersion>, StoreError> {
        self.noting(self.engine.wa_version(&self.bond.session).await)
    }

    /// Remembers the version of an open link.
    pub async fn put_wa_version(&self, version: config::WaVersion) -> Result<(), StoreError> {
        self.sound()?;
        self.noting(self.engine.put_wa_version(&self.bond, version).await)
    }

    /// Refuses work on a broken handle.
    pub(super) fn sound(&self) -> Result<(), StoreError> {
        self.broken.error.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Breaks the handle when an operation failed. A value that does not read is no such failure.
    pub(super) fn noting<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &result
            && !matches!(error, StoreError::Unreadable { .. })
        {
            // Only the first failure counts.
            let _ = self.broken.error.set(error.clone());
            self.broken.token.cancel();
        }
        result
    }

    pub(super) fn place<'a>(&'a self, kind: Kind, name: &'a Name) -> Place<'a> {
        Place { session: &self.bond.session, kind: kind.number(), name }
    }

    pub(super) async fn read(&self, kind: Kind, name: Name) -> Result<Option<Opened>, StoreError> {
        Ok(self.read_many(kind, &[name]).await?.into_iter().next())
    }

    pub(super) async fn read_many(&self, kind: Kind, names: &[Name]) -> Result<Vec<Opened>, StoreError> {
        let rows = self.noting(self.engine.get(self.bond.generation, kind, names).await)?;
        self.open_all(kind, rows).await
    }

    pub(super) async fn list(&self, kind: Kind, which: &Which) -> Result<Vec<Opened>, StoreError> {
        let rows = self.noting(self.engine.list(self.bond.generation, kind, which).await)?;
        self.open_all(kind, rows).await
    }

    pub(super) async fn last(&self, kind: Kind, last: Last) -> Result<Option<Name>, StoreError> {
        let row = self.noting(self.engine.last(self.bond.generation, kind, last).await)?;
        Ok(row.map(|row| row.name))
    }

    pub(super) async fn write(
        &self,
        kind: Kind,
        rows: impl IntoIterator<Item = Unsealed<'_>>,
        merge: Merge,
    ) -> Result<(), StoreError> {
        self.sound()?;
        // Sorted, so that two batches lock rows in one order; of two with one name the last counts.
        let mut by_name = std::collections::BTreeMap::new();
        for row in rows {
            by_name.insert(row.name.clone(), row);
        }
        if by_name.is_empty() {
            return Ok(());
        }
        let rows = by_name
            .into_values()
            .map(|row| {
                let value = if row.value.is_empty() && kind.may_be_empty() {
                    Vec::new()
                } else {
                    self.sealer
                        .seal(&self.place(kind, &row.name), row.value)
                        .map_err(|problem| unreadable(kind, problem))?
                };
                Ok(Row { name: row.name, value, at: row.at, mark: row.mark })
            })
            .collect::<Result<Vec<_>, StoreError>>()?;
        let _under_way = self.order.before(kind).await;
        // The row that a ratchet waited for may have failed; then the ratchet must not be stored either.
        self.sound()?;
        self.noting(self.engine.put(&self.bond, kind, &rows, merge).await)
    }

    pub(super) async fn delete(&self, kind: Kind, which: &Which) -> Result<u64, StoreError> {
        self.sound()?;
        self.noting(self.engine.delete(&self.bond, kind, which).await)
    }

    pub(super) async fn take(&self, kind: Kind, name: &Name) -> Result<Option<Vec<u8>>, StoreError> {
        self.sound()?;
        let Some(row) = self.noting(self.engine.take(&self.bond, kind, name).await)? else { return Ok(None) };
        let value = self.sealer.open(&self.place(kind, name), &row.value);
        value.map(Some).map_err(|problem| unreadable(kind, problem))
    }

    async fn open_all(&self, kind: Kind, rows: Vec<Row>) -> Result<Vec<Opened>, StoreError> {
        let mut opened = Vec::with_capacity(rows.len());
        for row in rows {
            if let Some(row) = self.open_row(kind, row).await? {
                opened.push(row);
            }
        }
        Ok(opened)
    }

    /// A damaged row of one peer is set aside and counts as absent; any other stops the bot.
    async fn open_row(&self, kind: Kind, row: Row) -> Result<Option<Opened>, StoreError> {
        let value = if row.value.is_empty() && kind.may_be_empty() {
            Ok(Vec::new())
        } else {
            self.sealer.open(&self.place(kind, &row.name), &row.value)
        };
        match value {
            Ok(value) => Ok(Some(Opened { name: row.name, value, at: row.at, mark: row.mark })),
            Err(OpenError::Damaged) if kind.renegotiable() => {
                self.set_aside(kind, &row).await?;
                Ok(None)
            }
            Err(problem) => Err(unreadable(kind, problem)),
        }
    }

    /// For a value that opened but does not decode.
    pub(super) async fn undecodable(&self, kind: Kind, name: Name) -> Result<(), StoreError> {
        if !kind.renegotiable() {
            return Err(unreadable(kind, OpenError::Damaged));
        }
        let rows = self.noting(self.engine.get(self.bond.generation, kind, &[name]).await)?;
        for row in rows {
            self.set_aside(kind, &row).await?;
        }
        Ok(())
    }

    async fn set_aside(&self, kind: Kind, row: &Row) -> Result<(), StoreError> {
        self.sound()?;
        self.noting(self.engine.set_aside(&self.bond, kind, row).await)?;
        tracing::warn!(session = %self.bond.session, what = %kind, "a damaged row was set aside");
        Ok(())
    }
}

pub(super) fn unreadable(kind: Kind, problem: OpenError) -> StoreError {
    StoreError::Unreadable { what: kind.to_string(), problem: problem.to_string() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{Database, DatabaseLocation, Tls};
    use crate::store::{Owner, Store};

    #[tokio::test]
    async fn a_ratchet_whose_row_failed_is_not_stored() {
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
        let lease =
            store.acquire("main", &Owner("a".into()), Duration::from_secs(30)).await.expect("is free");
        let session = store.session(&lease);
        let name = Name::of("peer");
        let row = session.order.before(Kind::PendingInbound).await;
        let writing =
            session.write(Kind::Session, [Unsealed::plain(name.clone(), b"moved on")], Merge::Replace);
        let failing = async {
            // The ratchet waits by now: both are polled in this order.
            let failed: Result<(), StoreError> =
                Err(StoreError::Unavailable { problem: "the disk is full".into() });
            let _ = session.noting(failed);
            drop(row);
        };
        let (written, ()) = tokio::join!(biased; writing, failing);
        assert!(matches!(written, Err(StoreError::Unavailable { .. })), "{written:?}");
        assert_eq!(store.session(&lease).read(Kind::Session, name).await.expect("reads"), None);
    }
}
