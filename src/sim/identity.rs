//! The server's own keys: a root, an intermediate certificate, and the static Noise key
//! whose leaf certificate the intermediate signs. The same shape as WhatsApp's chain
//! (serials 0 → 1 → 2, XEdDSA signatures over the encoded details).

use serde::{Deserialize, Serialize};
use wacore_libsignal::protocol::{CurveError, KeyPair};
use waproto::buffa::{Message, MessageField};
use waproto::whatsapp::CertChain;
use waproto::whatsapp::cert_chain::NoiseCertificate;
use waproto::whatsapp::cert_chain::noise_certificate::Details;

use super::blob::Blob;

const DAY: u64 = 24 * 60 * 60;

/// Long-lived server keys. Clients that reconnect with Noise IK remember the static key,
/// so it is kept in the state folder.
#[derive(Clone, Serialize, Deserialize)]
pub struct ServerIdentity {
    root: KeyPair,
    static_key: KeyPair,
    chain: Blob,
}

impl ServerIdentity {
    /// New keys with a chain valid from one day before `now` (unix seconds) for ten years.
    pub fn generate(now: u64) -> Result<Self, CurveError> {
        let mut rng = rand::rng();
        let (root, intermediate, static_key) =
            (KeyPair::generate(&mut rng), KeyPair::generate(&mut rng), KeyPair::generate(&mut rng));
        let certificate = |serial, issuer: u32, key: &KeyPair, signer: &KeyPair| {
            let details = Details {
                serial: Some(serial),
                issuer_serial: Some(issuer),
                key: Some(key.public_key.public_key_bytes().to_vec()),
                not_before: Some(now.saturating_sub(DAY)),
                not_after: Some(now + 3650 * DAY),
            }
            .encode_to_vec();
            let signature = signer.calculate_signature(&details, &mut rand::rng())?.to_vec();
            Ok::<_, CurveError>(NoiseCertificate { details: Some(details), signature: Some(signature) })
        };
        let chain = CertChain {
            leaf: MessageField::some(certificate(2, 1, &static_key, &intermediate)?),
            intermediate: MessageField::some(certificate(1, 0, &intermediate, &root)?),
        };
        Ok(Self { root, static_key, chain: Blob(chain.encode_to_vec()) })
    }

    /// The static Noise key.
    pub fn static_key(&self) -> &KeyPair {
        &self.static_key
    }

    /// The encoded `CertChain` that the ServerHello carries.
    pub fn chain(&self) -> &[u8] {
        &self.chain.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wacore_libsignal::protocol::PublicKey;

    #[test]
    fn both_signatures_verify_and_the_leaf_names_the_static_key() {
        let identity = ServerIdentity::generate(1_800_000_000).unwrap();
        let chain = waproto::codec::cert_chain_decode(identity.chain()).unwrap();
        let (leaf, intermediate) =
            (chain.leaf.into_option().unwrap(), chain.intermediate.into_option().unwrap());
        let details = |c: &NoiseCertificate| {
            waproto::codec::noise_certificate_details_decode(c.details.as_deref().unwrap()).unwrap()
        };
        let verify = |key: &[u8], c: &NoiseCertificate| {
            PublicKey::from_djb_public_key_bytes(key)
                .unwrap()
                .verify_signature(c.details.as_deref().unwrap(), c.signature.as_deref().unwrap())
        };
        let root = identity.root.public_key.public_key_bytes();
        assert!(verify(root, &intermediate));
        assert!(verify(details(&intermediate).key.as_deref().unwrap(), &leaf));
        assert!(!verify(root, &leaf));
        assert_eq!(details(&leaf).key.as_deref(), Some(identity.static_key().public_key.public_key_bytes()));
        assert_eq!(details(&leaf).issuer_serial, details(&intermediate).serial);
    }
}
