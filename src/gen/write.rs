//! Artifacts on disk: compare, write, and never overwrite what a person has edited.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::config::generated::diff;

use super::{Artifact, DIGESTS, digest};

/// A file that was edited by hand and would be overwritten.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// These are not as `gen` left them; nothing was written.
    #[error(
        "{} edited by hand: move the change into blacksky.toml, or overwrite with --force", list(.0)
    )]
    Edited(Vec<PathBuf>),
    /// The disk refuses.
    #[error("{path} cannot be written: {source}")]
    Io { path: PathBuf, source: std::io::Error },
}

fn list(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    let verb = if names.len() == 1 { "was" } else { "were" };
    format!("{} {verb}", names.join(" and "))
}

/// What happened to each file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Written now.
    pub written: Vec<&'static str>,
    /// Already right.
    pub same: Vec<&'static str>,
}

/// A unified diff for every file that is not as it should be.
pub fn check(folder: &Path, artifacts: &[Artifact]) -> Result<Vec<String>, Refusal> {
    let mut diffs = Vec::new();
    for artifact in artifacts {
        let on_disk = read(&folder.join(artifact.path))?;
        if on_disk.as_deref() != Some(artifact.text.as_str()) {
            diffs.push(diff(artifact.path, &on_disk.unwrap_or_default(), &artifact.text));
        }
    }
    Ok(diffs)
}

/// Writes all files or, when one was edited by hand and `force` is not given, none.
pub fn write(folder: &Path, artifacts: &[Artifact], force: bool) -> Result<Report, Refusal> {
    let ours = read(&folder.join(DIGESTS))?.unwrap_or_default();
    let mut report = Report::default();
    let mut edited = Vec::new();
    let mut due = Vec::new();
    for artifact in artifacts {
        match read(&folder.join(artifact.path))? {
            Some(text) if text == artifact.text => report.same.push(artifact.path),
            Some(text) if artifact.path != DIGESTS && !force && !is_ours(&ours, artifact.path, &text) => {
                edited.push(PathBuf::from(artifact.path));
            }
            _ => due.push(artifact),
        }
    }
    if !edited.is_empty() {
        return Err(Refusal::Edited(edited));
    }
    for artifact in due {
        let path = folder.join(artifact.path);
        replace(folder, &path, &artifact.text).map_err(|source| Refusal::Io { path, source })?;
        report.written.push(artifact.path);
    }
    Ok(report)
}

/// The digests name this very text. An empty file holds nothing that could be lost.
fn is_ours(digests: &str, path: &str, text: &str) -> bool {
    let line = format!("{}  {path}", digest(text));
    text.trim().is_empty() || digests.lines().any(|known| known == line)
}

/// The text of a file with `\n` line ends (git may have changed them); `None` when it is not there.
fn read(path: &Path) -> Result<Option<String>, Refusal> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).replace("\r\n", "\n"))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Refusal::Io { path: path.to_owned(), source }),
    }
}

/// Writes beside the file and renames, so that no reader sees half of it.
fn replace(folder: &Path, path: &Path, text: &str) -> std::io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.join(format!(".{name}.{}.new", std::process::id()));
    let written = std::fs::File::create(&beside)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        // The first error is the one to report.
        let _ = std::fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifacts(text: &str) -> Vec<Artifact> {
        let digests = format!("{}  Procfile\n", digest(text));
        vec![Artifact { path: "Procfile", text: text.to_owned() }, Artifact { path: DIGESTS, text: digests }]
    }

    #[test]
    fn an_edited_file_is_kept_and_an_old_one_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let procfile = folder.path().join("Procfile");
        assert_eq!(write(folder.path(), &artifacts("one\n"), false).unwrap().written, ["Procfile", DIGESTS]);
        assert_eq!(write(folder.path(), &artifacts("one\n"), false).unwrap().written, [""; 0]);
        assert_eq!(write(folder.path(), &artifacts("two\n"), false).unwrap().written, ["Procfile", DIGESTS]);

        std::fs::write(&procfile, "by hand\n").unwrap();
        let refusal = write(folder.path(), &artifacts("three\n"), false).unwrap_err();
        assert!(refusal.to_string().contains("Procfile was edited by hand"), "{refusal}");
        assert_eq!(std::fs::read_to_string(&procfile).unwrap(), "by hand\n");
        assert!(check(folder.path(), &artifacts("two\n")).unwrap()[0].contains("-by hand\n+two\n"));

        write(folder.path(), &artifacts("three\n"), true).unwrap();
        assert_eq!(std::fs::read_to_string(&procfile).unwrap(), "three\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside");
    }

    #[test]
    fn a_file_from_before_blacksky_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("Procfile"), "web: node index.js\n").unwrap();
        assert!(matches!(write(folder.path(), &artifacts("x\n"), false), Err(Refusal::Edited(_))));
        assert!(!folder.path().join(DIGESTS).exists());
    }

    #[test]
    fn line_ends_of_a_checkout_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &artifacts("one\n"), false).unwrap();
        std::fs::write(folder.path().join("Procfile"), "one\r\n").unwrap();
        assert_eq!(check(folder.path(), &artifacts("one\n")).unwrap(), [""; 0]);
        assert!(write(folder.path(), &artifacts("two\n"), false).is_ok());
    }
}
