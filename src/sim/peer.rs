//! One end of the Signal protocol: a simulated phone. Contacts and the phones that own
//! paired accounts are the same thing.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use wacore_libsignal::protocol::error::Result as SignalResult;
use wacore_libsignal::protocol::{
    CiphertextMessage, Direction, GenericSignedPreKey, IdentityChange, IdentityKey, IdentityKeyPair,
    IdentityKeyStore, KeyPair, PreKeyBundle, PreKeyId, PreKeyRecord, PreKeySignalMessage, PreKeyStore,
    ProtocolAddress, PublicKey, SessionRecord, SessionStore, SignalMessage, SignalProtocolError,
    SignedPreKeyId, SignedPreKeyRecord, SignedPreKeyStore, Timestamp, UsePQRatchet, message_decrypt,
    message_encrypt, process_prekey_bundle,
};

use super::blob::Blob;

/// Pre-keys that a phone keeps ready; each bundle that a client fetches takes one.
const SIGNED_PRE_KEY: u32 = 1;

/// An encrypted message and the kind of envelope it is in.
pub struct Sealed {
    /// `pkmsg` while the other side has not answered yet, then `msg`.
    pub kind: &'static str,
    /// The envelope.
    pub bytes: Vec<u8>,
}

/// The keys of one fetched bundle, in the shape a client uploads them.
pub struct Bundle {
    /// Signal registration id.
    pub registration_id: u32,
    /// Long-term identity key.
    pub identity: [u8; 32],
    /// Signed pre-key: id, public key, signature.
    pub signed: (u32, [u8; 32], Vec<u8>),
    /// One-time pre-key, when one is left.
    pub one_time: Option<(u32, [u8; 32])>,
}

/// Keys and sessions of one phone.
#[derive(Serialize, Deserialize)]
pub struct Peer {
    identity: Identity,
    signed: KeyPair,
    signed_signature: Blob,
    one_time: PreKeys,
    next_one_time: u32,
    sessions: Sessions,
}

#[derive(Serialize, Deserialize)]
struct Identity {
    pair: KeyPair,
    registration_id: u32,
}

#[derive(Default, Serialize, Deserialize)]
struct PreKeys(BTreeMap<u32, KeyPair>);

struct Signed<'a> {
    pair: &'a KeyPair,
    signature: &'a [u8],
}

#[derive(Default)]
struct Sessions(HashMap<String, SessionRecord>);

impl Peer {
    /// A phone with fresh keys.
    pub fn generate() -> Result<Self, SignalProtocolError> {
        let mut rng = rand::rng();
        let pair = KeyPair::generate(&mut rng);
        let signed = KeyPair::generate(&mut rng);
        let signature = pair.calculate_signature(&signed.public_key.serialize(), &mut rng)?;
        let registration_id = rand::random_range(1..0x3fff);
        Ok(Self {
            identity: Identity { pair, registration_id },
            signed,
            signed_signature: Blob(signature.to_vec()),
            one_time: PreKeys::default(),
            next_one_time: 1,
            sessions: Sessions::default(),
        })
    }

    /// The long-term key pair; signs the account's linked devices.
    pub fn identity(&self) -> &KeyPair {
        &self.identity.pair
    }

    /// A bundle with a one-time pre-key of its own.
    pub fn bundle(&mut self) -> Bundle {
        let id = self.next_one_time;
        // The wire has three bytes for an id.
        self.next_one_time = if id >= 0xff_fffe { 1 } else { id + 1 };
        let pair = KeyPair::generate(&mut rand::rng());
        let public = raw(&pair.public_key);
        self.one_time.0.insert(id, pair);
        Bundle {
            registration_id: self.identity.registration_id,
            identity: raw(&self.identity.pair.public_key),
            signed: (SIGNED_PRE_KEY, raw(&self.signed.public_key), self.signed_signature.0.clone()),
            one_time: Some((id, public)),
        }
    }

    /// Whether there is a session with `device`.
    pub fn knows(&self, device: &str) -> bool {
        self.sessions.0.get(device).is_some_and(|record| record.session_state().is_some())
    }

    /// The next message begins a new session; what was sent in the present one can still be read.
    pub fn put_aside(&mut self, device: &str) {
        if let Some(record) = self.sessions.0.get_mut(device)
            && let Err(error) = record.archive_current_state()
        {
            tracing::warn!(%error, "simulator: a session cannot be put aside");
        }
    }

