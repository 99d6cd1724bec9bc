//! The encoded form of a copy, whatever is in it.

use super::*;

/// The body of a copy, with the checksum that belongs to it: this is what a file may hold that opens. What decodes is
/// encoded to what decodes to the same, under the same digest.
pub fn body(bytes: &[u8]) {
    let deflate = DeflateEncoder::new([&MAGIC[..], &[VERSION]].concat(), Compression::fast());
    let mut writer = Writer { to: deflate, sum: Sha256::new() };
    writer.put(bytes).expect("writes");
    let Writer { to: mut deflate, sum } = writer;
    deflate.write_all(&sum.finalize()).expect("writes");
    copy(&deflate.finish().expect("finishes"));
    copy(bytes);
}

fn copy(encoded: &[u8]) {
    match SessionCopy::decode(encoded) {
        Ok(copy) => {
            let again = SessionCopy::decode(&copy.encode()).expect("what we wrote decodes");
            assert!(again == copy && again.digest() == copy.digest());
            let _ = (copy.is_linked(), copy.is_empty());
            let renamed = copy.clone().renamed("other");
            assert_eq!((renamed.rows(), renamed.digest()), (copy.rows(), copy.digest()));
            let shown = format!("{copy:?}");
            assert!(shown.len() < 400 + 8 * copy.header.session.len(), "{shown}");
        }
        Err(problem) => assert!(!problem.to_string().is_empty()),
    }
}
