//! What is still owed to a bot's webhook: written with the inbox, gone when the receiver has it.
//!
//! Rows belong to the session and not to one linking of it, so that what came before a logout is still
//! delivered after it. Within a chat they are owed in the order in which they were written.

use chrono::{DateTime, Utc};

use super::engine::{DeliveryRow, InboxRow};
use super::inbox::unreadable;
use super::kind::Name;
use super::seal::Place;
use super::{InboxMessage, SessionStore, StoreError};

/// The kind under which what is posted is sealed; no row of a session has it.
pub(super) const DELIVERY: i16 = -2;

/// Chat, sender and id of an owed message, as they are stored.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DeliveryKey {
    pub(super) chat: Vec<u8>,
    pub(super) sender: Vec<u8>,
    pub(super) id: Vec<u8>,
}

/// Without chat and sender, which belong in no log.
impl std::fmt::Debug for DeliveryKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeliveryKey").field("id", &String::from_utf8_lossy(&self.id)).finish_non_exhaustive()
    }
}

/// A message that is owed to the webhook.
#[derive(Clone)]
pub struct Delivery {
    pub key: DeliveryKey,
    /// What is posted; `None` when it cannot be unsealed.
    pub body: Option<Vec<u8>>,
    /// When it was written.
    pub stored_at: DateTime<Utc>,
    /// Times it was posted and not taken.
    pub attempts: u64,
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery")
            .field("key", &self.key)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

/// A chat with something owed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct OwedChat {
    pub(super) chat: Vec<u8>,
    /// When its first message is due, microseconds since 1970.
    due: i64,
}

impl OwedChat {
    /// Its address, which belongs in no log.
    pub fn chat(&self) -> &[u8] {
        &self.chat
    }

    /// When its first message is due.
    pub fn due(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.due).unwrap_or_default()
    }
}

impl std::fmt::Debug for OwedChat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwedChat").field("due", &self.due()).finish_non_exhaustive()
    }
}

/// How much is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Messages that wait to be posted.
    pub waiting: u64,
    /// When the oldest of them was written.
    pub oldest: Option<DateTime<Utc>>,
    /// Messages that were given up.
    pub dead: u64,
}

/// What [`SessionStore::thin_deliveries`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Thinned {
    /// Waiting messages that became dead letters, since too many wait.
    pub died: u64,
    /// Dead letters that were removed.
    pub removed: u64,
}

/// What is kept at most.
#[derive(Debug, Clone, Copy)]
pub struct DeliveryLimits {
    pub waiting: u32,
    pub dead: u32,
    /// Dead letters that died before this go.
    pub dead_since: DateTime<Utc>,
}

impl SessionStore {
    /// [`put_inbox`](Self::put_inbox), and owes the webhook a body for each message that is new; both in one
    /// transaction.
    pub async fn put_inbox_owing(
        &self,
        batch: &[InboxMessage],
        bodies: &[Vec<u8>],
        now: DateTime<Utc>,
    ) -> Result<usize, StoreError> {
        self.sound()?;
        if batch.is_empty() {
            return Ok(0);
        }
        let rows = self.inbox_rows(batch)?;
        let owed = rows.iter().zip(bodies).map(|(row, body)| {
            let name = super::inbox::name_of(row);
            self.sealer.seal(&self.owed(&name), body).map_err(|error| unreadable(&error))
        });
        let owed: Vec<Vec<u8>> = owed.collect::<Result<_, _>>()?;
        let owed =
            Some((owed.as_slice(), now.timestamp_micros())).filter(|(owed, _)| owed.len() == rows.len());
        let new = self.noting(self.engine.put_inbox(&self.bond, &rows, owed).await)?;
        Ok(usize::try_from(new).unwrap_or(usize::MAX))
    }

    /// Chats with something owed, those due first.
    pub async fn owed_chats(&self, limit: u32) -> Result<Vec<OwedChat>, StoreError> {
        let chats = self.noting(self.engine.owed_chats(&self.bond.session, limit).await)?;
        Ok(chats.into_iter().map(|(chat, due)| OwedChat { chat, due }).collect())
    }

    /// What is owed of a chat, in order.
    pub async fn owed_of(&self, chat: &OwedChat, limit: u32) -> Result<Vec<Delivery>, StoreError> {
        let rows = self.noting(self.engine.owed_of(&self.bond.session, &chat.chat, limit).await)?;
        Ok(rows.into_iter().map(|row| self.delivery(row)).collect())
    }

    /// The receiver has it.
    pub async fn delivered(&self, key: &DeliveryKey) -> Result<(), StoreError> {
        self.sound()?;
        self.noting(self.engine.delivered(&self.bond, key).await)
    }

    /// The receiver did not take it: due again at `next`, or with `None` a dead letter since `now`.
    pub async fn not_delivered(
        &self,
        key: &DeliveryKey,
        now: DateTime<Utc>,
        next: Option<DateTime<Utc>>,
    ) -> Result<(), StoreError> {
        self.sound()?;
        let next = next.map(|at| at.timestamp_micros());
        self.noting(self.engine.not_delivered(&self.bond, key, now.timestamp_micros(), next).await)
    }

    /// Owes every dead letter again, and says how many there were. They count as written `now`.
    pub async fn revive_deliveries(&self, now: DateTime<Utc>) -> Result<u64, StoreError> {
        self.sound()?;
        self.noting(self.engine.revive_deliveries(&self.bond, now.timestamp_micros()).await)
    }

    /// Enforces the limits: the oldest waiting ones die, the oldest dead ones go.
    pub async fn thin_deliveries(
        &self,
        limits: &DeliveryLimits,
        now: DateTime<Utc>,
    ) -> Result<Thinned, StoreError> {
        self.sound()?;
        self.noting(self.engine.thin_deliveries(&self.bond, limits, now.timestamp_micros()).await)
    }

    /// How much is owed.
    pub async fn backlog(&self) -> Result<Backlog, StoreError> {
        self.noting(self.engine.backlog(&self.bond.session).await)
    }

    fn owed<'a>(&'a self, name: &'a Name) -> Place<'a> {
        Place { session: &self.bond.session, kind: DELIVERY, name }
    }

    fn delivery(&self, row: DeliveryRow) -> Delivery {
        let DeliveryRow { row: InboxRow { chat, sender, id, at, value }, attempts } = row;
        let key = DeliveryKey { chat, sender, id };
        let text = |bytes| String::from_utf8_lossy(bytes);
        let name = Name::triple(&text(&key.chat), &text(&key.sender), &text(&key.id));
        Delivery {
            body: self.sealer.open(&self.owed(&name), &value).ok(),
            key,
            stored_at: DateTime::from_timestamp_micros(at).unwrap_or_default(),
            attempts: attempts.unsigned_abs(),
        }
    }
}
