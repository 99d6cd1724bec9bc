//! Takes a file in, piece by piece, as it comes: no more than one piece of it is in memory.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::within;
use crate::media::{HEAD, LARGEST, type_of};
use crate::store::{KeptFile, PIECE, Store, StoreError};

/// A file on its way into the database.
pub struct Intake<'s> {
    store: &'s Store,
    session: &'s str,
    id: String,
    /// What makes no whole piece yet.
    rest: Vec<u8>,
    /// Pieces that are stored.
    pieces: u32,
    head: Vec<u8>,
    size: u64,
    hash: Sha256,
}

/// Why a file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    #[error("the file is empty")]
    Empty,
    #[error("the file has more than {} MB", LARGEST >> 20)]
    TooLarge,
    #[error("there is no room for it: too many files wait to be sent")]
    NoRoom,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl<'s> Intake<'s> {
    /// Keeps room for a file; `size` is what is said of it.
    pub async fn begin(
        store: &'s Store,
        session: &'s str,
        size: Option<u64>,
        at: DateTime<Utc>,
    ) -> Result<Self, NotTaken> {
        if size.is_some_and(|size| size > LARGEST) {
            return Err(NotTaken::TooLarge);
        }
        let id = rand::random::<[u8; 16]>().iter().fold(String::with_capacity(32), hex);
        if !within(store.begin_file(session, &id, size.unwrap_or(LARGEST), at)).await? {
            return Err(NotTaken::NoRoom);
        }
        let (rest, head) = (Vec::with_capacity(PIECE), Vec::new());
        Ok(Self { store, session, id, rest, pieces: 0, head, size: 0, hash: Sha256::new() })
    }

    /// Takes what has come.
    pub async fn feed(&mut self, mut bytes: &[u8]) -> Result<(), NotTaken> {
        self.size += bytes.len() as u64;
        if self.size > LARGEST {
            return Err(NotTaken::TooLarge);
        }
        self.hash.update(bytes);
        let missing = HEAD.saturating_sub(self.head.len());
        self.head.extend_from_slice(&bytes[..missing.min(bytes.len())]);
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at((PIECE - self.rest.len()).min(bytes.len()));
            self.rest.extend_from_slice(now);
            bytes = later;
            if self.rest.len() == PIECE {
                self.put().await?;
            }
        }
        Ok(())
    }

    async fn put(&mut self) -> Result<(), NotTaken> {
        within(self.store.put_piece(self.session, &self.id, self.pieces, &self.rest)).await?;
        self.pieces += 1;
        self.rest.clear();
        Ok(())
    }

    /// It is complete: its id, what it is, and its SHA-256 in hexadecimal.
    pub async fn finish(mut self, declared: Option<&str>) -> Result<(String, KeptFile, String), NotTaken> {
        let kept = async {
            if self.size == 0 {
                return Err(NotTaken::Empty);
            }
            if !self.rest.is_empty() {
                self.put().await?;
            }
            let file = KeptFile { size: self.size, mimetype: type_of(&self.head, declared) };
            within(self.store.finish_file(self.session, &self.id, &file)).await?;
            Ok(file)
        };
        match kept.await {
            Ok(file) => {
                let sha256 = self.hash.finalize().iter().fold(String::with_capacity(64), hex);
                Ok((self.id, file, sha256))
            }
            Err(error) => {
                self.abandon().await;
                Err(error)
            }
        }
    }

    /// It is not wanted any more.
    pub async fn abandon(self) {
        // If not now, a day later.
        let _ = within(self.store.drop_file(self.session, &self.id)).await;
    }
}

fn hex(mut text: String, byte: &u8) -> String {
    // Writing to a string cannot fail.
    let _ = write!(text, "{byte:02x}");
    text
}
