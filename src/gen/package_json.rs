//! package.json: `npm start` and Heroku start blacksky; every other byte stays as it is.
//!
//! An existing file is edited in place, by the spans of its values: order, indent, line ends, byte order mark
//! and repeated keys are a person's and stay. Without a file one is made.

mod spans;

use crate::config::{Client, Config};

use super::digest;
use spans::{Object, Value};

/// The file.
pub const PATH: &str = "package.json";
/// What [`super::DIGESTS`] calls the one value that is ours.
pub const KEY: &str = "package.json#scripts.start";
/// What `npm start` runs. The bot's own command stands in blacksky.toml.
pub const START: &str = "blacksky run";

/// Why a package.json cannot be edited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("package.json:{line}:{column}: {what}")]
pub struct Broken {
    pub line: usize,
    pub column: usize,
    pub what: String,
}

/// Whether this configuration has a package.json: a hosted bot is a Node program, or Heroku's buildpack for
/// Node reads it.
pub fn concerns(config: &Config) -> bool {
    let node = config.bots.values().any(|bot| match &bot.client {
        Client::Hosted(hosted) => is_node(&hosted.command),
        Client::Native(_) => false,
    });
    node || config.heroku.buildpacks.iter().any(|buildpack| buildpack.contains("nodejs"))
}

/// Whether a command is a program of Node, also behind `env`.
pub fn is_node(command: &[String]) -> bool {
    let program = command.iter().find(|word| *word != "env" && !word.contains('='));
    let name = program.and_then(|program| program.rsplit('/').next()).unwrap_or_default();
    ["node", "nodejs", "npm", "npx", "yarn", "pnpm", "tsx", "ts-node", "bun", "nodemon", "pm2-runtime"]
        .contains(&name)
        || program.is_some_and(|program| program.contains("node_modules/"))
}

/// The file when there is none yet.
pub fn created(config: &Config) -> String {
    let json = serde_json::json!({
        "name": npm_name(&config.app.name),
        "version": "1.0.0",
        "private": true,
        "scripts": { "start": START },
    });
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
    if name.is_empty() { "app".to_owned() } else { name.to_owned() }
}

/// The file with our script in it.
///
/// # Errors
/// It is no JSON object, or its `scripts` are none.
pub fn edited(on_disk: &[u8]) -> Result<Vec<u8>, Broken> {
    let text = text_of(on_disk)?;
    let edit = match find(text)? {
        Found::Start(value) if value.as_str() == Some(START) => return Ok(on_disk.to_vec()),
        Found::Start(value) => (value.span, quoted(START)),
        Found::Scripts(scripts) => scripts.with(text, "start", &quoted(START), 2),
        Found::Root(root) => {
            let colon = root.colon(text).to_owned();
            let unit = root.indent(text).map(|(end, unit)| (end.to_owned(), unit.to_owned()));
            let inner = match unit {
                Some((end, unit)) => {
                    format!("{{{end}{unit}{unit}\"start\"{colon}{}{end}{unit}}}", quoted(START))
                }
                None => format!("{{\"start\"{colon}{}}}", quoted(START)),
            };
            root.with(text, "scripts", &inner, 1)
        }
    };
    let (span, new) = edit;
    Ok([&text.as_bytes()[..span.start], new.as_bytes(), &text.as_bytes()[span.end..]].concat())
}

/// The start script of a file, if it has one; what is not text counts by its JSON.
///
/// # Errors
/// As [`edited`].
pub fn start_of(on_disk: &[u8]) -> Result<Option<String>, Broken> {
    let text = text_of(on_disk)?;
    Ok(match find(text)? {
        Found::Start(value) => Some(value.as_str().unwrap_or(&text[value.span.clone()]).to_owned()),
        Found::Scripts(_) | Found::Root(_) => None,
    })
}

/// The line of the digests for a start script.
pub fn digest_line(start: &str) -> String {
    format!("{}  {KEY}", digest(start))
}

/// How much of the path to `scripts.start` is there.
enum Found {
    Start(Value),
    Scripts(Object),
    Root(Object),
}

fn text_of(bytes: &[u8]) -> Result<&str, Broken> {
    std::str::from_utf8(bytes).map_err(|error| {
        let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        spans::broken(&good, good.len(), "is not UTF-8: save it as UTF-8")
    })
}

/// Of a key that is there twice JSON takes the last.
fn find(text: &str) -> Result<Found, Broken> {
    let root = spans::parse(text)?;
    let at = root.span.start;
    let Some(root) = root.object() else {
        return Err(spans::broken(text, at, "must be an object: begin it with { and end it with }"));
    };
    let Some(scripts) = root.last("scripts") else { return Ok(Found::Root(root)) };
    let at = scripts.span.start;
    let Some(scripts) = scripts.clone().object() else {
        return Err(spans::broken(text, at, "\"scripts\" must be an object, as npm wants it"));
    };
    Ok(match scripts.last("start") {
        Some(start) => Found::Start(start.clone()),
        None => Found::Scripts(scripts),
    })
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
