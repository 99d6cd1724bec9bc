//! The inbox: inbound messages, durable before WhatsApp is told that they arrived.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::engine::InboxRow;
use super::kind::Name;
use super::seal::Place;
use super::{SessionStore, StoreError};

/// The kind under which inbox values are sealed; no row of a session has it.
pub(super) const INBOX: i16 = 0;

/// An inbound message as the inbox keeps it.
#[derive(Clone, PartialEq, Eq)]
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

/// Without sender, name and text, which belong in no log.
impl std::fmt::Debug for InboxMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InboxMessage").field("id", &self.id).field("at", &self.at).finish_non_exhaustive()
    }
}

/// The sealed part.
#[derive(Serialize, Deserialize)]
struct Content {
    push_name: String,
    text: String,
}

impl SessionStore {
    /// Writes a batch durably, all or nothing, before WhatsApp is told. Idempotent. Returns how many were new.
    pub async fn put_inbox(&self, batch: &[InboxMessage]) -> Result<usize, StoreError> {
        self.sound()?;
        if batch.is_empty() {
            return Ok(0);
        }
        let rows = self.inbox_rows(batch)?;
        let new = self.noting(self.engine.put_inbox(&self.bond, &rows, None).await)?;
        Ok(usize::try_from(new).unwrap_or(usize::MAX))
    }

    /// The sealed rows of a batch.
    pub(super) fn inbox_rows(&self, batch: &[InboxMessage]) -> Result<Vec<InboxRow>, StoreError> {
        batch
            .iter()
            .map(|message| {
                let content = Content { push_name: message.push_name.clone(), text: message.text.clone() };
                let value = serde_json::to_vec(&content).map_err(|error| unreadable(&error))?;
                let name = Name::triple(&message.chat, &message.sender, &message.id);
                Ok(InboxRow {
                    chat: message.chat.clone().into_bytes(),
                    sender: message.sender.clone().into_bytes(),
                    id: message.id.clone().into_bytes(),
                    at: message.at.timestamp_micros(),
                    value: self
                        .sealer
                        .seal(&self.inbox(&name), &value)
                        .map_err(|error| unreadable(&error))?,
                })
            })
            .collect()
    }

    /// Messages not yet handled, oldest first.
    pub async fn unhandled(&self, limit: u32) -> Result<Vec<InboxMessage>, StoreError> {
        let rows = self.noting(self.engine.unhandled(self.bond.generation, limit).await)?;
        rows.into_iter().map(|row| self.message(row)).collect()
    }

    /// Marks a message handled.
    pub async fn mark_handled(&self, chat: &str, sender: &str, id: &str) -> Result<(), StoreError> {
        self.sound()?;
        let (chat, sender, id) = (chat.as_bytes(), sender.as_bytes(), id.as_bytes());
        self.noting(self.engine.mark_handled(&self.bond, chat, sender, id).await)
    }

    fn inbox<'a>(&'a self, name: &'a Name) -> Place<'a> {
        Place { session: &self.bond.session, kind: INBOX, name }
    }

    fn message(&self, row: InboxRow) -> Result<InboxMessage, StoreError> {
        let text = |bytes| String::from_utf8(bytes).map_err(|error| unreadable(&error));
        let (chat, sender, id) = (text(row.chat)?, text(row.sender)?, text(row.id)?);
        let name = Name::triple(&chat, &sender, &id);
        let value = self.sealer.open(&self.inbox(&name), &row.value).map_err(|error| unreadable(&error))?;
        let Content { push_name, text } =
            serde_json::from_slice(&value).map_err(|error| unreadable(&error))?;
        let at =
            DateTime::from_timestamp_micros(row.at).ok_or_else(|| unreadable(&"its time is out of range"))?;
        Ok(InboxMessage { chat, sender, id, at, push_name, text })
    }
}

/// The name under which a row of the inbox is sealed.
pub(super) fn name_of(row: &InboxRow) -> Name {
    let text = |bytes| String::from_utf8_lossy(bytes);
    Name::triple(&text(&row.chat), &text(&row.sender), &text(&row.id))
}

pub(super) fn unreadable(problem: &impl std::fmt::Display) -> StoreError {
    StoreError::Unreadable { what: "a message of the inbox".into(), problem: problem.to_string() }
}
