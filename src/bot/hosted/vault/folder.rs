//! A session folder on the disk: comparing it, writing it, putting it aside.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::identity::CREDS;
use super::marker::Marker;
use super::scan::{self, Stat, read_whole, within};
use super::{KnownFiles, Work};
use crate::store::{StoredFile, pieces};

/// Folders that were put aside and are kept.
const KEPT: usize = 2;

/// Credentials that are being written are read again so often, after this pause.
const CREDS_TRIES: u32 = 10;
const CREDS_PAUSE: Duration = Duration::from_millis(2);

/// What differs from what is known.
pub fn look(folder: &Path, known: &KnownFiles) -> io::Result<Work> {
    let scan = scan::scan(folder)?;
    let mut work = Work { left_out: scan.left_out, ..Work::default() };
    for (name, stat) in &scan.files {
        let before = known.get(name);
        if before.is_some_and(|(known, _)| known == &Some(*stat)) {
            continue;
        }
        let Some(path) = within(folder, name) else { continue };
        let mut read = read_whole(&path)?;
        // Without them the rest is worth nothing, and the next look may come too late.
        for _ in 0..if name == CREDS { CREDS_TRIES } else { 0 } {
            if read.is_some() {
                break;
            }
            std::thread::sleep(CREDS_PAUSE);
            read = read_whole(&path)?;
        }
        match read {
            Some((content, stat)) => {
                // The same again, with another time.
                if before.is_none_or(|(_, stored)| *stored != pieces(&content)) {
                    work.changed.push((name.clone(), content, Some(stat)));
                }
            }
            None => work.torn.push(name.clone()),
        }
    }
    work.gone = known.keys().filter(|name| !scan.files.contains_key(*name)).cloned().collect();
    Ok(work)
}

/// Writes the stored files and the marker beside the folder, and makes that the folder; what was there before is
/// put aside. Gives the stats of the files.
pub fn write_out(folder: &Path, stored: &[StoredFile], marker: &Marker) -> io::Result<Vec<(Vec<u8>, Stat)>> {
    let folder = real(folder);
    let new = beside(&folder, "new");
    remove(&new)?;
    private_folder(&new)?;
    let mut names = Vec::with_capacity(stored.len());
    for file in stored {
        let Some(path) = within(&new, &file.path) else {
            tracing::warn!("a stored file with a name that leads out of the session folder was not restored");
            continue;
        };
        if let Some(parent) = path.parent() {
            private_folder(parent)?;
        }
        write(&path, &file.content)?;
        names.push(file.path.clone());
    }
    marker.write(&new)?;
    put_aside(&folder)?;
    if let Err(error) = fs::rename(&new, &folder) {
        // A mount point cannot be replaced, only filled.
        if !folder.is_dir() {
            return Err(error);
        }
        fill(&new, &folder)?;
    }
    let stat = |name: Vec<u8>| {
        let path = within(&folder, &name)?;
        let metadata = fs::symlink_metadata(path).ok()?;
        Some((name, Stat::of(&metadata)))
    };
    Ok(names.into_iter().filter_map(stat).collect())
}

/// Writes some stored files over what is there.
pub fn mend(folder: &Path, stored: &[StoredFile]) -> io::Result<()> {
    for file in stored {
        let Some(path) = within(folder, &file.path) else { continue };
        write(&path, &file.content)?;
    }
    Ok(())
}

/// Moves what is there out of the bot's way.
pub fn put_aside(path: &Path) -> io::Result<()> {
    let path = real(path);
    if !path.exists() {
        return Ok(());
    }
    for number in (1..KEPT).rev() {
        let (older, old) =
            (beside(&path, &format!("old-{}", number + 1)), beside(&path, &format!("old-{number}")));
        if old.exists() {
            remove(&older)?;
            fs::rename(&old, &older)?;
        }
    }
    let aside = beside(&path, "old-1");
    remove(&aside)?;
    match fs::rename(&path, &aside) {
        Ok(()) => Ok(()),
        // A mount point: its contents go.
        Err(error) if path.is_dir() => {
            private_folder(&aside)?;
            fill(&path, &aside).map_err(|_| error)
        }
        Err(error) => Err(error),
    }
}

/// Moves everything from one folder to another.
fn fill(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if fs::rename(entry.path(), &target).is_err() {
            if entry.file_type()?.is_dir() {
                private_folder(&target)?;
                fill(&entry.path(), &target)?;
                fs::remove_dir(entry.path())?;
            } else {
                write(&target, &fs::read(entry.path())?)?;
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}

/// Where the path leads to, when it is a link.
fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// `sessions` → `.sessions.blacksky-new`, beside it.
pub fn beside(path: &Path, what: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.blacksky-{what}"))
}

pub fn remove(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn private_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a file that only its owner reads.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(content)
}
