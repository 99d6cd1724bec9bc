//! Sends what programs put into the outbox, in order, each until WhatsApp has it.
//!
//! A row is ended after the confirmation. Killed between the two, the bot sends that one message again under the same
//! id, which WhatsApp's clients show once.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wacore_binary::Jid;
use waproto::whatsapp as wa;

use super::gate::Valve;
use super::send::Sender;
use super::upload::{File, NotUploaded, upload};
use crate::bot::medium::{self, Shown};
use crate::bot::outgoing::{Content, Made, Medium, Source, What};
use crate::runtime::clock;
use crate::store::{Outgoing, Store, StoreError};

/// Messages read at once.
const BATCH: u32 = 50;
/// How often it is looked for messages when no notice tells of one.
const LOOK: Duration = Duration::from_secs(5);
/// How often files are removed that nobody used.
const PRUNE: Duration = Duration::from_secs(60 * 60);

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
        let mut pruned = Instant::now();
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
            if pruned.elapsed() >= PRUNE {
                pruned = Instant::now();
                if let Err(error) = self.store.prune_files(clock::now()).await {
                    tracing::debug!(bot = %self.sender.name, %error, "old files were not removed");
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
            let given_up = self.send(message).await?.err();
            let at = clock::now();
            let end = || self.store.end_outgoing(&self.session, &message.id, given_up.as_deref(), at);
            self.valve.call(end).await?;
            self.tidy(message).await;
        }
        Ok(batch.len())
    }

    /// The inner error is why it was given up.
    async fn send(&self, message: &Outgoing) -> Result<Result<(), String>, StoreError> {
        let Some(content) = Content::read(&message.content) else {
            return Ok(Err("it is of a newer blacksky".to_owned()));
        };
        let Ok(chat) = content.to.parse::<Jid>() else { return Ok(Err("not an address".to_owned())) };
        let whole = match content.message(message.at.timestamp_millis()) {
            Made::Whole(whole) => *whole,
            Made::Needs(medium) => match self.with_file(message, &content, medium).await {
                Ok(whole) => whole,
                Err(NotUploaded::Store(error)) => return Err(error),
                Err(NotUploaded::GivenUp(why)) => {
                    tracing::error!(bot = %self.sender.name, kind = why, "a message with a file was given up");
                    return Ok(Err(why));
                }
            },
        };
        Ok(self.sender.deliver(&chat, &message.id, &whole).await)
    }

    /// Uploads the file of a message.
    async fn with_file(
        &self,
        message: &Outgoing,
        content: &Content,
        medium: &Medium,
    ) -> Result<wa::Message, NotUploaded> {
        let (store, session, valve) = (&self.store, self.session.as_str(), &self.valve);
        let id = message.file.as_deref().unwrap_or_default();
        let found = valve.call(|| store.file(session, id)).await.map_err(NotUploaded::Store)?;
        let Some(found) = found else {
            return Err(NotUploaded::GivenUp("its file is gone".to_owned()));
        };
        let file = File::Stored { store, valve, session, id, size: found.size };
        let uploaded = upload(&self.sender, medium.kind, file).await?;
        let shown = Shown {
            kind: medium.kind,
            mimetype: &found.mimetype,
            caption: medium.caption.as_deref(),
            file_name: medium.file_name.as_deref(),
            voice: medium.voice,
            context: medium.quotes.as_ref().map(|quoted| content.quote(quoted)),
        };
        Ok(medium::message(shown, uploaded))
    }

    /// A file that was fetched for one message goes with it. One that stays is removed a day later.
    async fn tidy(&self, message: &Outgoing) {
        let Some(id) = &message.file else { return };
        let fetched = Content::read(&message.content).is_some_and(|content| {
            matches!(content.what, What::Media(Medium { source: Source::Url(_), .. }))
        });
        if fetched && let Err(error) = self.store.drop_file(&self.session, id).await {
            tracing::debug!(bot = %self.sender.name, %error, "a file that was sent was not removed");
        }
    }
}
