//! Warnings of a bot, and alerts.

use super::{Entry, Group};

const fn warning(
    code: &'static str,
    title: &'static str,
    meaning: &'static str,
    blacksky: &'static str,
    todo: &'static [&'static str],
) -> Entry {
    Entry { code, also: &[], group: Group::Warning, title, meaning, blacksky, todo }
}

pub(super) const ENTRIES: &[Entry] = &[
    warning(
        "deaf",
        "Messages arrive and cannot be decrypted",
        "For ten minutes at least half of what came, and at least ten messages, could not be decrypted (`Bad MAC`, `No \
         session`). The link is fine; the keys are not, mostly since two programs used one session, or an old copy of it \
         was put back.",
        "The link is left alone: a restart does not help. Each sender is asked for new keys, which works by itself after \
         a while; the warning goes away with it.",
        &[
            "See that the session runs nowhere else (440).",
            "Update blacksky or Baileys.",
            "If it stays for a day: `blacksky session forget main` and link anew.",
        ],
    ),
    warning(
        "reconnect_loop",
        "Attempt after attempt fails",
        "Five or more in a row led to no stable link.",
        "Each wait is longer, up to `backoff.max`; it goes on for ever and says so at every fifth.",
        &["The text names the last reason: `blacksky explain` and that word."],
    ),
    warning(
        "dead_letters",
        "The webhook did not take messages",
        "Some were tried for `webhook_give_up` and then put aside, so that they hold up nobody.",
        "They are kept in the database, sealed, and posted again when you say so.",
        &[
            "Mend the program behind the webhook, then press Try the dead letters again on the page (docs/webhooks.md).",
        ],
    ),
    warning(
        "session_removed",
        "A hosted bot removed its own session",
        "It deleted `creds.json` or most files of its session folder, as many bots do at a 401 or 500.",
        "The last good session is kept and is put back at the next start. Removed again within ten minutes of that, it \
         stays archived and the bot starts empty, to pair.",
        &["If the login was good: nothing. If the phone removed the device: scan the QR."],
    ),
    warning(
        "down",
        "The link has been down for a while",
        "Longer than `alerts.down_after`.",
        "It is dialled on; the `up` alert follows when it is open again.",
        &["The text names the state and the reason: `blacksky explain` and that word."],
    ),
    warning("up", "The link is open again", "After one of the other alerts.", "Nothing is left to do.", &[]),
    warning(
        "memory",
        "The memory of the dyno is nearly used up",
        "blacksky itself uses nine tenths of `heroku.memory`.",
        "At 1.6 times it starts anew by itself, before Heroku kills the dyno.",
        &["See R14."],
    ),
    warning(
        "backup",
        "No backup could be taken",
        "The copy of a session could not be written: database full or away, or the session larger than `backup.max_size`.",
        "It is tried again at the next `backup.interval`. The session itself is not concerned.",
        &["`heroku pg:info` shows how full the database is; `blacksky session show main` what there is."],
    ),
];
