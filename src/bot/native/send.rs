//! Sends a message and sees it through until WhatsApp has it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use wacore::types::events::{Event, EventHandler, EventInterest, EventKind};
use wacore_binary::Jid;
use waproto::whatsapp as wa;
use whatsapp_rust::{Client, SendOptions};

use super::barrier::Barrier;
use crate::runtime::status::Board;

/// A send that takes longer, confirmation included, has failed.
const SEND_DEADLINE: Duration = Duration::from_secs(60);
/// Attempts to send one message that fail while the link stays open.
const ATTEMPTS: u32 = 3;
/// The pause after a send that failed.
const PAUSE: Duration = Duration::from_secs(2);

/// Sends for one client; cheap to clone.
#[derive(Clone)]
pub struct Sender {
    /// The bot's name on the board.
    pub name: String,
    pub client: Arc<Client>,
    pub confirmations: Confirmations,
    /// Keeps messages back until their ratchets are stored.
    pub barrier: Barrier,
    pub board: Board,
    /// Whether the link is open.
    pub open: watch::Receiver<bool>,
}

impl Sender {
    /// Sends a message and waits until WhatsApp has it, however often the link falls meanwhile. The error is the
    /// kind of the last failure, when it was given up.
    pub async fn deliver(&self, chat: &Jid, id: &str, content: &wa::Message) -> Result<(), String> {
        let mut attempt = 1;
        loop {
            let mut open = self.open.clone();
            if open.wait_for(|open| *open).await.is_err() {
                return std::future::pending().await;
            }
            let sending = tokio::time::timeout(SEND_DEADLINE, self.send_once(chat, id, content));
            let outcome = tokio::select! {
                biased;
                outcome = sending => outcome.unwrap_or(Err("Timeout".to_owned())),
                // Nothing will be confirmed any more; the link comes back.
                _ = open.wait_for(|open| !*open) => continue,
            };
            match outcome {
                Ok(()) => {
                    self.board.bot(&self.name, |bot| bot.messages_out += 1);
                    return Ok(());
                }
                Err(kind) if attempt == ATTEMPTS => {
                    tracing::error!(bot = %self.name, attempts = ATTEMPTS, kind, "a message was given up");
                    return Err(kind);
                }
                Err(kind) => tracing::warn!(bot = %self.name, attempt, kind, "a message was not sent"),
            }
            attempt += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// One attempt; the kind of the error when it failed, since the error itself names the chat.
    async fn send_once(&self, chat: &Jid, id: &str, content: &wa::Message) -> Result<(), String> {
        let confirmed = self.confirmations.expect(id);
        let options = SendOptions::default().with_message_id(id.to_owned());
        let sending = self.client.send_message_with_options(chat.clone(), content.clone(), options);
        {
            let _raised = self.barrier.raise(chat.clone());
            sending.await.map_err(|error| variant(&error))?;
        }
        match confirmed.await {
            Ok(None) => Ok(()),
            Ok(Some(code)) => Err(format!("Refused({code})")),
            Err(_) => Err("Unconfirmed".to_owned()),
        }
    }
}

/// What WhatsApp says about messages that were sent; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Confirmations(Arc<Mutex<HashMap<String, oneshot::Sender<Option<String>>>>>);

impl Confirmations {
    /// Listens to a client for as long as it lives.
    pub fn of(client: &Client) -> Self {
        let confirmations = Self::default();
        let interest = EventInterest::of(&[EventKind::ServerAck]);
        client.subscribe(interest, Arc::new(confirmations.clone())).detach();
        confirmations
    }

    /// Resolves once WhatsApp has taken the message, or refused it with a code.
    fn expect(&self, id: &str) -> oneshot::Receiver<Option<String>> {
        let (sender, receiver) = oneshot::channel();
        self.waiting().insert(id.to_owned(), sender);
        receiver
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<Option<String>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventHandler for Confirmations {
    fn handle_event(&self, event: Arc<Event>) {
        if let Event::ServerAck(ack) = &*event
            && ack.class.as_deref() == Some("message")
            && let Some(waiting) = self.waiting().remove(&ack.id)
        {
            // Who gave up waiting does not mind.
            let _ = waiting.send(ack.error.clone());
        }
    }
}

/// The name of an error's variant, without what is inside.
pub fn variant(error: &impl std::fmt::Debug) -> String {
    format!("{error:?}").chars().take_while(char::is_ascii_alphanumeric).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
