//! Answers what is in the inbox: reads the unhandled messages, sends the replies, marks them handled.
//!
//! A message is marked after its reply was sent. Killed between the two, the bot sends that one reply
//! again, under the same message id, which WhatsApp's clients show once.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use wacore::proto_helpers::MessageBuilderExt;
use wacore_binary::Jid;
use waproto::whatsapp as wa;
use whatsapp_rust::{Client, SendOptions};

use super::gate::Valve;
use crate::bot::commands;
use crate::config::Commands;
use crate::runtime::status::Board;
use crate::store::{InboxMessage, SessionStore, StoreError};

/// Messages read at once.
const BATCH: u32 = 50;
/// A send that takes longer has failed.
const SEND_DEADLINE: Duration = Duration::from_secs(60);
/// Attempts to send one reply on open links.
const ATTEMPTS: u32 = 3;
/// The pause after a send that failed.
const PAUSE: Duration = Duration::from_secs(2);

/// Whoever answers for one client.
pub struct Inbox {
    pub name: String,
    pub commands: Commands,
    pub session: SessionStore,
    pub valve: Valve,
    pub client: Arc<Client>,
    pub board: Board,
    /// Whether the link is open.
    pub open: watch::Receiver<bool>,
    /// Something was written to the inbox.
    pub arrived: Arc<Notify>,
    /// When the bot began, for `{uptime}`.
    pub began: Instant,
}

impl Inbox {
    /// Works until the client ends or the store fails; the store's trouble is reported by the valve.
    pub async fn work(mut self) {
        loop {
            match self.drain().await {
                Ok(0) => self.arrived.notified().await,
                Ok(_) => {}
                Err(StoreError::Unreadable { what, problem }) => {
                    tracing::error!(bot = %self.name, what, problem, "the inbox cannot be read");
                    self.arrived.notified().await;
                }
                Err(error) => {
                    tracing::debug!(bot = %self.name, %error, "the inbox waits for the database");
                    return;
                }
            }
        }
    }

    /// Handles one batch; gives back how many messages it had.
    async fn drain(&mut self) -> Result<usize, StoreError> {
        let batch = self.valve.call(|| self.session.unhandled(BATCH)).await?;
        for message in &batch {
            if let Some(text) = commands::reply(&self.commands, message, self.began.elapsed()) {
                self.send(message, &text).await;
            }
            self.valve
                .call(|| self.session.mark_handled(&message.chat, &message.sender, &message.id))
                .await?;
        }
        Ok(batch.len())
    }

    async fn send(&mut self, message: &InboxMessage, text: &str) {
        let Ok(chat) = message.chat.parse::<Jid>() else {
            tracing::warn!(bot = %self.name, "a message has no address to answer to");
            return;
        };
        for attempt in 1..=ATTEMPTS {
            if self.open.wait_for(|open| *open).await.is_err() {
                return std::future::pending().await;
            }
            let options = SendOptions::default().with_message_id(reply_id(message));
            let sending =
                self.client.send_message_with_options(chat.clone(), wa::Message::text(text), options);
            match tokio::time::timeout(SEND_DEADLINE, sending).await {
                Ok(Ok(_)) => {
                    self.board.bot(&self.name, |bot| bot.messages_out += 1);
                    return;
                }
                // The error names the chat, so its kind must do.
                Ok(Err(error)) => {
                    let kind = variant(&error);
                    tracing::warn!(bot = %self.name, attempt, kind, "a reply was not sent");
                }
                Err(_) => tracing::warn!(bot = %self.name, attempt, kind = "Timeout", "a reply was not sent"),
            }
            tokio::time::sleep(PAUSE).await;
        }
        tracing::error!(bot = %self.name, attempts = ATTEMPTS, "a reply was given up");
    }
}

/// The id of the reply to a message: always the same for the same message, in WhatsApp Web's form.
fn reply_id(message: &InboxMessage) -> String {
    let mut hash = Sha256::new();
    for part in [&message.chat, &message.sender, &message.id] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut id = String::from("3EB0");
    for byte in &hash.finalize()[..9] {
        id.push_str(&format!("{byte:02X}"));
    }
    id
}

/// The name of an error's variant, without what is inside.
fn variant(error: &impl std::fmt::Debug) -> String {
    format!("{error:?}").chars().take_while(char::is_ascii_alphanumeric).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock;

    fn message(chat: &str, sender: &str, id: &str) -> InboxMessage {
        InboxMessage {
            chat: chat.into(),
            sender: sender.into(),
            id: id.into(),
            at: clock::now(),
            push_name: String::new(),
            text: String::new(),
        }
    }

    #[test]
    fn a_reply_has_one_id_for_ever() {
        let id = reply_id(&message("a", "b", "c"));
        assert_eq!(id, reply_id(&message("a", "b", "c")));
        assert_ne!(id, reply_id(&message("ab", "", "c")));
        assert_ne!(id, reply_id(&message("a", "b", "d")));
        assert!(id.len() == 22 && id.starts_with("3EB0"), "{id}");
    }

    #[test]
    fn an_error_is_named_without_its_content() {
        #[derive(Debug)]
        enum Error {
            #[allow(dead_code, reason = "only its Debug is read")]
            NoSession(String),
        }
        assert_eq!(variant(&Error::NoSession("4915550001".into())), "NoSession");
    }
}
