//! `blacksky demo`: simulator, bot and page in one process, narrated. Ends 0 only if each step was
//! really observed, by the status of the bot and by the simulated server.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use url::Url;

use crate::cli::Cli;
use crate::config::{
    Bot, Client, Commands, Config, DatabaseLocation, Log, LogFormat, LogLevel, NativeBot, Period, Reply,
};
use crate::exit::{Exit, Failure};
use crate::link::{LinkAddress, LinkState};
use crate::runtime::status::{BotStatus, Snapshot};
use crate::runtime::{Running, logging};
use crate::sim::{Action, Handle, Options, Server};

const BOT: &str = "main";
/// The number of the simulated phone that the bot is linked to.
const PHONE: &str = "4915100000001";
/// The number of the simulated friend who writes to the bot.
const FRIEND: &str = "4915100000002";
/// Each step must be seen within this.
const STEP: Duration = Duration::from_secs(30);

/// Runs the demo with the loaded file's timings and database; commands, session and port are its own.
pub(super) fn run(cli: &Cli) -> Result<Exit, Failure> {
    let config = super::load::load(cli)?.config;
    logging::start(Log { level: LogLevel::Error, format: LogFormat::Text });
    super::block_on(async { tell(config).await.map_err(Failure::from) })
}

async fn tell(mut config: Config) -> anyhow::Result<Exit> {
    // The folder must outlive both runs: it holds the session.
    let folder = tempfile::tempdir().context("no folder for the demo's database")?;
    prepare(&mut config, folder.path());
    let story = Story { begun: Instant::now() };

    let listener = TcpListener::bind("127.0.0.1:0").context("no free port for the simulator")?;
    let server = Server::start(Options { listener, state_dir: None })?;
    let phone = server.handle();
    story.tell(format!("a simulated WhatsApp server listens on {}", server.url()));
    let link = LinkAddress::decide(Some(server.url().parse::<Url>()?))?;

    let bot = Running::start(config.clone(), link.clone()).await?;
    let port = bot.address().port();
    story.tell(format!("blacksky is up; its page is http://localhost:{port}{}", config.web.base));
    let mut status = bot.snapshot();
    let kind = match config.database.location {
        DatabaseLocation::Postgres(_) => "PostgreSQL",
        DatabaseLocation::Sqlite(_) | DatabaseLocation::Missing(_) => "an SQLite file",
    };
    let qr = until(&mut status, "a QR", |bot| bot.qr.clone()).await?;
    story.tell(format!("no login in {kind} yet, so a QR is shown; the phone scans it"));
    phone.scan_as(&qr.payload, PHONE, "Demo")?;
    until(&mut status, "an open link", is_open).await?;
    ensure!(phone.counters().pairings == 1, "the simulator saw {} pairings", phone.counters().pairings);
    story.tell("paired and linked: Connection established");
    converse(&phone, &story, "one").await?;

    let reconnects = seen(&status)?.reconnects;
    phone.strike(Action::Drop);
    let reason = until(&mut status, "a lost socket", |bot| {
        bot.last_disconnect.as_ref().map(|lost| lost.reason.clone())
    })
    .await?;
    story.tell(format!("the server drops the socket ({reason}); the bot backs off and dials again"));
    until(&mut status, "a reconnect", |bot| is_open(bot).filter(|()| bot.reconnects > reconnects)).await?;
    story.tell("linked again, same login");
    converse(&phone, &story, "two").await?;

    let stopping = Instant::now();
    ensure!(bot.stop().await, "a stop step ran into its deadline");
    story.tell(format!("stopped as on SIGTERM, in {} ms", stopping.elapsed().as_millis()));
    let restarted = Instant::now();
    let bot = Running::start(config.clone(), link).await?;
    let mut status = bot.snapshot();
    until(&mut status, "an open link after the restart", |bot| match (&bot.qr, bot.state) {
        (Some(_), _) | (_, LinkState::Pairing) => Some(Err(anyhow::anyhow!("a new QR was shown"))),
        (None, LinkState::Open) => Some(Ok(())),
        _ => None,
    })
    .await??;
    let counters = phone.counters();
    ensure!(
        counters.registrations == 1 && counters.pairings == 1,
        "the simulator saw {} registrations and {} pairings instead of one each",
        counters.registrations,
        counters.pairings
    );
    story
        .tell(format!("restarted and linked after {} ms, without a new QR", restarted.elapsed().as_millis()));
    converse(&phone, &story, "three").await?;

    let keys = phone.ratchets();
    ensure!(keys.reused.is_empty(), "message keys were used twice: {:?}", keys.reused);
    ensure!(phone.counters().decrypt_failures == 0, "a reply did not decrypt");
    ensure!(bot.stop().await, "a stop step ran into its deadline");
    server.shutdown().await?;
    if matches!(config.database.location, DatabaseLocation::Postgres(_)) {
        story.tell(format!("the demo's session {} stays in PostgreSQL", config.bots[BOT].session));
    }
    story.tell(format!(
        "done: 1 QR, {} logins, {} message keys, none used twice",
        counters.logins, keys.message_keys
    ));
    Ok(Exit::Ok)
}

