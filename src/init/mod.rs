//! What `blacksky init` recognises in a folder, and the blacksky.toml it makes of it.
//!
//! [`look`] reads the folder, [`recognise`] decides without touching the disk, [`file::text`] writes it down.

pub mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub mod ignore;
pub mod look;
pub mod sources;
pub mod start;
pub mod tracked;
pub mod words;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value as Json;

use crate::config::values::Value as _;
use crate::config::values::text::Text;
use crate::config::values::web_url::{self, WebUrl};
use crate::r#gen::package_json;
use look::Snapshot;
use start::{Project, Start};

/// What was recognised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    pub app: Presented,
    /// How the bot is started; `None`: no bot of the folder's own.
    pub start: Option<StartFound>,
    /// There is a program in the folder, and how it is started could not be found out.
    pub unknown: bool,
    /// Where it keeps its session.
    pub session_dir: String,
    /// How that is known.
    pub session_from: SessionFrom,
    pub baileys: Option<Baileys>,
    /// It is a program of Node.
    pub node: bool,
    pub reads_port: bool,
    pub ports: Vec<u16>,
    pub has_home: bool,
    pub reads_session_id: bool,
    /// What a person should know.
    pub notes: Vec<String>,
}

impl Found {
    /// Takes another start command.
    pub fn set_start(&mut self, start: Option<StartFound>) {
        self.node = start.as_ref().is_some_and(|start| package_json::is_node(&start.command));
        self.start = start;
    }
}

/// How app.json presents it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Presented {
    pub name: String,
    pub description: Option<String>,
    pub repository: Option<String>,
}

/// The start command and where it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StartFound {
    pub command: Vec<String>,
    pub from: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionFrom {
    /// The sources name it.
    Sources,
    /// It is there, with a login in it.
    Disk,
    /// Nothing says so.
    Default,
}

/// The client library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Baileys {
    pub package: String,
    /// As it is installed, else as package.json asks for it.
    pub version: String,
}

/// What is tried when nothing names the bot's file.
const USUAL: [&str; 8] =
    ["index.js", "main.js", "bot.js", "app.js", "server.js", "src/index.js", "index.mjs", "index.cjs"];

/// Recognises what is in a folder. `command` is that of a blacksky.toml which is to be replaced: by then `npm
/// start` starts blacksky.
pub fn recognise(snapshot: &Snapshot, command: Option<Vec<String>>) -> Found {
    let package = package(snapshot);
    let said = sources::read(&snapshot.sources);
    let mut notes = Vec::new();
    let project = project(snapshot, &package);
    let (start, unknown) = match command {
        Some(command) => {
            (Some(StartFound { command, from: "the blacksky.toml that was there".to_owned() }), false)
        }
        None => find_start(snapshot, &project, &mut notes),
    };
    let node = start.as_ref().is_some_and(|start| package_json::is_node(&start.command));
    let (session_dir, session_from) = session(snapshot, &said, &mut notes);
    let found = Found {
        app: presented(snapshot, &package),
        baileys: baileys(snapshot, &package),
        node,
        session_dir,
        session_from,
        reads_port: said.reads_port,
        ports: said.ports.clone(),
        unknown,
        has_home: said.has_home && (said.reads_port || !said.ports.is_empty()),
        reads_session_id: said.reads_session_id,
        start,
        notes,
    };
    advise(found, &said, snapshot)
}

/// The program behind a command line that a person gives; an error says in words why there is none.
pub fn behind(snapshot: &Snapshot, line: &str) -> Result<Start, String> {
    project(snapshot, &package(snapshot)).behind(line)
}

fn package(snapshot: &Snapshot) -> Json {
    let bytes = snapshot.package_json.as_deref().unwrap_or_default();
    serde_json::from_slice(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)).unwrap_or_default()
}

fn project(snapshot: &Snapshot, package: &Json) -> Project {
    let scripts = package["scripts"].as_object().into_iter().flatten();
    let scripts = scripts.filter_map(|(name, line)| Some((name.clone(), line.as_str()?.to_owned())));
    let packages = dependencies(package).into_keys();
    let programs =
        packages.filter(|name| ["tsx", "ts-node", "nodemon", "babel-node", "pm2"].contains(&name.as_str()));
    Project {
        scripts: scripts.collect(),
        main: package["main"].as_str().map(str::to_owned),
        programs: snapshot.programs.iter().cloned().chain(programs).collect(),
        files: snapshot.files.clone(),
        ecosystems: snapshot.ecosystems.clone(),
    }
}

