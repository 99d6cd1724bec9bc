//! Sealing of stored values: XChaCha20-Poly1305 under a key derived from `database.secret_key`.
//!
//! A stored value begins with one byte: 0 for plain (no secret key was set), 1 for sealed. A sealed
//! value goes on with the key's id (8 bytes), the nonce (24 bytes) and the ciphertext. Session id,
//! kind and name of the row are associated data, so a value moved to another row does not open.
//!
//! While a key is changed there are several: the first seals, all open. [`super::reseal`] does the rest.

use std::fmt;
use std::sync::Arc;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use sha2::Sha256;

use super::kind::Name;
use crate::config::Secret;

const PLAIN: u8 = 0;
const SEALED: u8 = 1;
const KEY_ID: usize = 8;
const NONCE: usize = 24;

/// Tells secret keys apart without telling anything of them; may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; KEY_ID]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Seals and opens the values of the rows. Cheap to clone.
#[derive(Clone)]
pub(super) struct Sealer(Arc<[Keyed]>);

struct Keyed {
    id: KeyId,
    cipher: XChaCha20Poly1305,
}

/// Why a value does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum OpenError {
    #[error(
        "it is sealed under the secret key with the id {wanted}, and none is set: set BLACKSKY_SECRET_KEY to \
         that key"
    )]
    NoKey { wanted: KeyId },
    #[error(
        "it is sealed under another secret key, with the id {wanted}, and that of BLACKSKY_SECRET_KEY is \
         {held}: set BLACKSKY_SECRET_KEY back to the key it was sealed with, or to NEW,OLD to change it"
    )]
    OtherKey { wanted: KeyId, held: KeyId },
    #[error("it is damaged")]
    Damaged,
}

/// How a stored value is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Under {
    /// Not at all.
    Plain,
    /// Under the key of this id.
    Key(KeyId),
    /// It is no stored value.
    Unknown,
}

impl Under {
    /// Reads the first bytes of a stored value.
    pub(super) fn of(stored: &[u8]) -> Self {
        match stored.split_first() {
            Some((&PLAIN, _)) => Self::Plain,
            Some((&SEALED, rest)) => rest.first_chunk().map_or(Self::Unknown, |id| Self::Key(KeyId(*id))),
            _ => Self::Unknown,
        }
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sealer").field(&self.keys()).finish()
    }
}

impl Sealer {
    /// A sealer for the keys, separated by commas; without any values are stored plain.
    pub(super) fn new(secret: Option<&Secret>) -> Self {
        let keys = secret.map_or("", Secret::expose).split(',').map(str::trim).filter(|key| !key.is_empty());
        let mut keyed: Vec<Keyed> = Vec::new();
        for key in keys.map(Keyed::new) {
            // A key that is there twice is one.
            if keyed.iter().all(|known| known.id != key.id) {
                keyed.push(key);
            }
        }
        Self(keyed.into())
    }

    /// Whether values are sealed.
    pub(super) fn seals(&self) -> bool {
        !self.0.is_empty()
    }

    /// The ids of the keys; the first seals.
    pub(super) fn keys(&self) -> Vec<KeyId> {
        self.0.iter().map(|key| key.id).collect()
    }

    /// What each value sealed now begins with; `None` when values are stored plain.
    pub(super) fn prefix(&self) -> Option<Vec<u8>> {
        self.0.first().map(|key| [&[SEALED], key.id.0.as_slice()].concat())
    }

    /// The stored form of a value.
    pub(super) fn seal(&self, place: &Place<'_>, value: &[u8]) -> Result<Vec<u8>, OpenError> {
        let Some(keyed) = self.0.first() else {
            let mut out = Vec::with_capacity(1 + value.len());
            out.push(PLAIN);
            out.extend_from_slice(value);
            return Ok(out);
        };
        let nonce: [u8; NONCE] = rand::random();
        let sealed = keyed
            .cipher
            .encrypt(&XNonce::from(nonce), Payload { msg: value, aad: &place.bytes() })
            .map_err(|_| OpenError::Damaged)?;
        let mut out = Vec::with_capacity(1 + KEY_ID + NONCE + sealed.len());
        out.push(SEALED);
        out.extend_from_slice(&keyed.id.0);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        Ok(out)
    }

    /// The value of a stored form.
    pub(super) fn open(&self, place: &Place<'_>, stored: &[u8]) -> Result<Vec<u8>, OpenError> {
        match stored.split_first() {
            Some((&PLAIN, value)) => Ok(value.to_vec()),
            Some((&SEALED, rest)) => {
                let (id, rest) = rest.split_first_chunk::<KEY_ID>().ok_or(OpenError::Damaged)?;
                let (nonce, sealed) = rest.split_first_chunk::<NONCE>().ok_or(OpenError::Damaged)?;
                let wanted = KeyId(*id);
                let first = self.0.first().ok_or(OpenError::NoKey { wanted })?;
                let keyed = self.0.iter().find(|key| key.id == wanted);
                keyed
                    .ok_or(OpenError::OtherKey { wanted, held: first.id })?
                    .cipher
                    .decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: &place.bytes() })
                    .map_err(|_| OpenError::Damaged)
            }
            _ => Err(OpenError::Damaged),
        }
    }
}

