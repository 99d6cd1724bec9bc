//! The exit codes of [`crate::exit::Exit`].

use super::{Entry, Group};

const fn exit(
    code: &'static str,
    also: &'static [&'static str],
    title: &'static str,
    meaning: &'static str,
    blacksky: &'static str,
    todo: &'static [&'static str],
) -> Entry {
    Entry { code, also, group: Group::Exit, title, meaning, blacksky, todo }
}

pub(super) const ENTRIES: &[Entry] = &[
    exit(
        "0",
        &["exit_ok"],
        "All went well",
        "The command did what it was asked for. `blacksky run` ends with it after SIGTERM.",
        "Nothing.",
        &[],
    ),
    exit(
        "1",
        &["exit_failed"],
        "The command failed",
        "The command ran and the answer is no: a job failed, a link is not open (`status`), a check of `doctor` failed, \
         files differ (`gen --check`).",
        "The last line on stderr says why.",
        &["Read it and do what it says."],
    ),
    exit(
        "64",
        &["exit_usage", "EX_USAGE"],
        "Wrong command line",
        "There is no such command, flag or name.",
        "It names what is wrong and, for a slip of the fingers, what was probably meant.",
        &["`blacksky --help`, `blacksky COMMAND --help`."],
    ),
    exit(
        "69",
        &["exit_unavailable", "EX_UNAVAILABLE"],
        "Something outside is not there",
        "The database, a port or a server does not answer. `blacksky run` does not end with it for a database: it waits \
         with its page up.",
        "The message names what it is and what to do.",
        &["`blacksky doctor` looks at all of them at once."],
    ),
    exit(
        "78",
        &["exit_bad_config", "EX_CONFIG"],
        "Wrong configuration",
        "blacksky.toml or a Config Var is wrong. On Heroku the dyno ends at once, and the router says H10.",
        "Every problem is told at once, each with file, line and column, or the Config Var, and what to do.",
        &["`blacksky check` before a deploy; `heroku run blacksky check` with the app's own Config Vars."],
    ),
];
