//! Sessions, lease and inbox in PostgreSQL or SQLite behind one contract.
//!
//! The contract (both back-ends pass one conformance suite):
//!
//! - [`Store`] is cheap to clone; [`Store::open`] connects, [`Store::migrate`] brings the schema up.
//! - [`Store::acquire`] wins the lease of a session or says who holds it. Winning gives a [`Lease`]
//!   with an epoch (the fencing token).
//! - [`Store::session`] binds a [`SessionStore`] to that epoch for life. Every write of it checks
//!   the epoch in its own transaction and fails with [`StoreError::Fenced`] once another epoch exists.
//! - [`SessionStore`] is whatsapp-rust's `Backend`, and holds the inbox.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::config;

/// The database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {}

/// Who asks for a lease: DYNO, release and a random part; unique per process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner(pub String);

/// A lease that was won.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The session it is for.
    pub session: String,
    /// Who holds it.
    pub owner: Owner,
    /// The fencing token: larger than any epoch before it.
    pub epoch: i64,
}

/// What can go wrong in the store. Messages carry no URL and no password.
#[derive(Debug, thiserror::Error)]
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
}

/// What happened to a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// Version before.
    pub from: i64,
    /// Version now.
    pub to: i64,
}

/// One session under one epoch.
#[derive(Debug, Clone)]
pub struct SessionStore {}

/// An inbound message as the inbox keeps it.
#[derive(Debug, Clone)]
pub struct InboxMessage {
    /// Chat, sender and id name a message; writing the same one twice keeps the first.
    pub chat: String,
    pub sender: String,
    pub id: String,
    /// Sender's clock, as WhatsApp delivered it.
    pub at: DateTime<Utc>,
    /// Sender's display name.
    pub push_name: String,
    /// Text of the message; empty when it has none.
    pub text: String,
}

impl Store {
    /// Connects. Fails with `Unavailable` when the database does not answer within its deadline.
    pub async fn open(_config: &config::Database) -> Result<Self, StoreError> {
        unimplemented!()
    }

    /// "postgresql" or "sqlite".
    pub fn kind(&self) -> &'static str {
        unimplemented!()
    }

    /// Something the operator should know, e.g. PostgreSQL without a secret key.
    pub fn warning(&self) -> Option<String> {
        unimplemented!()
    }

    /// Applies the migrations. Idempotent; two at once are safe.
    pub async fn migrate(&self) -> Result<Migrated, StoreError> {
        unimplemented!()
    }

    /// Wins the lease of a session, or `Held`.
    pub async fn acquire(&self, _session: &str, _owner: &Owner, _ttl: Duration) -> Result<Lease, StoreError> {
        unimplemented!()
    }

    /// Renews in one statement; gives back the leases that are still held.
    pub async fn renew(&self, _leases: &[Lease], _ttl: Duration) -> Result<Vec<Lease>, StoreError> {
        unimplemented!()
    }

    /// Gives a lease up; a lease that is no longer held is no error.
    pub async fn release(&self, _lease: &Lease) -> Result<(), StoreError> {
        unimplemented!()
    }

    /// The session under this lease's epoch.
    pub fn session(&self, _lease: &Lease) -> SessionStore {
        unimplemented!()
    }

    /// Closes every connection.
    pub async fn close(&self) {
        unimplemented!()
    }
}

impl SessionStore {
    /// Writes a batch durably, all or nothing, before WhatsApp is told. Idempotent. Returns how many were new.
    pub async fn put_inbox(&self, _batch: &[InboxMessage]) -> Result<usize, StoreError> {
        unimplemented!()
    }

    /// Messages not yet handled, oldest first.
    pub async fn unhandled(&self, _limit: u32) -> Result<Vec<InboxMessage>, StoreError> {
        unimplemented!()
    }

    /// Marks a message handled.
    pub async fn mark_handled(&self, _chat: &str, _sender: &str, _id: &str) -> Result<(), StoreError> {
        unimplemented!()
    }

    /// Ends the session: its rows move to an archived generation, so that the next pairing starts anew.
    pub async fn archive(&self) -> Result<(), StoreError> {
        unimplemented!()
    }

    /// Last WhatsApp Web version that led to an open link.
    pub async fn wa_version(&self) -> Result<Option<config::WaVersion>, StoreError> {
        unimplemented!()
    }

    /// Remembers the version of an open link.
    pub async fn put_wa_version(&self, _version: config::WaVersion) -> Result<(), StoreError> {
        unimplemented!()
    }
}
