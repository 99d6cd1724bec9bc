//! Phone numbers: each has a simulated phone, and the devices that were linked to it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wacore_binary::BinaryError;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::marshal::{marshal_to_vec, unmarshal_ref};
use wacore_binary::node::Node;
use wacore_binary::util::unpack;
use wacore_libsignal::protocol::{CurveError, SignalProtocolError};
use waproto::buffa::Message;
use waproto::whatsapp::{ADVKeyIndexList, ADVSignedKeyIndexList};

use super::blob::Blob;
use super::peer::{Bundle, Peer};
use super::stanza;

/// Prefix of what a phone signs when it lists its devices.
const KEY_INDEX_LIST_PREFIX: [u8; 2] = [6, 2];

/// A phone number with its phone. Contacts are users without devices.
#[derive(Serialize, Deserialize)]
pub struct User {
    /// Digits of the phone number.
    pub number: String,
    /// Digits of the LID, the number-less name of the same account.
    pub lid: String,
    /// Push name.
    pub name: String,
    /// The phone's Signal keys and sessions.
    pub phone: Peer,
    /// Linked devices by id, from 1.
    pub devices: BTreeMap<u16, Device>,
    /// Id for the next device; ids are not used twice.
    pub next_device: u16,
    /// Identifies this set of devices in ADV structures.
    pub raw_id: u32,
    /// The app-state key that the phone shares with its devices.
    pub sync_key: Blob,
}

/// A linked device: what the server knows of a client.
#[derive(Serialize, Deserialize)]
pub struct Device {
    /// Static Noise key; proves who logs in.
    pub noise: [u8; 32],
    /// Identity key.
    pub identity: [u8; 32],
    /// Signal registration id.
    pub registration_id: u32,
    /// Signed pre-key: id, public key, signature.
    pub signed: (u32, [u8; 32], Blob),
    /// One-time pre-keys that the server still has.
    pub one_time: BTreeMap<u32, [u8; 32]>,
    /// `ADVSignedDeviceIdentity` with both signatures.
    pub adv: Blob,
    /// Logins so far.
    pub logins: u64,
    /// Whether the phone has shared its app-state key.
    pub key_shared: bool,
    /// Stanzas that the device has not confirmed, oldest first.
    pub queue: Vec<Queued>,
}

/// A stanza that is sent again at each login until the device confirms it.
#[derive(Serialize, Deserialize)]
pub struct Queued {
    /// Message id.
    pub id: String,
    stanza: Blob,
}

impl Queued {
    /// Keeps a stanza.
    pub fn new(id: &str, node: &Node) -> Result<Self, BinaryError> {
        let mut encoded = Vec::new();
        marshal_to_vec(node, &mut encoded)?;
        Ok(Self { id: id.to_owned(), stanza: Blob(encoded) })
    }

    /// The stanza.
    pub fn node(&self) -> Result<Node, BinaryError> {
        // The encoder puts the frame's flag byte in front.
        let plain = unpack(&self.stanza.0)?;
        Ok(unmarshal_ref(&plain)?.to_owned())
    }
}

impl User {
    /// A user with a fresh phone.
    pub fn new(number: &str, name: Option<&str>) -> Result<Self, SignalProtocolError> {
        Ok(Self {
            number: number.to_owned(),
            lid: lid_of(number),
            name: name.map_or_else(|| format!("Phone {number}"), str::to_owned),
            phone: Peer::generate()?,
            devices: BTreeMap::new(),
            next_device: 1,
            raw_id: rand::random(),
            sync_key: Blob(rand::random::<[u8; 32]>().to_vec()),
        })
    }

