//! Fuzzed here: the file and the Config Vars.

use std::collections::BTreeMap;
use std::path::Path;

use clap::ValueEnum;

use super::{Config, Environment, NoEnvironment, Place, Problem};
use crate::fuzz::{SECRET, pasted};
use crate::r#gen;

/// There is no such folder, so that no input finds a file of this machine.
const PATH: &str = "/nowhere/blacksky.toml";

/// A file with every kind of section that is made by a name.
const NAMED: &[u8] = b"[bots.main]\nwebhook = \"http://127.0.0.1:8000/\"\n[bots.other]\nkind = \"hosted\"\n\
    command = [\"node\", \"index.js\"]\nsession = \"other\"\n[jobs.ping]\ncron = \"0 8 * * *\"\nping = \"https://example.com/\"\n";

/// blacksky.toml. Problems are within the file, show no pasted secret, and are there when it is refused; from what
/// holds every deploy file is made, and the JSON among them is JSON.
pub fn config(bytes: &[u8]) {
    look(&pasted(bytes), &NoEnvironment);
}

/// Config Vars, a line each: `NAME=value`. The same is asserted.
pub fn environment(bytes: &[u8]) {
    let text = String::from_utf8_lossy(&pasted(bytes)).into_owned();
    let lines = text.split('\n').filter_map(|line| line.split_once('='));
    let env: BTreeMap<String, String> =
        lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    look(b"", &env);
    look(NAMED, &env);
}

fn look(file: &[u8], env: &dyn Environment) {
    match Config::parse(Path::new(PATH), file.to_vec(), env) {
        Ok(loaded) => {
            assert!(loaded.warnings.iter().all(|warning| warning.is_warning));
            shown(file, &loaded.warnings);
            assert!(loaded.config.listing().into_iter().next().is_some());
            let targets = r#gen::Target::value_variants();
            for artifact in targets.iter().flat_map(|target| r#gen::artifacts(&loaded.config, *target)) {
                if artifact.path.ends_with(".json") {
                    serde_json::from_str::<serde_json::Value>(&artifact.text).expect(artifact.path);
                }
            }
        }
        Err(problems) => {
            assert!(problems.errors() > 0 && !problems.summary().is_empty());
            shown(file, &problems.list);
        }
    }
}

fn shown(file: &[u8], list: &[Problem]) {
    let text = String::from_utf8_lossy(file);
    let lines: Vec<&str> = text.strip_prefix('\u{feff}').unwrap_or(&text).split('\n').collect();
    for problem in list {
        for colour in [false, true] {
            let shown = problem.render(Path::new(PATH), colour);
            assert!(!shown.contains(SECRET), "{shown}");
        }
        let json = problem.to_json().to_string();
        assert!(!json.contains(SECRET), "{json}");
        if let Some((line, column)) = problem.position() {
            let width = lines.get(line.wrapping_sub(1)).map(|line| line.chars().count());
            let width = width.unwrap_or_else(|| panic!("line {line} of {}", lines.len()));
            // In place of a value that is hidden there may be more than there was.
            let shown = match &problem.place {
                Place::Line(excerpt) => excerpt.text.chars().count(),
                _ => 0,
            };
            assert!((1..=width.max(shown) + 1).contains(&column), "column {column} of {width}");
        }
        if let Place::Line(excerpt) = &problem.place {
            assert!(excerpt.text.get(excerpt.highlight.clone()).is_some(), "{excerpt:?}");
            assert!(!excerpt.text.contains('\n'), "{excerpt:?}");
        }
    }
}
