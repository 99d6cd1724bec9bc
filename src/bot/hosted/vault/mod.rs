//! Keeps a hosted bot's session folder and the database the same.
//!
//! Before the bot starts, [`Vault::restore`] decides by the folder's marker which of the two is newer
//! ([`marker`]). While it runs, [`Vault::mirror`] writes every change within [`QUIET`] to [`LONGEST`] to the
//! database. After it has ended, [`Vault::flush`] writes the rest. A removal of the session is not mirrored
//! ([`removal`]), and a file counts only when it was read whole ([`scan`]).

mod folder;
mod identity;
mod marker;
mod removal;
mod scan;
mod sqlite;
mod watch;

use std::collections::BTreeMap;
use std::io::{
    self,
    ErrorKind::{NotADirectory, NotFound},
};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::measure;
use crate::store::{SessionStore, StoreError, StoredFile, VaultPut, pieces};
pub use identity::{CREDS, Identity, may_be_linked};
use marker::{Marker, Source};
use removal::{Removals, Verdict};
use scan::Stat;
use watch::Watch;

/// A change is mirrored when nothing more has changed for this long …
const QUIET: Duration = Duration::from_millis(250);
/// … and at the latest this long after the first one.
const LONGEST: Duration = Duration::from_millis(400);
/// While no phone has linked the bot, the next change may be the login, which must not wait.
const PAIRING: Duration = Duration::from_millis(20);
/// A file that was being written is read again after this.
const TORN: Duration = Duration::from_millis(50);
/// A session that the bot removes again so soon after it was restored is one it cannot use.
const REMOVED_AGAIN: Duration = Duration::from_secs(600);

/// Why the folder and the database could not be made the same.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the session folder {folder} cannot be {doing}: {problem}")]
    Folder { folder: String, doing: &'static str, problem: io::Error },
    #[error("the session file {file} is no SQLite database that can be read: {problem}")]
    Sqlite { file: String, problem: String },
}

/// What [`Vault::restore`] found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    /// There is no session: the bot pairs.
    Empty,
    /// The folder has what the database has, or newer.
    Folder,
    /// The folder was there before the database: it was taken over.
    TakenOver,
    /// The folder was written from the database.
    Database { files: u64, bytes: u64 },
}

/// What is in the database now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirrored {
    pub files: u64,
    pub bytes: u64,
    /// Bytes that were written this time.
    pub written: u64,
    /// Files that were removed this time.
    pub removed: u64,
    /// What is in the folder and is not kept, in words.
    pub left_out: Option<String>,
}

/// Why the mirror ended.
#[derive(Debug)]
pub enum MirrorEnd {
    Stopped,
    /// The bot removed its session. The next [`Vault::restore`] brings it back, or, when that was tried a short
    /// time before, lets the bot begin anew.
    Removed,
    /// The database does not take it: go on with another handle, see [`Vault::rebind`].
    Failed(StoreError),
}

/// What is known of a stored file.
#[derive(Debug)]
struct Known {
    /// As it was when it was read; `None` when it must be read to be compared.
    stat: Option<Stat>,
    pieces: Vec<[u8; 32]>,
    size: u64,
}

/// One bot's vault.
#[derive(Debug)]
pub struct Vault {
    session: SessionStore,
    place: Place,
    interval: Duration,
    known: BTreeMap<Vec<u8>, Known>,
    identity: Option<Identity>,
    removals: Removals,
    /// The bot removed its session in the run before.
    removed: bool,
    /// When a removed session was restored last.
    brought_back: Option<Instant>,
}

/// What a bot keeps its session in.
#[derive(Debug, Clone)]
enum Place {
    Folder(PathBuf),
    /// A single SQLite file, of whatsmeow or whatsapp-rust.
    Sqlite(PathBuf),
}

impl Place {
    fn of(path: PathBuf) -> Self {
        let sqlite =
            path.extension().is_some_and(|kind| kind == "db" || kind == "sqlite" || kind == "sqlite3");
        if path.is_file() || (sqlite && !path.is_dir()) { Self::Sqlite(path) } else { Self::Folder(path) }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Folder(path) | Self::Sqlite(path) => path,
        }
    }
}

/// What a look compares with: stat and pieces of the stored files.
type KnownFiles = BTreeMap<Vec<u8>, (Option<Stat>, Vec<[u8; 32]>)>;

/// What one look found to do.
#[derive(Debug, Default)]
struct Work {
    changed: Vec<(Vec<u8>, Vec<u8>, Option<Stat>)>,
    /// Files that were being written.
    torn: Vec<Vec<u8>>,
    gone: Vec<Vec<u8>>,
    left_out: Vec<String>,
}

/// What became of the credentials.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    None,
    /// A linked session gave way to one that no phone knows.
    Given,
    /// A phone has linked another one.
    Linked,
}

