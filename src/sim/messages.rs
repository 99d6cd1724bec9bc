//! Messages, receipts and acknowledgements.

use std::collections::HashSet;

use wacore_binary::Jid;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::node::Node;
use waproto::buffa::{Message as _, MessageField};
use waproto::whatsapp::Message;
use waproto::whatsapp::message::{
    AppStateSyncKey, AppStateSyncKeyData, AppStateSyncKeyFingerprint, AppStateSyncKeyId,
    AppStateSyncKeyShare, ProtocolMessage, protocol_message,
};

use super::account::Queued;
use super::faults::{Action, When};
use super::media::{self, Medium};
use super::report::{Received, Sent, What};
use super::stanza::{self, attr};
use super::world::{ConnectionId, World, now_millis, now_seconds};

/// Why a simulated phone cannot send.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The number cannot be one.
    #[error("a phone number is 5 to 15 digits in international form, without + and leading zeros")]
    Number,
    /// The account has no linked device.
    #[error("the account {0} has no linked device")]
    NoDevice(String),
    /// The medium cannot be put on the media server.
    #[error("the medium cannot be encrypted: {0}")]
    Media(String),
    /// The device's keys do not work.
    #[error("the message cannot be encrypted for device {device}: {reason}")]
    Encrypt {
        /// Which device.
        device: u16,
        /// What the Signal library says.
        reason: String,
    },
}

impl World {
    // ---- from simulated phones to clients ----------------------------------------

    /// The phone of `from` sends a text to every device of the account `to`.
    pub fn send_text(&mut self, from: &str, to: &str, text: &str) -> Result<String, Error> {
        let content = Message { conversation: Some(text.to_owned()), ..Default::default() };
        self.send_content(from, to, text, &content)
    }

    /// The same with a medium.
    pub fn send_media(&mut self, from: &str, to: &str, medium: Medium) -> Result<String, Error> {
        let caption = medium.caption.clone().unwrap_or_default();
        let content = self.message_with(medium).map_err(Error::Media)?;
        self.send_content(from, to, &caption, &content)
    }

    fn send_content(&mut self, from: &str, to: &str, text: &str, content: &Message) -> Result<String, Error> {
        self.user(from).ok_or(Error::Number)?;
        let devices: Vec<u16> =
            self.users.get(to).map(|user| user.devices.keys().copied().collect()).unwrap_or_default();
        if devices.is_empty() {
            return Err(Error::NoDevice(to.to_owned()));
        }
        let id = message_id();
        for device in devices {
            self.sent_places.insert((id.clone(), to.to_owned(), device), self.sent.len());
            self.sent.push(Sent {
                id: id.clone(),
                from: from.to_owned(),
                to: to.to_owned(),
                device,
                text: text.to_owned(),
                sent_at: now_millis(),
                deliveries: 0,
                acknowledged_at: None,
                refused: None,
                retries: 0,
                taken_back: 0,
                content: content.clone(),
            });
            self.counters.messages_sent += 1;
            self.post(from, to, device, &id, content, Envelope::Chat)?;
        }
        Ok(id)
    }

