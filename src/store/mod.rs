//! Sessions, lease and inbox in PostgreSQL or SQLite behind one contract.
//!
//! The contract (both back-ends pass one conformance suite, `tests/it/store/`):
//!
//! - [`Store`] is cheap to clone; [`Store::open`] connects, [`Store::migrate`] brings the schema up.
//! - [`Store::acquire`] wins the lease of a session or says who holds it. Winning gives a [`Lease`]
//!   with an epoch (the fencing token). [`Keeper`] renews leases and tells when one is lost.
//! - [`Store::notices`] tells what other dynos do, as far as that is heard.
//! - [`Store::session`] binds a [`SessionStore`] to that epoch for life. Every write of it checks
//!   the epoch in its own transaction and fails with [`StoreError::Fenced`] once another epoch exists.
//! - [`Store::publish`] and [`Store::published`] carry the holder's status to the other dynos;
//!   [`Store::ask_holder`] and [`Store::take_asked`] carry what their pages ask to the holder.
//! - [`SessionStore`] is whatsapp-rust's `Backend`, and holds the inbox.
//!
//! Inside: `engine` is what a database must do, `postgres` and `sqlite` do it, `sealed` seals and
//! opens what goes through it, `whatsapp` and `inbox` give it meaning, `copy` takes a session as a whole, `backup` keeps copies.

mod backup;
mod balance;
mod boottime;
mod chats;
mod copy;
mod delivery;
mod dyno;
mod engine;
pub mod examine;
mod export;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod history;
mod inbox;
mod jobs;
mod keeper;
mod kind;
mod media;
mod migrate;
mod notice;
mod order;
mod outbox;
mod postgres;
mod published;
mod reseal;
mod retention;
mod seal;
mod sealed;
mod sealed_places;
mod sqlite;
mod vault;
mod whatsapp;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};

pub use backup::{Backed, BackupInfo, GenerationInfo, Holder, SessionInfo};
pub use balance::{Move, Spread};
pub use chats::Chat;
pub use copy::{DecodeError, Digest, Header, SessionCopy};
pub use delivery::{Backlog, Delivery, DeliveryKey, DeliveryLimits, OwedChat, Thinned};
pub use dyno::Dyno;
pub use export::{EnvelopeError, Export, ExportError, ExportKey, FileError, NewFile, SealedExport};
pub use history::{HourCount, KeptRows, Stretch, Totals, Traffic};
pub use inbox::InboxMessage;
pub use jobs::{JobEnd, JobKey, JobOutcome, JobRun};
pub use keeper::{Keeper, Kept};
pub use media::{KeptFile, PIECE};
pub use notice::{Notice, Notices};
pub use outbox::{Accepted, MOST_QUEUED, NewOutgoing, Outgoing, OutgoingStatus};
pub use published::{Asked, Publication, Published, PublishedQr};
pub use reseal::{Resealer, Sealing};
pub use seal::KeyId;
pub use sealed::SessionStore;
pub use vault::{StoredFile, VaultPut, pieces};

use crate::config::{self, DatabaseLocation};
use engine::{Bond, Engine};
use notice::Bulletin;
use seal::Sealer;

/// The database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    engine: Arc<dyn Engine>,
    sealer: Sealer,
    bulletin: Bulletin,
}

/// Who asks for a lease: DYNO, release and a random part; unique per process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner(pub String);

impl Owner {
    /// What a process outside of Heroku calls itself.
    pub const LOCAL: &str = "a local process";

    /// The dyno, e.g. "web.1".
    pub fn dyno(&self) -> &str {
        self.parts().0
    }

    /// Whether both belong to one app.
    pub fn same_app(&self, other: &Self) -> bool {
        self.parts().1 == other.parts().1
    }

    /// Dyno and app: "web.1 of my-app/0123…".
    fn parts(&self) -> (&str, &str) {
        let place = self.0.rsplit_once('/').map_or(self.0.as_str(), |(place, _)| place);
        place.split_once(" of ").unwrap_or((place, ""))
    }
}

/// A lease that was won.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The session it is for.
    pub session: String,
    /// Who holds it.
    pub owner: Owner,
    /// The fencing token: larger than any epoch before it.
    pub epoch: i64,
    generation: Generation,
}

/// The current generation of a session under a lease; archiving opens the next one, which every
/// clone of the lease sees.
#[derive(Debug, Clone)]
struct Generation(Arc<AtomicI64>);

impl Generation {
    fn get(&self) -> i64 {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self, generation: i64) {
        self.0.store(generation, Ordering::Release);
    }
}

