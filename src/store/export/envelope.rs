//! The outside of an export: what is readable without the passphrase, and the sealing under it.
//!
//! ```text
//! 0   magic       8   "BLKSKYEX"
//! 8   version     2   big-endian, as all numbers
//! 10  memory      4   Argon2id: KiB
//! 14  passes      4   Argon2id
//! 18  lanes       1   Argon2id
//! 19  salt       16   Argon2id
//! 35  nonce      24   XChaCha20-Poly1305
//! 59  length      8   of what follows
//! 67  ciphertext and tag; the 67 bytes before are its associated data
//! ```
//!
//! A file that says what it wants from this machine is not trusted: nothing is allocated or computed before
//! its wishes were held against bounds.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use crate::config::Secret;

const MAGIC: &[u8; 8] = b"BLKSKYEX";
const VERSION: u16 = 1;
const SALT: usize = 16;
const NONCE: usize = 24;
const TAG: u64 = 16;
const HEADER: usize = 67;

/// Largest content. A bot with 10,000 peers has some 10 MB.
pub(super) const MAX_CONTENT: u64 = 256 << 20;
/// Largest file.
pub(super) const MAX_FILE: u64 = HEADER as u64 + MAX_CONTENT + TAG;

/// What deriving the key costs. The second choice of RFC 9106 with one lane: 64 MiB fit on every dyno.
const COSTS: Costs = Costs { memory: 64 << 10, passes: 3, lanes: 1 };
/// Below this a guess costs nothing; no blacksky writes that.
const CHEAPEST: Costs = Costs { memory: 8 << 10, passes: 1, lanes: 1 };
/// Above this opening a file would take a dyno's memory or minutes.
const DEAREST: Costs = Costs { memory: 256 << 10, passes: 16, lanes: 8 };

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Costs {
    /// In KiB.
    memory: u32,
    passes: u32,
    lanes: u8,
}

/// Why an export does not open, or cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    #[error("it is not a session export of blacksky")]
    Foreign,
    #[error("{}", version_text(*found))]
    Version { found: u16 },
    #[error("it is cut short: it has {found} bytes and should have {expected}; copy it again")]
    Truncated { expected: u64, found: u64 },
    #[error("it is damaged: it has {found} bytes and should have {expected}; copy it again")]
    TooLong { expected: u64, found: u64 },
    #[error("it holds more than {} MiB, which no export does: it is damaged or was not made by blacksky", MAX_CONTENT >> 20)]
    TooLarge,
    #[error(
        "its header asks for {memory_mib} MiB of memory and {passes} passes to open it, which no blacksky writes: it is damaged or made to harm"
    )]
    Costs { memory_mib: u32, passes: u32 },
    #[error("there is not enough memory to derive the key of the passphrase: {memory_mib} MiB are needed")]
    Memory { memory_mib: u32 },
    #[error("it does not open: the passphrase is wrong, or the file is damaged")]
    DoesNotOpen,
}

fn version_text(found: u16) -> String {
    if found > VERSION {
        format!(
            "it was made by a newer blacksky (format {found}, this one knows {VERSION}): import it with that one"
        )
    } else {
        format!("it is of format {found}, which this blacksky does not read any more (it reads {VERSION})")
    }
}

#[cfg(any(test, fuzzing))]
pub(in crate::store) mod fuzz;

/// A passphrase turned into a key for one file.
pub struct ExportKey {
    costs: Costs,
    salt: [u8; SALT],
    cipher: XChaCha20Poly1305,
}

impl ExportKey {
    /// Takes a moment and 64 MiB.
    ///
    /// # Errors
    /// There is not so much memory.
    pub fn new(passphrase: &Secret) -> Result<Self, EnvelopeError> {
        Self::derived(COSTS, rand::random(), |costs, salt| argon2id(passphrase, costs, salt))
    }

    fn derived(
        costs: Costs,
        salt: [u8; SALT],
        derive: impl FnOnce(Costs, &[u8; SALT]) -> Result<[u8; 32], EnvelopeError>,
    ) -> Result<Self, EnvelopeError> {
        let key = derive(costs, &salt)?;
        Ok(Self { costs, salt, cipher: XChaCha20Poly1305::new(&key.into()) })
    }

    /// The whole file.
    pub(super) fn seal(&self, content: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        if content.len() as u64 > MAX_CONTENT {
            return Err(EnvelopeError::TooLarge);
        }
        let nonce: [u8; NONCE] = rand::random();
        let mut file = Vec::with_capacity(HEADER);
        file.extend_from_slice(MAGIC);
        file.extend_from_slice(&VERSION.to_be_bytes());
        file.extend_from_slice(&self.costs.memory.to_be_bytes());
        file.extend_from_slice(&self.costs.passes.to_be_bytes());
        file.push(self.costs.lanes);
        file.extend_from_slice(&self.salt);
        file.extend_from_slice(&nonce);
        file.extend_from_slice(&(content.len() as u64 + TAG).to_be_bytes());
        let sealed = self
            .cipher
            .encrypt(&XNonce::from(nonce), Payload { msg: content, aad: &file })
            .map_err(|_| EnvelopeError::TooLarge)?;
        file.extend_from_slice(&sealed);
        Ok(file)
    }
}

