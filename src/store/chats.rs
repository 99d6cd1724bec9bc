//! The chats that wrote, from the inbox.

use chrono::{DateTime, Utc};

use super::{Store, StoreError};

/// A chat of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chat {
    pub address: String,
    /// When its last message was sent, by the sender's clock.
    pub last_at: DateTime<Utc>,
    /// Its messages in the inbox, which keeps handled ones for seven days.
    pub messages: u64,
}

/// A chat as the database gives it.
#[derive(Debug)]
pub(super) struct ChatRow {
    pub chat: Vec<u8>,
    /// Microseconds since 1970.
    pub last_at: i64,
    pub messages: i64,
}

impl Store {
    /// The chats that wrote since the present linking, the latest first.
    pub async fn chats(&self, session: &str, limit: u32) -> Result<Vec<Chat>, StoreError> {
        let rows = self.engine.chats(session, limit).await?;
        let chat = |row: ChatRow| Chat {
            address: String::from_utf8_lossy(&row.chat).into_owned(),
            last_at: DateTime::from_timestamp_micros(row.last_at).unwrap_or_default(),
            messages: row.messages.unsigned_abs(),
        };
        Ok(rows.into_iter().map(chat).collect())
    }
}
