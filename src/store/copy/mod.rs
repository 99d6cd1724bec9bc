//! A consistent copy of one session, and a session from a copy.
//!
//! A copy is read in one snapshot of the database, so it is what a `kill -9` at that instant would have
//! left behind: every row of a session is durable before anything that depends on it is said, so a bot
//! may begin from it. Values are opened, so that a copy can be carried to another key or another kind of
//! database; whoever holds an encoded copy holds the account. Backups seal it (`super::backup`).
//!
//! Not in it: rows that were set aside as damaged, messages that were handled, archived generations.

pub(super) mod codec;

use std::fmt;

use chrono::{DateTime, Utc};
use wacore::store::Device;

pub use codec::DecodeError;

use super::engine::{Bond, InboxRow, RawCopy, version_of, version_text};
use super::kind::{Kind, Name, Row};
use super::seal::{OpenError, Place, Sealer};
use super::vault;
use super::whatsapp::device_of;
use super::{Lease, Store, StoreError, inbox};
use crate::config::WaVersion;

/// What a session held at one instant, opened.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionCopy {
    /// Of what and when.
    pub header: Header,
    /// Sorted by kind and name.
    pub(super) rows: Vec<CopyRow>,
    /// Messages not yet handled, in the order of arrival; `value` is opened.
    pub(super) inbox: Vec<InboxRow>,
}

/// Of what and when a copy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The session it was read from.
    pub session: String,
    /// Its generation then.
    pub generation: i64,
    /// The database's clock, in whole microseconds.
    pub taken_at: DateTime<Utc>,
    /// Last WhatsApp Web version that led to an open link.
    pub wa_version: Option<WaVersion>,
}

/// An opened row with the number of its kind, which a newer blacksky may have made.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct CopyRow {
    pub kind: i16,
    pub row: Row,
}

/// Without name and value, which belong in no log.
impl fmt::Debug for CopyRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyRow").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// SHA-256 over what a session holds. Equal for two copies between which nothing changed, whatever their
/// session id, generation and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// A stored one. Other bytes are the digest of nothing: what they belong to counts as changed.
    pub(super) fn of_stored(bytes: &[u8]) -> Self {
        Self(bytes.try_into().unwrap_or_default())
    }
}

/// Without what is in it, which belongs in no log.
impl fmt::Debug for SessionCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCopy")
            .field("header", &self.header)
            .field("rows", &self.rows.len())
            .field("inbox", &self.inbox.len())
            .finish()
    }
}

impl SessionCopy {
    /// Number of rows and of unhandled messages in it.
    pub fn rows(&self) -> u64 {
        (self.rows.len() + self.inbox.len()) as u64
    }

    /// Nothing was ever stored in the session.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.inbox.is_empty()
    }

    /// Whether there is a linked device in it: one that WhatsApp has given an address.
    pub fn is_linked(&self) -> bool {
        self.account().is_some() || vault::is_linked(&self.rows)
    }

    /// The copy under another session id, for a session that is to live on under another name.
    #[must_use]
    pub fn renamed(mut self, session: &str) -> Self {
        session.clone_into(&mut self.header.session);
        self
    }

    /// The account it is of; never to be shown.
    fn account(&self) -> Option<String> {
        let device = self.rows.iter().find(|row| row.kind == Kind::Device.number())?;
        account_of(&device_of(&device.row.value)?)
    }
}

fn account_of(device: &Device) -> Option<String> {
    device.pn.as_ref().map(|pn| pn.user.to_string())
}

impl Store {
    /// A consistent copy of a session as it is now, whoever holds it; reading takes nothing from the
    /// holder. `None` when there is no such session. Takes one more connection while it lasts.
    ///
    /// # Errors
    /// `Unreadable` when a row cannot be opened whose loss would lose the session.
    pub async fn copy(&self, session: &str) -> Result<Option<SessionCopy>, StoreError> {
        Ok(self.copy_bound(session).await?.map(|(copy, _)| copy))
    }

    /// The copy, and the epoch and generation it was read under.
    pub(super) async fn copy_bound(&self, session: &str) -> Result<Option<(SessionCopy, Bond)>, StoreError> {
        let Some(raw) = self.engine.copy(session).await? else { return Ok(None) };
        let bond = Bond { session: session.to_owned(), epoch: raw.epoch, generation: raw.generation };
        let sealer = self.sealer.clone();
        let session = session.to_owned();
        let copy = blocking(move || open(&sealer, &session, raw)).await??;
        Ok(Some((copy, bond)))
    }

