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
    /// Somebody is awaited; nothing is wrong.
    Invite,
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
            Self::Invite => "invite",
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
    /// How urgent.
    pub tone: Tone,
    /// Whether "Reconnect now" makes sense.
    pub can_reconnect: bool,
    /// Whether "Show a new QR" makes sense.
    pub can_pair: bool,
}

/// The words of a state. What to do about it is the bot's own advice, in the snapshot.
pub fn words(state: LinkState) -> Words {
    let calm = |word, meaning, tone| Words { word, meaning, tone, can_reconnect: false, can_pair: false };
    let hurried = |word, meaning| Words { can_reconnect: true, ..calm(word, meaning, Tone::Wait) };
    match state {
        LinkState::Starting => calm("Starting", "The program has just begun.", Tone::Wait),
        LinkState::WaitingForDatabase => {
            hurried("Waiting for the database", "The session is stored there, so the link has to wait.")
        }
        LinkState::Standby => {
            calm("Standing by", "Another dyno holds the link. This one takes over when it ends.", Tone::Idle)
        }
        LinkState::Pairing => {
            calm("Ready to pair", "Link this bot to a WhatsApp account with your phone.", Tone::Invite)
        }
        LinkState::Connecting => calm("Connecting", "Dialling WhatsApp and logging in.", Tone::Wait),
        LinkState::Open => {
            calm("Connected", "The bot is linked to WhatsApp and answers messages.", Tone::Good)
        }
        LinkState::BackingOff => {
            hurried("Reconnecting", "The connection is down and is tried again by itself.")
        }
        LinkState::LoggedOut => {
            calm("Logged out", "The phone removed this device from the account.", Tone::Act)
        }
        LinkState::Parked(why) => parked(why),
    }
}

fn parked(why: Parked) -> Words {
    let meaning = match why {
        Parked::Conflict => "Another program keeps taking over this session.",
        Parked::ClientOutdated => "WhatsApp no longer accepts this client version.",
        Parked::Refused => "WhatsApp does not let this account or client in.",
        Parked::TemporaryBan => "WhatsApp has banned this account for a while.",
        Parked::QrExpired => "All codes of this round were shown and none was scanned.",
        Parked::SessionUnreadable => "The stored session is there but cannot be read.",
        Parked::PairingBroken => "The phone accepted the code, but the link did not open afterwards.",
        Parked::BotCrashes => "The bot's program ends soon after each start.",
        Parked::BotNotStarted => "The bot's program cannot be started.",
    };
    let (can_reconnect, can_pair) = match why {
        Parked::Conflict | Parked::ClientOutdated | Parked::Refused | Parked::SessionUnreadable => {
            (true, false)
        }
        Parked::QrExpired | Parked::PairingBroken => (false, true),
        // Trying earlier can only make it longer.
        Parked::TemporaryBan => (false, false),
        // The program can be started again, which is another button.
        Parked::BotCrashes | Parked::BotNotStarted => (false, false),
    };
    Words { word: "Stopped", meaning, tone: Tone::Act, can_reconnect, can_pair }
}
