//! The environment of a hosted bot: the process's own, without what is blacksky's.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::config::values::session::blob::Blob;
use crate::config::{LOGINS_OF_OTHERS, Size};

/// What a bot is given beside what it inherits.
#[derive(Debug)]
pub struct Given<'a> {
    /// PORT.
    pub port: u16,
    /// TMPDIR: a folder of its own, since some bots remove what they find in the common one.
    pub scratch: &'a Path,
    /// Goes in front of NODE_OPTIONS.
    pub node_options: &'a str,
    /// Variables of the preload.
    pub more: Vec<(String, String)>,
    /// SESSION_ID, when it is only a name.
    pub session: &'a str,
    /// Memory of the dyno.
    pub memory: Size,
    /// The bot's command.
    pub command: &'a [String],
}

/// blacksky's own, besides all that begin with `BLACKSKY_`. The database holds the session, sealed under a key
/// that the bot does not get; a bot that wrote there could only break it. A SESSION_ID that carries credentials
/// is imported by blacksky, once: the bot would write it over its session at every start.
const OURS: [&str; 2] = ["DATABASE_URL", "SESSION_ID"];
/// Heroku names further URLs of an attached PostgreSQL like this.
const OUR_DATABASE: (&str, &str) = ("HEROKU_POSTGRESQL_", "_URL");
/// What Node takes beside its old space, and blacksky itself, in bytes.
const BESIDE_OLD_SPACE: u64 = 96 << 20;
/// Less would make any bot crash.
const SMALLEST_OLD_SPACE: u64 = 128 << 20;
/// Sets the size of Node's old space.
const OLD_SPACE: &str = "max-old-space-size";

