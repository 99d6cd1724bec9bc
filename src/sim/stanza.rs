//! Small helpers to read and build stanzas.

use wacore_binary::builder::NodeBuilder;
use wacore_binary::node::{Node, NodeContent};
use wacore_binary::{Jid, Server};

/// The address that stands for the server itself.
pub const SERVER: &str = "s.whatsapp.net";

/// An attribute as text.
pub fn attr(node: &Node, key: &str) -> Option<String> {
    node.attrs.get(key).map(|value| value.as_str().into_owned())
}

/// An attribute as an address.
pub fn jid(node: &Node, key: &str) -> Option<Jid> {
    let mut jid = node.attrs.get(key)?.to_jid()?;
    // Some encoders leave the device in the user part.
    if jid.device == 0
        && let Some((user, device)) = jid.user.split_once(':')
        && let Ok(device) = device.parse()
    {
        (jid.user, jid.device) = (user.into(), device);
    }
    Some(jid)
}

/// The content as bytes, however it was encoded.
pub fn bytes(node: &Node) -> Option<&[u8]> {
    match node.content.as_ref()? {
        NodeContent::Bytes(bytes) => Some(bytes),
        NodeContent::String(text) => Some(text.as_bytes()),
        NodeContent::Nodes(_) => None,
    }
}

/// The content of a child as bytes.
pub fn child_bytes<'a>(node: &'a Node, tag: &str) -> Option<&'a [u8]> {
    bytes(node.get_optional_child(tag)?)
}

/// A big-endian number of up to four bytes in a child.
pub fn child_number(node: &Node, tag: &str) -> Option<u32> {
    let bytes = child_bytes(node, tag)?;
    (bytes.len() <= 4).then(|| bytes.iter().fold(0, |n, byte| n << 8 | u32::from(*byte)))
}

/// 32 bytes in a child.
pub fn child_key(node: &Node, tag: &str) -> Option<[u8; 32]> {
    child_bytes(node, tag)?.try_into().ok()
}

/// The three bytes in which ids of pre-keys travel.
pub fn id3(id: u32) -> Vec<u8> {
    id.to_be_bytes()[1..].to_vec()
}

/// `<iq type="result">` for the request `id`.
pub fn result(id: &str, children: impl IntoIterator<Item = Node>) -> Node {
    let mut children = children.into_iter().peekable();
    let iq = NodeBuilder::new("iq").attr("from", SERVER).attr("type", "result").attr("id", id);
    if children.peek().is_some() { iq.children(children).build() } else { iq.build() }
}

/// `<tag>` around bytes.
pub fn leaf(tag: &'static str, content: impl Into<Vec<u8>>) -> Node {
    NodeBuilder::new(tag).bytes(content).build()
}

/// An empty `<tag/>`.
pub fn empty(tag: &'static str) -> Node {
    NodeBuilder::new(tag).build()
}

/// The address of a device of a phone number; device 0 is the phone.
pub fn pn(user: &str, device: u16) -> Jid {
    Jid { user: user.into(), server: Server::Pn, device, ..Jid::default() }
}

/// The same as a LID.
pub fn lid(user: &str, device: u16) -> Jid {
    Jid { user: user.into(), server: Server::Lid, device, ..Jid::default() }
}
