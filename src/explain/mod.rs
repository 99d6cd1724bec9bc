//! What a code or a word means here, what blacksky does about it, and what to do: the one source of
//! `blacksky explain` and of docs/troubleshooting.md.
//!
//! Texts only: nothing of the program is asked. Tests hold them together with what the program does: every
//! state, every reason of a lost link, every alert and every exit code has an entry, and the entries of
//! WhatsApp's codes say what [`crate::link::policy`] does.

mod endings;
mod exits;
mod heroku;
mod markdown;
mod states;
mod symptoms;
mod terminal;
#[cfg(test)]
mod tests;
mod warnings;
mod whatsapp;

use serde::Serialize;

use crate::config::suggest;

pub use markdown::{PATH, text as guide};
pub use terminal::{list, text};

/// One code or word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// What is typed: `H12`, `440`, `parked`.
    pub code: &'static str,
    /// Other words for the same.
    pub also: &'static [&'static str],
    /// Where it comes from.
    pub group: Group,
    /// A few words.
    pub title: &'static str,
    /// What it means here.
    pub meaning: &'static str,
    /// What blacksky does about it.
    pub blacksky: &'static str,
    /// What to do, one step each; empty when nothing is.
    pub todo: &'static [&'static str],
}

/// Where a code comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// Something that is seen, without a code.
    Symptom,
    /// Heroku's log.
    Heroku,
    /// A number of WhatsApp, or of Baileys.
    Whatsapp,
    /// A state of a bot, or why it is parked.
    State,
    /// Why a link ended.
    Reason,
    /// A warning or an alert.
    Warning,
    /// An exit code of the `blacksky` command.
    Exit,
}

impl Group {
    /// All, in the order of the guide.
    pub const ALL: [Self; 7] =
        [Self::Symptom, Self::Heroku, Self::Whatsapp, Self::State, Self::Reason, Self::Warning, Self::Exit];

    /// The heading of its entries.
    pub fn heading(self) -> &'static str {
        match self {
            Self::Symptom => "By symptom",
            Self::Heroku => "Codes in Heroku's log",
            Self::Whatsapp => "Codes of WhatsApp",
            Self::State => "States of a bot",
            Self::Reason => "Reasons of a lost link",
            Self::Warning => "Warnings and alerts",
            Self::Exit => "Exit codes",
        }
    }

    /// One sentence about them.
    pub fn about(self) -> &'static str {
        match self {
            Self::Symptom => "What is seen, and what is behind it.",
            Self::Heroku => {
                "`heroku logs` shows them as `code=H12`, `Error R10`. The numbers are Heroku's (Dev Center, \"Heroku \
                 Error Codes\"); what they mean for blacksky is below."
            }
            Self::Whatsapp => {
                "A native bot sees them as `stream_error_…` (WhatsApp ended the stream) and `failure_…` (it refused the \
                 login); a bot on Baileys as `lastDisconnect.error.output.statusCode`."
            }
            Self::State => "The page and `/status` show them, `parked` with its reason.",
            Self::Reason => {
                "`last_disconnect.reason` in `/status`, `reason=` in the log. Those with a number (`stream_error_515`, \
                 `failure_405`, `http_429`) are explained by their number."
            }
            Self::Warning => "`warnings` in `/status`, and what `[alerts]` posts.",
            Self::Exit => "How a `blacksky` command ends.",
        }
    }
}

/// All entries, in the order of the guide.
pub fn all() -> impl Iterator<Item = &'static Entry> {
    [
        symptoms::ENTRIES,
        heroku::ENTRIES,
        whatsapp::ENTRIES,
        states::ENTRIES,
        endings::ENTRIES,
        warnings::ENTRIES,
        exits::ENTRIES,
    ]
    .into_iter()
    .flatten()
}

/// The entry of a code as it is found in a log, on the page or in `/status`: `H12`, `code=h12`, `Error R10`,
/// `parked (conflict)`, `stream_error_515`, `waiting for database`.
pub fn find(typed: &str) -> Option<&'static Entry> {
    let word = plain(typed);
    named(&word).or_else(|| {
        // A family with numbers: the number tells more, when there is a text about it.
        let (family, number) = word.rsplit_once('_').filter(|(_, number)| is_number(number))?;
        let has_numbers = ["stream_error", "failure", "http", "closed"].contains(&family);
        has_numbers.then(|| named(number)).flatten().or_else(|| named(family))
    })
}

fn named(word: &str) -> Option<&'static Entry> {
    let fits = |code: &&str| plain(code) == word;
    all().find(|entry| fits(&entry.code) || entry.also.iter().any(fits))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Small letters, words joined by `_`, without what logs write around a code.
fn plain(typed: &str) -> String {
    let lower = typed.trim().to_lowercase();
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let core = match words.as_slice() {
        ["exit", "code", rest @ ..]
        | ["code" | "error" | "reason" | "exit", rest @ ..]
        | ["parked", rest @ ..]
            if !rest.is_empty() =>
        {
            rest
        }
        all => all,
    };
    core.join("_")
}

/// The code that was probably meant.
pub fn nearest(typed: &str) -> Option<&'static str> {
    let word = plain(typed);
    let codes = all().flat_map(|entry| std::iter::once(entry.code).chain(entry.also.iter().copied()));
    suggest::nearest(&word, codes)
}
