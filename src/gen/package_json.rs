//! package.json: `npm start` and Heroku start blacksky, and where npm brings it, it is a dependency; every other
//! byte stays as it is.
//!
//! An existing file is edited in place, by the spans of its values: order, indent, line ends, byte order mark
//! and repeated keys are a person's and stay. Without a file one is made.

mod spans;

use crate::config::{Build, Client, Config};

use super::digest;
use spans::{Object, Value};

/// The file.
pub const PATH: &str = "package.json";
/// What [`super::DIGESTS`] calls the one value that is ours.
pub const KEY: &str = "package.json#scripts.start";
/// What `npm start` runs. The bot's own command stands in blacksky.toml.
pub const START: &str = "blacksky run";

/// The package that holds the program.
pub const PACKAGE: &str = "blacksky";
/// Releases that work as this one does.
pub const RELEASES: &str = concat!("^", env!("CARGO_PKG_VERSION"));

/// Why a package.json cannot be edited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("package.json:{line}:{column}: {what}")]
pub struct Broken {
    pub line: usize,
    pub column: usize,
    pub what: String,
}

/// Whether this configuration has a package.json on Heroku: a hosted bot is a Node program, or Heroku's buildpack for
/// Node reads it.
pub fn concerns(config: &Config) -> bool {
    has_node_bot(config) || config.heroku.has_node_buildpack()
}

/// Whether an image takes the program from package.json: beside a Node program, and where Heroku would too.
pub fn comes_by_npm(config: &Config) -> bool {
    has_node_bot(config) || config.heroku.build == Build::Npm
}

fn has_node_bot(config: &Config) -> bool {
    config.bots.values().any(|bot| match &bot.client {
        Client::Hosted(hosted) => is_node(&hosted.command),
        Client::Native(_) => false,
    })
}

/// Whether the program comes with npm's packages onto Heroku.
pub(super) fn depends(config: &Config) -> bool {
    match config.heroku.build {
        Build::Npm => true,
        Build::Container => concerns(config),
        Build::Buildpack => false,
    }
}

/// Whether a command is a program of Node, also behind `env`.
pub fn is_node(command: &[String]) -> bool {
    let program = command.iter().find(|word| *word != "env" && !word.contains('='));
    let name = program.and_then(|program| program.rsplit('/').next()).unwrap_or_default();
    ["node", "nodejs", "npm", "npx", "yarn", "pnpm", "tsx", "ts-node", "bun", "nodemon", "pm2-runtime"]
        .contains(&name)
        || program.is_some_and(|program| program.contains("node_modules/"))
}

/// The file when there is none yet; `depends` tells whether the program is among its packages.
pub fn created(config: &Config, depends: bool) -> String {
    let mut json = serde_json::json!({
        "name": npm_name(&config.app.name),
        "version": "1.0.0",
        "private": true,
        "scripts": { "start": START },
    });
    if depends {
        json["dependencies"] = serde_json::json!({ PACKAGE: RELEASES });
    }
    // Strings and maps with string keys always serialise.
    let mut text = serde_json::to_string_pretty(&json).unwrap_or_default();
    text.push('\n');
    text
}

/// npm takes small letters, digits, dashes, dots and underscores.
fn npm_name(name: &str) -> String {
    let name: String = name
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-._".contains(c) { c } else { '-' })
        .collect();
    let name = name.trim_matches(['-', '.', '_']);
    match name {
        "" => "app".to_owned(),
        // npm refuses a package that depends on one of its own name.
        PACKAGE => format!("{PACKAGE}-app"),
        name => name.to_owned(),
    }
}

/// The file with our values in it: the start script of `created`, and its dependency where there is none yet. One
/// that is there, and its version, is a person's or npm's.
///
/// # Errors
/// It is no JSON object, or its `scripts` or `dependencies` are none.
pub fn edited(on_disk: &[u8], created: &str) -> Result<Vec<u8>, Broken> {
    let with_start = put(on_disk, "scripts", "start", START, true)?;
    let created: serde_json::Value = serde_json::from_str(created).unwrap_or_default();
    match created["dependencies"][PACKAGE].as_str() {
        Some(releases) => put(&with_start, "dependencies", PACKAGE, releases, false),
        None => Ok(with_start),
    }
}

/// The file with one value in one of its sections.
fn put(on_disk: &[u8], section: &str, key: &str, wanted: &str, replace: bool) -> Result<Vec<u8>, Broken> {
    let text = text_of(on_disk)?;
    let (span, new) = match find(text, section, key)? {
        Found::Value(value) if !replace || value.as_str() == Some(wanted) => return Ok(on_disk.to_vec()),
        Found::Value(value) => (value.span, quoted(wanted)),
        Found::Section(object) => object.with(text, key, &quoted(wanted), 2),
        Found::Root(root) => {
            let colon = root.colon(text).to_owned();
            let (key, wanted) = (quoted(key), quoted(wanted));
            let inner = match root.indent(text) {
                Some((end, unit)) => format!("{{{end}{unit}{unit}{key}{colon}{wanted}{end}{unit}}}"),
                None => format!("{{{key}{colon}{wanted}}}"),
            };
            root.with(text, section, &inner, 1)
        }
    };
    Ok([&text.as_bytes()[..span.start], new.as_bytes(), &text.as_bytes()[span.end..]].concat())
}

/// The start script of a file, if it has one; what is not text counts by its JSON.
///
/// # Errors
/// As [`edited`].
pub fn start_of(on_disk: &[u8]) -> Result<Option<String>, Broken> {
    let text = text_of(on_disk)?;
    Ok(match find(text, "scripts", "start")? {
        Found::Value(value) => Some(value.as_str().unwrap_or(&text[value.span.clone()]).to_owned()),
        Found::Section(_) | Found::Root(_) => None,
    })
}

/// The line of the digests for a start script.
pub fn digest_line(start: &str) -> String {
    format!("{}  {KEY}", digest(start))
}

/// How much of the path to a value is there.
enum Found {
    Value(Value),
    Section(Object),
    Root(Object),
}

fn text_of(bytes: &[u8]) -> Result<&str, Broken> {
    std::str::from_utf8(bytes).map_err(|error| {
        let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        spans::broken(&good, good.len(), "is not UTF-8: save it as UTF-8")
    })
}

/// Of a key that is there twice JSON takes the last.
fn find(text: &str, section: &str, key: &str) -> Result<Found, Broken> {
    let root = spans::parse(text)?;
    let at = root.span.start;
    let Some(root) = root.object() else {
        return Err(spans::broken(text, at, "must be an object: begin it with { and end it with }"));
    };
    let Some(object) = root.last(section) else { return Ok(Found::Root(root)) };
    let at = object.span.start;
    let Some(object) = object.clone().object() else {
        let what = format!("\"{section}\" must be an object, as npm wants it");
        return Err(spans::broken(text, at, &what));
    };
    Ok(match object.last(key) {
        Some(value) => Found::Value(value.clone()),
        None => Found::Section(object),
    })
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