    /// Begins a session from the bundle that `device` uploaded.
    pub fn begin(&mut self, device: &str, bundle: &Bundle) -> Result<(), SignalProtocolError> {
        let (signed_id, signed_public, signature) = &bundle.signed;
        let one_time = bundle
            .one_time
            .map(|(id, public)| {
                Ok::<_, SignalProtocolError>((
                    PreKeyId::from(id),
                    PublicKey::from_djb_public_key_bytes(&public)?,
                ))
            })
            .transpose()?;
        let bundle = PreKeyBundle::new(
            bundle.registration_id,
            0.into(),
            one_time,
            SignedPreKeyId::from(*signed_id),
            PublicKey::from_djb_public_key_bytes(signed_public)?,
            signature.clone(),
            IdentityKey::new(PublicKey::from_djb_public_key_bytes(&bundle.identity)?),
        )?;
        now(process_prekey_bundle(
            &address(device),
            &mut self.sessions,
            &mut self.identity,
            &bundle,
            &mut rand::rng(),
            UsePQRatchet::No,
        ))
        .map(|_| ())
    }

    /// Encrypts for `device`; there must be a session.
    pub fn encrypt(&mut self, device: &str, plain: &[u8]) -> Result<Sealed, SignalProtocolError> {
        let sealed =
            now(message_encrypt(&pad(plain), &address(device), &mut self.sessions, &mut self.identity))?;
        let kind = match sealed {
            CiphertextMessage::PreKeySignalMessage(_) => "pkmsg",
            _ => "msg",
        };
        Ok(Sealed { kind, bytes: sealed.serialize().to_vec() })
    }

    /// Decrypts what `device` sent; `kind` is the `type` of `<enc>`.
    pub fn decrypt(
        &mut self,
        device: &str,
        kind: &str,
        sealed: &[u8],
    ) -> Result<Vec<u8>, SignalProtocolError> {
        let message = match kind {
            "pkmsg" => CiphertextMessage::PreKeySignalMessage(PreKeySignalMessage::try_from(sealed)?),
            _ => CiphertextMessage::SignalMessage(SignalMessage::try_from(sealed)?),
        };
        let signed = Signed { pair: &self.signed, signature: &self.signed_signature.0 };
        let opened = now(message_decrypt(
            &message,
            &address(device),
            &mut self.sessions,
            &mut self.identity,
            &mut self.one_time,
            &signed,
            &mut rand::rng(),
            UsePQRatchet::No,
        ))?;
        if let Some(used) = opened.consumed_prekey_id {
            self.one_time.0.remove(&u32::from(used));
        }
        unpad(opened.plaintext)
    }
}

/// The 32 bytes of a key as they travel, without the type byte in front.
pub fn raw(key: &PublicKey) -> [u8; 32] {
    let typed = key.serialize();
    std::array::from_fn(|i| typed[i + 1])
}

fn address(device: &str) -> ProtocolAddress {
    ProtocolAddress::new(device, 0.into())
}

/// The stores below answer at once, so the future is ready at its first poll.
fn now<T>(future: impl Future<Output = SignalResult<T>>) -> SignalResult<T> {
    future.now_or_never().unwrap_or(Err(SignalProtocolError::InvalidState(
        "simulator",
        "an in-memory store did not answer at once".to_owned(),
    )))
}

/// 1 to 16 bytes, each holding their number.
fn pad(plain: &[u8]) -> Vec<u8> {
    let n: u8 = rand::random_range(1..=16);
    let mut padded = plain.to_vec();
    padded.resize(plain.len() + usize::from(n), n);
    padded
}

fn unpad(mut padded: Vec<u8>) -> Result<Vec<u8>, SignalProtocolError> {
    let n = usize::from(padded.last().copied().unwrap_or_default());
    if n == 0 || n > padded.len() {
        return Err(SignalProtocolError::InvalidArgument("the padding is wrong".to_owned()));
    }
    padded.truncate(padded.len() - n);
    Ok(padded)
}

#[async_trait]
impl SessionStore for Sessions {
    async fn load_session(&self, address: &ProtocolAddress) -> SignalResult<Option<SessionRecord>> {
        let mut record = self.0.get(address.name()).cloned();
        if let Some(record) = &mut record {
            // The state lives in memory for as long as anything was sent from it.
            record.waive_counter_lease();
        }
        Ok(record)
    }

    async fn has_session(&self, address: &ProtocolAddress) -> SignalResult<bool> {
        Ok(self.0.contains_key(address.name()))
    }

