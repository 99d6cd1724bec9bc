//! How the receiver of a webhook knows that it came from here, and when.

use std::fmt::Write;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::config::Secret;

/// `sha256=` and the HMAC-SHA256 in hex of `timestamp`, a full stop and `body`.
///
/// The timestamp (seconds since 1970) is signed too, so that a receiver can refuse what is replayed later.
pub fn signature(secret: &Secret, timestamp: i64, body: &[u8]) -> String {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(secret.expose().as_bytes())
        .unwrap_or_else(|_| unreachable!("HMAC takes a key of any length"));
    mac.update(timestamp.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    let mut text = String::from("sha256=");
    for byte in mac.finalize().into_bytes() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_openssl_says() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 'a secret of the test'
        assert_eq!(
            signature(&Secret::new("a secret of the test"), 1_700_000_000, br#"{"a":1}"#),
            "sha256=79d6f5024f3b9867ff18db9db735bfc20196f097771dc4045949f3f74b622a4d"
        );
    }

    #[test]
    fn time_and_body_cannot_be_moved_into_each_other() {
        let secret = Secret::new("a secret of the test");
        assert_ne!(signature(&secret, 1, b"2.x"), signature(&secret, 12, b".x"));
    }
}
