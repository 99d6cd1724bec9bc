//! The states of a link in words for a person.

use crate::link::LinkState;
use crate::link::state::Parked;

/// How urgent a state is; colour and icon follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// All is well.
    Good,
    /// It mends itself; nothing to do.
    Wait,
    /// Somebody has to act.
    Act,
    /// Nothing happens, rightly.
    Idle,
}

impl Tone {
    /// The CSS class.
    pub fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Wait => "wait",
            Self::Act => "act",
            Self::Idle => "idle",
        }
    }
}

/// A state for a person.
#[derive(Debug, Clone, Copy)]
pub struct Words {
    /// One or two words.
    pub word: &'static str,
    /// One sentence.
    pub meaning: &'static str,
    /// What to do, when the bot itself has no better advice.
    pub advice: Option<&'static str>,
    /// How urgent.
    pub tone: Tone,
    /// Whether "Reconnect now" makes sense.
    pub can_reconnect: bool,
    /// Whether "Show a new QR" makes sense.
    pub can_pair: bool,
}

/// The words of a state.
pub fn words(state: LinkState) -> Words {
    let calm = |word, meaning, tone| Words {
        word,
        meaning,
        advice: None,
        tone,
        can_reconnect: false,
        can_pair: false,
    };
    match state {
        LinkState::Starting => calm("Starting", "The program has just begun.", Tone::Wait),
        LinkState::WaitingForDatabase => calm(
            "Waiting for the database",
            "The session is stored in the database, and the database does not answer yet. It is tried \
             again by itself.",
            Tone::Wait,
        ),
        LinkState::Standby => {
            calm("Standing by", "Another dyno holds the link. This one takes over when it ends.", Tone::Idle)
        }
        LinkState::Pairing => {
            calm("Ready to pair", "Link this bot to a WhatsApp account with your phone.", Tone::Act)
        }
        LinkState::Connecting => calm("Connecting", "Dialling WhatsApp.", Tone::Wait),
        LinkState::Open => {
            calm("Connected", "The bot is linked to WhatsApp and answers messages.", Tone::Good)
        }
        LinkState::BackingOff => Words {
            can_reconnect: true,
            ..calm("Reconnecting", "The connection is down. It is tried again by itself.", Tone::Wait)
        },
        LinkState::LoggedOut => Words {
            advice: Some("Show a new QR and scan it to link the bot again."),
            can_pair: true,
            ..calm("Logged out", "The phone removed this device from the account.", Tone::Act)
        },
        LinkState::Parked(why) => parked(why),
    }
}

fn parked(why: Parked) -> Words {
    let (meaning, advice) = match why {
        Parked::Conflict => (
            "Another program keeps taking over this session.",
            "Stop the other program that uses the same session, then reconnect.",
        ),
        Parked::ClientOutdated => (
            "WhatsApp no longer accepts this client version.",
            "Update blacksky, or set a newer version with wa_version under [bots.NAME].",
        ),
        Parked::Refused => (
            "WhatsApp refuses this account or this client.",
            "Open WhatsApp on the phone and see whether the account is locked, then reconnect.",
        ),
        Parked::TemporaryBan => (
            "WhatsApp has banned this account for a while.",
            "Wait until the ban ends; trying earlier may make it longer.",
        ),
        Parked::QrExpired => (
            "No code was scanned in time, so WhatsApp ended the round.",
            "Show a new QR when your phone is at hand.",
        ),
        Parked::SessionUnreadable => (
            "The stored session cannot be read. It is kept as it is and not replaced.",
            "Set BLACKSKY_SECRET_KEY to the key this session was stored with, then restart.",
        ),
        Parked::PairingBroken => (
            "The phone accepted the code, but the link did not open afterwards.",
            "Remove the device under Linked devices on the phone, then reconnect.",
        ),
    };
    Words {
        word: "Stopped",
        meaning,
        advice: Some(advice),
        tone: Tone::Act,
        can_reconnect: why != Parked::QrExpired,
        can_pair: why == Parked::QrExpired,
    }
}