/// The demo touches neither the user's session nor a port that may be taken.
fn prepare(config: &mut Config, folder: &std::path::Path) {
    let reply = Reply { text: "pong {args}".into(), ..Reply::default() };
    let bot = Bot {
        session: format!("demo-{:08x}", rand::random::<u32>()),
        enabled: true,
        client: Client::Native(NativeBot {
            commands: Commands {
                prefix: "!".into(),
                replies: BTreeMap::from([("ping".into(), reply)]),
                ..Commands::default()
            },
            ..NativeBot::default()
        }),
    };
    config.bots = BTreeMap::from([(BOT.into(), bot)]);
    config.web.port = 0;
    config.backoff.initial = Period(Duration::from_secs(1));
    if !matches!(config.database.location, DatabaseLocation::Postgres(_)) {
        config.database.location = DatabaseLocation::Sqlite(folder.join("demo.db"));
    }
}

/// A friend sends `!ping WORD` and gets `pong WORD`.
async fn converse(phone: &Handle, story: &Story, word: &str) -> anyhow::Result<()> {
    let asked = Instant::now();
    let id = phone.send_text(FRIEND, PHONE, &format!("!ping {word}"))?;
    phone.wait_for_text(FRIEND, &format!("pong {word}"), STEP).await?;
    phone.wait_for_acknowledgement(&id, STEP).await?;
    story.tell(format!(
        "a friend writes \"!ping {word}\" and reads \"pong {word}\" after {} ms",
        asked.elapsed().as_millis()
    ));
    Ok(())
}

fn is_open(bot: &BotStatus) -> Option<()> {
    (bot.state == LinkState::Open).then_some(())
}

fn seen(status: &watch::Receiver<Snapshot>) -> anyhow::Result<BotStatus> {
    status.borrow().bots.get(BOT).cloned().context("the bot is not on the board")
}

/// Waits until `wanted` sees what it wants in the bot's status.
async fn until<T>(
    status: &mut watch::Receiver<Snapshot>,
    what: &str,
    wanted: impl Fn(&BotStatus) -> Option<T>,
) -> anyhow::Result<T> {
    let found = timeout(STEP, async {
        loop {
            if let Some(found) = status.borrow_and_update().bots.get(BOT).and_then(&wanted) {
                return Ok(found);
            }
            if status.changed().await.is_err() {
                bail!("blacksky ended before there was {what}");
            }
        }
    })
    .await;
    found.unwrap_or_else(|_| {
        let last = seen(status)?;
        bail!(
            "no {what} within {} s; the bot is {:?}, {:?}",
            STEP.as_secs(),
            last.state,
            last.last_disconnect
        )
    })
}

/// Prints each step with the seconds since the start.
struct Story {
    begun: Instant,
}

impl Story {
    fn tell(&self, line: impl AsRef<str>) {
        let mut stdout = std::io::stdout().lock();
        // Who listens may have gone; the exit code still tells.
        let _ = writeln!(stdout, "{:6.2} s  {}", self.begun.elapsed().as_secs_f64(), line.as_ref());
    }
}
