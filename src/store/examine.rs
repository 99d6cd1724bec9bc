//! What `blacksky doctor` asks a database. Nothing in it is changed.

use std::time::Duration;

use chrono::TimeDelta;

use super::seal::{KeyId, Place, Under};
use super::sealed_places::{SEALED_PLACES, SealedPlace, Stored};
use super::{Store, StoreError, migrate, postgres};
use crate::config::{Secret, Tls};

/// A PostgreSQL server as one connection sees it. No host, user or password.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its version, e.g. "15.18".
    pub version: String,
    /// From a question to its answer.
    pub round_trip: Duration,
    /// How the connection is encrypted, e.g. "TLSv1.3"; `None` when it is not.
    pub encrypted: Option<String>,
    /// It is on this machine.
    pub local: bool,
    /// How far its clock is ahead of ours; negative when behind. Known to half of `round_trip`.
    pub clock_ahead: TimeDelta,
    /// Most connections this user may have at once.
    pub connection_limit: u32,
    /// Connections that this user has now, ours included.
    pub connections: u32,
    /// Bytes of the database.
    pub size: u64,
    /// Why nothing can be written.
    pub write_problem: Option<String>,
    /// Why its connections are not our own.
    pub pooler_problem: Option<String>,
}

/// Version of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema {
    /// In the database; 0 before the first migration.
    pub found: i64,
    /// That this program was made for.
    pub known: i64,
}

/// Whether the values of a session can be read with the secret keys that are set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readable {
    /// Values that were opened to see whether they do.
    pub opened: u64,
    /// Stored values of the session that no secret key seals.
    pub plain: u64,
    /// Stored values by the id of a key that is wanted and not set.
    pub lost: Vec<(KeyId, u64)>,
    /// Values that were tried and do not open although their key is set.
    pub damaged: u64,
}

/// Looks at a PostgreSQL server.
///
/// # Errors
/// It cannot be reached, or lets us not in.
pub async fn server(url: &Secret, tls: Tls) -> Result<Server, StoreError> {
    postgres::examine(url, tls).await
}

impl Store {
    /// Version of the tables, without bringing it up.
    pub async fn schema(&self) -> Result<Schema, StoreError> {
        let found = self.engine.schema().await?.unwrap_or(0);
        Ok(Schema { found, known: migrate::known(&migrate::sqlite()) })
    }

    /// Ids of the secret keys that are set; the first seals.
    pub fn keys(&self) -> Vec<KeyId> {
        self.sealer.keys()
    }

    /// Looks under which keys the values of a session are, and opens some of them.
    pub async fn readable(&self, session: &str) -> Result<Readable, StoreError> {
        /// No stored value begins with it.
        const NOTHING: &[u8] = &[u8::MAX];
        let keys = self.sealer.keys();
        let mut readable = Readable { opened: 0, plain: 0, lost: Vec::new(), damaged: 0 };
        for place in SEALED_PLACES {
            for share in self.engine.shares(place).await?.iter().filter(|share| share.session == session) {
                match Under::of(&share.prefix) {
                    Under::Plain => readable.plain += share.count,
                    Under::Key(id) if keys.contains(&id) => {}
                    Under::Key(id) => match readable.lost.iter_mut().find(|(known, _)| *known == id) {
                        Some((_, count)) => *count += share.count,
                        None => readable.lost.push((id, share.count)),
                    },
                    Under::Unknown => readable.damaged += share.count,
                }
            }
            for row in self.engine.stale(place, session, NOTHING, None).await? {
                let known = match Under::of(&row.value) {
                    Under::Plain => true,
                    Under::Key(id) => keys.contains(&id),
                    // Counted above.
                    Under::Unknown => continue,
                };
                match self.opens(session, place, &row) {
                    true => readable.opened += 1,
                    false if known => readable.damaged += 1,
                    false => {}
                }
            }
        }
        Ok(readable)
    }

    fn opens(&self, session: &str, place: &SealedPlace, row: &Stored) -> bool {
        (place.bound)(&row.key).is_some_and(|(kind, name)| {
            self.sealer.open(&Place { session, kind, name: &name }, &row.value).is_ok()
        })
    }
}