/// The environment of a program that is no bot: all but what is blacksky's.
pub fn without_ours(inherited: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<(OsString, OsString)> {
    inherited.into_iter().filter(|(name, value)| !is_ours(name) && !is_login(name, value)).collect()
}

/// All of a bot's environment.
pub fn of(
    inherited: impl IntoIterator<Item = (OsString, OsString)>,
    given: &Given<'_>,
) -> Vec<(OsString, OsString)> {
    let mut all: Vec<(OsString, OsString)> = inherited
        .into_iter()
        .filter(|(name, value)| !is_ours(name) || (name == "SESSION_ID" && value == given.session))
        .filter(|(name, value)| !is_login(name, value))
        .collect();
    let mut options = given.node_options.to_owned();
    if let Some((_, own)) = all.iter().find(|(name, _)| name == "NODE_OPTIONS") {
        let own = own.to_string_lossy();
        if !own.trim().is_empty() {
            options = format!("{options} {}", own.trim());
        }
    }
    if is_node(given.command) && !sets_old_space(&options, given.command) {
        options = format!("{options} --{OLD_SPACE}={}", old_space(given.memory) >> 20);
    }
    let mut set = |name: &str, value: OsString| {
        all.retain(|(other, _)| other != name);
        all.push((name.into(), value));
    };
    set("PORT", given.port.to_string().into());
    for name in ["TMPDIR", "TMP", "TEMP"] {
        set(name, given.scratch.into());
    }
    if !options.trim().is_empty() {
        set("NODE_OPTIONS", options.trim().into());
    }
    for (name, value) in &given.more {
        set(name, value.into());
    }
    all
}

fn is_ours(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let (start, end) = OUR_DATABASE;
    name.starts_with("BLACKSKY_")
        || OURS.contains(&&*name)
        || (name.starts_with(start) && name.ends_with(end))
}

/// A login that blacksky imports, as it does that of SESSION_ID.
fn is_login(name: &OsStr, value: &OsStr) -> bool {
    LOGINS_OF_OTHERS.iter().any(|login| name == *login) && Blob::read(&value.to_string_lossy()).is_some()
}

/// Whether the command is Node, or a tool of Node that starts one.
fn is_node(command: &[String]) -> bool {
    // `env A=b node index.js`
    let program =
        command.iter().find(|word| *word != "env" && !word.contains('=')).map_or("", String::as_str);
    let name = Path::new(program).file_name().unwrap_or_default().to_string_lossy();
    matches!(
        &*name,
        "node" | "nodejs" | "npm" | "npx" | "yarn" | "pnpm" | "tsx" | "ts-node" | "pm2-runtime" | "nodemon"
    )
}

fn sets_old_space(options: &str, command: &[String]) -> bool {
    // Node takes underscores for dashes.
    let says = |text: &str| text.replace('_', "-").contains(OLD_SPACE);
    says(options) || command.iter().any(|argument| says(argument))
}

/// Bytes of the dyno's memory for Node's old space: three quarters, with room for the rest.
fn old_space(memory: Size) -> u64 {
    let memory = memory.get();
    (memory / 4 * 3).min(memory.saturating_sub(BESIDE_OLD_SPACE)).max(SMALLEST_OLD_SPACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(inherited: &[(&str, &str)], command: &[&str]) -> Vec<(String, String)> {
        let command: Vec<String> = command.iter().map(|&part| part.to_owned()).collect();
        let given = Given {
            port: 4000,
            scratch: Path::new("/private"),
            node_options: "--require /private/preload.cjs",
            more: vec![("BLACKSKY_RELAY".to_owned(), "http://127.0.0.1:1/x".to_owned())],
            session: "my-session",
            memory: Size::megabytes(512),
            command: &command,
        };
        let inherited = inherited.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        of(inherited, &given)
            .into_iter()
            .map(|(name, value)| (name.into_string().unwrap(), value.into_string().unwrap()))
            .collect()
    }

    fn value<'a>(all: &'a [(String, String)], name: &str) -> Option<&'a str> {
        let found: Vec<&str> =
            all.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str()).collect();
        assert!(found.len() <= 1, "{name} is there {} times", found.len());
        found.first().copied()
    }

    #[test]
    fn what_is_blackskys_does_not_reach_the_bot_and_the_rest_does() {
        let all = made(
            &[
                ("BLACKSKY_SECRET_KEY", "k"),
                ("BLACKSKY_ADMIN_TOKEN", "t"),
                ("DATABASE_URL", "postgres://"),
                ("HEROKU_POSTGRESQL_TEAL_URL", "postgres://"),
                ("SESSION_ID", "KnightBot!H4sI"),
                ("MONGODB_URI", "mongodb://"),
                ("OWNER_NUMBER", "1555"),
                ("PORT", "5000"),
                ("TMPDIR", "/tmp"),
                ("PATH", "/usr/bin"),
            ],
            &["node", "index.js"],
        );
        for gone in [
            "BLACKSKY_SECRET_KEY",
            "BLACKSKY_ADMIN_TOKEN",
            "DATABASE_URL",
            "SESSION_ID",
            "HEROKU_POSTGRESQL_TEAL_URL",
        ] {
            assert_eq!(value(&all, gone), None, "{gone}");
        }
        assert_eq!(value(&all, "MONGODB_URI"), Some("mongodb://"));
        assert_eq!(
            value(&made(&[("SESSION_ID", "my-session")], &["node"]), "SESSION_ID"),
            Some("my-session")
        );
        assert_eq!(value(&all, "OWNER_NUMBER"), Some("1555"));
        assert_eq!((value(&all, "PORT"), value(&all, "TMPDIR")), (Some("4000"), Some("/private")));
        assert_eq!(value(&all, "BLACKSKY_RELAY"), Some("http://127.0.0.1:1/x"));
    }

    #[test]
    fn the_old_space_is_set_for_node_unless_somebody_has_set_it() {
        let options = |inherited: &[(&str, &str)], command: &[&str]| {
            value(&made(inherited, command), "NODE_OPTIONS").unwrap_or_default().to_owned()
        };
        let preload = "--require /private/preload.cjs";
        assert_eq!(options(&[], &["node", "index.js"]), format!("{preload} --max-old-space-size=384"));
        assert_eq!(
            options(&[("NODE_OPTIONS", "--expose-gc --max_old_space_size=256")], &["/usr/bin/node", "."]),
            format!("{preload} --expose-gc --max_old_space_size=256")
        );
        assert_eq!(options(&[], &["node", "--max-old-space-size=300", "."]), preload);
        assert_eq!(options(&[], &["python3", "bot.py"]), preload);
        assert!(options(&[], &["env", "A=b", "node", "."]).contains("max-old-space-size"));
    }

    #[test]
    fn a_small_dyno_leaves_node_enough_to_start() {
        assert_eq!(old_space(Size::megabytes(512)) >> 20, 384);
        assert_eq!(old_space(Size::megabytes(1024)) >> 20, 768);
        assert_eq!(old_space(Size::megabytes(256)) >> 20, 160);
        assert_eq!(old_space(Size::megabytes(64)) >> 20, 128);
    }
}
