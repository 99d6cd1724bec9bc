//! Fuzzed here: what a client sends to the simulator, before and after the handshake.

use std::sync::{Arc, LazyLock};

use tokio::sync::mpsc;
use wacore_binary::BinaryError;
use wacore_binary::consts::WA_CONN_HEADER;
use wacore_binary::marshal::{marshal_to_vec, unmarshal_ref};
use wacore_binary::node::Node;
use wacore_binary::util::unpack;
use wacore_libsignal::protocol::KeyPair;
use wacore_noise::XxHandshakeState;
use waproto::buffa::{Message as _, MessageField};
use waproto::whatsapp::ClientPayload;
use waproto::whatsapp::client_payload::DevicePairingRegistrationData;

use super::fixture::{NUMBER, STATIC_KEY, link, written};
use super::handshake::{Client, Handshake, Step};
use super::identity::ServerIdentity;
use super::stanza::attr;
use super::wire::{MAX_HANDSHAKE_FRAME, Reader, Transport, frame};
use super::world::{ConnectionId, Phase, World};
use crate::link;

/// Somebody who writes to it.
const FRIEND: &str = "15550002001";

static IDENTITY: LazyLock<Arc<ServerIdentity>> =
    LazyLock::new(|| Arc::new(ServerIdentity::generate(1_800_000_000).expect("keys")));

/// The first byte says in what pieces the rest comes. Frames are the same however they are cut and none is longer
/// than its limit; nobody gets through the handshake without its keys; whoever has them may send any payload, and
/// any frame after it.
pub fn noise(bytes: &[u8]) {
    let Some((&cut, bytes)) = bytes.split_first() else { return };
    let whole = frames(bytes, bytes.len().max(1));
    assert_eq!(whole, frames(bytes, usize::from(cut).max(1)));
    let mut handshake = Handshake::new(Arc::clone(&IDENTITY));
    for frame in whole.0 {
        match handshake.frame(&frame) {
            Ok(Step::Reply(reply)) => assert!(!reply.is_empty()),
            Ok(Step::Done { .. }) => panic!("an input knows no key of the server"),
            Err(error) => {
                assert!(!error.to_string().is_empty());
                break;
            }
        }
    }
    // A handshake takes a millisecond, so only for what the server would get to read.
    if ClientPayload::decode_from_slice(bytes).is_ok() {
        said(bytes);
    }
}

/// The frames of a stream, and whether it went wrong.
fn frames(bytes: &[u8], cut: usize) -> (Vec<Vec<u8>>, bool) {
    let (mut reader, mut frames) = (Reader::default(), Vec::new());
    for piece in bytes.chunks(cut) {
        reader.feed(piece);
        loop {
            match reader.frame(MAX_HANDSHAKE_FRAME) {
                Ok(Some(frame)) => {
                    assert!(frame.len() <= MAX_HANDSHAKE_FRAME);
                    frames.push(frame);
                }
                Ok(None) => break,
                Err(_) => return (frames, true),
            }
        }
    }
    (frames, false)
}

/// A client that keeps to the handshake says this.
fn said(payload: &[u8]) {
    let keys = KeyPair::generate(&mut rand::rng());
    let mut client = XxHandshakeState::new(keys, payload.to_vec(), &WA_CONN_HEADER).expect("a client");
    let mut handshake = Handshake::new(Arc::clone(&IDENTITY));
    let Ok(Step::Reply(reply)) = handshake.frame(&client.build_client_hello().expect("a hello")) else {
        panic!("a hello is answered")
    };
    let finish = client.read_server_hello_and_build_client_finish(&reply).expect("a finish");
    let Ok(Step::Done { client, ciphers, .. }) = handshake.frame(&finish) else {
        panic!("a payload decodes")
    };
    let mut world = World::new(Arc::clone(&IDENTITY));
    let (out, mut orders) = mpsc::unbounded_channel();
    let (connection, _) = world.dialled(out);
    world.greeted(connection, *client);
    let mut transport = Transport::new(ciphers);
    // Either the first pairing request or a refusal.
    let answers = written(&mut orders);
    assert_eq!(answers.len(), 1);
    transport.seal(&answers[0]).expect("fits a frame");
    assert!(transport.open(payload.to_vec()).is_err(), "it was not sealed");
}