impl Keyed {
    fn new(secret: &str) -> Self {
        let hkdf = Hkdf::<Sha256>::new(None, secret.as_bytes());
        let mut key = [0; 32];
        let mut id = [0; KEY_ID];
        // HKDF refuses only outputs over 255 hashes long.
        let _ = hkdf.expand(b"blacksky stored values 1", &mut key);
        let _ = hkdf.expand(b"blacksky key id 1", &mut id);
        Self { id: KeyId(id), cipher: XChaCha20Poly1305::new(&key.into()) }
    }
}

/// Where a value is stored; bound to it as associated data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub session: &'a str,
    /// Kind of the row; 0 is the inbox.
    pub kind: i16,
    pub name: &'a Name,
}

impl Place<'_> {
    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + self.session.len() + self.name.key.len() + self.name.sub.len());
        for part in [self.session.as_bytes(), &self.kind.to_be_bytes(), &self.name.key, &self.name.sub] {
            out.extend_from_slice(&(part.len() as u32).to_be_bytes());
            out.extend_from_slice(part);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{OpenError, Place, Sealer, Under};
    use crate::config::Secret;
    use crate::store::kind::Name;

    fn sealer(key: &str) -> Sealer {
        Sealer::new(Some(&Secret::new(key)))
    }

    proptest! {
        #[test]
        fn a_sealed_value_opens_only_where_it_was_sealed(
            value in proptest::collection::vec(any::<u8>(), 0..200),
            key in proptest::collection::vec(any::<u8>(), 0..20),
            sub in proptest::collection::vec(any::<u8>(), 0..20),
            other_key in proptest::collection::vec(any::<u8>(), 0..20),
            kind in 1i16..18,
        ) {
            let sealer = sealer("a secret key of some length");
            let name = Name::pair(key.clone(), sub.clone());
            let place = Place { session: "main", kind, name: &name };
            let stored = sealer.seal(&place, &value).expect("seals");
            prop_assert_eq!(sealer.open(&place, &stored), Ok(value));
            prop_assert_eq!(sealer.open(&Place { session: "other", ..place }, &stored), Err(OpenError::Damaged));
            prop_assert_eq!(sealer.open(&Place { kind: kind + 1, ..place }, &stored), Err(OpenError::Damaged));
            let moved = Name::pair(other_key.clone(), sub);
            if other_key != key {
                prop_assert_eq!(sealer.open(&Place { name: &moved, ..place }, &stored), Err(OpenError::Damaged));
            }
        }

        #[test]
        fn every_changed_bit_is_seen(
            value in proptest::collection::vec(any::<u8>(), 0..60),
            at in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            let sealer = sealer("a secret key of some length");
            let name = Name::of("k");
            let place = Place { session: "main", kind: 1, name: &name };
            let mut stored = sealer.seal(&place, &value).expect("seals");
            let at = at.index(stored.len());
            stored[at] ^= 1 << bit;
            // Turning the first byte into "plain" is the one change a reader cannot tell: it yields other bytes.
            if at == 0 && bit == 0 {
                prop_assert_ne!(sealer.open(&place, &stored), Ok(value));
            } else {
                prop_assert!(sealer.open(&place, &stored).is_err());
            }
        }

        #[test]
        fn no_stored_bytes_make_it_panic(stored in proptest::collection::vec(any::<u8>(), 0..80)) {
            let name = Name::of("k");
            let place = Place { session: "main", kind: 1, name: &name };
            let _ = sealer("k").open(&place, &stored);
            let _ = Sealer::new(None).open(&place, &stored);
        }
    }

    #[test]
    fn a_lost_and_a_changed_key_are_told_apart_from_damage() {
        let name = Name::of("k");
        let place = Place { session: "main", kind: 1, name: &name };
        let stored = sealer("first").seal(&place, b"v").expect("seals");
        let (wanted, held) = (sealer("first").keys()[0], sealer("second").keys()[0]);
        assert_eq!(Sealer::new(None).open(&place, &stored), Err(OpenError::NoKey { wanted }));
        assert_eq!(sealer("second").open(&place, &stored), Err(OpenError::OtherKey { wanted, held }));
        assert_eq!(Under::of(&stored), Under::Key(wanted));
    }

    #[test]
    fn of_two_keys_the_first_seals_and_both_open() {
        let name = Name::of("k");
        let place = Place { session: "main", kind: 1, name: &name };
        let both = sealer("new, old,new");
        assert_eq!(both.keys(), [sealer("new").keys()[0], sealer("old").keys()[0]]);
        let old = sealer("old").seal(&place, b"v").expect("seals");
        assert_eq!(both.open(&place, &old), Ok(b"v".to_vec()));
        let new = both.seal(&place, b"v").expect("seals");
        assert_eq!(sealer("new").open(&place, &new), Ok(b"v".to_vec()));
        assert!(
            new.starts_with(&both.prefix().expect("seals"))
                && !old.starts_with(&both.prefix().expect("seals"))
        );
        assert!(matches!(sealer("old").open(&place, &new), Err(OpenError::OtherKey { .. })));
    }

    #[test]
    fn the_key_of_a_sealer_without_a_comma_stays_what_it_was() {
        // HKDF-SHA256 without salt, as any other program computes it.
        assert_eq!(sealer("a secret key of some length").keys()[0].to_string(), "945ec2b86191c858");
    }

    #[test]
    fn values_from_before_the_key_was_set_open() {
        let name = Name::of("k");
        let place = Place { session: "main", kind: 1, name: &name };
        let stored = Sealer::new(None).seal(&place, b"v").expect("stores");
        assert_eq!(sealer("first").open(&place, &stored), Ok(b"v".to_vec()));
    }
}
