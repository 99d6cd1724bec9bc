//! The outbox: messages that programs want sent, durable before they are accepted.
//!
//! Any dyno accepts one; whoever holds the session's lease sends it. Its id at WhatsApp is part of the row, so that
//! one that has to be sent again after a crash is the same message for whoever gets it.

use std::fmt;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::kind::Name;
use super::seal::Place;
use super::{Notice, Store, StoreError};

/// The kind under which its values are sealed; no row of a session has it.
pub(super) const OUTBOX: i16 = -3;
/// Messages of one session that may wait.
pub const MOST_QUEUED: i64 = 10_000;

/// A message to be put into the outbox.
#[derive(Clone, Copy)]
pub struct NewOutgoing<'m> {
    /// The id it gets at WhatsApp, unless its key is known.
    pub id: &'m str,
    /// The asker's own name for the request: asking twice with it sends once.
    pub key: Option<&'m str>,
    /// What is to be sent. Sealed.
    pub content: &'m str,
    /// The file that it needs.
    pub file: Option<&'m str>,
    pub at: DateTime<Utc>,
}

/// Without what is to be sent.
impl fmt::Debug for NewOutgoing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewOutgoing").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What became of putting a message into the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// It is there.
    New,
    /// The key was used before, for the same content: this is its message.
    Known { id: String },
    /// The key was used before, for something else.
    Differs,
    /// Too many wait.
    Full,
    /// The file that it needs is not there.
    NoFile,
}

/// A message that waits to be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Outgoing {
    pub id: String,
    /// When it was asked for.
    pub at: DateTime<Utc>,
    pub content: String,
    /// The file that it needs.
    pub file: Option<String>,
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What is known of a message of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingStatus {
    pub created_at: DateTime<Utc>,
    /// When WhatsApp had it, or when it was given up.
    pub ended_at: Option<DateTime<Utc>>,
    /// `None` while it waits.
    pub sent: Option<bool>,
    /// Why it was given up.
    pub detail: String,
}

/// A row to be written.
#[derive(Debug)]
pub(super) struct OutboxRow<'r> {
    pub id: &'r str,
    pub key: Option<&'r str>,
    pub digest: [u8; 32],
    /// Microseconds since 1970.
    pub created_at: i64,
    pub value: Vec<u8>,
    pub file: Option<&'r str>,
}

/// A row that waits.
#[derive(Debug)]
pub(super) struct QueuedRow {
    pub id: String,
    pub created_at: i64,
    pub value: Vec<u8>,
    pub file: Option<String>,
}

/// What the database says to a new row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Taken {
    New,
    /// The key is there, with this id and digest.
    Known {
        id: String,
        digest: Vec<u8>,
    },
    Full,
    NoFile,
}

impl Store {
    /// Puts a message into the outbox of a session, durably, and wakes whoever sends it.
    pub async fn put_outgoing(&self, session: &str, new: NewOutgoing<'_>) -> Result<Accepted, StoreError> {
        let digest: [u8; 32] = Sha256::digest(new.content).into();
        let name = Name::of(new.id.as_bytes());
        let place = Place { session, kind: OUTBOX, name: &name };
        let value = self.sealer.seal(&place, new.content.as_bytes()).map_err(|error| unreadable(&error))?;
        let created_at = new.at.timestamp_micros();
        let row = OutboxRow { id: new.id, key: new.key, digest, created_at, value, file: new.file };
        Ok(match self.engine.put_outgoing(session, &row).await? {
            Taken::New => {
                // Where nobody listens to the database.
                if !self.is_shared() {
                    self.bulletin.tell(Notice::Outbox { session: session.to_owned() });
                }
                Accepted::New
            }
            Taken::Known { id, digest: before } if before == digest => Accepted::Known { id },
            Taken::Known { .. } => Accepted::Differs,
            Taken::Full => Accepted::Full,
            Taken::NoFile => Accepted::NoFile,
        })
    }

    /// What became of a request with this key and content before; `None` when there was none.
    pub async fn known_outgoing(
        &self,
        session: &str,
        key: &str,
        content: &str,
    ) -> Result<Option<Accepted>, StoreError> {
        let known = self.engine.outgoing_known(session, key).await?;
        let same = |digest: &[u8]| digest == &Sha256::digest(content)[..];
        Ok(known.map(|(id, digest)| if same(&digest) { Accepted::Known { id } } else { Accepted::Differs }))
    }

    /// What waits to be sent, the oldest first.
    pub async fn outgoing(&self, session: &str, limit: u32) -> Result<Vec<Outgoing>, StoreError> {
        let rows = self.engine.outgoing(session, limit).await?;
        let open = |QueuedRow { id, created_at, value, file }| {
            let name = Name::of(id.as_bytes());
            let place = Place { session, kind: OUTBOX, name: &name };
            let content = self.sealer.open(&place, &value).map_err(|error| unreadable(&error))?;
            let content = String::from_utf8(content).map_err(|error| unreadable(&error))?;
            let at = DateTime::from_timestamp_micros(created_at).unwrap_or_default();
            Ok(Outgoing { id, at, content, file })
        };
        rows.into_iter().map(open).collect()
    }

    /// Writes down that WhatsApp has a message, or why it was given up; what it said is forgotten.
    pub async fn end_outgoing(
        &self,
        session: &str,
        id: &str,
        given_up: Option<&str>,
        at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.engine.end_outgoing(session, id, given_up, at.timestamp_micros()).await
    }

    /// What is known of a message; `None` when it never was there, or is gone by now.
    pub async fn outgoing_status(
        &self,
        session: &str,
        id: &str,
    ) -> Result<Option<OutgoingStatus>, StoreError> {
        self.engine.outgoing_status(session, id).await
    }
}

fn unreadable(problem: &impl fmt::Display) -> StoreError {
    StoreError::Unreadable { what: "a message of the outbox".into(), problem: problem.to_string() }
}
