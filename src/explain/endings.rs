//! Why a link ended, in the words of [`crate::link::policy::Ending::word`] and of the relay.

use super::{Entry, Group};

const fn reason(
    code: &'static str,
    also: &'static [&'static str],
    title: &'static str,
    meaning: &'static str,
    blacksky: &'static str,
    todo: &'static [&'static str],
) -> Entry {
    Entry { code, also, group: Group::Reason, title, meaning, blacksky, todo }
}

const AGAIN: &str = "Dialled again with growing waits; nothing is lost.";

pub(super) const ENTRIES: &[Entry] = &[
    reason(
        "silence",
        &["dead_link", "dead_socket"],
        "WhatsApp stopped answering",
        "The socket looked open and was dead: nothing came for `heartbeat.period`, and nothing answered within \
         `heartbeat.deadline`. Networks drop connections like this without a word.",
        "Noticed within 35 s (the two together), cut and dialled again. A quiet chat is never taken for this: WhatsApp is asked, and any \
         answer counts.",
        &[
            "A few a day are normal. If it is every few minutes, look at the dyno: `heroku logs` for R14, where swap makes everything slow.",
        ],
    ),
    reason(
        "replaced",
        &[],
        "Another client opened the session",
        "See 440.",
        "One try once more after 30 s, parked (`conflict`) the third time in ten minutes.",
        &["See 440."],
    ),
    reason(
        "stream_end",
        &[],
        "WhatsApp recycled the stream",
        "Part of normal life: its servers end every connection from time to time.",
        "Dialled again; `blacksky status --watch` does not count it.",
        &[],
    ),
    reason(
        "eof",
        &["close", "closed", "io_error", "closed_by_client", "closed_by_bot", "cut"],
        "The socket was closed",
        "By WhatsApp, by the network, by the bot's own library, or by blacksky (`cut`).",
        AGAIN,
        &[],
    ),
    reason(
        "dial_failed",
        &["http", "handshake_failed"],
        "The connection was not made",
        "WhatsApp's address could not be found or reached, TLS failed, an HTTP error came in place of a WebSocket, or \
         what answered is not WhatsApp (a proxy, a simulator).",
        AGAIN,
        &[
            "`blacksky doctor` tells which step fails: name, TCP or TLS.",
            "If it lasts: does WhatsApp Web work elsewhere?",
        ],
    ),
    reason(
        "stream_error",
        &["stream_error_xml", "server_error"],
        "WhatsApp ended the stream with an error",
        "An error without a number that is known. With a number (`stream_error_503`) see that number.",
        AGAIN,
        &[
            "Nothing, as long as it passes. If it comes at once after each login, update blacksky or the bot's library.",
        ],
    ),
    reason(
        "failure",
        &[],
        "WhatsApp refused the login",
        "With a reason that nobody documents. With a number that is known (`failure_405`) see that number.",
        "Dialled again, with longer and longer waits; the session is kept.",
        &["Look at WhatsApp on the phone; update blacksky."],
    ),
    reason(
        "downgraded",
        &[],
        "The account left linked devices",
        "See 411.",
        "Parked (`refused`).",
        &["See 411."],
    ),
    reason(
        "paired",
        &[],
        "The phone linked this device",
        "Not a loss: after a QR the stream is opened again for the login; see 515.",
        "Dialled again at once.",
        &[],
    ),
    reason(
        "pairing_refused",
        &[],
        "The pairing could not be completed",
        "The phone or WhatsApp ended it, or a check of its signatures failed.",
        "A new round of codes begins after a wait.",
        &["Scan the new QR. If WhatsApp on the phone asks for a passkey or a PIN, do that first."],
    ),
    reason(
        "lease_lost",
        &["lease"],
        "Another dyno took the session over",
        "This one did not renew its lease in time: it was paused, cut off from the database, or very slow.",
        "It has closed its link by then and can write nothing any more; the other one goes on. No QR.",
        &["If it is often: `lease.ttl = \"60s\"`, and look for R14 in the log."],
    ),
    reason(
        "stop",
        &[],
        "blacksky was stopped",
        "A deploy, the daily restart, `heroku restart`, or Ctrl-C.",
        "The link is handed over to the next dyno; see `daily_restart`.",
        &[],
    ),
];
