//! Fuzzed here: the folder of somebody's bot.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use super::look::Snapshot;
use super::sources::{Source, without_comments};
use super::{file, recognise};
use crate::config::{Config, NoEnvironment};
use crate::r#gen::package_json::{self, START};

/// Between the files of a folder.
const NEXT: u8 = 0;

/// package.json, a source, a Procfile and pm2's file, a byte 0 between two. An edited package.json has our start
/// script, is otherwise the same, and needs no second edit; what `init` writes is a good blacksky.toml.
pub fn bot_folder(bytes: &[u8]) {
    let mut files = bytes.split(|byte| *byte == NEXT);
    let package = files.next().unwrap_or_default();
    for dependency in [false, true] {
        edited(package, dependency);
    }
    let mut text = || String::from_utf8_lossy(files.next().unwrap_or_default()).into_owned();
    let (source, procfile, ecosystem) = (text(), text(), text());
    let snapshot = Snapshot {
        name: "bot".to_owned(),
        package_json: (!package.is_empty()).then(|| package.to_vec()),
        procfile: (!procfile.is_empty()).then_some(procfile),
        files: BTreeSet::from(["index.js", "package.json", "src/main.js"].map(str::to_owned)),
        sources: vec![Source { path: "src/main.js".to_owned(), text: without_comments(&source) }],
        ecosystems: BTreeMap::from([("ecosystem.config.js".to_owned(), without_comments(&ecosystem))]),
        ..Snapshot::default()
    };
    let found = recognise(&snapshot, None);
    let text = file::text(&found);
    let loaded =
        Config::parse(Path::new("/nowhere/blacksky.toml"), text.clone().into_bytes(), &NoEnvironment);
    if let Err(problems) = loaded {
        panic!("{problems}\n{text}");
    }
}

fn edited(package: &[u8], dependency: bool) {
    let mut created = json!({ "scripts": { "start": START } });
    if dependency {
        created["dependencies"] = json!({ package_json::PACKAGE: package_json::RELEASES });
    }
    let created = created.to_string();
    let before = parsed(package);
    match package_json::edited(package, &created) {
        Ok(edited) => {
            assert_eq!(package_json::start_of(&edited).ok().flatten().as_deref(), Some(START));
            assert_eq!(package_json::edited(&edited, &created).as_deref(), Ok(&edited[..]), "a second edit");
            // What JSON.parse takes and serde_json does not, such as half of a surrogate pair, cannot be compared.
            if let (Some(before), Some(after)) = (before, parsed(&edited)) {
                assert_eq!(without_ours(before), without_ours(after));
            }
        }
        Err(broken) => {
            let text = String::from_utf8_lossy(package);
            assert!((1..=text.matches('\n').count() + 1).contains(&broken.line), "{broken}");
            assert!((1..=text.chars().count() + 1).contains(&broken.column), "{broken}");
            let object = before.as_ref().is_some_and(|json| {
                let table = |key: &str| json.get(key).is_none_or(Value::is_object);
                json.is_object() && table("scripts") && table("dependencies")
            });
            assert!(!object || broken.what.contains("too deeply"), "{broken}");
        }
    }
}

fn parsed(package: &[u8]) -> Option<Value> {
    serde_json::from_slice(package.strip_prefix(b"\xef\xbb\xbf").unwrap_or(package)).ok()
}

/// The rest of a package.json: sections that we may have made are there, and empty.
fn without_ours(mut json: Value) -> Value {
    for (section, key) in [("scripts", "start"), ("dependencies", package_json::PACKAGE)] {
        let empty = || Value::Object(serde_json::Map::new());
        if let Some(section) = json.as_object_mut().map(|json| json.entry(section).or_insert_with(empty))
            && let Some(section) = section.as_object_mut()
        {
            section.remove(key);
        }
    }
    json
}
