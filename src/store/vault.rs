//! The files of a hosted bot's session.
//!
//! A file is one row or several: pieces of [`PIECE`] bytes, so that of a large file only what changed is written.
//! One statement writes what changed and removes what is gone, so that the database never holds half of a change.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::copy::{CopyRow, blocking};
use super::engine::{Bond, Which};
use super::kind::{Kind, Name, Row};
use super::sealed::{SessionStore, unreadable};
use super::{StoreError, seal};

/// Bytes of a piece of a file.
const PIECE: usize = 256 * 1024;
/// Where Baileys keeps the identity.
const CREDS: &[u8] = b"creds.json";

/// A file as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredFile {
    /// Relative, as the system spells it.
    pub path: Vec<u8>,
    /// When it changed, microseconds since 1970.
    pub changed_at: i64,
    pub content: Vec<u8>,
}

impl std::fmt::Debug for StoredFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = String::from_utf8_lossy(&self.path);
        f.debug_struct("StoredFile").field("path", &path).field("bytes", &self.content.len()).finish()
    }
}

/// A file to store.
pub struct VaultPut<'a> {
    pub path: &'a [u8],
    pub changed_at: i64,
    pub content: &'a [u8],
    /// The digests of its pieces as they are stored, by [`pieces`]; empty for a new file.
    pub stored: &'a [[u8; 32]],
}

/// The digests of a content's pieces. An empty file has one.
pub fn pieces(content: &[u8]) -> Vec<[u8; 32]> {
    split(content).map(|piece| Sha256::digest(piece).into()).collect()
}

fn split(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    let empty = content.is_empty().then_some(content);
    empty.into_iter().chain(content.chunks(PIECE))
}

fn name(path: &[u8], piece: usize) -> Name {
    Name::pair(path, u32::try_from(piece).unwrap_or(u32::MAX).to_be_bytes())
}

impl SessionStore {
    /// The session's id.
    pub fn id(&self) -> &str {
        &self.bond.session
    }

    /// The epoch and the generation this handle writes under.
    pub fn standing(&self) -> (i64, i64) {
        (self.bond.epoch, self.bond.generation)
    }

    /// A sound handle under the same epoch, in the generation that is current now.
    #[must_use]
    pub fn renewed(&self) -> Self {
        let bond = Bond { generation: self.current.get(), ..(*self.bond).clone() };
        Self::new(self.engine.clone(), self.sealer.clone(), bond, self.current.clone())
    }

    /// Whether a session id with this SHA-256 was imported before, also into a generation that is archived.
    pub async fn is_imported(&self, digest: &[u8; 32]) -> Result<bool, StoreError> {
        self.noting(self.engine.is_imported(&self.bond.session, digest).await)
    }

    /// Remembers that it was.
    pub async fn note_imported(&self, digest: &[u8; 32]) -> Result<(), StoreError> {
        self.sound()?;
        self.noting(self.engine.note_imported(&self.bond, digest).await)
    }

    /// All files, by path.
    ///
    /// # Errors
    /// `Unreadable` when a piece cannot be opened or is missing.
    pub async fn files(&self) -> Result<Vec<StoredFile>, StoreError> {
        let rows = self.engine.list(self.bond.generation, Kind::VaultFile, &Which::All).await;
        let rows = self.noting(rows)?;
        let this = self.clone();
        blocking(move || this.joined(rows)).await?
    }

    fn joined(&self, rows: Vec<Row>) -> Result<Vec<StoredFile>, StoreError> {
        let mut pieces: BTreeMap<Name, (Vec<u8>, i64, i64)> = BTreeMap::new();
        for row in rows {
            let value = if row.value.is_empty() {
                row.value
            } else {
                self.sealer
                    .open(&self.place(Kind::VaultFile, &row.name), &row.value)
                    .map_err(|problem| unreadable(Kind::VaultFile, problem))?
            };
            pieces.insert(row.name, (value, row.at, row.mark.unwrap_or_default()));
        }
        let mut files: Vec<(StoredFile, i64)> = Vec::new();
        for (name, (value, changed_at, size)) in pieces {
            match files.last_mut() {
                Some((file, _)) if file.path == name.key => file.content.extend_from_slice(&value),
                _ => files.push((StoredFile { path: name.key, changed_at, content: value }, size)),
            }
        }
        files
            .into_iter()
            .map(|(file, size)| {
                if i64::try_from(file.content.len()) == Ok(size) {
                    return Ok(file);
                }
                Err(unreadable(Kind::VaultFile, seal::OpenError::Damaged))
            })
            .collect()
    }

    /// Stores files and removes others (paths with their number of pieces), all or nothing. Gives the bytes that
    /// were written, before sealing.
    pub async fn exchange_files(
        &self,
        puts: &[VaultPut<'_>],
        gone: &[(&[u8], usize)],
    ) -> Result<u64, StoreError> {
        self.sound()?;
        let (mut rows, mut dropped, mut written) = (Vec::new(), Vec::new(), 0);
        for put in puts {
            let size = i64::try_from(put.content.len()).unwrap_or(i64::MAX);
            let new = pieces(put.content);
            for (number, piece) in split(put.content).enumerate() {
                // The first piece carries time and size, so it goes along with every change.
                if number > 0 && put.stored.get(number) == new.get(number) {
                    continue;
                }
                let name = name(put.path, number);
                let value = if piece.is_empty() {
                    Vec::new()
                } else {
                    self.sealer
                        .seal(&self.place(Kind::VaultFile, &name), piece)
                        .map_err(|problem| unreadable(Kind::VaultFile, problem))?
                };
                written += piece.len() as u64;
                rows.push(Row { name, value, at: put.changed_at, mark: Some(size) });
            }
            dropped.extend((new.len()..put.stored.len()).map(|number| name(put.path, number)));
        }
        for (path, count) in gone {
            dropped.extend((0..(*count).max(1)).map(|number| name(path, number)));
        }
        if rows.is_empty() && dropped.is_empty() {
            return Ok(0);
        }
        // In one order, so that two statements never wait for each other.
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        let done = self.engine.exchange(&self.bond, Kind::VaultFile, &rows, &dropped).await;
        self.noting(done)?;
        Ok(written)
    }
}

/// Whether files of a linked account are among these rows: Baileys' credentials with an account, or another
/// client's files, which only it can read.
pub(super) fn is_linked(rows: &[CopyRow]) -> bool {
    let mut files = rows.iter().filter(|row| row.kind == Kind::VaultFile.number()).peekable();
    if files.peek().is_none() {
        return false;
    }
    let creds = files.find(|row| row.row.name.key == CREDS);
    creds.is_none_or(|row| {
        let value: Result<serde_json::Value, _> = serde_json::from_slice(&row.row.value);
        value.is_ok_and(|value| value.pointer("/me/id").is_some_and(|id| !id.is_null()))
    })
}
