//! WhatsApp's numbers: `<stream:error code>`, `<failure reason>`, and Baileys' `DisconnectReason`.

use super::{Entry, Group};

const fn code(
    code: &'static str,
    title: &'static str,
    meaning: &'static str,
    blacksky: &'static str,
    todo: &'static [&'static str],
) -> Entry {
    Entry { code, also: &[], group: Group::Whatsapp, title, meaning, blacksky, todo }
}

pub(super) const ENTRIES: &[Entry] = &[
    code(
        "401",
        "Logged out",
        "The phone removed this linked device (Linked devices), the account was not used on the phone for about two \
         weeks, or the device was not online for about 30 days. The session is over; no program can bring it back.",
        "The session is archived, not deleted, and the bot goes on to pairing: state `logged_out`, then `pairing`. It never dials on with the dead \
         login, and never puts a backup of it back.",
        &[
            "Open the page and scan the QR with the phone: Linked devices, Link a device.",
            "If nobody removed it: use WhatsApp on the phone from time to time, and see that no copy of the session runs elsewhere.",
        ],
    ),
    code(
        "402",
        "Temporary ban",
        "WhatsApp banned the account for a time, which it names: too many messages, or to people who do not know the \
         number.",
        "Parked (`temporary_ban`) until the time that WhatsApp named, then one try. Without such a time it waits at the far end of the \
         back-off, with longer and longer waits.",
        &["Wait. Trying earlier can make it longer. Send less, and only to people who wrote first."],
    ),
    code(
        "403",
        "Account locked or forbidden",
        "WhatsApp does not let the account in.",
        "Parked (`refused`): it is not tried again by itself, and the session is kept.",
        &[
            "Open WhatsApp on the phone and do what it asks for.",
            "Then press Reconnect now on the page. If the account is banned for good, a backup does not help.",
        ],
    ),
    code(
        "405",
        "Client outdated",
        "WhatsApp refuses the version of WhatsApp Web that the client claims to be. It happens to everybody at once, \
         when WhatsApp ends a version.",
        "Parked (`client_outdated`) and tried again every hour; the session is kept and no QR is needed afterwards. A \
         native bot remembers the last version that worked.",
        &[
            "Native: update blacksky, or set the version that WhatsApp Web has now: `heroku config:set BLACKSKY_BOTS_MAIN_WA_VERSION=2.3000.1234567890`. No rebuild is needed.",
            "Hosted: update Baileys (`npm install @whiskeysockets/baileys@latest`), or pass `version` to `makeWASocket`.",
        ],
    ),
    code(
        "406",
        "Account banned, or refused",
        "WhatsApp ended the login for good. It is what a banned account sees.",
        "Parked (`refused`): it is not tried again by itself, and the session is kept.",
        &["Look at WhatsApp on the phone. If it says that the number is banned, ask for a review there."],
    ),
    code(
        "408",
        "Timed out, or connection lost",
        "Baileys' number for two things: nothing came from WhatsApp for longer than its keep-alive, or all QR codes of a \
         round were shown and none was scanned. WhatsApp does not send it.",
        "A linked bot: the relay sees the silence, and the bot's next dial goes through at once or after growing waits. \
         A bot without a login: the page shows the next QR as soon as the bot makes one.",
        &[
            "Scan the QR while it is fresh, from the page.",
            "The bot must dial again after a close; Baileys does not do it by itself.",
        ],
    ),
    code(
        "409",
        "Conflict",
        "As the end of a stream: another client uses the same session. As the answer to a login: WhatsApp refuses the client.",
        "End of a stream: as 440, one try once more after 30 s, and the third time in ten minutes parked (`conflict`). \
         At a login: parked (`refused`).",
        &["Stop the other program that has this session; see 440."],
    ),
    code(
        "411",
        "Not on multi-device",
        "The account has no linked devices of this kind any more, or the client is not one.",
        "Parked (`refused`): the session is kept, and it is not tried again by itself.",
        &[
            "Update WhatsApp on the phone, link the bot anew: `blacksky session forget main`, then scan the QR.",
        ],
    ),
    code(
        "428",
        "Connection closed",
        "Baileys' number for a socket that was closed, and for a message that was sent over a closed one. WhatsApp does \
         not send it.",
        "The link is dialled again with growing waits; the bot's dials go through the relay, which spaces them.",
        &[
            "\"Connection Closed\" while sending: the bot kept its old socket. Make a new one for each attempt, take its event handlers off the old one, and send only after `connection: \"open\"`.",
        ],
    ),
    code(
        "429",
        "Rate limit",
        "WhatsApp wants fewer logins from this account or address.",
        "The next dial waits longer: five steps further in the back-off, up to `backoff.max`.",
        &["Wait. Look for what dials so often: a crash loop, or the same session in two places."],
    ),
    code(
        "440",
        "Connection replaced",
        "Another client opened the same session: a second dyno, an old app that still runs, a copy on a computer. Two \
         such clients push each other out for ever and spoil each other's encryption keys.",
        "In one database the lease lets only one dyno open the link, so two dynos of an app cannot do this. When it \
         comes from elsewhere, the holder tries once more after 30 s, and parks the third time in ten minutes \
         (`conflict`) with an alert.",
        &[
            "Find the other one: `heroku apps`, `heroku ps -a OTHER`, a `node index.js` on your computer. Stop it: `heroku ps:scale web=0 worker=0 -a OTHER`.",
            "Then press Reconnect now on the page. Two bots need two sessions: link each by its own QR.",
        ],
    ),
    code(
        "500",
        "Server error, or bad session",
        "WhatsApp had an error. Baileys also uses it (`badSession`) for every end that it does not know. It does not mean \
         that the session is broken.",
        "Dialled again with growing waits; the session is kept.",
        &[
            "Nothing, as long as it passes. Do not delete the session: many a bot does that at 500 and needs a new QR for nothing; blacksky keeps such a session and puts it back.",
        ],
    ),
    code(
        "503",
        "Service unavailable",
        "WhatsApp is overloaded or is being changed.",
        "Dialled again with growing waits; the session is kept.",
        &["Nothing."],
    ),
    code(
        "515",
        "Restart required",
        "Normal right after a QR was scanned: WhatsApp wants the stream to be opened again, now with the new login.",
        "The login is stored first, then the link is dialled again at once, without a wait. More than three in a minute \
         without an open link: parked (`pairing_broken`).",
        &["Nothing. A bot on Baileys must store `creds.update` and then make a new socket."],
    ),
    code(
        "516",
        "Device refused",
        "WhatsApp does not take this linked device any more.",
        "Parked (`refused`): the session is kept, and it is not tried again by itself.",
        &[
            "Look at Linked devices on the phone. If the bot is not there: `blacksky session forget main`, then scan the new QR.",
        ],
    ),
];
