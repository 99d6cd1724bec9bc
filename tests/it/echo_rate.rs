//! Messages per second through an echo: one native bot, and a bare Baileys bot, in the same run on the same simulator.
//!
//! `BLACKSKY_ECHO=2000 cargo test --release --features simulator --test it echo_rate -- --nocapture` prints the figures.

use std::path::Path;
use std::time::Duration;

use blacksky::sim::Server;
use tokio::time::Instant;

use crate::support::blacksky::Blacksky;
use crate::support::figures;
use crate::support::linked::linked;
use crate::support::node::pair_node;
use crate::support::postgres;
use crate::support::sim::simulator;

const CHATS: usize = 20;
const BAILEYS: &str = "4915300000003";

/// How a bot did.
struct Measured {
    /// Echoes that came.
    echoes: usize,
    /// A second, until the last of them.
    rate: f64,
    /// Of one echo, when one is asked for after another.
    median: Duration,
}

/// No further echo within this: the rest is lost.
const QUIET: Duration = Duration::from_secs(20);

/// Sends `count` texts over [`CHATS`] chats as fast as they go and waits for the echoes; then one after another in one
/// chat.
async fn measure(sim: &Server, to: &str, contacts: &str, before: &str, count: usize) -> Measured {
    let handle = sim.handle();
    let contact = |chat: usize| format!("{contacts}{:02}", chat % CHATS);
    let begun = Instant::now();
    for n in 0..count {
        handle.send_text(&contact(n), to, &format!("{before}{n}")).expect("sent");
    }
    let echoed = || {
        let received = handle.received();
        let ours = received.iter().filter(|one| {
            one.copy_for.is_none()
                && one.to.starts_with(contacts)
                && one.text.as_deref().is_some_and(|t| t.starts_with("echo: "))
        });
        ours.count()
    };
    let (mut echoes, mut last) = (0, Instant::now());
    while echoes < count && last.elapsed() < QUIET {
        let now = echoed();
        if now > echoes {
            (echoes, last) = (now, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let rate = echoes as f64 / (last - begun).as_secs_f64();
    let mut times = Vec::new();
    for n in 0..21 {
        let begun = Instant::now();
        handle.send_text(&contact(0), to, &format!("{before}one {n}")).expect("sent");
        let text = format!("echo: one {n}");
        handle.wait_for_text(&contact(0), &text, Duration::from_secs(20)).await.expect("an echo");
        times.push(begun.elapsed());
    }
    times.sort();
    Measured { echoes, rate, median: times[times.len() / 2] }
}

async fn native(
    sim: &Server,
    folder: &Path,
    number: &str,
    contacts: &str,
    database: Option<&str>,
    count: usize,
) -> Measured {
    let file = "[bots.main]\nprefix = \"!\"\n[bots.main.commands]\necho = \"echo: {args}\"\n";
    std::fs::write(folder.join("blacksky.toml"), file).expect("written");
    let mut bot = Blacksky::in_folder(folder);
    if let Some(url) = database {
        bot = bot
            .env("DATABASE_URL", url)
            .env("BLACKSKY_DATABASE_TLS", "disable")
            .env("BLACKSKY_SECRET_KEY", "a secret key of the echo test");
    }
    let process = linked(sim, bot, &sim.url(), number).await;
    let measured = measure(sim, number, contacts, "!echo ", count).await;
    drop(process);
    measured
}

#[tokio::test(flavor = "multi_thread")]
async fn a_native_bot_and_a_bare_baileys_bot_echo_side_by_side() {
    let count = figures::number("BLACKSKY_ECHO", 40);
    let sim = simulator();
    let folders = [(); 3].map(|()| tempfile::tempdir().expect("a folder"));
    let database = postgres::database().await;

    let node = pair_node(&sim, &folders[2].path().join("session"), BAILEYS, &[]).await;
    let baileys = measure(&sim, BAILEYS, "49153300000", "", count).await;
    node.stop().await;
    let sqlite = native(&sim, folders[0].path(), "4915300000001", "49153100000", None, count).await;
    let pg = native(&sim, folders[1].path(), "4915300000002", "49153200000", Some(&database), count).await;
    for (who, Measured { echoes, rate, median }) in
        [("native, SQLite", &sqlite), ("native, PostgreSQL", &pg), ("bare Baileys", &baileys)]
    {
        println!(
            "{who}: {echoes} of {count} echoes, {rate:.0} a second over {CHATS} chats, one by one {median:?} (median)"
        );
        figures::note("echo", who, "sent", count as f64);
        figures::note("echo", who, "echoes", *echoes as f64);
        figures::note("echo", who, "a second", *rate);
        figures::note("echo", who, "one by one", median.as_secs_f64() * 1e3);
    }
    assert_eq!((sqlite.echoes, pg.echoes), (count, count));
    let reused = sim.handle().ratchets().reused;
    let (of_baileys, ours): (Vec<_>, Vec<_>) = reused.iter().partition(|one| one.device.starts_with(BAILEYS));
    println!(
        "message keys used twice: {} by the native bots, {} by bare Baileys",
        ours.len(),
        of_baileys.len()
    );
    figures::note("echo", "native", "keys used twice", ours.len() as f64);
    figures::note("echo", "bare Baileys", "keys used twice", of_baileys.len() as f64);
    assert_eq!(ours.len(), 0, "{ours:?}");
}