impl PartialEq for Generation {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for Generation {}

/// What can go wrong in the store. Messages carry no URL and no password.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another owner holds the lease.
    #[error("the session is held by {owner} until {until}")]
    Held { owner: String, until: DateTime<Utc> },
    /// A newer epoch exists: this holder may not write any more.
    #[error("another dyno has taken over this session")]
    Fenced,
    /// The database does not answer or refuses.
    #[error("{problem}")]
    Unavailable { problem: String },
    /// The schema is newer than this binary.
    #[error(
        "the database schema is version {found}, this blacksky knows up to {known}: deploy a newer blacksky"
    )]
    NewerSchema { found: i64, known: i64 },
    /// A stored value cannot be read or unsealed. Never replaced.
    #[error("{what} cannot be read: {problem}")]
    Unreadable { what: String, problem: String },
    /// What was asked for must not be done; nothing has changed.
    #[error("{problem}")]
    Refused { problem: String },
}

impl StoreError {
    /// The store's error inside another one, e.g. in what whatsapp-rust gives back.
    pub fn within<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        let mut layer = Some(error);
        while let Some(error) = layer {
            if let Some(found) = error.downcast_ref::<Self>() {
                return Some(found);
            }
            layer = error.source();
        }
        None
    }
}

/// What happened to a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// Version before; 0 when there was none.
    pub from: i64,
    /// Version now.
    pub to: i64,
}

impl Store {
    /// Connects. Fails with `Unavailable` when the database does not answer within its deadline (5 s).
    pub async fn open(config: &config::Database) -> Result<Self, StoreError> {
        let engine: Arc<dyn Engine> = match &config.location {
            DatabaseLocation::Postgres(url) => {
                Arc::new(postgres::Postgres::open(url, config.tls, config.max_connections).await?)
            }
            DatabaseLocation::Sqlite(path) => Arc::new(sqlite::Sqlite::open(path).await?),
            DatabaseLocation::Missing(wiped) => {
                let problem = format!(
                    "there is no database: {}; {}, or set database.allow_ephemeral = true and lose it",
                    wiped.what(),
                    wiped.todo()
                );
                return Err(StoreError::Unavailable { problem });
            }
        };
        Ok(Self { engine, sealer: Sealer::new(config.secret_key.as_ref()), bulletin: Bulletin::default() })
    }

    /// "postgresql" or "sqlite".
    pub fn kind(&self) -> &'static str {
        self.engine.kind()
    }

    /// Something the operator should know, e.g. PostgreSQL without a secret key.
    pub fn warning(&self) -> Option<String> {
        (self.engine.kind() == "postgresql" && !self.sealer.seals()).then(|| {
            "sessions are stored in PostgreSQL unsealed: whoever reads the database can use the WhatsApp \
             account; set BLACKSKY_SECRET_KEY to a long random value and keep it"
                .to_owned()
        })
    }

    /// Applies the migrations. Idempotent; two at once are safe.
    pub async fn migrate(&self) -> Result<Migrated, StoreError> {
        self.engine.migrate().await
    }

    /// Wins the lease of a session, or `Held`. An owner that holds it already gets a new epoch,
    /// which fences its own older handles.
    pub async fn acquire(&self, session: &str, owner: &Owner, ttl: Duration) -> Result<Lease, StoreError> {
        let won = self.engine.acquire(session, owner, ttl).await?;
        Ok(Lease {
            session: session.to_owned(),
            owner: owner.clone(),
            epoch: won.epoch,
            generation: Generation(Arc::new(AtomicI64::new(won.generation))),
        })
    }

    /// Renews in one statement; gives back the leases that are still held.
    pub async fn renew(&self, leases: &[Lease], ttl: Duration) -> Result<Vec<Lease>, StoreError> {
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        self.engine.renew(leases, ttl).await
    }

    /// The same, and keeps the dyno that holds them written down, in one statement.
    pub(crate) async fn beat(
        &self,
        dyno: &Dyno,
        leases: &[Lease],
        ttl: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        self.engine.beat(dyno, leases, ttl).await
    }

    /// Gives a lease up; a lease that is no longer held is no error.
    pub async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.engine.release(lease).await
    }

    /// The session under this lease's epoch, in its current generation.
    pub fn session(&self, lease: &Lease) -> SessionStore {
        let bond =
            Bond { session: lease.session.clone(), epoch: lease.epoch, generation: lease.generation.get() };
        SessionStore::new(self.engine.clone(), self.sealer.clone(), bond, lease.generation.clone())
    }

    /// Bytes that the database takes.
    pub async fn size(&self) -> Result<u64, StoreError> {
        self.engine.size().await
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.engine.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::Owner;

    #[test]
    fn an_owner_knows_its_dyno_and_its_app() {
        let owner = |text: &str| Owner(text.to_owned());
        let holder = owner("web.1 of my/app/0123");
        assert_eq!(holder.dyno(), "web.1");
        assert!(holder.same_app(&owner("web.2 of my/app/4567")));
        assert!(!holder.same_app(&owner("web.1 of other/0123")));
        assert_eq!(owner("web.1").dyno(), "web.1");
    }
}
