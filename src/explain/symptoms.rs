//! What is seen, without a code.

use super::{Entry, Group};

const fn symptom(
    code: &'static str,
    also: &'static [&'static str],
    title: &'static str,
    meaning: &'static str,
    blacksky: &'static str,
    todo: &'static [&'static str],
) -> Entry {
    Entry { code, also, group: Group::Symptom, title, meaning, blacksky, todo }
}

pub(super) const ENTRIES: &[Entry] = &[
    symptom(
        "disconnects",
        &["bot_disconnects", "disconnects_after_hours"],
        "The bot disconnects after some hours",
        "Four things look the same: the dyno was restarted, as every day; an eco dyno fell asleep; the socket died and \
         nobody noticed; or a second program took the link over.",
        "A restart hands the link over without a QR. An eco dyno keeps itself awake by its public address (a ping to \
         localhost does not count). A dead socket is noticed within 35 s and dialled again, with growing waits. A second \
         program is told apart and named (`conflict`). The page and `/status` say which of them it was.",
        &[
            "`blacksky status --url https://APP.herokuapp.com`: the state, and the last disconnect with its reason.",
            "`blacksky explain` and that word.",
            "On eco: `blacksky check --heroku` tells whether it can fall asleep.",
        ],
    ),
    symptom(
        "session_lost",
        &["new_qr", "qr_again", "session_lost_on_restart"],
        "A new QR after a restart",
        "The login was not where the new dyno looked. Dynos lose all their files at every restart, so a session in a \
         folder is gone, and one that is copied to a database every few minutes is an old one.",
        "The login is written to the database before it counts, and is read from there; a hosted bot's session folder \
         is in the database within half a second of each change. kill -9 at any instant needs no new QR.",
        &[
            "`blacksky doctor` says which database is used and which sessions are in it; `blacksky session list` shows them with their bots.",
            "No DATABASE_URL on a dyno: `heroku addons:create heroku-postgresql:essential-0`.",
            "SESSION_ID or the bot's name changed: the old session is under the old name; set it back.",
            "`logged_out`: the phone removed the device. No program can help; scan the QR.",
            "The database itself was lost: `heroku pg:backups:restore`, see `pg_backups`.",
        ],
    ),
    symptom(
        "session_not_created",
        &["no_session", "no_qr"],
        "\"Session not created\": no QR, or none that works",
        "The bot never gets as far as a login. The original kit said so when its database did not answer, when its \
         tables did not fit, or when the QR was in a log that nobody could read.",
        "Tables are made and brought up to date by `blacksky migrate` before each release, and once more at the start. \
         The QR is on the page, live, for whoever has the admin token, and never in the log.",
        &[
            "Open the page. `waiting_for_database`: see there. `pairing`: scan. `parked (qr_expired)`: Show a new QR.",
            "The page hides the QR: sign in with `heroku config:get BLACKSKY_ADMIN_TOKEN`. There is none: `heroku config:set BLACKSKY_ADMIN_TOKEN=$(openssl rand -hex 24)`.",
            "A worker has no page: `process = \"web\"`, `blacksky gen`, deploy.",
            "The phone says that the code is not valid: it was old; the page always has the present one. Can another device be linked at all (four at most)?",
        ],
    ),
    symptom(
        "no_page",
        &["application_error"],
        "The page says \"Application error\"",
        "Heroku's router has no process that answers.",
        "The port is bound first of all, and no answer waits for anything, so a process that lives has a page.",
        &[
            "`heroku logs -n 200` names the code: `blacksky explain H10`, `blacksky explain H14`, `blacksky explain R10`.",
        ],
    ),
    symptom(
        "no_answer",
        &["silent", "open_but_silent"],
        "Linked, and the bot does not answer",
        "The link is `open`, so WhatsApp is not the cause.",
        "`messages_in` in `/status` counts what arrives, the warning `deaf` says that it cannot be read, and the \
         `webhook` part whether it is handed on.",
        &[
            "`messages_in` grows: look at prefix, `allow`, `owners` and `in` of the commands, or at the hosted bot's own last lines on the page.",
            "`messages_in` does not grow: write from another phone, to the number that is linked.",
            "`deaf`: `blacksky explain deaf`.",
        ],
    ),
    symptom(
        "several_dynos",
        &["two_dynos", "multiple_dynos", "web_2", "ps_scale"],
        "Several dynos (`heroku ps:scale web=2`)",
        "Two clients of one session push each other out (440). On eco and basic Heroku allows one dyno per type anyway.",
        "Only the holder of the lease opens the link; the others stand by, serve the same page, and take over at once \
         when it stops and within `lease.ttl` when it dies. With several bots the dynos share them.",
        &[
            "`dyno = \"standard-1x\"` and `quantity = 2` below `[heroku]`, `blacksky gen`, then the lines that it prints.",
            "`blacksky check --heroku` counts the connections of all of them against the database plan.",
            "Two apps on one database with the same session: give each a SESSION_ID of its own.",
        ],
    ),
    symptom(
        "sleeps",
        &["idle", "anti_idle"],
        "The bot falls asleep",
        "An eco web dyno sleeps after 30 minutes without a request through Heroku's router, and the bot with it.",
        "On eco it pings itself by its public address every ten minutes (`[anti_idle]`). A dyno that sleeps cannot wake \
         itself. Awake all month it takes up to 744 of the 1,000 hours of the account.",
        &[
            "`heroku config:set HEROKU_APP_URL=$(heroku info -s | grep web_url | cut -d= -f2)`: the address with its random suffix.",
            "`/status` shows `anti_idle` with the last ping and its answer.",
            "`dyno = \"basic\"` never sleeps.",
        ],
    ),
    symptom(
        "daily_restart",
        &["restart", "restarts", "cycling"],
        "The dyno restarts every day",
        "Heroku restarts every dyno once a day, and at each deploy and change of a Config Var. It starts the new one at \
         the moment it stops the old one, so for up to 30 s there are two.",
        "The old one keeps its link until the new one is ready, then stores everything and hands over: measured at 34 ms without a \
         link (p99). Messages of that moment are delivered by WhatsApp afterwards.",
        &["Nothing. `blacksky status --watch 28h` looks on through one and counts no fault."],
    ),
    symptom(
        "scheduler",
        &["heroku_scheduler", "cron"],
        "Heroku Scheduler",
        "It runs a line in a dyno of its own every 10 minutes, hour or day, costs dyno hours, and sometimes leaves one \
         out. A `cron` key in app.json does nothing.",
        "`[jobs.NAME]` has lines of cron in any time zone, done once for all dynos, and made up for after a restart \
         (docs/jobs.md). Backups need neither.",
        &[
            "`blacksky job list` shows what is due and how it went; `blacksky job run NAME` does one now.",
            "With Scheduler all the same: `heroku addons:create scheduler:standard`, and the line `blacksky job run NAME`.",
        ],
    ),
    symptom(
        "memory_grows",
        &["out_of_memory", "oom"],
        "Memory",
        "Eco, basic and standard-1x have 512 MB. Above it the log says R14, at twice of it the dyno is killed (R15). A \
         bot on Node takes 90 to 120 MB at rest, and more with each library and cache.",
        "A native bot takes about 20 MB, 500 of them 200 MB. blacksky measures itself and the processes of a hosted bot, \
         warns, and restarts what grows before Heroku does.",
        &[
            "See R14; `/status` has the figures.",
            "`blacksky doctor` shows the quota that this dyno really has.",
        ],
    ),
    symptom(
        "pg_backups",
        &["backups"],
        "Backups, `heroku pg:backups`",
        "A backup is for disasters: putting an old session back rolls its keys back, and some messages cannot be read \
         until both sides have agreed on new ones.",
        "The session is in the database at every instant, so a restart needs no backup. Every `backup.interval` a \
         changed session is copied besides, in the same database: against a broken session, not against a lost database.",
        &[
            "Against a lost database: `heroku pg:backups:schedule DATABASE_URL --at '03:00 UTC'`. It may run while the bot does.",
            "Back from it: `heroku ps:scale web=0`, `heroku pg:backups:restore`, `heroku ps:scale web=1`. No new QR.",
            "A broken session: `blacksky session show main`, `blacksky session restore main --from latest`.",
            "BLACKSKY_SECRET_KEY is in no dump: keep it apart (`heroku config:get BLACKSKY_SECRET_KEY`).",
        ],
    ),
    symptom(
        "is_it_stable",
        &["stable", "stability", "validating_stability"],
        "Is it stable?",
        "A bot is stable when its link outlives a restart, a deploy, a kill and a dead socket without a QR and without a \
         lost message.",
        "`/readyz` answers 200 only while every link is open, `/status` counts every loss with its reason, and alerts \
         tell of those that last.",
        &[
            "`blacksky status --watch 28h --url https://APP.herokuapp.com`: ends with 1 when a link was lost for no normal reason.",
            "Try it: `heroku restart`, and look at the page: `open` again within seconds, no QR.",
            "The other drills (a deploy, a kill, a dead socket, the database), and what must be seen: docs/stability.md.",
            "`blacksky alerts test`, and let a monitor ask `/readyz`.",
        ],
    ),
    symptom(
        "suspended",
        &["app_suspended"],
        "Heroku suspended the app",
        "Heroku has suspended apps that run WhatsApp bots, and forks of well known ones in particular.",
        "The session can be carried to any other host: it is in your own database.",
        &[
            "While the database answers: `blacksky session export main --out main.export` on your own machine (docs/session.md).",
            "Files for the new place: `blacksky gen --target docker`, `railway`, `render` or `fly` (docs/hosts.md).",
            "There `blacksky session import main.export`, and start the bot. Step by step: docs/moving.md.",
        ],
    ),
];
