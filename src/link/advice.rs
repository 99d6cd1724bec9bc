//! What a person should do in each state, in one sentence.

use super::state::{LinkState, Parked};

/// What standing by means. `holder` is the owner of the lease: where it runs, and a random part.
pub fn standby(holder: &str) -> String {
    let place = holder.rsplit_once('/').map_or(holder, |(place, _)| place);
    format!(
        "{place} keeps the link; this process takes over when that one ends. Should it be another app: give each app \
         a SESSION_ID or a database of its own."
    )
}

/// The advice for a state; `None` when there is nothing to do.
pub const fn advice(state: LinkState) -> Option<&'static str> {
    match state {
        LinkState::Starting | LinkState::Standby | LinkState::Connecting | LinkState::Open => None,
        LinkState::BackingOff => None,
        LinkState::WaitingForDatabase => Some(
            "The database does not answer; blacksky asks again by itself. Check DATABASE_URL if this lasts.",
        ),
        LinkState::Pairing => {
            Some("Open WhatsApp on the phone, then Linked devices, Link a device, and scan the QR code.")
        }
        LinkState::LoggedOut => Some(
            "The phone removed this linked device, or was not used for weeks. The session was archived; scan the new QR code that follows to link the bot again.",
        ),
        LinkState::Parked(why) => Some(match why {
            Parked::Conflict => {
                "Another program uses the same session and takes the link over each time. Stop it (a second app, a copy on a computer), then press Reconnect now. Two bots must not share one SESSION_ID."
            }
            Parked::ClientOutdated => {
                "WhatsApp refuses this client version (405). The session is kept and the link is tried again every hour. To end the wait, update blacksky, or set wa_version of the bot to the version that WhatsApp Web has now."
            }
            Parked::Refused => {
                "WhatsApp does not let this account or client in; the session is kept. Open WhatsApp on the phone and do what it asks for (the account may be locked or banned), then press Reconnect now."
            }
            Parked::TemporaryBan => {
                "WhatsApp banned this account for a time. There is nothing to do but wait: the link is tried again when the ban ends, and trying earlier can make it longer."
            }
            Parked::QrExpired => "No QR code was scanned: press Show a new QR when the phone is at hand.",
            Parked::SessionUnreadable => {
                "The stored session cannot be read; it was not replaced. Check that BLACKSKY_SECRET_KEY is the one it was written with, then press Reconnect now."
            }
            Parked::PairingBroken => {
                "Pairing was accepted by the phone but the login never came: press Show a new QR to try again."
            }
            Parked::BotCrashes => {
                "The bot's program ends soon after each start, so it is not started any more. See its last lines below or in the log, mend it and deploy, or press Start again. Its session is kept."
            }
            Parked::BotNotStarted => {
                "The bot's program cannot be started. Correct `command` of the bot in blacksky.toml and deploy. Its session is kept."
            }
        }),
    }
}
