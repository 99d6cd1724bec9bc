//! A private file that appears under its name only when it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

/// Why a file could not be written. Nothing of it is left behind then.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is one already.
    #[error("{} exists already: name another file, or overwrite it with --force", path.display())]
    Exists { path: PathBuf },
    /// Its folder is not there.
    #[error("the folder of {} does not exist: make it first", path.display())]
    NoFolder { path: PathBuf },
    /// It names a folder.
    #[error("{} is a folder: name a file in it", path.display())]
    Folder { path: PathBuf },
    /// No space.
    #[error("the disk is full: {} was not written", path.display())]
    Full { path: PathBuf },
    /// Anything else.
    #[error("{} cannot be written: {problem}", path.display())]
    Io { path: PathBuf, problem: io::Error },
}

impl FileError {
    fn of(path: &Path, problem: io::Error) -> Self {
        let path = path.to_owned();
        match problem.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Self::NoFolder { path },
            ErrorKind::AlreadyExists => Self::Exists { path },
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                Self::Full { path }
            }
            _ => Self::Io { path, problem },
        }
    }
}

/// A file to be. It is written beside its place; what is not finished is removed.
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    overwrite: bool,
    temporary: PathBuf,
    file: File,
}

impl NewFile {
    /// Begins a file. Finds out now whether it can be written there.
    ///
    /// # Errors
    /// It exists and is not to be overwritten, or its folder does not take it.
    pub fn begin(path: &Path, overwrite: bool) -> Result<Self, FileError> {
        let name = path.file_name().ok_or_else(|| FileError::Folder { path: path.to_owned() })?;
        match path.symlink_metadata() {
            Ok(found) if found.is_dir() => return Err(FileError::Folder { path: path.to_owned() }),
            Ok(_) if !overwrite => return Err(FileError::Exists { path: path.to_owned() }),
            _ => {}
        }
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{:016x}", rand::random::<u64>()));
        let temporary = path.with_file_name(hidden);
        let file = private().open(&temporary).map_err(|problem| FileError::of(path, problem))?;
        Ok(Self { path: path.to_owned(), overwrite, temporary, file })
    }

    /// Writes the file and gives it its name, once all of it is on the disk.
    ///
    /// # Errors
    /// The disk is full or fails, or the name was taken meanwhile.
    pub fn finish(mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.place(bytes).map_err(|problem| FileError::of(&self.path, problem))
    }

    fn place(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.file.sync_all()?;
        if self.overwrite {
            fs::rename(&self.temporary, &self.path)?;
        } else {
            match fs::hard_link(&self.temporary, &self.path) {
                // A file system without hard links: take the name first, then put the file there.
                Err(problem)
                    if matches!(problem.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied) =>
                {
                    drop(private().open(&self.path)?);
                    fs::rename(&self.temporary, &self.path)?;
                }
                linked => linked?,
            }
        }
        // The name is durable only with its folder.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // Renamed away when all went well and it was to overwrite.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Makes a file that was not there, readable by its owner only.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create_new(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(folder: &Path) -> Vec<String> {
        let mut found: Vec<String> = fs::read_dir(folder)
            .expect("lists")
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        found.sort();
        found
    }

    #[test]
    fn it_is_private_whole_and_overwrites_only_when_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("main.export");
        let file = NewFile::begin(&path, false).expect("begins");
        assert!(!path.exists(), "not before it is whole");
        file.finish(b"first").expect("writes");
        assert_eq!(fs::read(&path).expect("reads"), b"first");
        assert!(matches!(NewFile::begin(&path, false), Err(FileError::Exists { .. })));
        NewFile::begin(&path, true).expect("begins").finish(b"second").expect("writes");
        assert_eq!(fs::read(&path).expect("reads"), b"second");
        #[cfg(unix)]
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&path.metadata().expect("is there").permissions())
                & 0o777,
            0o600
        );
        assert_eq!(entries(folder.path()), ["main.export"]);
    }

    #[test]
    fn a_name_that_is_taken_meanwhile_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("main.export");
        let file = NewFile::begin(&path, false).expect("begins");
        fs::write(&path, "somebody else's").expect("writes");
        assert!(matches!(file.finish(b"ours"), Err(FileError::Exists { .. })));
        assert_eq!(fs::read(&path).expect("reads"), b"somebody else's");
        assert_eq!(entries(folder.path()), ["main.export"]);
    }

    #[test]
    fn what_is_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(NewFile::begin(&folder.path().join("main.export"), false).expect("begins"));
        assert_eq!(entries(folder.path()), [""; 0]);
    }

    #[test]
    fn places_that_take_no_file_are_told_apart() {
        let folder = tempfile::tempdir().expect("a folder");
        let begin = |path: PathBuf| NewFile::begin(&path, false).expect_err("refused");
        assert!(matches!(begin(folder.path().join("none/main.export")), FileError::NoFolder { .. }));
        assert!(matches!(begin(folder.path().to_owned()), FileError::Folder { .. }));
        assert!(matches!(begin("..".into()), FileError::Folder { .. }));
        let full = FileError::of(Path::new("x"), ErrorKind::StorageFull.into());
        assert_eq!(full.to_string(), "the disk is full: x was not written");
    }
}
