//! Answers what is in the inbox: reads the unhandled messages, sends the replies, marks them handled.
//!
//! A message is marked after WhatsApp has confirmed its reply: a frame that was written to a socket may
//! never arrive. Killed between the two, the bot sends that one reply again, under the same message id,
//! which WhatsApp's clients show once.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wacore::proto_helpers::{MessageBuilderExt, build_reaction_message};
use wacore_binary::Jid;
use waproto::whatsapp as wa;

use super::gate::Valve;
use super::program;
use super::send::Sender;
use super::upload::{File, NotUploaded, upload};
use crate::bot::commands::{self, Answer, Uses};
use crate::bot::medium::{self, Shown};
use crate::config::{Commands, MediaReply};
use crate::runtime::clock;
use crate::store::{InboxMessage, SessionStore, StoreError};

/// Messages read at once.
const BATCH: u32 = 50;
/// Chats that are answered at the same time, so that a slow program holds up its own chat.
const CHATS: usize = 8;

/// Whoever answers for one client.
pub struct Inbox {
    pub name: String,
    pub commands: Commands,
    pub session: SessionStore,
    pub valve: Valve,
    pub sender: Sender,
    /// Something was written to the inbox.
    pub arrived: Arc<Notify>,
    /// When the bot began, for `{uptime}`.
    pub began: Instant,
    /// Where the programs of commands run.
    pub folder: PathBuf,
    /// How often commands were used.
    pub uses: Mutex<Uses>,
}

impl Inbox {
    /// Works until it may rest or the store fails; the store's trouble is reported by the valve.
    pub async fn work(self, rest: CancellationToken) {
        while !rest.is_cancelled() {
            let idle = match self.drain(&rest).await {
                Ok(handled) => handled == 0,
                Err(StoreError::Unreadable { what, problem }) => {
                    tracing::error!(bot = %self.name, what, problem, "the inbox cannot be read");
                    true
                }
                Err(error) => {
                    tracing::debug!(bot = %self.name, %error, "the inbox waits for the database");
                    return;
                }
            };
            if idle {
                tokio::select! {
                    () = self.arrived.notified() => {}
                    () = rest.cancelled() => {}
                }
            }
        }
    }

    /// Handles one batch, chat by chat; gives back how many messages it had.
    async fn drain(&self, rest: &CancellationToken) -> Result<usize, StoreError> {
        let batch = self.valve.call(|| self.session.unhandled(BATCH)).await?;
        let mut chats: Vec<Vec<&InboxMessage>> = Vec::new();
        for message in &batch {
            match chats.iter_mut().find(|chat| chat.first().is_some_and(|first| first.chat == message.chat)) {
                Some(chat) => chat.push(message),
                None => chats.push(vec![message]),
            }
        }
        stream::iter(chats)
            .map(Ok)
            .try_for_each_concurrent(CHATS, async |chat| {
                for message in chat {
                    if rest.is_cancelled() {
                        break;
                    }
                    self.handle(message).await?;
                }
                Ok::<_, StoreError>(())
            })
            .await?;
        Ok(batch.len())
    }

    async fn handle(&self, message: &InboxMessage) -> Result<(), StoreError> {
        let answer = {
            let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
            let up = self.began.elapsed();
            commands::answer(&self.commands, &self.name, message, up, &mut uses, Instant::now())
        };
        if let Some(Answer { react, say, media, run }) = answer {
            if let Some(emoji) = react {
                self.send(message, reply_id(message, "react"), reaction(message, emoji)).await;
            }
            let said = match run {
                None => say,
                Some((command, timeout, input)) => {
                    let written = program::run(command, &self.folder, timeout, &input).await;
                    written.unwrap_or_else(|problem| {
                        let program = command.first().map_or("", String::as_str);
                        tracing::error!(bot = %self.name, program, "the program of a command gave no reply: {problem}");
                        None
                    })
                }
            };
            if let Some(text) = said {
                self.send(message, reply_id(message, ""), wa::Message::text(text)).await;
            }
            if let Some((media, caption)) = media {
                match self.with_file(media, caption.as_deref()).await {
                    Ok(whole) => self.send(message, reply_id(message, ""), whole).await,
                    Err(NotUploaded::Store(error)) => return Err(error),
                    Err(NotUploaded::GivenUp(problem)) => {
                        let file = media.file.as_str();
                        tracing::error!(bot = %self.name, file, "the file of a command was not sent: {problem}");
                    }
                }
            }
        }
        self.valve.call(|| self.session.mark_handled(&message.chat, &message.sender, &message.id)).await
    }

    /// Uploads the file of a command.
    async fn with_file(&self, media: &MediaReply, caption: Option<&str>) -> Result<wa::Message, NotUploaded> {
        let path = self.folder.join(&media.file);
        let uploaded = upload(&self.sender, media.kind, File::Disk(&path)).await?;
        let own = || path.file_name().and_then(|name| name.to_str());
        let shown = Shown {
            kind: media.kind,
            mimetype: &media.mimetype,
            caption,
            file_name: media.file_name.as_deref().or_else(own),
            voice: media.voice,
            context: None,
        };
        Ok(medium::message(shown, uploaded))
    }

    /// Sends a reply and waits until WhatsApp has it, however often the link falls meanwhile.
    async fn send(&self, message: &InboxMessage, id: String, content: wa::Message) {
        let Ok(chat) = message.chat.parse::<Jid>() else {
            tracing::warn!(bot = %self.name, "a message has no address to answer to");
            return;
        };
        // Why it was given up is in the log.
        let _ = self.sender.deliver(&chat, &id, &content).await;
    }
}

/// The reaction to a message.
fn reaction(message: &InboxMessage, emoji: &str) -> wa::Message {
    let key = wa::MessageKey {
        remote_jid: Some(message.chat.clone()),
        from_me: Some(false),
        id: Some(message.id.clone()),
        participant: message.chat.ends_with("@g.us").then(|| message.sender.clone()),
    };
    build_reaction_message(key, emoji, clock::now().timestamp_millis())
}

/// The id of an answer to a message: always the same for the same message and `part`, in WhatsApp Web's form.
fn reply_id(message: &InboxMessage, part: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(part);
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
        let id = reply_id(&message("a", "b", "c"), "");
        assert_eq!(id, reply_id(&message("a", "b", "c"), ""));
        assert_ne!(id, reply_id(&message("ab", "", "c"), ""));
        assert_ne!(id, reply_id(&message("a", "b", "d"), ""));
        assert_ne!(id, reply_id(&message("a", "b", "c"), "react"));
        assert!(id.len() == 22 && id.starts_with("3EB0"), "{id}");
    }
}
