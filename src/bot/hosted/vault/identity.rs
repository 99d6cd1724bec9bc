//! Whose credentials a Baileys folder holds.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// Where Baileys keeps them.
pub const CREDS: &[u8] = b"creds.json";

/// Tells one linking of one account from another. Holds no key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    keys: [u8; 32],
    linked: bool,
}

impl Identity {
    /// Reads credentials; `None` when they are none.
    pub fn of(creds: &[u8]) -> Option<Self> {
        let creds: Value = serde_json::from_slice(creds).ok()?;
        let noise = creds.pointer("/noiseKey/public")?;
        let identity = creds.pointer("/signedIdentityKey/public")?;
        let mut hash = Sha256::new();
        hash.update(noise.to_string());
        hash.update(identity.to_string());
        let linked = creds.pointer("/me/id").is_some_and(|id| !id.is_null());
        Some(Self { keys: hash.finalize().into(), linked })
    }

    /// Whether `newer` is another linking than this one, which was in use.
    pub fn gives_way_to(&self, newer: &Self) -> bool {
        self.linked && self.keys != newer.keys
    }

    /// Whether it is the same linking.
    pub fn is_same(&self, other: &Self) -> bool {
        self.keys == other.keys
    }

    /// Whether a phone has linked it.
    pub fn is_linked(&self) -> bool {
        self.linked
    }
}

/// Whether these credentials may belong to a linked account. What does not read is no proof of the contrary.
pub fn may_be_linked(creds: &[u8]) -> bool {
    Identity::of(creds).is_none_or(|identity| identity.is_linked())
}

#[cfg(test)]
mod tests {
    use super::Identity;

    fn creds(noise: &str, me: &str) -> Identity {
        let text = format!(
            r#"{{"noiseKey":{{"public":{{"type":"Buffer","data":"{noise}"}}}},"signedIdentityKey":{{"public":"x"}},"me":{me},"nextPreKeyId":31}}"#
        );
        Identity::of(text.as_bytes()).expect("credentials")
    }

    #[test]
    fn another_linking_is_told_from_a_change_of_the_same() {
        let (new, linked) = (creds("AAAA", "null"), creds("AAAA", r#"{"id":"1555:3@s.whatsapp.net"}"#));
        assert!(!new.gives_way_to(&linked), "the scan");
        assert!(linked.gives_way_to(&creds("BBBB", "null")) && linked.is_linked() && !new.is_linked());
        assert!(!new.gives_way_to(&creds("BBBB", "null")), "nothing is lost");
        assert_eq!(Identity::of(b"{}"), None);
        assert_eq!(Identity::of(b"[1"), None);
    }
}