    async fn store_session(
        &mut self,
        address: &ProtocolAddress,
        mut record: SessionRecord,
    ) -> SignalResult<()> {
        record.waive_counter_lease();
        self.0.insert(address.name().to_owned(), record);
        Ok(())
    }
}

#[async_trait]
impl IdentityKeyStore for Identity {
    async fn get_identity_key_pair(&self) -> SignalResult<IdentityKeyPair> {
        Ok(self.pair.clone().into())
    }

    async fn get_local_registration_id(&self) -> SignalResult<u32> {
        Ok(self.registration_id)
    }

    async fn save_identity(&mut self, _: &ProtocolAddress, _: &IdentityKey) -> SignalResult<IdentityChange> {
        Ok(IdentityChange::NewOrUnchanged)
    }

    async fn is_trusted_identity(
        &self,
        _: &ProtocolAddress,
        _: &IdentityKey,
        _: Direction,
    ) -> SignalResult<bool> {
        Ok(true)
    }

    async fn get_identity(&self, _: &ProtocolAddress) -> SignalResult<Option<IdentityKey>> {
        Ok(None)
    }
}

#[async_trait]
impl PreKeyStore for PreKeys {
    async fn get_pre_key(&self, id: PreKeyId) -> SignalResult<PreKeyRecord> {
        let pair = self.0.get(&u32::from(id)).ok_or(SignalProtocolError::InvalidPreKeyId)?;
        Ok(PreKeyRecord::new(id, pair))
    }

    async fn save_pre_key(&mut self, id: PreKeyId, record: &PreKeyRecord) -> SignalResult<()> {
        self.0.insert(id.into(), record.key_pair()?);
        Ok(())
    }

    async fn remove_pre_key(&mut self, id: PreKeyId) -> SignalResult<()> {
        self.0.remove(&u32::from(id));
        Ok(())
    }
}

#[async_trait]
impl SignedPreKeyStore for Signed<'_> {
    async fn get_signed_pre_key(&self, id: SignedPreKeyId) -> SignalResult<SignedPreKeyRecord> {
        if u32::from(id) != SIGNED_PRE_KEY {
            return Err(SignalProtocolError::InvalidSignedPreKeyId);
        }
        Ok(SignedPreKeyRecord::new(id, Timestamp::from_epoch_millis(0), self.pair, self.signature))
    }

    async fn save_signed_pre_key(&mut self, _: SignedPreKeyId, _: &SignedPreKeyRecord) -> SignalResult<()> {
        Ok(())
    }
}

impl Serialize for Sessions {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let records: Result<BTreeMap<&str, Blob>, _> =
            self.0.iter().map(|(name, record)| Ok((name.as_str(), Blob(record.serialize()?)))).collect();
        records.map_err(|e: SignalProtocolError| serde::ser::Error::custom(e))?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Sessions {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::<String, Blob>::deserialize(deserializer)?
            .into_iter()
            .map(|(name, bytes)| Ok((name, SessionRecord::deserialize(&bytes.0)?)))
            .collect::<Result<_, SignalProtocolError>>()
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_phones_talk_both_ways_and_through_a_saved_state() {
        let (mut a, mut b) = (Peer::generate().unwrap(), Peer::generate().unwrap());
        a.begin("b", &b.bundle()).unwrap();
        let first = a.encrypt("b", b"one").unwrap();
        assert_eq!(first.kind, "pkmsg");
        assert_eq!(b.decrypt("a", first.kind, &first.bytes).unwrap(), b"one");
        let answer = b.encrypt("a", b"two").unwrap();
        assert_eq!(answer.kind, "msg");
        assert_eq!(a.decrypt("b", answer.kind, &answer.bytes).unwrap(), b"two");

        let json = serde_json::to_string(&a).unwrap();
        let mut a: Peer = serde_json::from_str(&json).unwrap();
        let third = a.encrypt("b", b"three").unwrap();
        assert_eq!(third.kind, "msg");
        assert_eq!(b.decrypt("a", third.kind, &third.bytes).unwrap(), b"three");
        assert!(b.decrypt("a", third.kind, &third.bytes).is_err(), "a message opens once");
    }

    #[test]
    fn wrong_padding_is_an_error() {
        for padded in [vec![], vec![0], vec![5, 5]] {
            assert!(unpad(padded).is_err());
        }
        assert_eq!(unpad(pad(b"text")).unwrap(), b"text");
    }
}
