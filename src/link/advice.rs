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
pub fn advice(state: LinkState) -> Option<&'static str> {
    match state {
        LinkState::Starting | LinkState::Standby | LinkState::Connecting | LinkState::Open => None,
        LinkState::BackingOff => None,
        LinkState::WaitingForDatabase => Some(
            "The database does not answer; blacksky asks again by itself. Check DATABASE_URL if this lasts.",
        ),
        LinkState::Pairing => {
            Some("Open WhatsApp on the phone, then Linked devices, Link a device, and scan the QR code.")
        }
        LinkState::LoggedOut => {
            Some("The phone removed this linked device; the session was archived and a new QR code follows.")
        }
        LinkState::Parked(why) => Some(match why {
            Parked::Conflict => {
                "Another client uses this session: stop it, then press Reconnect. Every bot needs a SESSION_ID of its own."
            }
            Parked::ClientOutdated => {
                "WhatsApp refuses this client version: set wa_version of the bot to the current WhatsApp Web version; tried again every hour."
            }
            Parked::Refused => {
                "WhatsApp refuses this account or client: look at WhatsApp on the phone, then press Reconnect."
            }
            Parked::TemporaryBan => {
                "WhatsApp banned this account for a time; the link is tried again when the ban ends."
            }
            Parked::QrExpired => "No QR code was scanned: press Show a new QR when the phone is at hand.",
            Parked::SessionUnreadable => {
                "The stored session cannot be read; it was not replaced. Check that BLACKSKY_SECRET_KEY is the one it was written with, then press Reconnect."
            }
            Parked::PairingBroken => {
                "Pairing was accepted by the phone but the login never came: press Show a new QR to try again."
            }
        }),
    }
}
