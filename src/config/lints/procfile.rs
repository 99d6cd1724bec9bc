//! The Procfile that is there: what Heroku really starts.

use super::Lints;
use crate::config::document::Excerpt;
use crate::config::{Dyno, Loaded, Place, Problem, ProcessType};

/// A month in hours.
const MONTH: u32 = 744;
/// What all eco dynos of an account have in a month.
pub(super) const ECO_POOL: u32 = 1000;

/// What the files beside blacksky.toml start on Heroku.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Starts<'t> {
    /// Nobody looked, or it is no Procfile that says it (a container).
    Unknown,
    /// There is no Procfile.
    Nothing,
    /// The text of the Procfile.
    Procfile(&'t str),
}

/// A line `type: command`.
struct Line<'t> {
    number: usize,
    kind: &'t str,
    command: &'t str,
}

impl Lints {
    pub(super) fn procfile(&mut self, loaded: &Loaded, starts: Starts<'_>) {
        let process = loaded.config.heroku.process.as_str();
        let text = match starts {
            Starts::Unknown => return,
            Starts::Nothing => {
                let what = "Procfile: there is none, so Heroku does not know what to start";
                let help = "blacksky gen writes it; commit it";
                return self.warn(loaded, "heroku.process", what, help);
            }
            Starts::Procfile(text) => text,
        };
        let lines = lines(text);
        let Some(own) = lines.iter().find(|line| line.kind == process) else {
            let what = format!(
                "Procfile: there is no `{process}` process, which heroku.process names{}",
                if process == "web" {
                    "; without it the app has no page (H14), and the QR appears nowhere"
                } else {
                    ""
                }
            );
            let help = "blacksky gen writes the Procfile of this file; commit it";
            return self.fail(loaded, "heroku.process", what, help);
        };
        if !own.starts_blacksky() {
            let what =
                format!("Procfile: `{process}` does not start blacksky, so nothing of this file is used");
            let help = format!(
                "write `{process}: blacksky run`, as blacksky gen does; a hosted bot is started by blacksky"
            );
            self.problems.push(Problem::warning(own.place(), "heroku.process", what, Some(help)));
        } else if let Some(wrapper) = own.wrapper() {
            let what = format!(
                "Procfile: {wrapper} stands between Heroku and blacksky and may swallow SIGTERM (R12)"
            );
            let help = "start `blacksky run` directly, as blacksky gen does".to_owned();
            self.problems.push(Problem::warning(own.place(), "heroku.process", what, Some(help)));
        }
        self.others(loaded, &lines, process);
    }

    /// Other processes of the same app.
    fn others(&mut self, loaded: &Loaded, lines: &[Line<'_>], process: &str) {
        let heroku = &loaded.config.heroku;
        for other in lines.iter().filter(|line| line.kind != process && line.kind != "release") {
            if other.starts_blacksky() && other.command.split_whitespace().any(|word| word == "run") {
                let what =
                    format!("Procfile: `{}` starts a second blacksky, which would only stand by", other.kind);
                let help = "leave one of them; more dynos come by heroku.quantity".to_owned();
                self.problems.push(Problem::warning(other.place(), "heroku.process", what, Some(help)));
            }
            if heroku.dyno != Dyno::Eco {
                continue;
            }
            let (hours, pool) = (2 * MONTH, ECO_POOL);
            let sleeps = if heroku.process == ProcessType::Web || other.kind == "web" {
                ", and an eco worker falls asleep together with the web dyno"
            } else {
                ""
            };
            let what = format!(
                "Procfile: `{process}` and `{}` on eco dynos take up to {hours} hours a month of the {pool} of the \
                 account{sleeps}",
                other.kind
            );
            let help = format!(
                "leave it at 0 (heroku ps:scale {}=0), do its work by [jobs] or as a hosted bot, or write dyno = \"basic\"",
                other.kind
            );
            self.problems.push(Problem::warning(other.place(), "heroku.dyno", what, Some(help)));
        }
    }
}

impl Line<'_> {
    fn starts_blacksky(&self) -> bool {
        let mut words = self.command.split(|c: char| !(c.is_ascii_alphanumeric() || "_-./".contains(c)));
        words.any(|word| word.rsplit('/').next() == Some("blacksky"))
            || self.wrapper().is_some_and(|wrapper| wrapper != "sh" && wrapper != "bash")
    }

    /// What the command begins with, if that is a program which starts others.
    fn wrapper(&self) -> Option<&'static str> {
        // A package manager's `start` is blacksky, once gen has written package.json.
        let first = self.command.split_whitespace().find(|word| !word.contains('='))?;
        let name = first.rsplit('/').next().unwrap_or(first);
        ["npm", "npx", "yarn", "pnpm", "bun", "sh", "bash"].into_iter().find(|wrapper| *wrapper == name)
    }

    /// The command itself is not shown: people write secrets into it.
    fn place(&self) -> Place {
        let text = format!("{}:", self.kind);
        let highlight = 0..self.kind.len();
        Place::Other { file: "Procfile", excerpt: Excerpt { line: self.number, column: 1, text, highlight } }
    }
}

/// Lines as Heroku reads them: `^[A-Za-z0-9_-]+:\s*[^\s].*$`, the rest is passed over.
fn lines(text: &str) -> Vec<Line<'_>> {
    let parsed = text.lines().enumerate().filter_map(|(index, line)| {
        let (kind, command) = line.split_once(':')?;
        let is_name = !kind.is_empty()
            && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        let command = command.trim();
        (is_name && !command.is_empty()).then_some(Line { number: index + 1, kind, command })
    });
    parsed.collect()
}