    /// `<devices>` as usync answers it. The signed index list is there when a device is,
    /// since clients drop devices that no list vouches for.
    pub fn device_list(&self, now: u64) -> Result<Node, CurveError> {
        let phone = NodeBuilder::new("device").attr("id", 0).build();
        let linked = self
            .devices
            .keys()
            .map(|id| NodeBuilder::new("device").attr("id", *id).attr("key-index", *id).build());
        let list = NodeBuilder::new("device-list").children(std::iter::once(phone).chain(linked)).build();
        let mut children = vec![list];
        if let Some(last) = self.devices.keys().next_back() {
            let details = ADVKeyIndexList {
                raw_id: Some(self.raw_id),
                timestamp: Some(now),
                current_index: Some(u32::from(*last)),
                valid_indexes: std::iter::once(0)
                    .chain(self.devices.keys().map(|id| u32::from(*id)))
                    .collect(),
                ..Default::default()
            }
            .encode_to_vec();
            let signed = [&KEY_INDEX_LIST_PREFIX[..], &details].concat();
            let identity = self.phone.identity();
            let list = ADVSignedKeyIndexList {
                account_signature: Some(identity.calculate_signature(&signed, &mut rand::rng())?.to_vec()),
                account_signature_key: Some(identity.public_key.public_key_bytes().to_vec()),
                details: Some(details),
            };
            children
                .push(NodeBuilder::new("key-index-list").attr("ts", now).bytes(list.encode_to_vec()).build());
        }
        Ok(NodeBuilder::new("devices").children(children).build())
    }
}

impl Device {
    /// The device's keys with one of its one-time pre-keys, which is used up.
    pub fn bundle(&mut self) -> Bundle {
        let (id, public, signature) = &self.signed;
        Bundle {
            registration_id: self.registration_id,
            identity: self.identity,
            signed: (*id, *public, signature.0.clone()),
            one_time: self.one_time.pop_first(),
        }
    }

    /// Removes a confirmed stanza from the queue.
    pub fn confirm(&mut self, id: &str) {
        self.queue.retain(|queued| queued.id != id);
    }
}

/// The LID of a number: made from it, so that it survives without being stored.
pub fn lid_of(number: &str) -> String {
    format!("1{number:0>14}")
}

/// Whether this can be a phone number in international form.
pub fn is_number(text: &str) -> bool {
    (5..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0')
}

/// `<user>` of a pre-key answer.
pub fn bundle_node(jid: wacore_binary::Jid, bundle: Bundle, device_identity: Option<Vec<u8>>) -> Node {
    let mut children = vec![stanza::leaf("registration", bundle.registration_id.to_be_bytes())];
    children.extend(key_nodes(bundle));
    children.extend(device_identity.map(|bytes| stanza::leaf("device-identity", bytes)));
    NodeBuilder::new("user").attr("jid", jid).children(children).build()
}

/// The public keys of a bundle, as they stand in a pre-key answer and in a retry receipt.
pub fn key_nodes(bundle: Bundle) -> Vec<Node> {
    let (id, public, signature) = bundle.signed;
    let mut children = vec![
        stanza::leaf("type", [5]),
        stanza::leaf("identity", bundle.identity),
        NodeBuilder::new("skey")
            .children([
                stanza::leaf("id", stanza::id3(id)),
                stanza::leaf("value", public),
                stanza::leaf("signature", signature),
            ])
            .build(),
    ];
    if let Some((id, public)) = bundle.one_time {
        children.push(
            NodeBuilder::new("key")
                .children([stanza::leaf("id", stanza::id3(id)), stanza::leaf("value", public)])
                .build(),
        );
    }
    children
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queued_stanza_comes_out_as_it_went_in() {
        let node = NodeBuilder::new("message")
            .attr("from", stanza::pn("4915112345678", 3))
            .children([stanza::leaf("enc", [1, 2, 3])])
            .build();
        let json = serde_json::to_string(&Queued::new("1", &node).unwrap()).unwrap();
        let again = serde_json::from_str::<Queued>(&json).unwrap().node().unwrap();
        assert_eq!(stanza::jid(&again, "from"), stanza::jid(&node, "from"));
        assert_eq!(stanza::child_bytes(&again, "enc"), Some(&[1, 2, 3][..]));
    }

    #[test]
    fn what_can_be_a_number() {
        assert!(is_number("4915112345678"));
        for text in ["", "1234", "0491511234", "+4915112345", "1234567890123456", "49 151"] {
            assert!(!is_number(text), "{text:?}");
        }
        assert_eq!(lid_of("4915112345678").len(), 15);
    }
}
