//! The text of a new blacksky.toml.

use std::fmt::Write as _;

use super::Found;
use super::ignore::is_single_file;

/// The file for what was found; a native bot when nothing was.
pub fn text(found: &Found) -> String {
    let mut text = String::from(
        "# The config of a blacksky app. `blacksky check` checks it, `blacksky config` shows every value, and\n\
         # `blacksky gen` makes the deploy files from it. What is not set has its default: see docs/config.md.\n\n",
    );
    let _ = writeln!(text, "[app] # how app.json presents the app on Heroku");
    let _ = writeln!(text, "name = {}", quoted(&found.app.name));
    if let Some(description) = &found.app.description {
        let _ = writeln!(text, "description = {}", quoted(description));
    }
    if let Some(repository) = &found.app.repository {
        let _ = writeln!(text, "repository = {}", quoted(repository));
    }
    text.push('\n');
    match &found.start {
        Some(start) => hosted(&mut text, found, &start.command),
        None => native(&mut text),
    }
    text
}

fn hosted(text: &mut String, found: &Found, command: &[String]) {
    text.push_str("[heroku] # what `blacksky gen` writes into Procfile and app.json\n");
    text.push_str(
        "dyno = \"basic\" # never sleeps; an eco web dyno falls asleep after 30 minutes without a request\n",
    );
    if found.node {
        text.push_str(
            "build = \"npm\"  # the package blacksky, beside the bot's packages, brings the program\n",
        );
    }
    text.push_str("\n[bots.main]\nkind = \"hosted\" # this folder's own program is the bot; blacksky keeps it running\n");
    let words: Vec<String> = command.iter().map(|word| quoted(word)).collect();
    let _ = writeln!(text, "command = [{}]", words.join(", "));
    let what = if is_single_file(&found.session_dir) { "the SQLite file" } else { "the folder" };
    let _ = writeln!(
        text,
        "session_dir = {} # {what} where it keeps its login; blacksky keeps it in the database",
        quoted(&found.session_dir)
    );
    text.push_str("# max_memory = \"700MB\" # restart it before it uses more; not set: by the dyno\n");
    text.push_str("# relay = false         # its WebSocket past blacksky: no watch over dead links\n");
    if found.reads_session_id {
        text.push_str(
            "\n# SESSION_ID: a session string that carries the login itself is imported once, into an empty database.\n\
             # Set it as a Config Var, never here: heroku config:set SESSION_ID=…\n",
        );
    }
    if found.has_home {
        text.push_str(
            "\n# The bot answers \"/\" itself. To leave that to it, blacksky's page moves:\n# [web]\n# base = \"/blacksky/\"\n",
        );
    }
}

fn native(text: &mut String) {
    text.push_str(
        "[heroku] # what `blacksky gen` writes into Procfile and app.json\n\
         dyno = \"basic\" # never sleeps; an eco web dyno falls asleep after 30 minutes without a request\n\n\
         [bots.main]    # one table for each WhatsApp account\n\
         prefix = \"!\"   # people write \"!ping\"\n\
         allow = []     # who may: phone numbers such as \"+491701234567\"; empty means everybody\n\n\
         [bots.main.commands]\n\
         ping = \"pong\"\n\
         uptime = \"linked for {uptime}\"\n",
    );
}

/// A string of TOML.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
