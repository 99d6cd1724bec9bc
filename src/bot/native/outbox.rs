//! Sends what programs put into the outbox, in order, each until WhatsApp has it.
//!
//! A row is ended after the confirmation. Killed between the two, the bot sends that one message again under the same
//! id, which WhatsApp's clients show once.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wacore_binary::Jid;

use super::gate::Valve;
use super::send::Sender;
use crate::bot::outgoing::Content;
use crate::runtime::clock;
use crate::store::{Outgoing, Store, StoreError};

/// Messages read at once.
const BATCH: u32 = 50;
/// How often it is looked for messages when no notice tells of one.
const LOOK: Duration = Duration::from_secs(5);

/// Whoever sends for one client.
pub struct Outbox {
    pub sender: Sender,
    pub session: String,
    pub store: Store,
    /// Where the store's trouble is reported; shut when the client has ended.
    pub valve: Valve,
}

impl Outbox {
    /// Works until it may rest or the store fails.
    pub async fn work(self, rest: CancellationToken) {
        // Before the first look, so that none falls in between.
        let mut notices = self.store.notices();
        while !rest.is_cancelled() {
            match self.drain(&rest).await {
                Ok(0) => {}
                Ok(_) => continue,
                Err(StoreError::Unreadable { what, problem }) => {
                    tracing::error!(bot = %self.sender.name, what, problem, "the outbox cannot be read");
                }
                Err(error) => {
                    tracing::debug!(bot = %self.sender.name, %error, "the outbox waits for the database");
                    return;
                }
            }
            tokio::select! {
                () = notices.outbox(&self.session) => {}
                () = tokio::time::sleep(LOOK) => {}
                () = rest.cancelled() => {}
            }
        }
    }

    /// Sends one batch; gives back how many messages it had.
    async fn drain(&self, rest: &CancellationToken) -> Result<usize, StoreError> {
        let mut open = self.sender.open.clone();
        tokio::select! {
            // Nothing is read before it can be sent: another dyno may have sent it by then.
            _ = open.wait_for(|open| *open) => {}
            () = rest.cancelled() => return Ok(0),
        }
        let batch = self.valve.call(|| self.store.outgoing(&self.session, BATCH)).await?;
        for message in &batch {
            if rest.is_cancelled() {
                break;
            }
            let given_up = self.send(message).await.err();
            let at = clock::now();
            let end = || self.store.end_outgoing(&self.session, &message.id, given_up.as_deref(), at);
            self.valve.call(end).await?;
        }
        Ok(batch.len())
    }

    async fn send(&self, message: &Outgoing) -> Result<(), String> {
        let content = Content::read(&message.content).ok_or("it is of a newer blacksky")?;
        let chat: Jid = content.to.parse().map_err(|_| "not an address".to_owned())?;
        self.sender.deliver(&chat, &message.id, &content.message(message.at.timestamp_millis())).await
    }
}
