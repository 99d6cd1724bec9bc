//! Fuzzed here: a file with an exported session, and notices.

use super::Notice;

/// A file: as it comes, and as the content of one that opens.
pub fn export(bytes: &[u8]) {
    super::export::envelope::fuzz::outside(bytes);
    super::export::fuzz::inside(bytes);
    super::copy::codec::fuzz::body(bytes);
}

/// The payload of a notice; what reads is written as what reads as the same.
pub fn notice(payload: &str) {
    if let Some(notice) = Notice::read(payload) {
        assert_eq!(Notice::read(&notice.to_string()), Some(notice));
    }
}
