//! The states of a bot, and why it is parked. What to do is the advice that the page shows.

use super::{Entry, Group};
use crate::link::advice::advice;
use crate::link::{LinkState, Parked};

/// The advice of a state that has one.
const fn advised(state: LinkState) -> &'static str {
    match advice(state) {
        Some(text) => text,
        None => "Nothing.",
    }
}

const fn state(
    code: &'static str,
    also: &'static [&'static str],
    title: &'static str,
    meaning: &'static str,
    blacksky: &'static str,
    todo: &'static [&'static str],
) -> Entry {
    Entry { code, also, group: Group::State, title, meaning, blacksky, todo }
}

pub(super) const ENTRIES: &[Entry] = &[
    state(
        "starting",
        &[],
        "The program has just begun",
        "The page is up; database and lease are asked for.",
        "It goes on by itself, within seconds.",
        &[],
    ),
    state(
        "waiting_for_database",
        &["database", "database_url", "database_down"],
        "The database does not answer",
        "The session is stored there, so there is no link without it. On a dyno without DATABASE_URL it means that the \
         add-on is missing: a SQLite file would be wiped every day. As a reason of a lost link and as an alert: a write \
         could not be stored.",
        "The page stays up and says why. The link is closed before anything is lost, the database is asked again and \
         again, and everything is read anew when it answers; WhatsApp delivers what was not acknowledged.",
        &[
            "`blacksky doctor` (on the app: `heroku run blacksky doctor`) says what is wrong with it.",
            "No add-on yet: `heroku addons:create heroku-postgresql:essential-0`. On another host: docs/hosts.md.",
            "It was there and is not: `heroku pg:info`, and Heroku's status page.",
        ],
    ),
    state(
        "standby",
        &[],
        "Another dyno keeps the link",
        "The normal state of every dyno but one, also during a deploy.",
        "It takes over when the other one ends: at once when that one is stopped, within `lease.ttl` when it dies. Its \
         page shows what the holder says.",
        &[
            "Only if no dyno of this app is `open`: another app uses the same database and session. Give each a SESSION_ID or a database of its own.",
        ],
    ),
    state(
        "pairing",
        &["qr"],
        "A QR waits to be scanned",
        "There is no login yet, or the old one has ended.",
        "The page shows the QR, a new one whenever WhatsApp gives one, to the admin only; the `pairing` alert tells \
         somebody. The login is stored as soon as the phone has scanned it.",
        &[
            advised(LinkState::Pairing),
            "The page wants the admin token: `heroku config:get BLACKSKY_ADMIN_TOKEN`.",
        ],
    ),
    state(
        "connecting",
        &[],
        "Dialling and logging in",
        "A dial is under way.",
        "A dial that hangs is cut and tried again.",
        &[],
    ),
    state(
        "open",
        &[],
        "Linked",
        "WhatsApp has let the bot in.",
        "A sign of life is asked for whenever it is silent.",
        &[],
    ),
    state(
        "backing_off",
        &[],
        "Waiting before the next dial",
        "The link is down, and the reason is shown beside it.",
        "The waits grow (`[backoff]`) up to `backoff.max` and are a little different each time. They begin anew when a \
         link was open for `backoff.reset_after`.",
        &["`blacksky explain` and the reason. Reconnect now, on the page, does not wait."],
    ),
    state(
        "parked",
        &["stopped"],
        "Stopped until a person acts",
        "Dialling on would do harm or is pointless. The reason stands beside it: `conflict`, `client_outdated`, `refused`, \
         `temporary_ban`, `qr_expired`, `session_unreadable`, `pairing_broken`, `bot_crashes` or `bot_not_started`.",
        "The session is kept, the page says what to do, and the `parked` alert tells somebody.",
        &["`blacksky explain` and the reason."],
    ),
    state(
        "logged_out",
        &["device_removed"],
        "The phone removed this device",
        "The session is over; see 401.",
        "It is archived, and the bot goes on to `pairing`. An alert tells somebody.",
        &[advised(LinkState::LoggedOut)],
    ),
    state(
        "conflict",
        &[],
        "Another program uses the session",
        "It took the link over three times in ten minutes; see 440.",
        "Parked: going on would be a fight that no side wins, and that spoils the encryption keys of both.",
        &[advised(LinkState::Parked(Parked::Conflict))],
    ),
    state(
        "client_outdated",
        &[],
        "WhatsApp refuses the version",
        "See 405.",
        "Tried again every hour, with the login that is there.",
        &[advised(LinkState::Parked(Parked::ClientOutdated))],
    ),
    state(
        "refused",
        &[],
        "WhatsApp does not let this account or client in",
        "The account is locked or banned (403, 406), or the client is refused (409, 411, 516).",
        "It is not tried again by itself; the session is kept.",
        &[advised(LinkState::Parked(Parked::Refused))],
    ),
    state(
        "temporary_ban",
        &[],
        "Banned for a time",
        "See 402.",
        "Tried once when the ban ends.",
        &[advised(LinkState::Parked(Parked::TemporaryBan))],
    ),
    state(
        "qr_expired",
        &[],
        "No QR was scanned",
        "WhatsApp gives a few codes a round, and all of them were shown.",
        "No more are asked for until somebody is there: WhatsApp limits how often.",
        &[advised(LinkState::Parked(Parked::QrExpired))],
    ),
    state(
        "session_unreadable",
        &[],
        "The stored session cannot be read",
        "It is sealed under another BLACKSKY_SECRET_KEY, or damaged.",
        "Nothing is written over it: a session that cannot be read is not a session that is missing. The message names \
         the id of the key that is wanted.",
        &[
            advised(LinkState::Parked(Parked::SessionUnreadable)),
            "`heroku releases` shows when the Config Var changed, and `heroku rollback` brings it back.",
            "The key is lost for good: `blacksky session forget main`, and scan a new QR.",
        ],
    ),
    state(
        "pairing_broken",
        &[],
        "The phone accepted, the login never came",
        "WhatsApp asked for a restart (515) again and again.",
        "Parked, so that no round of codes is wasted.",
        &[advised(LinkState::Parked(Parked::PairingBroken))],
    ),
    state(
        "bot_crashes",
        &["crash_loop"],
        "The program of a hosted bot ends at once",
        "It was started again and again, and ended soon each time.",
        "It is not started any more, so that the log and WhatsApp are spared. The page and its own port stay up, so the \
         dyno does not crash (H10).",
        &[advised(LinkState::Parked(Parked::BotCrashes))],
    ),
    state(
        "bot_not_started",
        &["not_started"],
        "The program of a hosted bot cannot be started",
        "The first word of `command` is no program here, or may not be run.",
        "The page stays up and says what the system said.",
        &[
            advised(LinkState::Parked(Parked::BotNotStarted)),
            "`blacksky doctor` shows whether the program and Node are there.",
        ],
    ),
];