/// What a look did.
enum Synced {
    /// Look again after this, if anything is left to do.
    Done(Mirrored, Option<Duration>),
    Removed,
}

impl Vault {
    /// A vault over `place`, an absolute path; everything is compared anew each `interval`.
    pub fn new(session: SessionStore, place: PathBuf, interval: Duration) -> Self {
        Self {
            session,
            place: Place::of(place),
            interval,
            known: BTreeMap::new(),
            identity: None,
            removals: Removals::default(),
            removed: false,
            brought_back: None,
        }
    }

    /// Goes on with another handle to the session.
    pub fn rebind(&mut self, session: SessionStore) {
        self.session = session;
    }

    /// Whether the folder holds a login of its own, which [`Self::restore`] would take over.
    pub async fn has_own_login(&self) -> Result<bool, VaultError> {
        let place = self.place.path().to_owned();
        let found = blocking(move || {
            let creds = match std::fs::read(place.join("creds.json")) {
                Ok(creds) => Some(creds),
                Err(error) if [NotFound, NotADirectory].contains(&error.kind()) => None,
                Err(error) => return Err(error),
            };
            Ok((Marker::read(&place), creds.is_some_and(|creds| identity::may_be_linked(&creds))))
        })
        .await;
        let (marker, login) = found.map_err(|problem| self.trouble("read", problem))?;
        let standing = (self.session.id(), self.session.standing());
        Ok(login && marker::source(marker.as_ref(), standing, true, None) == Source::TakeOver)
    }

    /// Makes the folder what the bot must find in it.
    pub async fn restore(&mut self) -> Result<Restored, VaultError> {
        self.session = self.session.renewed();
        let again = self.brought_back.is_some_and(|at| at.elapsed() < REMOVED_AGAIN);
        if self.removed && again {
            // The bot cannot use it: it may be that WhatsApp does not know it any more.
            self.session.archive().await?;
            self.session = self.session.renewed();
            tracing::warn!(
                session = self.session.id(),
                "the session was removed again: it is archived, and the bot pairs anew"
            );
        }
        let stored = self.session.files().await?;
        let removed = std::mem::take(&mut self.removed);
        let place = self.place.clone();
        let scan = blocking(move || match &place {
            Place::Folder(folder) => {
                scan::scan(folder).map(|scan| (Marker::read(folder), !scan.files.is_empty()))
            }
            Place::Sqlite(file) => Ok((sqlite::marker(file), file.is_file())),
        });
        let (marker, in_folder) = scan.await.map_err(|problem| self.trouble("read", problem))?;
        self.learn(&stored);
        let digest = (!stored.is_empty()).then(|| self.marker().digest);
        let standing = (self.session.id(), self.session.standing());
        let mut source = marker::source(marker.as_ref(), standing, in_folder, digest.as_deref());
        if removed {
            source = if stored.is_empty() { Source::Nowhere } else { Source::Database };
        }
        let mut brought_back = removed;
        if source == Source::Folder && !self.take_folder(&stored).await? {
            // It had removed its session, and whoever should have noticed was killed.
            (source, brought_back) = (Source::Database, true);
        }
        match source {
            Source::Nowhere => {
                self.put_aside(in_folder).await?;
                Ok(Restored::Empty)
            }
            Source::Folder => Ok(Restored::Folder),
            Source::TakeOver => {
                self.sync(true).await?;
                Ok(Restored::TakenOver)
            }
            Source::Database => {
                let files = stored.len() as u64;
                let bytes = stored.iter().map(|file| file.content.len() as u64).sum();
                self.write_out(stored).await?;
                if brought_back {
                    self.brought_back = Some(Instant::now());
                }
                Ok(Restored::Database { files, bytes })
            }
        }
    }

    /// Takes what the folder has beyond the database; `false` when the session was removed from it. What was torn by
    /// a kill is written anew, since Baileys begins a new session when its credentials do not read.
    async fn take_folder(&mut self, stored: &[StoredFile]) -> Result<bool, VaultError> {
        let torn = self.look().await?.torn;
        let mend: Vec<StoredFile> = stored.iter().filter(|file| torn.contains(&file.path)).cloned().collect();
        if let (Place::Folder(folder), false) = (self.place.clone(), mend.is_empty()) {
            tracing::warn!(
                session = self.session.id(),
                files = mend.len(),
                "files that were cut off are written anew"
            );
            let mended = blocking(move || folder::mend(&folder, &mend)).await;
            mended.map_err(|problem| self.trouble("written", problem))?;
        }
        Ok(matches!(self.sync(true).await?, Synced::Done(..)))
    }

