//! An export: one session in one file under a passphrase, to be carried to another app or another kind of
//! database. The secret key of the app is not in it and is not needed to open it.
//!
//! The file is an envelope (`envelope`) around one byte, which says whether a bot may have been running
//! meanwhile, and a copy of the session ([`super::copy`]), which has a version of its own.

pub(super) mod envelope;
mod file;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

pub use envelope::{EnvelopeError, ExportKey};
pub use file::{FileError, NewFile};

use super::{DecodeError, SessionCopy};
use crate::config::Secret;
use envelope::Envelope;

const UNDER_THE_LEASE: u8 = 0;
const BESIDE_A_BOT: u8 = 1;

/// What an export holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// The session.
    pub copy: SessionCopy,
    /// It was taken without the lease: a bot may have been running, and may run on.
    pub beside_a_bot: bool,
}

/// Why a file is not imported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It cannot be read.
    #[error("{} cannot be read: {problem}", path.display())]
    File { path: PathBuf, problem: std::io::Error },
    /// Its outside is not in order, or it does not open.
    #[error("{}: {problem}", path.display())]
    Envelope { path: PathBuf, problem: EnvelopeError },
    /// It opens, and what is in it is no copy that this blacksky reads.
    #[error("{}: what is in it does not read: {problem}", path.display())]
    Content { path: PathBuf, problem: DecodeError },
}

impl Export {
    /// The bytes of the file.
    ///
    /// # Errors
    /// The session is too large.
    pub fn seal(&self, key: &ExportKey) -> Result<Vec<u8>, EnvelopeError> {
        let mut content = self.copy.encode();
        content.insert(0, if self.beside_a_bot { BESIDE_A_BOT } else { UNDER_THE_LEASE });
        key.seal(&content)
    }

    fn of(content: &[u8]) -> Result<Self, DecodeError> {
        match content.split_first() {
            Some((mark @ &(UNDER_THE_LEASE | BESIDE_A_BOT), copy)) => {
                Ok(Self { copy: SessionCopy::decode(copy)?, beside_a_bot: *mark == BESIDE_A_BOT })
            }
            _ => Err(DecodeError::Damaged("its first byte does not read")),
        }
    }
}

/// A file that looks like an export from outside.
#[derive(Debug)]
pub struct SealedExport {
    path: PathBuf,
    envelope: Envelope,
}

impl SealedExport {
    /// Reads a file and checks what can be checked without the passphrase.
    ///
    /// # Errors
    /// It is not there, is no export, is cut short, or asks for more than this machine is to give.
    pub fn read(path: &Path) -> Result<Self, ExportError> {
        let path = path.to_owned();
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| {
            // One byte more than the largest tells that there is more.
            file.take(envelope::MAX_FILE + 1).read_to_end(&mut bytes)
        });
        if let Err(problem) = read {
            return Err(ExportError::File { path, problem });
        }
        match Envelope::read(bytes) {
            Ok(envelope) => Ok(Self { path, envelope }),
            Err(problem) => Err(ExportError::Envelope { path, problem }),
        }
    }

    /// What is in it. Takes a moment and the memory that its header names.
    ///
    /// # Errors
    /// The passphrase is wrong, or the content does not read.
    pub fn open(&self, passphrase: &Secret) -> Result<Export, ExportError> {
        let path = self.path.clone();
        let content = match self.envelope.open(passphrase) {
            Ok(content) => content,
            Err(problem) => return Err(ExportError::Envelope { path, problem }),
        };
        Export::of(&content).map_err(|problem| ExportError::Content { path, problem })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_content_makes_it_panic(content in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Export::of(&content);
            let _ = Export::of(&[&[BESIDE_A_BOT], b"blacksky\x01".as_slice(), &content].concat());
        }
    }

    #[test]
    fn files_that_are_none_are_said_with_their_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("main.export");
        let said = |path: &Path| SealedExport::read(path).expect_err("refused").to_string();
        assert!(said(&path).contains("main.export cannot be read"));
        assert!(said(folder.path()).contains("cannot be read"));
        std::fs::write(&path, "something else").expect("writes");
        assert!(said(&path).contains("main.export: it is not a session export of blacksky"));
    }
}
