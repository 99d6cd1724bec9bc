//! The outside of an export, whatever it is.

use sha2::{Digest as _, Sha256};

use super::{COSTS, Costs, DEAREST, Envelope, EnvelopeError, ExportKey, SALT};

/// In place of Argon2, which takes a second.
#[allow(clippy::unnecessary_wraps, reason = "as Argon2's")]
fn quick(costs: Costs, salt: &[u8; SALT]) -> Result<[u8; 32], EnvelopeError> {
    Ok(Sha256::digest([format!("{costs:?}").as_bytes(), salt].concat()).into())
}

/// A file of these bytes asks for no more than the bounds and does not open; one that was sealed opens as it was.
pub fn outside(bytes: &[u8]) {
    match Envelope::read(bytes.to_vec()) {
        Ok(envelope) => {
            assert!(envelope.costs.memory <= DEAREST.memory && envelope.costs.passes <= DEAREST.passes);
            // No input was sealed under this key.
            assert_eq!(envelope.opened(quick), Err(EnvelopeError::DoesNotOpen));
        }
        Err(problem) => assert!(!problem.to_string().is_empty()),
    }
    let key = ExportKey::derived(COSTS, [7; SALT], quick).expect("a key");
    let sealed = Envelope::read(key.seal(bytes).expect("seals")).expect("reads");
    assert_eq!(sealed.opened(quick).as_deref(), Ok(bytes));
}
