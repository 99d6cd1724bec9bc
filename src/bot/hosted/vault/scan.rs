//! What is in a session folder, and reading a file that may be written at the same moment.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::marker::MARKER;

/// Folders within folders.
const DEEPEST: usize = 16;
/// More files are no session.
const MOST: usize = 100_000;
/// A larger file is left out: WhatsApp's credentials are small, and every version of it would go to the database.
pub const LARGEST: u64 = 64 << 20;

/// What tells one version of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub size: u64,
    pub changed_ns: i128,
    pub inode: u64,
}

impl Stat {
    pub fn of(metadata: &std::fs::Metadata) -> Self {
        let changed_ns = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        Self { size: metadata.size(), changed_ns, inode: metadata.ino() }
    }

    /// Microseconds since 1970.
    pub fn changed_at(&self) -> i64 {
        i64::try_from(self.changed_ns / 1000).unwrap_or_default()
    }
}

/// The files of a folder by their relative paths, as the system spells them.
#[derive(Debug, Default)]
pub struct Scan {
    pub files: BTreeMap<Vec<u8>, Stat>,
    /// What is there and is not kept, in words.
    pub left_out: Vec<String>,
}

/// Looks through a folder. One that is not there is empty. Links are not followed: what they point to may be
/// anything on the machine.
pub fn scan(folder: &Path) -> io::Result<Scan> {
    let mut scan = Scan::default();
    walk(folder, Path::new(""), 0, &mut scan)?;
    Ok(scan)
}

fn walk(root: &Path, under: &Path, depth: usize, scan: &mut Scan) -> io::Result<()> {
    let entries = match std::fs::read_dir(root.join(under)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if depth == 0 && name.as_bytes().starts_with(MARKER.as_bytes()) {
            continue;
        }
        let path = under.join(&name);
        // It may be gone by now.
        let Ok(metadata) = entry.metadata() else { continue };
        let mut leave_out = |why: &str| scan.left_out.push(format!("{} {why}", path.display()));
        if metadata.is_symlink() {
            leave_out("is a symbolic link");
        } else if metadata.is_dir() {
            if depth == DEEPEST {
                leave_out("is too deep");
            } else {
                walk(root, &path, depth + 1, scan)?;
            }
        } else if !metadata.is_file() {
            leave_out("is no ordinary file");
        } else if metadata.size() > LARGEST {
            leave_out("is larger than 64 MB");
        } else if scan.files.len() == MOST {
            leave_out("and more are too many files");
            return Ok(());
        } else {
            scan.files.insert(path.into_os_string().into_vec(), Stat::of(&metadata));
        }
    }
    Ok(())
}

/// The path of a stored name within a folder; `None` for one that would lead out of it.
pub fn within(folder: &Path, name: &[u8]) -> Option<PathBuf> {
    let path = Path::new(OsStr::from_bytes(name));
    let plain = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    (plain && !name.is_empty()).then(|| folder.join(path))
}

/// A file that was read whole, or `None` when it is being written: it changed while it was read, or it ends in
/// `.json` and does not parse. Baileys writes in place.
pub fn read_whole(path: &Path) -> io::Result<Option<(Vec<u8>, Stat)>> {
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let before = Stat::of(&file.metadata()?);
    let mut content = Vec::with_capacity(usize::try_from(before.size).unwrap_or_default().min(1 << 24));
    file.by_ref().take(LARGEST + 1).read_to_end(&mut content)?;
    let after = Stat::of(&file.metadata()?);
    // Another file may have taken its name.
    let named = std::fs::symlink_metadata(path).ok().map(|metadata| Stat::of(&metadata));
    let steady = before == after && named == Some(after) && content.len() as u64 == after.size;
    let whole = path.extension().is_none_or(|kind| kind != "json")
        || serde_json::from_slice::<serde::de::IgnoredAny>(&content).is_ok();
    Ok((steady && whole).then_some((content, after)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_with_odd_names_and_links_are_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        std::fs::create_dir_all(root.join("a/b")).expect("makes");
        let odd = OsStr::from_bytes(b"odd\n\xff name");
        for path in [Path::new("creds.json"), Path::new("a/b/deep.json"), Path::new(odd), Path::new(MARKER)] {
            std::fs::write(root.join(path), "{}").expect("writes");
        }
        std::os::unix::fs::symlink("/etc/passwd", root.join("link.json")).expect("links");
        std::os::unix::fs::symlink("/etc", root.join("folder")).expect("links");
        let scan = scan(root).expect("scans");
        let names: Vec<&[u8]> = scan.files.keys().map(Vec::as_slice).collect();
        assert_eq!(names, [&b"a/b/deep.json"[..], b"creds.json", b"odd\n\xff name"]);
        assert_eq!(scan.left_out.len(), 2, "{:?}", scan.left_out);
        assert!(super::scan(&root.join("none")).expect("scans").files.is_empty());
    }

    #[test]
    fn a_torn_file_is_not_read_and_an_empty_one_is_torn() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("creds.json");
        for (text, whole) in [("", false), ("{\"a\":", false), ("{\"a\":1}", true)] {
            std::fs::write(&path, text).expect("writes");
            assert_eq!(read_whole(&path).expect("reads").is_some(), whole, "{text}");
        }
        assert!(read_whole(&folder.path().join("none")).expect("reads").is_none());
        std::fs::write(folder.path().join("store.bin"), "{").expect("writes");
        assert!(read_whole(&folder.path().join("store.bin")).expect("reads").is_some());
    }

    #[test]
    fn a_stored_name_never_leads_out_of_the_folder() {
        let root = Path::new("/vault");
        assert_eq!(within(root, b"a/b.json"), Some(PathBuf::from("/vault/a/b.json")));
        for bad in [&b"../x"[..], b"/etc/passwd", b"a/../../x", b"", b"."] {
            assert_eq!(within(root, bad), None, "{bad:?}");
        }
    }
}