    /// Mirrors until `stop`, and tells what was written. Safe to drop: the next mirror compares anew.
    pub async fn mirror(&mut self, stop: CancellationToken, mut report: impl FnMut(Mirrored)) -> MirrorEnd {
        let mut watch = Watch::new(self.place.path());
        let mut trouble = None;
        let mut full = Instant::now() + self.interval;
        // What changed between the restore and the first look.
        let mut look = Some(Instant::now());
        loop {
            let at = look.unwrap_or(full).min(full);
            let mut changed_at = None;
            tokio::select! {
                () = stop.cancelled() => return MirrorEnd::Stopped,
                () = watch.changed() => {
                    let first = Instant::now();
                    changed_at = Some(first);
                    let wait = if self.is_pairing() { PAIRING } else { QUIET };
                    let end = first + LONGEST.min(4 * wait);
                    let mut quiet = first + wait;
                    while quiet < end {
                        tokio::select! {
                            () = stop.cancelled() => return MirrorEnd::Stopped,
                            () = watch.changed() => quiet = Instant::now() + wait,
                            () = sleep_until(quiet) => break,
                            () = sleep_until(end) => break,
                        }
                    }
                }
                () = sleep_until(at) => {}
            }
            if Instant::now() >= full {
                full = Instant::now() + self.interval;
                for known in self.known.values_mut() {
                    known.stat = None;
                }
            }
            match self.sync(false).await {
                Ok(Synced::Done(mirrored, again)) => {
                    if trouble.take().is_some() {
                        report(mirrored.clone());
                    }
                    look = again.map(|wait| Instant::now() + wait);
                    if let (Some(at), 1..) = (changed_at, mirrored.written) {
                        measure::mirrored(at.elapsed());
                    }
                    if mirrored.written > 0 || mirrored.removed > 0 || mirrored.left_out.is_some() {
                        report(mirrored);
                    }
                }
                Ok(Synced::Removed) => {
                    self.removed = true;
                    return MirrorEnd::Removed;
                }
                Err(VaultError::Store(error)) => return MirrorEnd::Failed(error),
                Err(error) => {
                    let text = error.to_string();
                    if trouble.as_ref() != Some(&text) {
                        tracing::warn!(session = self.session.id(), "{text}");
                        report(Mirrored { left_out: Some(text.clone()), ..self.sum(0, 0, Vec::new()) });
                        trouble = Some(text);
                    }
                    look = Some(Instant::now() + Duration::from_secs(1));
                }
            }
        }
    }

    /// Writes what the bot changed at its end.
    pub async fn flush(&mut self) -> Result<Mirrored, VaultError> {
        match self.sync(true).await? {
            Synced::Done(mirrored, _) => Ok(mirrored),
            Synced::Removed => {
                self.removed = true;
                Ok(self.sum(0, 0, Vec::new()))
            }
        }
    }

    /// What the bot removed stays in the database; see [`MirrorEnd::Removed`].
    pub fn session_removed(&self) -> bool {
        self.removed
    }

    /// Compares and writes; with `at_once` the bot does not run.
    async fn sync(&mut self, at_once: bool) -> Result<Synced, VaultError> {
        let mut work = self.look().await?;
        let (mut gone, next) =
            match self.removals.judge(&work.gone, self.known.len(), Instant::now(), at_once) {
                Verdict::SessionRemoved => return Ok(Synced::Removed),
                Verdict::Believe(gone, next) => (gone, next),
            };
        match self.change_of_identity(&work) {
            Change::None => {}
            // Baileys makes new credentials when it cannot read the old ones, and bots when they remove them.
            Change::Given => return Ok(Synced::Removed),
            Change::Linked => {
                tracing::info!(
                    session = self.session.id(),
                    "the bot was linked anew: the old session is archived"
                );
                self.session.archive().await?;
                self.session = self.session.renewed();
                // All of the folder belongs to the new one.
                self.known.clear();
                self.removals = Removals::default();
                (self.identity, gone) = (None, Vec::new());
                work = self.look().await?;
            }
        }
        let puts: Vec<VaultPut<'_>> = work
            .changed
            .iter()
            .map(|(path, content, stat)| VaultPut {
                path,
                changed_at: stat.map_or(0, |stat| stat.changed_at()),
                content,
                stored: self.known.get(path).map_or(&[], |known| known.pieces.as_slice()),
            })
            .collect();
        let dropped: Vec<(&[u8], usize)> = gone
            .iter()
            .map(|path| (path.as_slice(), self.known.get(path).map_or(1, |known| known.pieces.len())))
            .collect();
        let written = self.session.exchange_files(&puts, &dropped).await?;
        drop(puts);
        for path in &gone {
            self.known.remove(path);
        }
        let wrote = !work.changed.is_empty() || !gone.is_empty();
        for (path, content, stat) in work.changed {
            if path == CREDS {
                self.identity = Identity::of(&content);
            }
            let (pieces, size) = (pieces(&content), content.len() as u64);
            self.known.insert(path, Known { stat, pieces, size });
        }
        if wrote || at_once {
            self.write_marker().await?;
        }
        // Once nobody writes any more, what is torn stays torn, and the last good one stays stored.
        let again = if !work.torn.is_empty() && !at_once { Some(TORN) } else { next };
        Ok(Synced::Done(self.sum(written, gone.len() as u64, work.left_out), again))
    }