/// A file whose header is in order.
pub(super) struct Envelope {
    file: Vec<u8>,
    costs: Costs,
    salt: [u8; SALT],
    nonce: [u8; NONCE],
}

impl std::fmt::Debug for Envelope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Envelope").field("bytes", &self.file.len()).finish_non_exhaustive()
    }
}

impl Envelope {
    /// Checks what can be checked without the passphrase.
    pub(super) fn read(file: Vec<u8>) -> Result<Self, EnvelopeError> {
        let found = file.len() as u64;
        let mut header = Header(&file);
        // A file that ends within the magic is cut short rather than foreign, unless it is empty.
        let magic = &file[..file.len().min(MAGIC.len())];
        if magic.is_empty() || !MAGIC.starts_with(magic) {
            return Err(EnvelopeError::Foreign);
        }
        let cut = EnvelopeError::Truncated { expected: HEADER as u64 + TAG, found };
        let parse = |header: &mut Header<'_>| {
            header.take::<8>()?;
            let version = u16::from_be_bytes(header.take()?);
            let memory = u32::from_be_bytes(header.take()?);
            let passes = u32::from_be_bytes(header.take()?);
            let [lanes] = header.take()?;
            let costs = Costs { memory, passes, lanes };
            Some((version, costs, header.take()?, header.take()?, u64::from_be_bytes(header.take()?)))
        };
        let version = header.0.get(8..10).and_then(|bytes| bytes.try_into().ok()).map(u16::from_be_bytes);
        if let Some(found) = version.filter(|version| *version != VERSION) {
            return Err(EnvelopeError::Version { found });
        }
        let (_, costs, salt, nonce, length) = parse(&mut header).ok_or(cut)?;
        costs.check()?;
        if !(TAG..=MAX_CONTENT + TAG).contains(&length) {
            return Err(EnvelopeError::TooLarge);
        }
        let expected = HEADER as u64 + length;
        match found.cmp(&expected) {
            std::cmp::Ordering::Less => Err(EnvelopeError::Truncated { expected, found }),
            std::cmp::Ordering::Greater => Err(EnvelopeError::TooLong { expected, found }),
            std::cmp::Ordering::Equal => Ok(Self { costs, salt, nonce, file }),
        }
    }

    /// The content. Takes a moment.
    pub(super) fn open(&self, passphrase: &Secret) -> Result<Vec<u8>, EnvelopeError> {
        self.opened(|costs, salt| argon2id(passphrase, costs, salt))
    }

    fn opened(
        &self,
        derive: impl FnOnce(Costs, &[u8; SALT]) -> Result<[u8; 32], EnvelopeError>,
    ) -> Result<Vec<u8>, EnvelopeError> {
        let key = derive(self.costs, &self.salt)?;
        let (header, sealed) = self.file.split_at(HEADER);
        XChaCha20Poly1305::new(&key.into())
            .decrypt(&XNonce::from(self.nonce), Payload { msg: sealed, aad: header })
            .map_err(|_| EnvelopeError::DoesNotOpen)
    }
}

impl std::fmt::Debug for ExportKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExportKey").field("costs", &self.costs).finish_non_exhaustive()
    }
}

/// What is left of a header.
struct Header<'a>(&'a [u8]);

impl Header<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>()?;
        self.0 = tail;
        Some(*head)
    }
}

impl Costs {
    fn check(self) -> Result<(), EnvelopeError> {
        let within = |range: std::ops::RangeInclusive<u32>, value| range.contains(&value);
        let fits = within(CHEAPEST.memory..=DEAREST.memory, self.memory)
            && within(CHEAPEST.passes..=DEAREST.passes, self.passes)
            && (CHEAPEST.lanes..=DEAREST.lanes).contains(&self.lanes);
        let wish = EnvelopeError::Costs { memory_mib: self.memory >> 10, passes: self.passes };
        if fits { Ok(()) } else { Err(wish) }
    }
}

