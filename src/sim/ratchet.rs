//! Proof that a client never encrypts two messages with one key.
//!
//! Every Signal message names its ratchet key and counter in the clear, and together they
//! name the message key. The same pair with other bytes means that a client went back to
//! an older state: the very thing that a restored backup or a second writer does.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use sha2::{Digest, Sha256};
use wacore_libsignal::protocol::{PreKeySignalMessage, SignalMessage};

use super::peer::raw;

/// One message key that encrypted two different messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reuse {
    /// The device that did it.
    pub device: String,
    /// Id of the message that used the key first.
    pub first_id: String,
    /// Id of the message that used it again.
    pub second_id: String,
    /// The counter within the sending chain.
    pub counter: u32,
}

/// A device and one of its ratchet keys.
type Chain = (String, [u8; 32]);

/// What was seen so far.
#[derive(Default)]
pub struct Ratchets {
    /// Digest of the message under each key, and its id.
    seen: HashMap<(Chain, u32), ([u8; 32], String)>,
    chains: HashSet<Chain>,
    reused: Vec<Reuse>,
    unreadable: u64,
}

/// A summary of [`Ratchets`].
#[derive(Clone, Debug, Serialize)]
pub struct RatchetReport {
    /// Different message keys seen.
    pub message_keys: usize,
    /// Sending chains seen.
    pub chains: usize,
    /// Envelopes that are not Signal messages.
    pub unreadable: u64,
    /// Keys that were used twice; must be empty.
    pub reused: Vec<Reuse>,
}

impl Ratchets {
    /// Notes an envelope that `device` sent under message id `id`.
    pub fn note(&mut self, device: &str, id: &str, kind: &str, sealed: &[u8]) {
        let message = match kind {
            "pkmsg" => PreKeySignalMessage::try_from(sealed).map(|outer| outer.message().clone()),
            _ => SignalMessage::try_from(sealed),
        };
        let Ok(message) = message else {
            self.unreadable += 1;
            return;
        };
        let chain = (device.to_owned(), raw(message.sender_ratchet_key()));
        let counter = message.counter();
        let digest: [u8; 32] = Sha256::digest(message.serialized()).into();
        self.chains.insert(chain.clone());
        let (first, first_id) = self.seen.entry((chain, counter)).or_insert_with(|| (digest, id.to_owned()));
        if *first != digest {
            self.reused.push(Reuse {
                device: device.to_owned(),
                first_id: first_id.clone(),
                second_id: id.to_owned(),
                counter,
            });
        }
    }

    /// The summary.
    pub fn report(&self) -> RatchetReport {
        RatchetReport {
            message_keys: self.seen.len(),
            chains: self.chains.len(),
            unreadable: self.unreadable,
            reused: self.reused.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::peer::Peer;

    #[test]
    fn a_rolled_back_sender_is_caught_and_a_resend_is_not() {
        let (mut a, mut b) = (Peer::generate().unwrap(), Peer::generate().unwrap());
        a.begin("b", &b.bundle()).unwrap();
        let old = serde_json::to_string(&a).unwrap();
        let mut ratchets = Ratchets::default();
        let first = a.encrypt("b", b"one").unwrap();
        ratchets.note("a", "1", first.kind, &first.bytes);
        ratchets.note("a", "1", first.kind, &first.bytes);
        let second = a.encrypt("b", b"two").unwrap();
        ratchets.note("a", "2", second.kind, &second.bytes);
        assert_eq!(ratchets.report().reused, []);
        assert_eq!((ratchets.report().message_keys, ratchets.report().chains), (2, 1));

        let mut a: Peer = serde_json::from_str(&old).unwrap();
        let again = a.encrypt("b", b"other").unwrap();
        ratchets.note("a", "3", again.kind, &again.bytes);
        let reused = ratchets.report().reused;
        assert_eq!(reused.len(), 1);
        assert_eq!((reused[0].first_id.as_str(), reused[0].second_id.as_str()), ("1", "3"));
    }

    #[test]
    fn what_is_no_signal_message_is_counted() {
        let mut ratchets = Ratchets::default();
        ratchets.note("a", "1", "msg", b"garbage");
        assert_eq!(ratchets.report().unreadable, 1);
    }
}
