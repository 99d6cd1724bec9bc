//! Files for messages of the outbox, sealed piece by piece.
//!
//! Any dyno takes one in; whoever holds the session's lease reads it when it sends the message. A file stays for a
//! day after it came or was last used, and for as long as a message waits for it. The room for files is bounded: a new
//! one may push out those that no message waits for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};

use super::kind::Name;
use super::seal::{Place, Under};
use super::sealed::SessionStore;
use super::{Store, StoreError};

/// The kind under which its values are sealed; no row of a session has it.
pub(super) const MEDIA: i16 = -4;
/// The kind under which references to files that came are sealed.
const REFERENCE: i16 = -5;
/// Bytes of a piece; only the last one may have fewer.
pub const PIECE: usize = 256 << 10;
/// Files of all sessions.
pub(super) const MOST_FILES: i64 = 1_000;
/// Bytes of all of them.
pub(super) const MOST_BYTES: i64 = 200 << 20;
/// How long a file stays that no message waits for, in microseconds.
const KEPT: i64 = 24 * 60 * 60 * 1_000_000;
/// How long one is not pushed out by a new one: its message may be on its way.
const SPARED: i64 = 10 * 60 * 1_000_000;
/// Most files one statement removes.
pub(super) const PRUNE_BATCH: i64 = 20;

/// A file that is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptFile {
    /// In bytes.
    pub size: u64,
    pub mimetype: String,
}

impl Store {
    /// Begins a file of at most `size` bytes; `false` when there is no room for it.
    pub async fn begin_file(
        &self,
        session: &str,
        id: &str,
        size: u64,
        at: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let (now, size) = (at.timestamp_micros(), i64::try_from(size).unwrap_or(i64::MAX));
        self.prune_files(at).await?;
        while !self.engine.begin_file(session, id, size, now).await? {
            if self.engine.prune_files(now.saturating_sub(SPARED), 1).await? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Adds a piece; they are counted from 0.
    pub async fn put_piece(
        &self,
        session: &str,
        id: &str,
        part: u32,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let name = name(id, part);
        let place = Place { session, kind: MEDIA, name: &name };
        let value = self.sealer.seal(&place, bytes).map_err(|error| unreadable(&error))?;
        self.engine.put_piece(session, id, part, value).await
    }

    /// All pieces are there: from now on messages can be sent with it.
    pub async fn finish_file(&self, session: &str, id: &str, file: &KeptFile) -> Result<(), StoreError> {
        let size = i64::try_from(file.size).unwrap_or(i64::MAX);
        self.engine.finish_file(session, id, size, &file.mimetype).await
    }

    /// A file that is complete.
    pub async fn file(&self, session: &str, id: &str) -> Result<Option<KeptFile>, StoreError> {
        let found = self.engine.file(session, id).await?;
        Ok(found.map(|(size, mimetype)| KeptFile { size: size.unsigned_abs(), mimetype }))
    }

    /// A piece of a file; `None` when there is none of this number.
    pub async fn piece(&self, session: &str, id: &str, part: u32) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(value) = self.engine.piece(session, id, part).await? else { return Ok(None) };
        let name = name(id, part);
        let place = Place { session, kind: MEDIA, name: &name };
        self.sealer.open(&place, &value).map(Some).map_err(|error| unreadable(&error))
    }

    /// Removes a file, unless a message waits for it.
    pub async fn drop_file(&self, session: &str, id: &str) -> Result<(), StoreError> {
        self.engine.drop_file(session, id).await
    }

    /// Removes some files that have been there for long enough.
    pub async fn prune_files(&self, at: DateTime<Utc>) -> Result<(), StoreError> {
        let before = at.timestamp_micros().saturating_sub(KEPT);
        self.engine.prune_files(before, PRUNE_BATCH).await.map(drop)
    }
}

impl SessionStore {
    /// Seals the reference to a file that came, for whoever asks for it later; `None` without a secret key.
    pub fn seal_reference(&self, text: &str) -> Option<String> {
        if !self.sealer.seals() {
            return None;
        }
        let name = reference();
        let place = Place { session: &self.bond.session, kind: REFERENCE, name: &name };
        self.sealer.seal(&place, text.as_bytes()).ok().map(|sealed| URL_SAFE_NO_PAD.encode(sealed))
    }
}

impl Store {
    /// Opens a reference that was sealed for this session; `None` for anything else.
    pub fn open_reference(&self, session: &str, sealed: &str) -> Option<String> {
        let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        // What is not sealed anybody could have written.
        if !matches!(Under::of(&sealed), Under::Key(_)) {
            return None;
        }
        let name = reference();
        let place = Place { session, kind: REFERENCE, name: &name };
        String::from_utf8(self.sealer.open(&place, &sealed).ok()?).ok()
    }
}

fn reference() -> Name {
    Name::of("reference")
}

/// What a piece is bound to.
pub(super) fn name(id: &str, part: u32) -> Name {
    Name::pair(id, part.to_be_bytes())
}

fn unreadable(problem: &impl std::fmt::Display) -> StoreError {
    StoreError::Unreadable { what: "a file for a message".into(), problem: problem.to_string() }
}
