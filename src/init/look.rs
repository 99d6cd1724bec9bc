//! Reads a bot's folder, bounded: what matters of it, and nothing of the session's contents.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::io;
use std::path::Path;

use super::sources::{Source, without_comments};

/// Folders that hold nothing of the bot's own.
const SKIPPED: [&str; 9] =
    ["node_modules", ".git", ".npm", ".cache", "target", "dist", "vendor", ".venv", "__pycache__"];
/// Sources that are read.
const SOURCES: [&str; 9] = ["js", "cjs", "mjs", "ts", "mts", "cts", "py", "go", "rs"];
/// More files than any bot has of its own.
const MOST_FILES: usize = 20_000;
const MOST_SOURCES: usize = 2_000;
const LARGEST_SOURCE: u64 = 2 << 20;
const DEEPEST: usize = 8;

/// What a folder holds.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Name of the folder.
    pub name: String,
    pub package_json: Option<Vec<u8>>,
    pub procfile: Option<String>,
    /// All files, relative, with `/`.
    pub files: BTreeSet<String>,
    pub sources: Vec<Source>,
    /// Texts of pm2's ecosystem files.
    pub ecosystems: BTreeMap<String, String>,
    /// Versions of the packages in node_modules that have Baileys in their names.
    pub installed: BTreeMap<String, String>,
    /// Programs in node_modules/.bin.
    pub programs: BTreeSet<String>,
    /// The folder was too large to be read to its end.
    pub cut: bool,
}

/// Looks at a folder.
///
/// # Errors
/// The folder itself cannot be read; what cannot be read below it is left out.
pub fn look(folder: &Path) -> io::Result<Snapshot> {
    let mut snapshot = Snapshot { name: name_of(folder), ..Snapshot::default() };
    fs::read_dir(folder)?;
    let mut folders = VecDeque::from([(String::new(), 0)]);
    while let Some((prefix, depth)) = folders.pop_front() {
        let Ok(entries) = fs::read_dir(folder.join(&prefix)) else { continue };
        let mut names: Vec<(String, bool)> = entries
            .filter_map(Result::ok)
            // A name that is no UTF-8 is none of a bot's sources; a link may lead anywhere.
            .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.file_type().ok()?)))
            .filter(|(_, kind)| kind.is_dir() || kind.is_file())
            .map(|(name, kind)| (name, kind.is_dir()))
            .collect();
        names.sort();
        for (name, is_folder) in names {
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
            if is_folder {
                if depth < DEEPEST && !SKIPPED.contains(&name.as_str()) {
                    folders.push_back((path, depth + 1));
                }
            } else if snapshot.files.len() < MOST_FILES {
                snapshot.files.insert(path);
            } else {
                snapshot.cut = true;
            }
        }
    }
    read_texts(folder, &mut snapshot);
    read_packages(folder, &mut snapshot);
    Ok(snapshot)
}

fn name_of(folder: &Path) -> String {
    let absolute = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    absolute.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn read_texts(folder: &Path, snapshot: &mut Snapshot) {
    snapshot.package_json = fs::read(folder.join("package.json")).ok();
    let text = |path: &str| {
        let bytes = fs::read(folder.join(path)).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    snapshot.procfile = text("Procfile");
    for path in snapshot.files.iter().filter(|path| !path.contains('/')) {
        let pm2 = path.ends_with(".config.js") || path.ends_with(".config.cjs") || *path == "ecosystem.json";
        if let (true, Some(text)) = (pm2, text(path)) {
            snapshot.ecosystems.insert(path.clone(), without_comments(&text));
        }
    }
    for path in &snapshot.files {
        let kind = path.rsplit_once('.').map_or("", |(_, kind)| kind);
        let small = || fs::metadata(folder.join(path)).is_ok_and(|data| data.len() <= LARGEST_SOURCE);
        if SOURCES.contains(&kind) && small() {
            if snapshot.sources.len() == MOST_SOURCES {
                snapshot.cut = true;
                return;
            }
            if let Some(text) = text(path) {
                snapshot.sources.push(Source { path: path.clone(), text: without_comments(&text) });
            }
        }
    }
}

fn read_packages(folder: &Path, snapshot: &mut Snapshot) {
    let modules = folder.join("node_modules");
    let names = |path: &Path| -> Vec<String> {
        let entries = fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    };
    snapshot.programs = names(&modules.join(".bin")).into_iter().collect();
    let scoped = names(&modules).into_iter().flat_map(|name| {
        if name.starts_with('@') {
            names(&modules.join(&name)).into_iter().map(|inner| format!("{name}/{inner}")).collect()
        } else {
            vec![name]
        }
    });
    for name in scoped.filter(|name| name.to_lowercase().contains("baileys")) {
        let package = fs::read(modules.join(&name).join("package.json")).ok();
        let package = package.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
        if let Some(version) = package.as_ref().and_then(|package| package["version"].as_str()) {
            snapshot.installed.insert(name, version.to_owned());
        }
    }
}
