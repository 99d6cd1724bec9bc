//! What the holder of a lease says about its link, and what others ask of it.
//!
//! A publication is bound to the lease: it is written only while its owner holds the lease, under the
//! lease's epoch, and read only while that epoch still is the session's and the lease lasts. Time is the
//! database's. SQLite belongs to one process, so there nothing is published and nobody is asked.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};

use super::kind::Name;
use super::seal::Place;
use super::{Owner, Store, StoreError};

/// The kind under which a published QR is sealed; no row of a session has it.
const QR: i16 = -1;

/// The kind under which what travels in words is sealed; no row of a session has it.
const WORD: i16 = -4;

/// What a holder says about one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The session.
    pub session: String,
    /// What anybody may know. No secret may be in it.
    pub status: String,
    /// The QR that waits to be scanned. Stored only sealed: without a secret key it is left out.
    pub qr: Option<PublishedQr>,
    /// Readers are told at once; else they see it when they look next.
    pub loud: bool,
}

/// A QR payload and its end.
#[derive(Clone, PartialEq, Eq)]
pub struct PublishedQr {
    /// The text the phone scans.
    pub payload: String,
    /// When WhatsApp stops accepting it.
    pub expires_at: DateTime<Utc>,
}

impl std::fmt::Debug for PublishedQr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublishedQr").field("payload", &"***").field("expires_at", &self.expires_at).finish()
    }
}

/// What the holder of a session said last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The session.
    pub session: String,
    /// The holder.
    pub owner: Owner,
    /// How long ago it said so.
    pub age: Duration,
    /// Its words.
    pub status: String,
    /// Its QR, while that is valid and can be unsealed.
    pub qr: Option<PublishedQr>,
}

/// Something asked of the holder of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Names the request; larger than those before it.
    pub id: i64,
    /// The session.
    pub session: String,
    /// What is asked, in the asker's word.
    pub action: String,
}

/// A publication as the database keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StatusRow {
    pub session: String,
    pub status: String,
    /// Sealed.
    pub qr: Option<Vec<u8>>,
    /// Microseconds since 1970.
    pub qr_until: Option<i64>,
    /// Only for writing.
    pub loud: bool,
}

/// A publication that counts, as the database gives it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundStatus {
    pub row: StatusRow,
    pub owner: String,
    pub age: Duration,
}

impl Store {
    /// Whether other dynos may use this database too, so that publishing has readers.
    pub fn is_shared(&self) -> bool {
        self.engine.is_shared()
    }

    /// Whether a QR would be published: it never leaves this process unsealed.
    pub fn seals(&self) -> bool {
        self.sealer.seals()
    }

    /// Publishes the status of sessions whose lease `owner` holds, in one statement; gives back which
    /// those were. A status of a newer epoch stays.
    pub async fn publish(&self, owner: &Owner, news: &[Publication]) -> Result<Vec<String>, StoreError> {
        if news.is_empty() {
            return Ok(Vec::new());
        }
        let rows = news.iter().map(|one| self.status_row(one)).collect::<Result<Vec<_>, _>>()?;
        self.engine.publish(owner, &rows).await
    }

    fn status_row(&self, news: &Publication) -> Result<StatusRow, StoreError> {
        let sealed = match &news.qr {
            Some(qr) if self.sealer.seals() => {
                let until = qr.expires_at.timestamp_micros();
                let name = qr_name(until);
                let place = Place { session: &news.session, kind: QR, name: &name };
                let sealed = self.sealer.seal(&place, qr.payload.as_bytes());
                let sealed = sealed.map_err(|problem| StoreError::Unreadable {
                    what: "the QR".into(),
                    problem: problem.to_string(),
                })?;
                Some((sealed, until))
            }
            _ => None,
        };
        let (qr, qr_until) = sealed.unzip();
        Ok(StatusRow {
            session: news.session.clone(),
            status: news.status.clone(),
            qr,
            qr_until,
            loud: news.loud,
        })
    }

    /// What the holders of these sessions said last. A session that nobody holds, or whose holder has not
    /// said anything under its present lease, is left out.
    pub async fn published(&self, sessions: &[String]) -> Result<Vec<Published>, StoreError> {
        if sessions.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.engine.published(sessions).await?;
        Ok(found.into_iter().map(|found| self.opened(found)).collect())
    }

    fn opened(&self, found: FoundStatus) -> Published {
        let FoundStatus { row, owner, age } = found;
        let qr = row.qr.zip(row.qr_until).and_then(|(sealed, until)| {
            let name = qr_name(until);
            let place = Place { session: &row.session, kind: QR, name: &name };
            // Another dyno may already have the next key: the page does without the QR until both have.
            let payload = String::from_utf8(self.sealer.open(&place, &sealed).ok()?).ok()?;
            Some(PublishedQr { payload, expires_at: DateTime::from_timestamp_micros(until)? })
        });
        Published { session: row.session, owner: Owner(owner), age, status: row.status, qr }
    }

    /// Seals what may name people, or is a secret, as a word of an action or an outcome.
    pub fn seal_word(&self, session: &str, text: &str) -> Result<String, StoreError> {
        let name = Name::of(b"word");
        let place = Place { session, kind: WORD, name: &name };
        let sealed = self.sealer.seal(&place, text.as_bytes()).map_err(|problem| StoreError::Unreadable {
            what: "a call".into(),
            problem: problem.to_string(),
        })?;
        Ok(BASE64_URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Opens such a word; `None` when it was sealed with a key that this process lacks.
    pub fn open_word(&self, session: &str, word: &str) -> Option<String> {
        let name = Name::of(b"word");
        let place = Place { session, kind: WORD, name: &name };
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(word).ok()?;
        String::from_utf8(self.sealer.open(&place, &sealed).ok()?).ok()
    }

    /// Leaves word for the holder of a session and gives the number of the request; `None` where no other
    /// process could read it.
    pub async fn ask_holder(&self, session: &str, action: &str) -> Result<Option<i64>, StoreError> {
        self.engine.ask_holder(session, action).await
    }

    /// Takes what is asked of sessions whose lease `owner` holds, oldest first, each once. What was asked
    /// more than `expiry` ago is left.
    pub async fn take_asked(&self, owner: &Owner, expiry: Duration) -> Result<Vec<Asked>, StoreError> {
        self.engine.take_asked(owner, expiry).await
    }

    /// Says how a request ended.
    pub async fn answer(&self, id: i64, outcome: &str) -> Result<(), StoreError> {
        self.engine.answer(id, outcome).await
    }

    /// How a request ended; `None` while it has not.
    pub async fn answer_to(&self, id: i64) -> Result<Option<String>, StoreError> {
        self.engine.answer_to(id).await
    }
}

/// The end is part of the name, so that an old code cannot be given a new end.
fn qr_name(until: i64) -> Name {
    Name::of(until.to_be_bytes())
}