    /// The phone sends its app-state key to a new device, as a real one does after linking.
    pub(super) fn share_app_state_key(&mut self, number: &str, device: u16) {
        let Some(user) = self.users.get(number) else { return };
        let key = AppStateSyncKey {
            key_id: MessageField::some(AppStateSyncKeyId { key_id: Some(vec![0, 0, 0, 0, 0, 1]) }),
            key_data: MessageField::some(AppStateSyncKeyData {
                key_data: Some(user.sync_key.0.clone()),
                fingerprint: MessageField::some(AppStateSyncKeyFingerprint {
                    raw_id: Some(user.raw_id),
                    current_index: Some(u32::from(user.next_device.saturating_sub(1))),
                    device_indexes: std::iter::once(0)
                        .chain(user.devices.keys().map(|id| u32::from(*id)))
                        .collect(),
                }),
                timestamp: Some(now_millis()),
            }),
        };
        let message = Message {
            protocol_message: MessageField::some(ProtocolMessage {
                r#type: Some(protocol_message::Type::AppStateSyncKeyShare),
                app_state_sync_key_share: MessageField::some(AppStateSyncKeyShare { keys: vec![key] }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let id = message_id();
        if let Err(error) = self.post(number, number, device, &id, &message, Envelope::Peer) {
            tracing::error!(%error, "simulator: the app-state key was not shared");
        }
    }

    /// Encrypts for one device, queues, and delivers if it is connected.
    pub(super) fn post(
        &mut self,
        from: &str,
        to: &str,
        device: u16,
        id: &str,
        content: &Message,
        envelope: Envelope,
    ) -> Result<(), Error> {
        let address = stanza::pn(to, device).to_string();
        let fail = |reason: String| Error::Encrypt { device, reason };
        // Its own session is the sender's; a fresh one takes a pre-key of the device.
        let known = self.users.get(from).is_some_and(|user| user.phone.knows(&address));
        let bundle = if known { None } else { self.device(to, device).map(|d| d.bundle()) };
        // A device that was just linked needs its app-state key, so that one is spared.
        let garbled = !matches!(envelope, Envelope::Peer)
            && self.take_fault(When::Message, Some(to)) == Some(Action::Garble);
        let sender = self.users.get_mut(from).ok_or(Error::Number)?;
        if let Some(bundle) = &bundle {
            sender.phone.begin(&address, bundle).map_err(|e| fail(e.to_string()))?;
        }
        let sealed =
            sender.phone.encrypt(&address, &content.encode_to_vec()).map_err(|e| fail(e.to_string()))?;
        let mut bytes = sealed.bytes;
        if garbled {
            garble(&mut bytes);
        }
        let mut enc = NodeBuilder::new("enc").attr("v", "2").attr("type", sealed.kind);
        if let Envelope::Retry(count) = envelope {
            enc = enc.attr("count", count);
        }
        let mut node = NodeBuilder::new("message")
            .attr("from", stanza::pn(from, 0))
            .attr("type", media::stanza_type(content))
            .attr("id", id)
            .attr("t", now_seconds());
        node = match envelope {
            Envelope::Peer => node.attr("category", "peer").attr("push_priority", "high"),
            _ => node.attr("sender_lid", stanza::lid(&sender.lid, 0)).attr("notify", sender.name.as_str()),
        };
        let node = node.children([enc.bytes(bytes).build()]).build();
        self.enqueue(to, device, id, node);
        Ok(())
    }

    /// Keeps a stanza until the device confirms it, and delivers it if it is connected.
    fn enqueue(&mut self, number: &str, device: u16, id: &str, node: Node) {
        let queued = match Queued::new(id, &node) {
            Ok(queued) => queued,
            Err(error) => {
                tracing::error!(%error, "simulator: a message cannot be encoded");
                return;
            }
        };
        let Some(linked) = self.device(number, device) else { return };
        linked.confirm(id);
        linked.queue.push(queued);
        if let Some(connection) = self.connection_of(number, device) {
            self.send(connection, node);
            self.note_delivery(number, device, id);
        }
    }

    /// Counts a delivery and says which one it was.
    pub(super) fn note_delivery(&mut self, number: &str, device: u16, id: &str) -> u32 {
        match self.sent_entry(number, device, id) {
            Some(entry) => {
                entry.deliveries += 1;
                entry.deliveries
            }
            None => 1,
        }
    }

    pub(super) fn sent_entry(&mut self, number: &str, device: u16, id: &str) -> Option<&mut Sent> {
        let place = *self.sent_places.get(&(id.to_owned(), number.to_owned(), device))?;
        self.sent.get_mut(place)
    }

    // ---- from clients ------------------------------------------------------------

    pub(super) fn message(&mut self, connection: ConnectionId, number: &str, device: u16, node: &Node) {
        let (Some(id), Some(to)) = (attr(node, "id"), stanza::jid(node, "to")) else { return };
        self.counters.messages_received += 1;
        let mut envelopes: Vec<(Jid, &Node)> = Vec::new();
        if let Some(enc) = node.get_optional_child("enc") {
            envelopes.push((to.clone(), enc));
        }
        for entry in
            node.get_optional_child("participants").map(|p| p.get_children_by_tag("to")).into_iter().flatten()
        {
            if let (Some(jid), Some(enc)) = (stanza::jid(entry, "jid"), entry.get_optional_child("enc")) {
                envelopes.push((jid, enc));
            }
        }
        for (recipient, enc) in envelopes {
            self.envelope(number, device, &id, &to, &recipient, enc, node);
        }
        let ack = NodeBuilder::new("ack")
            .attr("class", "message")
            .attr("id", id)
            .attr("from", to)
            .attr("t", now_seconds())
            .build();
        self.send(connection, ack);
    }

    /// One encrypted copy of a message.
    #[allow(clippy::too_many_arguments, reason = "one copy of a message has that many coordinates")]
    fn envelope(
        &mut self,
        number: &str,
        device: u16,
        id: &str,
        to: &Jid,
        recipient: &Jid,
        enc: &Node,
        whole: &Node,
    ) {
        let kind = attr(enc, "type").unwrap_or_default();
        let sealed = stanza::bytes(enc).unwrap_or_default();
        let sender = stanza::pn(number, device).to_string();
        self.ratchets.note(&sender, id, &kind, sealed);
        let Some(target) = self.number_of(recipient) else { return };
        if recipient.device != 0 {
            self.route(number, device, id, to, (&target, recipient.device), enc, whole);
            return;
        }
        if !self.received_keys.insert((id.to_owned(), number.to_owned(), device, target.clone())) {
            self.counters.duplicates += 1;
            return;
        }
        let Some(user) = self.user(&target) else { return };
        let opened = user
            .phone
            .decrypt(&sender, &kind, sealed)
            .map_err(|e| e.to_string())
            .and_then(|plain| Message::decode_from_slice(&plain).map_err(|e| e.to_string()));
        let mut received = Received {
            id: id.to_owned(),
            from: number.to_owned(),
            device,
            to: target.clone(),
            text: None,
            about: None,
            reaction: None,
            media: None,
            copy_for: None,
            envelope: kind,
            error: None,
            at: now_millis(),
        };
        match opened {
            Ok(message) => match message.device_sent_message.as_option() {
                Some(copy) => {
                    received.text = copy.message.as_option().and_then(text_of);
                    received.copy_for = copy
                        .destination_jid
                        .as_deref()
                        .and_then(|jid| jid.parse().ok())
                        .and_then(|jid: Jid| self.number_of(&jid));
                }
                None => {
                    received.text = text_of(&message);
                    (received.about, received.reaction) = about(&message);
                    received.media = self.media(&message);
                }
            },
            Err(error) => {
                self.counters.decrypt_failures += 1;
                tracing::warn!(id, error, "simulator: a message of a client does not decrypt");
                received.error = Some(error);
                self.ask_again((number, device), &target, recipient, id);
            }
        }
        let delivered = received.error.is_none() && target != number;
        self.received.push(received);
        self.event(What::Received { account: number.to_owned(), device, id: id.to_owned() });
        if delivered && let Some(connection) = self.connection_of(number, device) {
            // The recipient's phone has it.
            let receipt = NodeBuilder::new("receipt")
                .attr("from", recipient.clone())
                .attr("id", id)
                .attr("t", now_seconds())
                .build();
            self.send(connection, receipt);
        }
    }

    /// Passes a copy on to a linked device, with the sender's address in place of its own.
    #[allow(clippy::too_many_arguments, reason = "one copy of a message has that many coordinates")]
    fn route(
        &mut self,
        number: &str,
        device: u16,
        id: &str,
        to: &Jid,
        (target, target_device): (&str, u16),
        enc: &Node,
        whole: &Node,
    ) {
        let Some(sender) = self.users.get(number) else { return };
        let mut node = NodeBuilder::new("message")
            .attr("from", stanza::pn(number, device))
            .attr("sender_lid", stanza::lid(&sender.lid, device))
            .attr("type", attr(whole, "type").unwrap_or_else(|| "text".to_owned()))
            .attr("id", id)
            .attr("t", now_seconds())
            .attr("notify", sender.name.as_str());
        if target == number {
            // A copy for another device of the same account.
            node = node.attr("recipient", to.clone());
        }
        if let Some(category) = attr(whole, "category") {
            node = node.attr("category", category);
        }
        let identity = whole.get_optional_child("device-identity").cloned();
        let node = node.children(std::iter::once(enc.clone()).chain(identity)).build();
        self.enqueue(target, target_device, id, node);
    }

    pub(super) fn receipt(&mut self, connection: ConnectionId, number: &str, device: u16, node: &Node) {
        let (Some(id), Some(to)) = (attr(node, "id"), stanza::jid(node, "to")) else { return };
        let kind = attr(node, "type");
        let more = node.get_optional_child("list").map(|list| list.get_children_by_tag("item"));
        let ids: HashSet<String> = std::iter::once(id.clone())
            .chain(more.into_iter().flatten().filter_map(|item| attr(item, "id")))
            .collect();
        if kind.as_deref() == Some("retry") {
            self.counters.retry_receipts += 1;
            if to.device == 0 {
                self.retry(number, device, &id, &to, node);
            }
        } else {
            self.counters.receipts += 1;
            if kind.as_deref() == Some("read") {
                let mut ids: Vec<String> = ids.iter().cloned().collect();
                ids.sort();
                self.event(What::Read { account: number.to_owned(), device, ids });
            }
            for id in &ids {
                self.confirm(number, device, id);
            }
        }
        if to.device != 0 {
            self.forward_receipt(number, device, &to, node);
        }
        let mut ack = NodeBuilder::new("ack").attr("class", "receipt").attr("id", id).attr("from", to);
        if let Some(kind) = kind {
            ack = ack.attr("type", kind);
        }
        self.send(connection, ack.build());
    }

    /// `<chatstate>`: what a client shows in a chat.
    pub(super) fn typing(&mut self, number: &str, device: u16, node: &Node) {
        let Some(to) = stanza::jid(node, "to").and_then(|jid| self.number_of(&jid)) else { return };
        let child = node.children().and_then(<[Node]>::first);
        let state = match child {
            Some(child) if stanza::attr(child, "media").as_deref() == Some("audio") => "recording".to_owned(),
            Some(child) => child.tag.to_string(),
            None => return,
        };
        self.event(What::Typing { account: number.to_owned(), device, to, state });
    }

    /// A receipt for a message that another client sent.
    fn forward_receipt(&mut self, number: &str, device: u16, to: &Jid, node: &Node) {
        let Some(target) = self.number_of(to) else { return };
        let Some(connection) = self.connection_of(&target, to.device) else { return };
        let from = if to.server == wacore_binary::Server::Lid {
            let Some(user) = self.users.get(number) else { return };
            stanza::lid(&user.lid, device)
        } else {
            stanza::pn(number, device)
        };
        let mut forwarded = node.clone();
        forwarded.attrs = forwarded.attrs.into_iter().filter(|(key, _)| key != "to").collect();
        forwarded.attrs.insert("from", from);
        forwarded.attrs.insert("t", now_seconds());
        self.send(connection, forwarded);
    }

    /// `<ack>` of a client: it has handled a stanza, or refuses it with an error.
    pub(super) fn acknowledgement(&mut self, number: &str, device: u16, node: &Node) {
        let Some(id) = attr(node, "id") else { return };
        if attr(node, "class").as_deref() != Some("message") {
            return;
        }
        // With a request to send it again a client also takes back the old copy, some of them
        // with an error; the new copy is still on its way.
        if let Some(sent) = self.sent_entry(number, device, &id)
            && sent.taken_back > 0
        {
            sent.taken_back -= 1;
            return;
        }
        match attr(node, "error") {
            Some(error) => {
                self.counters.nacks += 1;
                if let Some(sent) = self.sent_entry(number, device, &id)
                    && sent.acknowledged_at.is_none()
                {
                    sent.refused = Some(error);
                }
                if let Some(linked) = self.device(number, device) {
                    linked.confirm(&id);
                }
            }
            None => self.confirm(number, device, &id),
        }
    }

    fn confirm(&mut self, number: &str, device: u16, id: &str) {
        if let Some(linked) = self.device(number, device) {
            linked.confirm(id);
        }
        if let Some(sent) = self.sent_entry(number, device, id)
            && sent.acknowledged_at.is_none()
        {
            sent.acknowledged_at = Some(now_millis());
            self.event(What::Acknowledged { account: number.to_owned(), device, id: id.to_owned() });
        }
    }
}

/// How a message of a simulated phone is wrapped.
#[derive(Clone, Copy)]
pub(super) enum Envelope {
    /// From a contact.
    Chat,
    /// From the account's own phone, for the client itself.
    Peer,
    /// From a contact, again, for the nth time.
    Retry(u32),
}

/// Damages a sealed message where it is authenticated and no structure is: shortly before its end.
fn garble(sealed: &mut [u8]) {
    let place = sealed.len().saturating_sub(12);
    if let Some(byte) = sealed.get_mut(place) {
        *byte ^= 0x55;
    }
}

/// The message that this one answers or reacts to, and the reaction.
fn about(message: &Message) -> (Option<String>, Option<String>) {
    if let Some(reaction) = message.reaction_message.as_option() {
        let key = reaction.key.as_option();
        return (key.and_then(|key| key.id.clone()), reaction.text.clone());
    }
    let extended = message.extended_text_message.as_option();
    let context = extended.and_then(|extended| extended.context_info.as_option());
    (context.and_then(|context| context.stanza_id.clone()), None)
}

fn text_of(message: &Message) -> Option<String> {
    message
        .conversation
        .clone()
        .or_else(|| message.extended_text_message.as_option().and_then(|extended| extended.text.clone()))
}

/// The form of id that WhatsApp Web uses.
fn message_id() -> String {
    let mut id = String::from("3EB0");
    for byte in rand::random::<[u8; 9]>() {
        use std::fmt::Write;
        let _ = write!(id, "{byte:02X}");
    }
    id
}