fn dependencies(package: &Json) -> BTreeMap<String, String> {
    let kinds = ["devDependencies", "optionalDependencies", "dependencies"];
    let all = kinds.iter().filter_map(|kind| package[*kind].as_object()).flatten();
    all.filter_map(|(name, wanted)| Some((name.clone(), wanted.as_str()?.to_owned()))).collect()
}

/// What Heroku runs today, else what `npm start` runs, else `main`, else a file with a usual name.
fn find_start(snapshot: &Snapshot, project: &Project, notes: &mut Vec<String>) -> (Option<StartFound>, bool) {
    let mut tried: Vec<(String, String)> = Vec::new();
    for process in ["web", "worker"] {
        if let Some(line) = snapshot.procfile.as_deref().and_then(|text| process_of(text, process)) {
            tried.push((format!("the Procfile's {process} line"), line.to_owned()));
        }
    }
    if project.scripts.contains_key("start") {
        tried.push(("package.json's start script".to_owned(), "npm start".to_owned()));
    }
    let main =
        project.main.clone().or_else(|| project.scripts.contains_key("start").then(|| "index.js".to_owned()));
    let main = main.map(|main| main.trim_start_matches("./").to_owned());
    let mains = main.iter().flat_map(|main| [main.clone(), format!("{main}.js"), format!("{main}/index.js")]);
    let mains = mains
        .filter(|path| project.files.contains(path))
        .map(|path| ("package.json's main".to_owned(), path));
    let usual = USUAL.iter().filter(|path| project.files.contains(**path));
    let usual = usual.map(|path| ("the file's name".to_owned(), (*path).to_owned()));
    // A folder with a package.json, or with a Procfile, is somebody's program.
    let is_project = snapshot.package_json.is_some() || snapshot.procfile.is_some();
    let files: Vec<_> = mains.chain(usual.filter(|_| is_project)).collect();
    tried.extend(files.into_iter().map(|(from, path)| (from, format!("node {}", words::quoted(&path)))));
    let mut chosen: Option<StartFound> = None;
    let (mut ours, mut unknown) = (false, snapshot.package_json.is_some() && tried.is_empty());
    for (from, line) in tried {
        let start = project.behind(&line).and_then(|start| there(start, project));
        match (&chosen, start) {
            (None, Ok(start)) => {
                notes.extend(start.notes);
                chosen = Some(StartFound { command: start.command, from });
            }
            // A second `init`, or a native bot with a package.json of `gen`.
            (None, Err(why)) if why.ends_with("starts blacksky") => ours = true,
            (None, Err(why)) => {
                unknown = true;
                notes.push(format!("{from} is passed over: {why}"));
            }
            (Some(first), Ok(start))
                if from.starts_with("package.json's start") && first.command != start.command =>
            {
                let line = words::line(&start.command);
                notes.push(format!("package.json's start script is another one, and is passed over: {line}"));
            }
            (Some(_), _) => {}
        }
    }
    let unknown = unknown && !ours && chosen.is_none();
    (chosen, unknown)
}

/// The line of a process type.
fn process_of<'t>(procfile: &'t str, process: &str) -> Option<&'t str> {
    procfile
        .lines()
        .find_map(|line| line.trim().strip_prefix(process)?.trim_start().strip_prefix(':'))
        .map(str::trim)
}

/// A file that Node is to run must be there.
fn there(start: Start, project: &Project) -> Result<Start, String> {
    let mut words = start.command.iter().skip_while(|word| *word == "env" || word.contains('='));
    if words.next().is_none_or(|program| program != "node") {
        return Ok(start);
    }
    let Some(file) = words.find(|word| !word.starts_with('-')) else { return Ok(start) };
    let path = file.trim_start_matches("./").trim_end_matches('/');
    let built = ["dist/", "build/", "lib/", "out/"].iter().any(|folder| path.starts_with(folder));
    let known = ["", ".js", ".cjs", ".mjs", "/index.js"]
        .iter()
        .any(|end| project.files.contains(&format!("{path}{end}")));
    if path == "." || path.is_empty() || known || built {
        return Ok(start);
    }
    Err(format!("{path} is not there"))
}

