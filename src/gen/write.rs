//! Artifacts on disk: compare, write, and never overwrite what a person has edited.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::config::generated::diff;

use super::package_json::{self, Broken};
use super::{Artifact, DIGESTS, digest, with_others};

/// A file that was edited by hand and would be overwritten.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// These are not as `gen` left them; nothing was written.
    #[error(
        "{} edited by hand: move the change into blacksky.toml, or overwrite with --force", list(.0)
    )]
    Edited(Vec<PathBuf>),
    /// It must be mended first.
    #[error("{0}")]
    Broken(#[from] Broken),
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

/// Whether files that were edited by hand are overwritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    No,
    /// `--force`, or a person has agreed.
    Yes,
}

/// The bytes that a file should have, given those that it has.
///
/// # Errors
/// `Broken` when a package.json cannot be edited.
pub fn wanted(artifact: &Artifact, on_disk: Option<&[u8]>) -> Result<Vec<u8>, Refusal> {
    match on_disk {
        Some(bytes) if artifact.path == package_json::PATH && !is_blank(bytes) => {
            Ok(package_json::edited(bytes, &artifact.text)?)
        }
        Some(bytes) if artifact.path == DIGESTS => {
            Ok(with_others(&artifact.text, &with_line_ends(bytes)).into_bytes())
        }
        _ => Ok(artifact.text.clone().into_bytes()),
    }
}

/// A unified diff for every file that is not as it should be.
pub fn check(folder: &Path, artifacts: &[Artifact]) -> Result<Vec<String>, Refusal> {
    let mut diffs = Vec::new();
    for artifact in artifacts {
        let on_disk = read(folder, artifact)?;
        let wanted = wanted(artifact, on_disk.as_deref())?;
        if on_disk.as_ref() != Some(&wanted) {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            diffs.push(diff(artifact.path, &text(&on_disk.unwrap_or_default()), &text(&wanted)));
        }
    }
    Ok(diffs)
}

/// The files that were edited by hand, or were there before blacksky, and would be written over.
pub fn edited(folder: &Path, artifacts: &[Artifact]) -> Result<Vec<&'static str>, Refusal> {
    let ours = match read_bytes(&folder.join(DIGESTS))? {
        Some(bytes) => with_line_ends(&bytes),
        None => String::new(),
    };
    let mut edited = Vec::new();
    for artifact in artifacts.iter().filter(|artifact| artifact.path != DIGESTS) {
        if let Some(bytes) = read(folder, artifact)?
            && bytes != wanted(artifact, Some(&bytes))?
            && !is_ours(&ours, artifact.path, &bytes)?
        {
            edited.push(artifact.path);
        }
    }
    Ok(edited)
}

/// Writes all files or, when one was edited by hand and `force` does not say so, none.
pub fn write(folder: &Path, artifacts: &[Artifact], force: Force) -> Result<Report, Refusal> {
    let edited = edited(folder, artifacts)?;
    if force == Force::No && !edited.is_empty() {
        return Err(Refusal::Edited(edited.into_iter().map(PathBuf::from).collect()));
    }
    let mut report = Report::default();
    for artifact in artifacts {
        let on_disk = read(folder, artifact)?;
        let wanted = wanted(artifact, on_disk.as_deref())?;
        if on_disk.as_ref() == Some(&wanted) {
            report.same.push(artifact.path);
            continue;
        }
        let path = folder.join(artifact.path);
        let in_place = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        in_place
            .and_then(|()| replace(folder, &path, &wanted))
            .map_err(|source| Refusal::Io { path, source })?;
        report.written.push(artifact.path);
    }
    Ok(report)
}

/// The digests name this very text, or this very start script. An empty file, or a package.json without a start
/// script, holds nothing that could be lost.
fn is_ours(digests: &str, path: &str, bytes: &[u8]) -> Result<bool, Refusal> {
    if is_blank(bytes) {
        return Ok(true);
    }
    let line = if path == package_json::PATH {
        let Some(start) = package_json::start_of(bytes)? else { return Ok(true) };
        package_json::digest_line(&start)
    } else {
        format!("{}  {path}", digest(&String::from_utf8_lossy(bytes)))
    };
    Ok(digests.lines().any(|known| known == line))
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_whitespace)
}

/// The bytes of a file; of one that is all ours with `\n` line ends, since git may have changed them. `None` when
/// it is not there.
fn read(folder: &Path, artifact: &Artifact) -> Result<Option<Vec<u8>>, Refusal> {
    let bytes = read_bytes(&folder.join(artifact.path))?;
    Ok(match bytes {
        Some(bytes) if artifact.path != package_json::PATH => Some(with_line_ends(&bytes).into_bytes()),
        bytes => bytes,
    })
}

fn read_bytes(path: &Path) -> Result<Option<Vec<u8>>, Refusal> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Refusal::Io { path: path.to_owned(), source }),
    }
}

fn with_line_ends(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace("\r\n", "\n")
}

