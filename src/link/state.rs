//! The words for where a link stands.

use serde::{Deserialize, Serialize};

/// Where the link of one bot stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "name", content = "reason")]
pub enum LinkState {
    /// The process has just begun.
    Starting,
    /// The database does not answer or is not there; retried.
    WaitingForDatabase,
    /// Another dyno holds the lease.
    Standby,
    /// No linked device yet: a QR waits to be scanned.
    Pairing,
    /// A dial or a login is under way.
    Connecting,
    /// WhatsApp's `<success>` was handled.
    Open,
    /// Waiting before the next dial.
    BackingOff,
    /// Stopped until a person acts.
    Parked(Parked),
    /// The phone removed this device; the session is archived.
    LoggedOut,
}

/// Why a link is parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parked {
    /// Another client uses the same session (three times in ten minutes).
    Conflict,
    /// WhatsApp refuses this client version (405): set `wa_version`.
    ClientOutdated,
    /// The account is locked or banned (403, 406), or the client refused (409, 411, 516).
    Refused,
    /// Temporary ban (402) until its expiry.
    TemporaryBan,
    /// All QR codes of one round were shown and none was scanned.
    QrExpired,
    /// The stored session cannot be read or unsealed; never replaced.
    SessionUnreadable,
    /// Pairing restarts (515) came again and again without an open link.
    PairingBroken,
    /// A hosted bot's program ended at once, again and again.
    BotCrashes,
    /// A hosted bot's program cannot be started.
    BotNotStarted,
}

impl LinkState {
    /// The word of the design for this state, as `/status` shows it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::WaitingForDatabase => "waiting_for_database",
            Self::Standby => "standby",
            Self::Pairing => "pairing",
            Self::Connecting => "connecting",
            Self::Open => "open",
            Self::BackingOff => "backing_off",
            Self::Parked(_) => "parked",
            Self::LoggedOut => "logged_out",
        }
    }
}

impl Parked {
    /// The word of this reason, as `/status` shows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::ClientOutdated => "client_outdated",
            Self::Refused => "refused",
            Self::TemporaryBan => "temporary_ban",
            Self::QrExpired => "qr_expired",
            Self::SessionUnreadable => "session_unreadable",
            Self::PairingBroken => "pairing_broken",
            Self::BotCrashes => "bot_crashes",
            Self::BotNotStarted => "bot_not_started",
        }
    }
}