fn session(snapshot: &Snapshot, said: &sources::Said, notes: &mut Vec<String>) -> (String, SessionFrom) {
    let on_disk: Vec<String> = snapshot
        .files
        .iter()
        .filter_map(|path| path.strip_suffix("/creds.json"))
        .filter_map(|folder| sources::normal(".", folder))
        .collect();
    if let Some(first) = said.sessions.first() {
        // Of several the one that holds a login.
        let chosen = said.sessions.iter().find(|path| on_disk.contains(path)).unwrap_or(first);
        if said.sessions.len() > 1 {
            notes.push(format!("the sources name several session folders: {}", said.sessions.join(", ")));
        }
        return (chosen.clone(), SessionFrom::Sources);
    }
    if let Some(unread) = &said.unread {
        notes.push(format!(
            "the session folder is written as `{unread}`, which could not be followed: check session_dir"
        ));
    }
    let databases = snapshot.files.iter().filter(|path| {
        ignore::is_single_file(path) && !path.contains('/') && !path.starts_with("blacksky.db")
    });
    let databases: Vec<String> = databases.filter_map(|path| sources::normal(".", path)).collect();
    let found =
        on_disk.first().or(databases.first().filter(|_| databases.len() == 1 && said.unread.is_none()));
    match found {
        Some(path) => (path.clone(), SessionFrom::Disk),
        None => ("sessions".to_owned(), SessionFrom::Default),
    }
}

fn baileys(snapshot: &Snapshot, package: &Json) -> Option<Baileys> {
    let wanted = dependencies(package);
    let known = ["baileys", "@whiskeysockets/baileys", "@adiwajshing/baileys"];
    let names = known.iter().filter_map(|name| wanted.get_key_value(*name));
    // A fork: by its name, or as an alias.
    let forks = wanted.iter().filter(|(name, wanted)| {
        name.to_lowercase().contains("baileys") || wanted.to_lowercase().contains("baileys")
    });
    let (name, wanted) = names.chain(forks).next()?;
    let version = snapshot.installed.get(name).unwrap_or(wanted).clone();
    Some(Baileys { package: name.clone(), version })
}

fn presented(snapshot: &Snapshot, package: &Json) -> Presented {
    let text = |key: &str| package[key].as_str().map(str::trim).filter(|text| !text.is_empty());
    let name = text("name").unwrap_or(&snapshot.name).rsplit('/').next().unwrap_or_default();
    let cut: String = name.chars().filter(|c| !c.is_control()).take(30).collect();
    let name = Text::<1, 30>::from_text(cut.trim()).map_or_else(|_| "my-bot".to_owned(), |text| text.0);
    let description =
        text("description").and_then(|text| Text::<1, 200>::from_text(text).ok()).map(|text| text.0);
    let repository = package["repository"].as_str().or(package["repository"]["url"].as_str());
    let repository = repository.map(|url| url.trim_start_matches("git+").trim_end_matches(".git"));
    let repository = repository.and_then(|url| WebUrl::from_text(url).ok()).map(|url| url.0);
    let repository = repository.filter(|url| !web_url::is_secret(url)).map(String::from);
    Presented { name, description, repository }
}

/// Adds what a person should know.
fn advise(mut found: Found, said: &sources::Said, snapshot: &Snapshot) -> Found {
    if snapshot.cut {
        found.notes.push("the folder is very large, so only a part of it was read".to_owned());
    }
    if found.start.is_none() {
        return found;
    }
    if let (Some(elsewhere), true) = (said.elsewhere, said.sessions.is_empty()) {
        found.notes.push(format!(
            "the bot seems to keep its session in {elsewhere}: blacksky looks after a folder of Baileys' \
             useMultiFileAuthState or an SQLite file only"
        ));
    }
    if found.session_from == SessionFrom::Default {
        found.notes.push("no session folder was found: check session_dir".to_owned());
    }
    if found.node && found.baileys.is_none() {
        found.notes.push(
            "package.json names no Baileys: the link is watched only if the bot uses the package ws"
                .to_owned(),
        );
    }
    if !found.reads_port && !found.ports.is_empty() {
        let ports: Vec<String> = found.ports.iter().map(u16::to_string).collect();
        found.notes.push(format!(
            "the bot listens on {} whatever PORT says, so its own pages cannot be reached through blacksky",
            ports.join(", ")
        ));
    }
    found
}

#[cfg(test)]
mod tests;
