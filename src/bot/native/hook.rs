//! Writes inbound messages to the inbox before WhatsApp is told that they arrived.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Notify;
use wacore::proto_helpers::MessageExt;
use wacore::types::events::InboundMessage;
use wacore_binary::Jid;
use whatsapp_rust::{Client, InboundDurabilityHook};

use super::ears::Ears;
use super::gate::Valve;
use super::webhook::{self, Bell};
use crate::bot::events::Events;
use crate::media::Reference;
use crate::runtime::clock;
use crate::runtime::status::Board;
use crate::store::{InboxMessage, SessionStore};

/// The durability hook of one client.
pub struct Hook {
    /// Where the messages go.
    pub session: SessionStore,
    /// Reports trouble; shut when the client has ended.
    pub valve: Valve,
    /// Wakes whoever answers.
    pub arrived: Arc<Notify>,
    /// Counts.
    pub board: Board,
    /// The bot's name on the board.
    pub name: String,
    /// Told that they could be read.
    pub ears: Ears,
    /// Told what is owed to the webhook; `None` when there is none.
    pub webhook: Option<Bell>,
    /// Told what came.
    pub events: Events,
}

#[async_trait]
impl InboundDurabilityHook for Hook {
    async fn on_messages(&self, _client: Arc<Client>, batch: &[InboundMessage]) -> anyhow::Result<()> {
        for message in batch {
            self.ears.heard(&message.info);
        }
        let mut bodies = Vec::new();
        let rows = batch.iter().filter_map(|inbound| {
            let row = row(inbound)?;
            if self.webhook.is_some() || self.events.wanted() {
                let reference = Reference::of(inbound.message.get_base_message());
                let sealed = reference.and_then(|reference| self.session.seal_reference(&reference.text()));
                bodies.push(webhook::body(&self.name, &row, inbound, sealed.as_deref()));
            }
            Some(row)
        });
        let rows: Vec<InboxMessage> = rows.collect();
        if rows.is_empty() {
            return Ok(());
        }
        let new = match &self.webhook {
            None => self.valve.call(|| self.session.put_inbox(&rows)).await?,
            Some(bell) => {
                let now = clock::now();
                let new = self.valve.call(|| self.session.put_inbox_owing(&rows, &bodies, now)).await?;
                bell.arrived();
                new
            }
        };
        // One that WhatsApp delivers again is told again: whoever listens knows it by its id.
        bodies.into_iter().for_each(|body| self.events.tell(body));
        self.board.bot(&self.name, |bot| bot.messages_in += new as u64);
        self.arrived.notify_one();
        Ok(())
    }
}

/// The inbox row of a message; `None` for what this account sent itself, from the phone or another device.
pub(super) fn row(inbound: &InboundMessage) -> Option<InboxMessage> {
    let info = &inbound.info;
    let source = &info.source;
    if source.is_from_me {
        return None;
    }
    Some(InboxMessage {
        chat: source.chat.to_non_ad_string(),
        sender: sender(&source.sender, source.sender_alt.as_ref()).to_non_ad_string(),
        id: info.id.clone(),
        at: info.timestamp,
        push_name: info.push_name.clone(),
        text: inbound.message.text_content().unwrap_or_default().to_owned(),
    })
}

/// The sender by phone number when the stanza gives it, so that allow-lists can name it. Only the stanza
/// counts and no cache, so that a redelivered message keeps its key.
fn sender<'a>(sender: &'a Jid, alternate: Option<&'a Jid>) -> &'a Jid {
    match alternate {
        Some(alternate) if alternate.is_pn() && !sender.is_pn() => alternate,
        _ => sender,
    }
}

#[cfg(test)]
mod tests {
    use wacore::proto_helpers::MessageBuilderExt;
    use wacore::types::message::{MessageInfo, MessageSource};
    use waproto::whatsapp as wa;

    use super::*;

    fn jid(text: &str) -> Jid {
        text.parse().expect(text)
    }

    fn inbound(source: MessageSource, message: wa::Message) -> InboundMessage {
        let info = MessageInfo { source, id: "A1".into(), push_name: "Ada".into(), ..Default::default() };
        InboundMessage::builder().message(Arc::new(message)).info(Arc::new(info)).build()
    }

    #[test]
    fn a_text_becomes_a_row_without_device_numbers() {
        let source = MessageSource {
            chat: jid("4915550001@s.whatsapp.net"),
            sender: jid("4915550001:7@s.whatsapp.net"),
            ..Default::default()
        };
        let row = row(&inbound(source, wa::Message::text("hello"))).expect("a row");
        assert_eq!(
            (row.chat.as_str(), row.sender.as_str(), row.id.as_str(), row.text.as_str()),
            ("4915550001@s.whatsapp.net", "4915550001@s.whatsapp.net", "A1", "hello")
        );
    }

    #[test]
    fn a_hidden_sender_is_named_by_the_number_in_the_stanza() {
        let mut source = MessageSource { chat: jid("99@lid"), sender: jid("99:3@lid"), ..Default::default() };
        assert_eq!(row(&inbound(source.clone(), wa::Message::default())).expect("a row").sender, "99@lid");
        source.sender_alt = Some(jid("4915550001@s.whatsapp.net"));
        let row = row(&inbound(source, wa::Message::default())).expect("a row");
        assert_eq!((row.chat.as_str(), row.sender.as_str()), ("99@lid", "4915550001@s.whatsapp.net"));
        assert_eq!(row.text, "");
    }

    #[test]
    fn what_the_account_sent_itself_is_no_inbound_message() {
        let source = MessageSource { is_from_me: true, ..Default::default() };
        assert!(row(&inbound(source, wa::Message::text("!ping"))).is_none());
    }
}