/// The first byte says how the client stands; then stanzas, each with its length in two bytes. What is decoded is
/// encoded again; each request is answered once, under its id, and every answer can be sent.
pub fn stanza(bytes: &[u8]) {
    let Some((&mode, mut rest)) = bytes.split_first() else { return };
    let mut nodes = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (plain, after) = after.split_at(after.len().min(u16::from_be_bytes(*length).into()));
        rest = after;
        nodes.extend(decoded(plain));
    }
    if nodes.is_empty() {
        return;
    }
    let mut world = World::new(Arc::clone(&IDENTITY));
    let (out, mut orders) = mpsc::unbounded_channel();
    let (connection, _) = world.dialled(out);
    if mode & 1 == 0 {
        open(&mut world, connection);
        if mode & 2 != 0 {
            world.send_text(FRIEND, NUMBER, "hello").expect("a message");
        }
    } else {
        world.greeted(connection, newcomer());
    }
    written(&mut orders);
    for node in &nodes {
        let _ = link::stanza::read(&node.as_node_ref());
        let asks = node.tag == "iq" && !matches!(attr(node, "type").as_deref(), Some("result" | "error"));
        let open = matches!(world.connections[&connection].phase, Phase::Open { .. });
        world.stanza(connection, node);
        let answers = written(&mut orders);
        for answer in &answers {
            assert!(decoded(&sealed(answer)).is_some(), "{answer:?}");
        }
        if let (Some(id), true, true) = (attr(node, "id"), asks, open) {
            let own = answers.iter().filter(|answer| {
                attr(answer, "type").as_deref() == Some("result")
                    && attr(answer, "id").as_deref() == Some(&id)
            });
            assert_eq!(own.count(), 1, "{node:?} got {answers:?}");
        }
    }
}

/// A stanza as it comes out of its frame. wacore-binary writes a text with an `@` as an address, and reads none whose
/// server it does not know: such a stanza is left out, since an answer that repeats it cannot be read either. That
/// harms nobody but the client that sent it.
fn decoded(plain: &[u8]) -> Option<Node> {
    let plain = unpack(plain).ok()?;
    let node = unmarshal_ref(&plain).ok()?.to_owned();
    let again = sealed(&node);
    let again = unpack(&again).expect("what we wrote unpacks");
    match unmarshal_ref(&again) {
        Ok(_) => Some(node),
        Err(BinaryError::AttrParse(_)) => None,
        Err(error) => panic!("what we wrote does not decode: {error}"),
    }
}

/// What goes into a frame; it fits one.
fn sealed(node: &Node) -> Vec<u8> {
    let mut plain = Vec::new();
    marshal_to_vec(node, &mut plain).expect("encodes");
    frame(&plain).expect("fits a frame");
    plain
}

/// A linked device, and its link.
fn open(world: &mut World, connection: ConnectionId) {
    link(world);
    world.greeted(connection, login());
}

fn login() -> Client {
    let payload = ClientPayload { username: NUMBER.parse().ok(), device: Some(1), ..Default::default() };
    Client { static_key: STATIC_KEY, payload, pattern: "XX" }
}

/// A client without an account.
fn newcomer() -> Client {
    let data = DevicePairingRegistrationData {
        e_ident: Some(vec![2; 32]),
        e_regid: Some(vec![0, 0, 1, 2]),
        e_skey_id: Some(vec![0, 0, 1]),
        e_skey_val: Some(vec![3; 32]),
        e_skey_sig: Some(vec![4; 64]),
        ..Default::default()
    };
    let payload = ClientPayload { device_pairing_data: MessageField::some(data), ..Default::default() };
    Client { static_key: STATIC_KEY, payload, pattern: "XX" }
}
