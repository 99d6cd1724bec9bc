//! The file and the Config Vars.

use super::Finding;
use crate::config::{Loaded, Problems};

const CHECK: &str = "config";

pub(super) fn holds(loaded: &Loaded) -> Vec<Finding> {
    let bots = loaded.config.bots.values().filter(|bot| bot.enabled).count();
    let noun = if bots == 1 { "bot" } else { "bots" };
    let holds = format!("blacksky.toml and the Config Vars hold; {bots} {noun} enabled");
    if bots == 0 {
        return vec![Finding::warn(CHECK, holds, "write enabled = true for the bot that is to be linked")];
    }
    match loaded.warnings.as_slice() {
        [] => vec![Finding::ok(CHECK, holds)],
        [one] => vec![Finding::warn(
            CHECK,
            format!("{holds}, with a warning: {}", one.what),
            see(one.help.as_deref()),
        )],
        several => {
            let all: Vec<&str> = several.iter().map(|problem| problem.what.as_str()).collect();
            let message = format!("{holds}, with {} warnings: {}", several.len(), all.join("; "));
            vec![Finding::warn(CHECK, message, see(None))]
        }
    }
}

fn see(help: Option<&str>) -> String {
    help.unwrap_or("blacksky check shows each with its place").to_owned()
}

pub(super) fn broken(problems: &Problems) -> Vec<Finding> {
    let count = problems.errors();
    let noun = if count == 1 { "problem" } else { "problems" };
    let first = problems.list.iter().find(|problem| !problem.is_warning);
    let first = first.map(|problem| problem.what.as_str()).unwrap_or_default();
    let message = format!("{count} {noun}: {first}");
    vec![
        Finding::fail(CHECK, message, "blacksky check shows all of them, each with its place and what to do"),
        Finding::skip("everything", "nothing else can be looked at before the configuration holds"),
    ]
}
