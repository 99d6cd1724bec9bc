//! Messages that do not decrypt, and how either side gets them again: by a receipt of the type `retry`, on which
//! the other side opens a new session and sends the same text under the same id.

use wacore_binary::Jid;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::node::Node;

use super::account::key_nodes;
use super::messages::Envelope;
use super::peer::Bundle;
use super::stanza::{self, child_key, child_number};
use super::world::{World, now_seconds};

/// Times that either side asks for the same message.
const MAX_RETRIES: u32 = 5;

impl World {
    /// A client could not read a message: a new session, the same text again.
    pub(super) fn retry(&mut self, number: &str, device: u16, id: &str, to: &Jid, receipt: &Node) {
        let Some(from) = self.number_of(to) else { return };
        let Some(sent) = self.sent_entry(number, device, id) else { return };
        sent.retries += 1;
        sent.taken_back += 1;
        let (count, content) = (sent.retries, sent.content.clone());
        if count > MAX_RETRIES {
            return;
        }
        let address = stanza::pn(number, device).to_string();
        let offered = receipt.get_optional_child("keys").and_then(|keys| offered_bundle(receipt, keys));
        if let Some(sender) = self.users.get_mut(&from) {
            sender.phone.put_aside(&address);
            if let Some(bundle) = offered
                && let Err(error) = sender.phone.begin(&address, &bundle)
            {
                tracing::warn!(%error, "simulator: the keys of a retry receipt do not work");
            }
        }
        if let Err(error) = self.post(&from, number, device, id, &content, Envelope::Retry(count)) {
            tracing::warn!(%error, "simulator: a message was not sent again");
        }
    }

    /// A phone could not read a message of a client: it asks for it again and gives keys for a new session.
    pub(super) fn ask_again(&mut self, (number, device): (&str, u16), phone: &str, from: &Jid, id: &str) {
        let key = (id.to_owned(), number.to_owned(), device, phone.to_owned());
        let count = self.asked_again.entry(key.clone()).or_default();
        *count += 1;
        let count = *count;
        if count > MAX_RETRIES {
            return;
        }
        // What comes under this id is no duplicate.
        self.received_keys.remove(&key);
        let Some(connection) = self.connection_of(number, device) else { return };
        let Some(bundle) = self.users.get_mut(phone).map(|user| user.phone.bundle()) else { return };
        let registration = stanza::leaf("registration", bundle.registration_id.to_be_bytes());
        let retry = NodeBuilder::new("retry")
            .attr("v", "1")
            .attr("count", count)
            .attr("id", id)
            .attr("t", now_seconds())
            .build();
        let receipt = NodeBuilder::new("receipt")
            .attr("from", from.clone())
            .attr("id", id)
            .attr("type", "retry")
            .attr("t", now_seconds())
            .children([retry, registration, NodeBuilder::new("keys").children(key_nodes(bundle)).build()])
            .build();
        self.send(connection, receipt);
    }
}

/// The bundle in a retry receipt.
fn offered_bundle(receipt: &Node, keys: &Node) -> Option<Bundle> {
    let skey = keys.get_optional_child("skey")?;
    let one_time = keys
        .get_optional_child("key")
        .and_then(|key| Some((child_number(key, "id")?, child_key(key, "value")?)));
    Some(Bundle {
        registration_id: child_number(receipt, "registration")?,
        identity: child_key(keys, "identity")?,
        signed: (
            child_number(skey, "id")?,
            child_key(skey, "value")?,
            stanza::child_bytes(skey, "signature")?.to_vec(),
        ),
        one_time,
    })
}