fn argon2id(passphrase: &Secret, costs: Costs, salt: &[u8; SALT]) -> Result<[u8; 32], EnvelopeError> {
    let wish = EnvelopeError::Costs { memory_mib: costs.memory >> 10, passes: costs.passes };
    let lanes = u32::from(costs.lanes);
    let params = Params::new(costs.memory, costs.passes, lanes, Some(32)).map_err(|_| wish.clone())?;
    let mut memory: Vec<Block> = Vec::new();
    memory
        .try_reserve_exact(params.block_count())
        .map_err(|_| EnvelopeError::Memory { memory_mib: costs.memory >> 10 })?;
    memory.resize(params.block_count(), Block::default());
    let mut key = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(passphrase.expose().as_bytes(), salt, &mut key, &mut memory)
        .map_err(|_| wish)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::*;

    /// Argon2 takes a second in a test build; what is tested here is all the rest.
    fn quick(passphrase: &str) -> impl Fn(Costs, &[u8; SALT]) -> Result<[u8; 32], EnvelopeError> {
        move |costs, salt| {
            let costs = format!("{costs:?}");
            let parts = [passphrase.as_bytes(), salt.as_slice(), costs.as_bytes()];
            Ok(Sha256::digest(parts.concat()).into())
        }
    }

    fn sealed(content: &[u8]) -> Vec<u8> {
        let key = ExportKey::derived(COSTS, rand::random(), quick("a passphrase")).expect("a key");
        key.seal(content).expect("seals")
    }

    fn opened(file: Vec<u8>, passphrase: &str) -> Result<Vec<u8>, EnvelopeError> {
        Envelope::read(file)?.opened(quick(passphrase))
    }

    #[test]
    fn argon2_opens_what_it_sealed_and_only_that() {
        let file = ExportKey::new(&Secret::new("correct horse battery"))
            .expect("a key")
            .seal(b"content")
            .expect("seals");
        let envelope = Envelope::read(file).expect("reads");
        assert_eq!(envelope.open(&Secret::new("correct horse battery")), Ok(b"content".to_vec()));
        assert_eq!(envelope.open(&Secret::new("correct horse batterz")), Err(EnvelopeError::DoesNotOpen));
    }

    #[test]
    fn argon2id_is_the_one_of_the_reference() {
        // As OpenSSL computes it (memory 8192 KiB, one pass, one lane).
        let key = argon2id(&Secret::new("password"), CHEAPEST, b"somesaltsomesalt").expect("derives");
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "84fb006bbc3cd69895722b64b5bf735251a9e8e9f3ecb93ff595b98aeb7accb7");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let file = sealed(b"content");
        let with = |at: usize, bytes: &[u8]| {
            let mut file = file.clone();
            file[at..at + bytes.len()].copy_from_slice(bytes);
            opened(file, "a passphrase").expect_err("refused")
        };
        assert_eq!(opened(b"PK\x03\x04 a zip".to_vec(), "").expect_err("refused"), EnvelopeError::Foreign);
        assert_eq!(opened(Vec::new(), "").expect_err("refused"), EnvelopeError::Foreign);
        assert_eq!(with(8, &[0, 2]), EnvelopeError::Version { found: 2 });
        assert!(with(8, &[0, 2]).to_string().contains("newer blacksky"));
        assert!(with(8, &[0, 0]).to_string().contains("does not read any more"));
        for (at, bytes) in [
            (10, u32::MAX.to_be_bytes()),
            (10, (DEAREST.memory + 1).to_be_bytes()),
            (10, (CHEAPEST.memory - 1).to_be_bytes()),
            (14, [0; 4]),
            (14, u32::MAX.to_be_bytes()),
        ] {
            assert!(matches!(with(at, &bytes), EnvelopeError::Costs { .. }), "{at} {bytes:?}");
        }
        assert!(matches!(with(18, &[0]), EnvelopeError::Costs { .. }));
        assert_eq!(with(59, &u64::MAX.to_be_bytes()), EnvelopeError::TooLarge);
        assert_eq!(with(59, &0u64.to_be_bytes()), EnvelopeError::TooLarge);
        assert!(matches!(with(59, &24u64.to_be_bytes()), EnvelopeError::Truncated { .. }));
        assert!(matches!(with(59, &22u64.to_be_bytes()), EnvelopeError::TooLong { .. }));
        assert_eq!(opened(file.clone(), "another").expect_err("refused"), EnvelopeError::DoesNotOpen);
        for length in [1, 7, 8, 9, 30, HEADER - 1, HEADER, file.len() - 1] {
            let error = opened(file[..length].to_vec(), "a passphrase").expect_err("refused");
            assert!(matches!(error, EnvelopeError::Truncated { .. }), "{length}: {error}");
        }
    }

    proptest! {
        #[test]
        fn a_file_opens_as_it_was(content in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(opened(sealed(&content), "a passphrase"), Ok(content));
        }

        #[test]
        fn any_changed_byte_and_any_cut_is_refused(
            content in proptest::collection::vec(any::<u8>(), 0..100),
            at in any::<prop::sample::Index>(),
            change in 1u8..,
            cut in any::<prop::sample::Index>(),
        ) {
            let file = sealed(&content);
            let mut changed = file.clone();
            let at = at.index(file.len());
            changed[at] ^= change;
            prop_assert!(opened(changed, "a passphrase").is_err(), "byte {}", at);
            let cut = cut.index(file.len());
            prop_assert!(opened(file[..cut].to_vec(), "a passphrase").is_err(), "cut at {}", cut);
        }

        #[test]
        fn no_bytes_make_it_panic_or_ask_for_much(
            mut file in proptest::collection::vec(any::<u8>(), 0..200),
            ours in any::<bool>(),
        ) {
            if ours {
                for (byte, magic) in file.iter_mut().zip(MAGIC.iter().chain(&[0, 1])) {
                    *byte = *magic;
                }
            }
            let refused = Envelope::read(file).and_then(|envelope| {
                assert!(envelope.costs.memory <= DEAREST.memory && envelope.costs.passes <= DEAREST.passes);
                envelope.opened(quick("a passphrase"))
            });
            prop_assert!(refused.is_err());
        }
    }
}