    /// Whether the credentials are another linking's.
    fn change_of_identity(&self, work: &Work) -> Change {
        let newer = work
            .changed
            .iter()
            .find(|(path, ..)| path == CREDS)
            .and_then(|(_, creds, _)| Identity::of(creds));
        match (&self.identity, newer) {
            (Some(older), Some(newer)) if older.gives_way_to(&newer) => {
                if newer.is_linked() {
                    Change::Linked
                } else {
                    Change::Given
                }
            }
            _ => Change::None,
        }
    }

    /// Whether no phone has linked the bot yet.
    fn is_pairing(&self) -> bool {
        matches!(self.place, Place::Folder(_)) && !self.identity.as_ref().is_some_and(Identity::is_linked)
    }

    async fn look(&self) -> Result<Work, VaultError> {
        let known: KnownFiles = self
            .known
            .iter()
            .map(|(path, known)| (path.clone(), (known.stat, known.pieces.clone())))
            .collect();
        match self.place.clone() {
            Place::Folder(folder) => {
                let looked = blocking(move || folder::look(&folder, &known)).await;
                looked.map_err(|problem| self.trouble("read", problem))
            }
            Place::Sqlite(file) => sqlite::look(&file, &known).await,
        }
    }

    async fn write_out(&mut self, stored: Vec<StoredFile>) -> Result<(), VaultError> {
        let marker = self.marker();
        let place = self.place.clone();
        let written = blocking(move || match place {
            Place::Folder(folder) => folder::write_out(&folder, &stored, &marker),
            Place::Sqlite(file) => sqlite::write_out(&file, &stored, &marker),
        });
        let stats = written.await.map_err(|problem| self.trouble("written", problem))?;
        for (path, stat) in stats {
            if let Some(known) = self.known.get_mut(&path) {
                known.stat = Some(stat);
            }
        }
        Ok(())
    }

    async fn put_aside(&mut self, in_folder: bool) -> Result<(), VaultError> {
        if !in_folder {
            return Ok(());
        }
        let place = self.place.clone();
        let aside = blocking(move || folder::put_aside(place.path()));
        aside.await.map_err(|problem| self.trouble("put aside", problem))
    }

    async fn write_marker(&self) -> Result<(), VaultError> {
        let (marker, place) = (self.marker(), self.place.clone());
        let written = blocking(move || match place {
            // A bot that has removed its folder gets none from us.
            Place::Folder(folder) if folder.is_dir() => marker.write(&folder),
            Place::Folder(_) => Ok(()),
            Place::Sqlite(file) => sqlite::write_marker(&file, &marker),
        });
        written.await.map_err(|problem| self.trouble("written", problem))
    }

    fn marker(&self) -> Marker {
        let (epoch, generation) = self.session.standing();
        let mut hash = Sha256::new();
        for (path, known) in &self.known {
            hash.update((path.len() as u64).to_be_bytes());
            hash.update(path);
            known.pieces.iter().for_each(|piece| hash.update(piece));
        }
        let digest = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Marker { session: self.session.id().to_owned(), generation, epoch, digest }
    }

    /// Takes what is stored as known, to be compared by content.
    fn learn(&mut self, stored: &[StoredFile]) {
        let known = |file: &StoredFile| Known {
            stat: None,
            pieces: pieces(&file.content),
            size: file.content.len() as u64,
        };
        self.known = stored.iter().map(|file| (file.path.clone(), known(file))).collect();
        let creds = stored.iter().find(|file| file.path == CREDS);
        self.identity = creds.and_then(|creds| Identity::of(&creds.content));
        self.removals = Removals::default();
    }

    fn sum(&self, written: u64, removed: u64, left_out: Vec<String>) -> Mirrored {
        Mirrored {
            files: self.known.len() as u64,
            bytes: self.known.values().map(|known| known.size).sum(),
            written,
            removed,
            left_out: (!left_out.is_empty()).then(|| format!("not kept: {}", left_out.join(", "))),
        }
    }

    fn trouble(&self, doing: &'static str, problem: io::Error) -> VaultError {
        VaultError::Folder { folder: self.place.path().display().to_string(), doing, problem }
    }
}

/// Runs what waits for the disk.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests;
