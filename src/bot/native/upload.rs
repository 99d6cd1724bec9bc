//! Puts a file on WhatsApp's media servers, encrypted, so that a message can name it.
//!
//! A file is read piece by piece and is in memory once, encrypted: that is what goes out, perhaps to more than one
//! server. Only a few of a process are at a time.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;
use wacore::upload::{EncryptedMediaInfo, MediaEncryptor, encrypted_len};
use whatsapp_rust::error::ErrorChainExt;
use whatsapp_rust::upload::UploadResponse;

use super::gate::Valve;
use super::send::Sender;
use crate::media::{Kind, LARGEST};
use crate::store::{PIECE, Store, StoreError};

/// Files that the bots of this process have in memory.
static SEATS: Semaphore = Semaphore::const_new(2);
/// An upload that takes longer has failed.
const UPLOAD_DEADLINE: Duration = Duration::from_secs(120);
/// Attempts that fail while the link stays open.
const ATTEMPTS: u32 = 3;
/// The pause after one that failed.
const PAUSE: Duration = Duration::from_secs(2);

/// Where a file is read from.
#[derive(Clone, Copy)]
pub enum File<'f> {
    /// The database.
    Stored { store: &'f Store, valve: &'f Valve, session: &'f str, id: &'f str, size: u64 },
    /// A file beside blacksky.toml.
    Disk(&'f Path),
}

/// Why a file was not uploaded.
#[derive(Debug)]
pub enum NotUploaded {
    /// The store fails: it is tried again later.
    Store(StoreError),
    /// It is given up.
    GivenUp(String),
}

/// Uploads a file, however often the link falls meanwhile.
pub async fn upload(sender: &Sender, kind: Kind, file: File<'_>) -> Result<UploadResponse, NotUploaded> {
    let mut attempt = 1;
    loop {
        let mut open = sender.open.clone();
        if open.wait_for(|open| *open).await.is_err() {
            return std::future::pending().await;
        }
        // The hosts and what to show them are asked for over the link.
        let uploading = tokio::time::timeout(UPLOAD_DEADLINE, once(sender, kind, file));
        let outcome = tokio::select! {
            biased;
            outcome = uploading => outcome.unwrap_or(Err(Failure::Upload("UploadTimeout".to_owned()))),
            _ = open.wait_for(|open| !*open) => continue,
        };
        let problem = match outcome {
            Ok(uploaded) => return Ok(uploaded),
            Err(Failure::Store(StoreError::Unreadable { problem, .. })) => {
                return Err(NotUploaded::GivenUp(format!("the file cannot be read: {problem}")));
            }
            Err(Failure::Store(error)) => return Err(NotUploaded::Store(error)),
            Err(Failure::File(problem)) => return Err(NotUploaded::GivenUp(problem)),
            Err(Failure::Upload(problem)) => problem,
        };
        tracing::warn!(bot = %sender.name, attempt, kind = problem, "a file was not uploaded");
        if attempt == ATTEMPTS {
            return Err(NotUploaded::GivenUp(problem));
        }
        attempt += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

/// Why an attempt failed.
enum Failure {
    Store(StoreError),
    /// The file is not there, or not as it was.
    File(String),
    Upload(String),
}

async fn once(sender: &Sender, kind: Kind, file: File<'_>) -> Result<UploadResponse, Failure> {
    // Never closed.
    let _seat = SEATS.acquire().await;
    let media_type = kind.media_type();
    let (sealed, info) = sealed(kind, file).await?;
    // The error itself may hold what the server said.
    let wrong = |error: &anyhow::Error| {
        let status = error.http_status();
        Failure::Upload(status.map_or_else(|| "Upload".to_owned(), |status| format!("Upload({status})")))
    };
    sender.client.upload_stream(sealed, info, media_type).await.map_err(|error| wrong(&error))
}

/// The encrypted file and what opens it.
async fn sealed(kind: Kind, file: File<'_>) -> Result<(Bytes, EncryptedMediaInfo), Failure> {
    let wrong = |error: anyhow::Error| Failure::Upload(format!("Encryption: {error}"));
    let sidecar = matches!(kind, Kind::Audio | Kind::Video);
    let mut encryptor = MediaEncryptor::new_with_sidecar(kind.media_type(), sidecar).map_err(wrong)?;
    let mut sealed;
    match file {
        File::Stored { store, valve, session, id, size } => {
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            sealed = Vec::with_capacity(encrypted_len(size.min(LARGEST as usize)));
            let mut read = 0;
            for part in 0.. {
                let piece = valve.call(|| store.piece(session, id, part)).await.map_err(Failure::Store)?;
                let Some(piece) = piece else { break };
                read += piece.len();
                encryptor.update(&piece, &mut sealed);
                if piece.len() < PIECE {
                    break;
                }
            }
            if read != size {
                return Err(Failure::File("a part of the file is missing in the database".to_owned()));
            }
        }
        File::Disk(path) => {
            let unread = |error: std::io::Error| Failure::File(format!("the file cannot be read: {error}"));
            let mut disk = tokio::fs::File::open(path).await.map_err(unread)?;
            let size = disk.metadata().await.map_err(unread)?.len();
            if size > LARGEST {
                return Err(Failure::File(format!("the file has more than {LARGEST} bytes")));
            }
            sealed = Vec::with_capacity(encrypted_len(size as usize));
            let mut piece = vec![0; PIECE];
            // One that grows meanwhile is read as far as it was.
            let mut left = size;
            while left > 0 {
                let most = piece.len().min(left as usize);
                let n = disk.read(&mut piece[..most]).await.map_err(unread)?;
                if n == 0 {
                    return Err(Failure::File("the file was cut short while it was read".to_owned()));
                }
                left -= n as u64;
                encryptor.update(&piece[..n], &mut sealed);
            }
        }
    }
    let info = encryptor.finalize(&mut sealed).map_err(wrong)?;
    Ok((sealed.into(), info))
}
