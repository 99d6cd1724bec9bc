//! What the page says of a hosted bot beside its link: its program, its session, its WebSocket, its memory.

use chrono::{DateTime, Utc};

use super::page::{Moment, size_text};
use super::paths::Paths;
use super::words::{Tone, Words};
use crate::link::LinkState;
use crate::link::state::Parked;
use crate::runtime::status::{BotStatus, ChildState, HostedStatus, RelayWay, Role};

/// Digits in a row that may be a phone number, as the names of session files have them.
const NUMBER: usize = 7;

/// A hosted bot for this visitor.
pub struct HostedCard<'a> {
    pub status: &'a HostedStatus,
    /// What the program does.
    pub program: &'static str,
    /// Since when it runs.
    pub running: Option<Moment>,
    /// When it is started again.
    pub next: Option<Moment>,
    /// How the last run ended.
    pub last_exit: Option<String>,
    /// When its session last went into the database.
    pub mirrored: Option<Moment>,
    /// The way of its WebSocket.
    pub way: &'static str,
    /// "81.2 MB of 400.0 MB".
    pub memory: Option<String>,
    /// Its own port, for admins on the dyno that has it.
    pub port: Option<u16>,
    /// All other paths go to this bot.
    pub proxied: bool,
    /// What a person should know.
    pub notes: Vec<(Tone, String)>,
    /// The last lines it wrote, for admins.
    pub lines: Option<String>,
    /// They tell what is wrong.
    pub lines_matter: bool,
    /// Its program runs.
    pub runs: bool,
    /// What the button for it says, for admins.
    pub restart: Option<&'static str>,
}

impl<'a> HostedCard<'a> {
    /// `own` is what this dyno knows of the bot, `shown` what its holder says.
    pub fn of(
        name: &str,
        own: &'a BotStatus,
        shown: &'a BotStatus,
        paths: &Paths,
        admin: bool,
        now: DateTime<Utc>,
    ) -> Option<Self> {
        let status = shown.hosted.as_ref()?;
        let child = &status.child;
        let here = own.role() != Role::Standby;
        let stuck = matches!(child.state, ChildState::CrashLoop | ChildState::NotStarted);
        Some(Self {
            program: match child.state {
                ChildState::Stopped => "Not running",
                ChildState::Running => "Running",
                ChildState::Waiting => "Starts again",
                ChildState::CrashLoop => "Stopped after ending soon after each start",
                ChildState::NotStarted => "Cannot be started",
            },
            running: child
                .started_at
                .filter(|_| child.state == ChildState::Running)
                .map(|at| Moment::past(at, now)),
            next: child
                .next_start_at
                .filter(|_| child.state == ChildState::Waiting)
                .map(|at| Moment::coming(at, now)),
            last_exit: child.last_exit.as_deref().map(discreet),
            mirrored: status.vault.mirrored_at.map(|at| Moment::past(at, now)),
            way: match status.relay.way {
                RelayWay::Unknown => "Not seen yet",
                RelayWay::Through => "Through blacksky",
                RelayWay::Around => "Around blacksky",
                RelayWay::Off => "Its own (relay = false)",
            },
            memory: status.memory_bytes.map(|used| match status.memory_limit_bytes {
                Some(limit) => format!("{} of {}", size_text(&used), size_text(&limit)),
                None => size_text(&used),
            }),
            port: status.port.filter(|_| admin && here && child.state == ChildState::Running),
            proxied: paths.bot.as_deref() == Some(name),
            notes: notes(status),
            lines: (admin && here && !status.last_lines.is_empty()).then(|| status.last_lines.join("\n")),
            lines_matter: stuck || child.state == ChildState::Waiting,
            runs: child.state == ChildState::Running,
            restart: match child.state {
                _ if !admin => None,
                ChildState::Running => Some("Restart the bot"),
                ChildState::Waiting => Some("Start it now"),
                ChildState::CrashLoop | ChildState::NotStarted => Some("Start again"),
                ChildState::Stopped => None,
            },
            status,
        })
    }
}

fn notes(status: &HostedStatus) -> Vec<(Tone, String)> {
    let mut notes = Vec::new();
    if status.vault.removed_at.is_some() {
        let text = "The bot removed its session. The last good one is kept, and is restored when the bot is \
                    started again.";
        notes.push((Tone::Act, text.to_owned()));
    }
    if let Some(problem) = &status.vault.problem {
        notes.push((Tone::Act, format!("Session: {}", discreet(problem))));
    }
    if status.relay.way == RelayWay::Around {
        let text = "The bot does not come through the relay: a dead link is not noticed for it, and its dials are \
                    not spaced. Everything else works. If that is meant so, relay = false ends this notice.";
        notes.push((Tone::Wait, text.to_owned()));
    }
    notes
}

/// The words of a hosted bot's state, where they differ from those of a link.
pub fn words(bot: &BotStatus) -> Option<Words> {
    let child = bot.hosted.as_ref()?.child.state;
    let calm = |word, meaning, tone| Words { word, meaning, tone, can_reconnect: false, can_pair: false };
    match (bot.state, child) {
        (LinkState::Parked(Parked::BotCrashes | Parked::BotNotStarted), _) => None,
        (LinkState::Parked(_) | LinkState::LoggedOut | LinkState::Standby, _) => None,
        (_, ChildState::Waiting) => {
            Some(calm("Restarting", "The bot's program ended and is started again by itself.", Tone::Wait))
        }
        (LinkState::Open, _) => Some(calm("Connected", "The bot is linked to WhatsApp.", Tone::Good)),
        _ => None,
    }
}

/// A text that everybody may see: without what may be a phone number.
pub fn discreet(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let digits = rest[start..].bytes().take_while(u8::is_ascii_digit).count();
        shown.push_str(&rest[..start]);
        let number = &rest[start..start + digits];
        shown.push_str(if digits >= NUMBER { "…" } else { number });
        rest = &rest[start + digits..];
    }
    shown.push_str(rest);
    shown
}

/// What everybody may know of a hosted bot.
pub fn public(status: &HostedStatus) -> HostedStatus {
    let mut status = status.clone();
    status.port = None;
    status.last_lines.clear();
    status.child.last_exit = status.child.last_exit.as_deref().map(discreet);
    status.vault.problem = status.vault.problem.as_deref().map(discreet);
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_people_are_left_out() {
        for (text, shown) in [
            ("session-491701234567.0.json is torn", "session-….0.json is torn"),
            ("ended with code 1 after 350 ms", "ended with code 1 after 350 ms"),
            ("1234567", "…"),
            ("1234567890 and 123456", "… and 123456"),
            ("ü 12345678", "ü …"),
            ("", ""),
        ] {
            assert_eq!(discreet(text), shown);
        }
    }
}