/// Writes beside the file and renames, so that no reader sees half of it.
pub fn replace(folder: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.join(format!(".{name}.{}.new", std::process::id()));
    let written = std::fs::File::create(&beside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
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
        assert_eq!(
            write(folder.path(), &artifacts("one\n"), Force::No).unwrap().written,
            ["Procfile", DIGESTS]
        );
        assert_eq!(write(folder.path(), &artifacts("one\n"), Force::No).unwrap().written, [""; 0]);
        assert_eq!(
            write(folder.path(), &artifacts("two\n"), Force::No).unwrap().written,
            ["Procfile", DIGESTS]
        );

        std::fs::write(&procfile, "by hand\n").unwrap();
        let refusal = write(folder.path(), &artifacts("three\n"), Force::No).unwrap_err();
        assert!(refusal.to_string().contains("Procfile was edited by hand"), "{refusal}");
        assert_eq!(std::fs::read_to_string(&procfile).unwrap(), "by hand\n");
        assert!(check(folder.path(), &artifacts("two\n")).unwrap()[0].contains("-by hand\n+two\n"));

        write(folder.path(), &artifacts("three\n"), Force::Yes).unwrap();
        assert_eq!(std::fs::read_to_string(&procfile).unwrap(), "three\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside");
    }

    #[test]
    fn files_of_two_hosts_live_side_by_side() {
        let folder = tempfile::tempdir().unwrap();
        let path = ".railway/railway.ts";
        let other = |text: &str| {
            let digests = format!("{}  {path}\n", digest(text));
            vec![Artifact { path, text: text.to_owned() }, Artifact { path: DIGESTS, text: digests }]
        };
        write(folder.path(), &artifacts("one\n"), Force::No).unwrap();
        write(folder.path(), &other("a\n"), Force::No).unwrap();
        assert_eq!(check(folder.path(), &artifacts("one\n")).unwrap(), [""; 0]);
        assert_eq!(check(folder.path(), &other("a\n")).unwrap(), [""; 0]);
        assert_eq!(
            write(folder.path(), &artifacts("two\n"), Force::No).unwrap().written,
            ["Procfile", DIGESTS]
        );
        assert_eq!(write(folder.path(), &other("b\n"), Force::No).unwrap().written, [path, DIGESTS]);
        std::fs::write(folder.path().join(path), "by hand\n").unwrap();
        assert!(matches!(write(folder.path(), &other("c\n"), Force::No), Err(Refusal::Edited(_))));
    }

    #[test]
    fn a_file_from_before_blacksky_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("Procfile"), "web: node index.js\n").unwrap();
        assert!(matches!(write(folder.path(), &artifacts("x\n"), Force::No), Err(Refusal::Edited(_))));
        assert!(!folder.path().join(DIGESTS).exists());
    }

    fn package(text: &str) -> Vec<Artifact> {
        let digests = format!("{}\n", package_json::digest_line(package_json::START));
        vec![
            Artifact { path: package_json::PATH, text: text.to_owned() },
            Artifact { path: DIGESTS, text: digests },
        ]
    }

    #[test]
    fn of_package_json_only_the_start_script_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("package.json");
        let text = || std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, "{\r\n\t\"name\": \"a\",\r\n\t\"scripts\": {\"test\": \"t\"}\r\n}").unwrap();
        let diffs = check(folder.path(), &package("{}")).unwrap();
        assert!(
            diffs[0].contains("\"start\": \"blacksky run\"") && diffs[0].contains("-\t\"scripts\""),
            "{diffs:?}"
        );
        assert_eq!(
            write(folder.path(), &package("{}"), Force::No).unwrap().written,
            ["package.json", DIGESTS]
        );
        let made =
            "{\r\n\t\"name\": \"a\",\r\n\t\"scripts\": {\"test\": \"t\",\"start\": \"blacksky run\"}\r\n}";
        assert_eq!(text(), made);

        std::fs::write(&path, made.replace("\"t\"", "\"other\"")).unwrap();
        assert_eq!(check(folder.path(), &package("{}")).unwrap(), [""; 0], "the rest is not ours");
        let by_hand = made.replace("blacksky run", "node index.js");
        std::fs::write(&path, &by_hand).unwrap();
        let refusal = write(folder.path(), &package("{}"), Force::No).unwrap_err();
        assert!(refusal.to_string().contains("package.json was edited by hand"), "{refusal}");
        assert_eq!(text(), by_hand);
        write(folder.path(), &package("{}"), Force::Yes).unwrap();
        assert_eq!(text(), made);
        std::fs::write(&path, "{\n  \"name\": \"a\",\n}").unwrap();
        let refusal = write(folder.path(), &package("{}"), Force::Yes).unwrap_err();
        assert_eq!(refusal.to_string(), "package.json:3:1: JSON has no comma before }: remove the comma");
    }

    #[test]
    fn line_ends_of_a_checkout_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &artifacts("one\n"), Force::No).unwrap();
        std::fs::write(folder.path().join("Procfile"), "one\r\n").unwrap();
        assert_eq!(check(folder.path(), &artifacts("one\n")).unwrap(), [""; 0]);
        assert!(write(folder.path(), &artifacts("two\n"), Force::No).is_ok());
    }
}