    /// Makes a copy the session of this lease: a new generation is opened and the one at hand archived,
    /// in one transaction. Messages that the session at hand has received stay known when the copy is of
    /// the same account, so that none is lost and none is handled twice. Handles of the session that were
    /// made before can write no more; clones of the lease see the new generation.
    ///
    /// # Errors
    /// `Refused` when the copy is of another session ([`SessionCopy::renamed`]) or empty; `Fenced` when the
    /// lease was lost. Nothing has changed then.
    pub async fn restore(&self, lease: &Lease, copy: &SessionCopy) -> Result<(), StoreError> {
        if copy.header.session != lease.session {
            return Err(StoreError::Refused {
                problem: format!(
                    "this copy is of the session \"{}\", not of \"{}\": nothing was changed",
                    copy.header.session, lease.session
                ),
            });
        }
        if copy.is_empty() {
            return Err(StoreError::Refused {
                problem: "this copy holds nothing: nothing was changed".into(),
            });
        }
        let bond =
            Bond { session: lease.session.clone(), epoch: lease.epoch, generation: lease.generation.get() };
        let carry_inbox = match copy.account() {
            // A session at hand that does not read is what the copy is to replace.
            Some(account) => self.account(lease).await.ok().flatten().is_some_and(|now| now == account),
            None => false,
        };
        let (sealer, copy) = (self.sealer.clone(), copy.clone());
        let raw = blocking(move || seal(&sealer, copy)).await??;
        let generation = self.engine.restore(&bond, raw, carry_inbox).await?;
        lease.generation.set(generation);
        Ok(())
    }

    async fn account(&self, lease: &Lease) -> Result<Option<String>, StoreError> {
        let name = Name::of("");
        let rows = self.engine.get(lease.generation.get(), Kind::Device, std::slice::from_ref(&name)).await?;
        let place = Place { session: &lease.session, kind: Kind::Device.number(), name: &name };
        let device = rows.first().and_then(|row| self.sealer.open(&place, &row.value).ok());
        Ok(device.and_then(|value| account_of(&device_of(&value)?)))
    }
}

/// Runs what keeps a processor busy for long.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| StoreError::Unavailable { problem: "the work on a copy of the session ended".into() })
}

/// Opens the rows one by one in their place, so that memory holds them once.
fn open(sealer: &Sealer, session: &str, raw: RawCopy) -> Result<SessionCopy, StoreError> {
    let mut rows = Vec::with_capacity(raw.rows.len());
    let mut damaged = 0_u32;
    for (number, mut row) in raw.rows {
        let kind = Kind::of(number);
        if !(row.value.is_empty() && kind.is_some_and(Kind::may_be_empty)) {
            match sealer.open(&Place { session, kind: number, name: &row.name }, &row.value) {
                Ok(value) => row.value = value,
                // The bot would set it aside and go on.
                Err(OpenError::Damaged) if kind.is_some_and(Kind::renegotiable) => {
                    damaged += 1;
                    continue;
                }
                Err(problem) => {
                    let what =
                        kind.map_or_else(|| format!("a row of kind {number}"), |kind| kind.to_string());
                    return Err(StoreError::Unreadable { what, problem: problem.to_string() });
                }
            }
        }
        rows.push(CopyRow { kind: number, row });
    }
    if damaged > 0 {
        tracing::warn!(session, damaged, "damaged rows of peers were left out of a copy");
    }
    rows.sort_by(|a, b| (a.kind, &a.row.name).cmp(&(b.kind, &b.row.name)));
    let mut inbox = raw.inbox;
    for message in &mut inbox {
        let name = inbox::name_of(message);
        let place = Place { session, kind: inbox::INBOX, name: &name };
        message.value = sealer.open(&place, &message.value).map_err(|problem| inbox::unreadable(&problem))?;
    }
    let taken_at = DateTime::from_timestamp_micros(raw.taken_at).ok_or_else(|| StoreError::Unreadable {
        what: "the database's clock".into(),
        problem: "its time is out of range".into(),
    })?;
    let wa_version = raw.wa_version.as_deref().and_then(version_of);
    let header = Header { session: session.to_owned(), generation: raw.generation, taken_at, wa_version };
    Ok(SessionCopy { header, rows, inbox })
}

fn seal(sealer: &Sealer, copy: SessionCopy) -> Result<RawCopy, StoreError> {
    let SessionCopy { header, rows, inbox } = copy;
    let session = header.session.as_str();
    let failed = |problem: OpenError| StoreError::Unreadable {
        what: "a row of the copy".into(),
        problem: problem.to_string(),
    };
    let mut sealed = Vec::with_capacity(rows.len());
    for CopyRow { kind, mut row } in rows {
        if !(row.value.is_empty() && Kind::of(kind).is_some_and(Kind::may_be_empty)) {
            row.value = sealer.seal(&Place { session, kind, name: &row.name }, &row.value).map_err(failed)?;
        }
        sealed.push((kind, row));
    }
    let mut messages = inbox;
    for message in &mut messages {
        let name = inbox::name_of(message);
        let place = Place { session, kind: inbox::INBOX, name: &name };
        message.value = sealer.seal(&place, &message.value).map_err(failed)?;
    }
    Ok(RawCopy {
        epoch: 0,
        generation: header.generation,
        taken_at: header.taken_at.timestamp_micros(),
        wa_version: header.wa_version.map(version_text),
        rows: sealed,
        inbox: messages,
    })
}
