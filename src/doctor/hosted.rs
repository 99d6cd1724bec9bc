//! A hosted bot: its program, Node, its client library, its session folder.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::Finding;
use crate::bot::hosted::child::environment::without_ours;
use crate::config::{Config, HostedBot, inherited};
use crate::r#gen::package_json::is_node;
use crate::init;

/// The oldest Node that Baileys 6.7 and 7 run on.
const OLDEST_NODE: u32 = 20;

pub(super) async fn look(config: &Config, name: &str, bot: &HostedBot) -> Vec<Finding> {
    let environment = without_ours(inherited());
    let path = environment.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path.clone());
    let mut findings = vec![program(config, name, bot, path)];
    if is_node(&bot.command) {
        findings.push(node(config, name, environment).await);
        let folder = config.folder.clone();
        // Reads many files.
        let found = tokio::task::spawn_blocking(move || init::look::look(&folder)).await;
        if let Ok(Ok(snapshot)) = found {
            findings.push(library(config, name, &init::recognise(&snapshot, Some(bot.command.clone()))));
        }
    }
    findings.push(session_dir(config, name, bot));
    if let Some(limit) = bot.max_memory
        && limit.get() > config.heroku.memory.get() * 2
    {
        findings.push(Finding::warn(
            format!("bots.{name}.max_memory"),
            format!("{limit} is more than twice what the dyno has, so Heroku ends it first (R15)"),
            "leave it out, or write less than twice of heroku.memory",
        ));
    }
    findings
}

fn program(config: &Config, name: &str, bot: &HostedBot, path: Option<OsString>) -> Finding {
    let check = format!("bots.{name}.command");
    let Some(program) = bot.command.first() else {
        return Finding::fail(check, "it is empty", "write the program and its arguments");
    };
    match find(&config.folder, program, path) {
        Ok(_) => {
            // `node index.js`: its file is there too.
            let file = bot.command.get(1).filter(|word| {
                is_node(&bot.command[..1])
                    && [".js", ".cjs", ".mjs", ".ts"].iter().any(|end| word.ends_with(end))
            });
            match file {
                Some(file) if !config.folder.join(file).is_file() => Finding::fail(
                    check,
                    format!("{program} is there, and {file} is not"),
                    "name a file that is in the folder of blacksky.toml, and commit it",
                ),
                _ => Finding::ok(check, format!("{program} can be started")),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Finding::fail(
            check,
            format!("{program} may not be run"),
            format!("make it executable: chmod +x {program}"),
        ),
        Err(_) => Finding::fail(
            check,
            format!("there is no program {program}"),
            "install it: on Heroku a buildpack brings it (heroku/nodejs brings node), see heroku.buildpacks",
        ),
    }
}

/// Where a program is, as the system would find it.
fn find(folder: &Path, program: &str, path: Option<OsString>) -> io::Result<PathBuf> {
    let candidates: Vec<PathBuf> = if program.contains('/') {
        vec![folder.join(program)]
    } else {
        let path = path.unwrap_or_default();
        std::env::split_paths(&path).map(|place| folder.join(place).join(program)).collect()
    };
    let mut refused = io::ErrorKind::NotFound;
    for candidate in candidates {
        match candidate.metadata() {
            Ok(data) if data.is_file() && is_executable(&data) => return Ok(candidate),
            Ok(data) if data.is_file() => refused = io::ErrorKind::PermissionDenied,
            Ok(_) | Err(_) => {}
        }
    }
    Err(refused.into())
}

fn is_executable(data: &std::fs::Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&data.permissions()) & 0o111 != 0
}

async fn node(config: &Config, name: &str, environment: Vec<(OsString, OsString)>) -> Finding {
    let check = format!("bots.{name}.node");
    let asked = Command::new("node")
        .arg("--version")
        .current_dir(&config.folder)
        .env_clear()
        // A preload of somebody else has no say in it.
        .envs(environment.into_iter().filter(|(name, _)| name != "NODE_OPTIONS"))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await;
    let text = asked.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    match text.ok().as_deref().and_then(major) {
        None => Finding::warn(
            check,
            "node does not say its version here",
            "install Node.js; on Heroku the buildpack heroku/nodejs does",
        ),
        Some((version, major)) if major < OLDEST_NODE => Finding::warn(
            check,
            format!("Node.js {version} is too old for Baileys of today, which wants {OLDEST_NODE}"),
            "write \"engines\": { \"node\": \">=20\" } in package.json, and deploy",
        ),
        Some((version, _)) => Finding::ok(check, format!("Node.js {version}")),
    }
}

/// "v20.20.2" → ("20.20.2", 20).
fn major(text: &str) -> Option<(&str, u32)> {
    let version = text.strip_prefix('v')?;
    let plain = version.len() <= 40
        && version.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-+".contains(&byte));
    let major = version.split('.').next()?.parse().ok()?;
    plain.then_some((version, major))
}

fn library(config: &Config, name: &str, found: &init::Found) -> Finding {
    let check = format!("bots.{name}.baileys");
    match &found.baileys {
        None => Finding::ok(check, "package.json names no Baileys; another library is looked after as well"),
        Some(baileys) if config.folder.join("node_modules").join(&baileys.package).is_dir() => {
            Finding::ok(check, format!("{} {} is installed", baileys.package, baileys.version))
        }
        Some(baileys) => Finding::warn(
            check,
            format!("{} {} is wanted and not installed here", baileys.package, baileys.version),
            "npm install; on Heroku the buildpack heroku/nodejs does it at each deploy",
        ),
    }
}

/// A file is made beside the session and removed.
fn session_dir(config: &Config, name: &str, bot: &HostedBot) -> Finding {
    let check = format!("bots.{name}.session_dir");
    let shown = bot.session_dir.display();
    let place = config.folder.join(&bot.session_dir);
    let folder =
        if place.is_dir() { Some(place.as_path()) } else { place.ancestors().skip(1).find(|up| up.is_dir()) };
    let made =
        folder.map_or(Err(io::ErrorKind::NotFound.into()), |folder| tempfile::tempfile_in(folder).map(drop));
    match made {
        Ok(()) if place.is_dir() => Finding::ok(check, format!("{shown} can be written")),
        Ok(()) => Finding::ok(check, format!("{shown} is made at the first start")),
        Err(error) => Finding::fail(
            check,
            format!("{shown} cannot be written: {}", error.kind()),
            "give the folder to the user that blacksky runs as, or name another one as session_dir",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_node_are_read() {
        assert_eq!(major("v20.20.2"), Some(("20.20.2", 20)));
        assert_eq!(major("v22.0.0-nightly+1"), Some(("22.0.0-nightly+1", 22)));
        for text in ["", "20.0.0", "v", "vx.1", "v20.\u{1b}[31m"] {
            assert_eq!(major(text), None, "{text:?}");
        }
    }
}
