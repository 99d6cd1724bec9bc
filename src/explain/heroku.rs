//! Heroku's error codes (Dev Center, "Heroku Error Codes"), as they concern a bot.

use super::{Entry, Group};

const fn code(
    code: &'static str,
    title: &'static str,
    meaning: &'static str,
    blacksky: &'static str,
    todo: &'static [&'static str],
) -> Entry {
    Entry { code, also: &[], group: Group::Heroku, title, meaning, blacksky, todo }
}

pub(super) const ENTRIES: &[Entry] = &[
    code(
        "H10",
        "App crashed",
        "The process of the web dyno has ended, so nobody answers. With blacksky that is almost always a wrong file or \
         Config Var (exit code 78), or a program that is not in the slug.",
        "A wrong configuration ends it at once, and the log has every problem with file, line and what to do. A bot \
         that crashes, WhatsApp or the database never end it: the page stays up and says what is wrong.",
        &[
            "`heroku logs -n 200` and look for `error:` above `Process exited with status`.",
            "`blacksky check --heroku` shows the same before a deploy; with the app's values: `heroku run blacksky check`.",
            "`blacksky: not found` or status 127: the program is not in the slug. see which buildpacks the app has (`heroku buildpacks`) and which `heroku.buildpacks` names.",
        ],
    ),
    code(
        "H12",
        "Request timeout",
        "A request got no first byte within 30 seconds. That is never normal, also not while a QR is shown.",
        "The page, `/status` and `/healthz` answer at once; none of them waits for WhatsApp or the database, and the \
         QR comes over `/events`. Other paths go to a hosted bot: after 30 s without an answer blacksky gives a 504 \
         that says so.",
        &[
            "Look at the `path=` of the log line. Below the page's own paths: something else has the port; the Procfile's `web:` must be the line that `blacksky gen` writes.",
            "Another path: the hosted bot does not answer. Answer first and work afterwards, or give the work to a job.",
        ],
    ),
    code(
        "H13",
        "Connection closed without response",
        "The process took a connection and closed it without a byte, usually since it was ending or crashed.",
        "A stop lets requests that have begun end first; a hosted bot that drops a request becomes a 502 that says so.",
        &["If it comes at each deploy, it is the old dyno ending: nothing to do. Otherwise see H10 and R15."],
    ),
    code(
        "H14",
        "No web dynos running",
        "No dyno of the type `web` runs: the app is scaled to 0, or its Procfile has only a `worker`.",
        "`blacksky gen` writes `web:` unless `heroku.process = \"worker\"`. With no web dyno there is no page, no QR \
         and nothing to keep awake by requests; a worker still keeps the link.",
        &[
            "`heroku ps:scale web=1`.",
            "`blacksky gen --check` tells whether the Procfile is the one of blacksky.toml; `blacksky check --heroku` finds a Procfile without `web`.",
        ],
    ),
    code(
        "H15",
        "Idle connection",
        "An answer that had begun was silent for 55 seconds. The WhatsApp link itself is not meant: it goes out from \
         the dyno and does not pass Heroku's router.",
        "`/events` sends a comment every 20 s, so it is never silent that long.",
        &["If `path=` is one of a hosted bot: let it send something at least every 50 s."],
    ),
    code(
        "H18",
        "Server request interrupted",
        "The process closed a connection in the middle of an answer: it was stopped, restarted or killed meanwhile.",
        "At a stop open event streams are ended; the page's script connects again by itself, to the new dyno.",
        &[
            "At a deploy or the daily restart: nothing. At other times look for R14, R15 and `Process exited` beside it.",
        ],
    ),
    code(
        "H20",
        "App boot timeout",
        "The router kept a request for 75 seconds and no web dyno was up by then.",
        "blacksky binds its port within milliseconds and before anything else, so its own start is never the cause.",
        &["See R10: something else is started, or the start command does not reach blacksky."],
    ),
    code(
        "H21",
        "Backend connection refused",
        "The router could not connect to the web process: it is starting or ending.",
        "The port is bound first and closed last.",
        &["A few at a deploy mean nothing. If they stay: see H10."],
    ),
    code(
        "H27",
        "Client request interrupted",
        "The browser or program that asked went away before it had its answer.",
        "Nothing is lost by it. Every page that is closed ends its event stream like this.",
        &[],
    ),
    code(
        "H80",
        "Maintenance mode",
        "Somebody turned maintenance on: Heroku answers all requests itself. The dynos run on, and so does the link.",
        "The bot stays linked. Pings of `[anti_idle]` are not passed on to the dyno meanwhile, so an eco dyno may fall \
         asleep.",
        &["`heroku maintenance:off`."],
    ),
    code(
        "H81",
        "Blank app",
        "No code has been pushed to this app.",
        "Nothing: it is not there yet.",
        &["`git push heroku main`, or deploy by the button; see the README."],
    ),
    code(
        "H82",
        "Eco dyno hours used up",
        "All eco dynos of an account share 1,000 hours a month. They are used up, so all of them sleep until the next \
         month begins.",
        "A bot that never sleeps takes 720 to 744 hours a month, so one fits and two do not. `blacksky check --heroku` \
         counts them. The login stays in the database; nobody has to scan a QR when the dyno is back.",
        &[
            "`heroku ps -a APP` shows what is left.",
            "`dyno = \"basic\"` below `[heroku]` and `heroku ps:type web=basic`: it never sleeps and takes no hours of the pool.",
            "Or put several bots into one app: one section `[bots.NAME]` each.",
        ],
    ),
    code(
        "R10",
        "Boot timeout",
        "The web process did not bind `$PORT` within 60 seconds and was killed.",
        "blacksky binds it first of all, in a few milliseconds, before database and WhatsApp; a release build was \
         measured at 3 ms.",
        &[
            "The Procfile starts something else: `blacksky gen` writes it, `blacksky gen --check` compares.",
            "The bot's own program listens on PORT: let blacksky start it (`kind = \"hosted\"`); it gets a port of its own and its pages are passed on.",
            "A wrapper such as `npm start` or a shell script is slow or keeps PORT for itself: start `blacksky run` directly.",
        ],
    ),
    code(
        "R12",
        "Exit timeout",
        "A process did not end within 30 seconds after SIGTERM and was killed. What it had not written by then is lost.",
        "blacksky ends within 30 s whatever happens: it hands the link over, stores everything and stops a hosted bot, \
         which gets `stop_grace` (10 s if not set) and then SIGKILL. A kill would lose nothing either: each write is in \
         the database before it counts.",
        &[
            "Look which process it was: `heroku logs` names the dyno. A wrapper (`sh -c`, `npm start`, pm2) may swallow SIGTERM: start `blacksky run` directly, as `blacksky gen` writes it.",
            "A `job` of yours that runs on: give it a `timeout`.",
        ],
    ),
    code(
        "R13",
        "Attach error",
        "A dyno of `heroku run` could not reach your terminal, usually since a firewall blocks port 5000.",
        "Not about the bot, which runs on.",
        &["`heroku run:detached …` and then `heroku logs`, or another network."],
    ),
    code(
        "R14",
        "Memory quota exceeded",
        "The processes of the dyno use more than it has (512 MB on eco, basic and standard-1x). They go on, slower, in swap.",
        "A native bot takes about 20 MB. At nine tenths there is a warning (`memory`); at 1.6 times blacksky starts \
         anew by itself, without a new QR. A hosted bot is restarted by itself above `max_memory`.",
        &[
            "`/status` shows `memory` and, of a hosted bot, `hosted.memory_bytes`: see which of them grows.",
            "Node: `NODE_OPTIONS=--max-old-space-size=384` keeps its heap small enough; `max_memory = \"400MB\"` restarts it in time.",
            "A larger dyno: `dyno = \"standard-2x\"`, `blacksky gen`, `heroku ps:type web=standard-2x`.",
        ],
    ),
    code(
        "R15",
        "Memory quota vastly exceeded",
        "More than twice the memory of the dyno: Heroku killed it (SIGKILL) and starts it again, with a cool-off when it \
         happens often.",
        "blacksky restarts itself, or the hosted bot, at 1.6 times, so that it does not come to this. A kill loses \
         nothing: the lease runs out, the next process reads the session from the database, no new QR.",
        &[
            "See R14. If it happened within seconds, a single request or message of a hosted bot needs that much: look at its last lines before it.",
        ],
    ),
    code(
        "R16",
        "Detached",
        "A dyno of `heroku run` went on although its terminal was gone.",
        "Not about the bot. A `blacksky session …` command that was cut off like this has done all or nothing.",
        &["`heroku ps` lists it, `heroku ps:stop run.1234` ends it."],
    ),
];
