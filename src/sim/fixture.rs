//! A server with a linked device, for tests and fuzzing.

use std::collections::BTreeMap;

use tokio::sync::mpsc;
use wacore_binary::node::Node;

use super::account::Device;
use super::blob::Blob;
use super::world::{Out, World};

/// The account that it belongs to.
pub(super) const NUMBER: &str = "15550001001";
/// Its key in the handshake.
pub(super) const STATIC_KEY: [u8; 32] = [1; 32];

/// Gives the account its first device.
pub(super) fn link(world: &mut World) {
    let mut keys = super::peer::Peer::generate().expect("keys");
    let bundle = keys.bundle();
    let (id, public, signature) = bundle.signed;
    let device = Device {
        noise: STATIC_KEY,
        identity: bundle.identity,
        registration_id: bundle.registration_id,
        signed: (id, public, Blob(signature)),
        one_time: BTreeMap::new(),
        adv: Blob::default(),
        logins: 0,
        key_shared: true,
        queue: Vec::new(),
    };
    world.user(NUMBER).expect("a user").devices.insert(1, device);
}

/// The stanzas that the server has written since.
pub(super) fn written(orders: &mut mpsc::UnboundedReceiver<Out>) -> Vec<Node> {
    std::iter::from_fn(|| orders.try_recv().ok())
        .filter_map(|out| if let Out::Stanza(node) = out { Some(node) } else { None })
        .collect()
}
