//! The inside of an export, whatever it is.

use super::{BESIDE_A_BOT, Export, UNDER_THE_LEASE};

/// The content of a file that opens; what reads is written as what reads as the same.
pub fn inside(content: &[u8]) {
    if let Ok(export) = Export::of(content) {
        let mark = if export.beside_a_bot { BESIDE_A_BOT } else { UNDER_THE_LEASE };
        let again = [&[mark], &export.copy.encode()[..]].concat();
        assert!(Export::of(&again).as_ref() == Ok(&export));
    }
}
