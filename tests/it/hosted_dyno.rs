//! Hosted bots on a dyno: redeploys, machines that are gone, links that are silent, folders that are removed.
//!
//! `BLACKSKY_HOSTED_CYCLES=50 cargo test --features simulator --test it hosted_dyno -- --nocapture` runs the
//! long one and prints its figures.

use std::path::Path;
use std::time::Duration;

use blacksky::sim::{Action, Handle};
use tokio::time::Instant;

use crate::dyno_life::{FRIEND, PATIENCE, PHONE, TOKEN, pair};
use crate::support::dyno::{App, Slug};
use crate::support::eventually::eventually;
use crate::support::openmetrics::Scrape;
use crate::support::{node, postgres, sim};

/// Baileys asks for a sign of life each 30 s unless told otherwise, and the relay waits 10 s for it.
const SILENCE: Duration = Duration::from_secs(60);

/// A bot's folder, and what its blacksky.toml says.
pub struct Guest {
    folder: &'static str,
    command: &'static str,
    pub session: &'static str,
    /// It answers `ping WORD` with `pong WORD`.
    ping: &'static str,
    pong: &'static str,
    /// It asks for a sign of life each 10 s, not 30.
    lively: bool,
}

pub const WEBSITE: Guest = Guest {
    folder: "tests/bots/website",
    command: r#""node", "server.js""#,
    session: "auth",
    ping: "!ping ",
    pong: "pong ",
    lively: true,
};

impl Guest {
    /// The folder as it is, with the packages of the tests.
    pub fn slug(&self, url: &str) -> Slug {
        let toml = format!(
            "[bots.main]\nkind = \"hosted\"\ncommand = [{}]\nsession_dir = \"{}\"\n",
            self.command, self.session
        );
        let mut slug = Slug::blacksky(&toml, url).link("node_modules", node::folder().join("node_modules"));
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(self.folder);
        for entry in std::fs::read_dir(folder).expect("the bot's folder").flatten() {
            let name = entry.file_name().into_string().expect("a plain name");
            if name != "blacksky.toml" && entry.file_type().is_ok_and(|kind| kind.is_file()) {
                slug = slug.file(&name, &std::fs::read_to_string(entry.path()).expect("reads"));
            }
        }
        slug
    }
}

/// From the trouble until the bot has answered this word. It is sent when the link is open: what waited at the
/// server is `append` to Baileys, and bots that heed `notify` only, as most do, pass over it.
pub async fn answered(phone: &Handle, app: &App, guest: &Guest, word: &str) {
    app.until("open", 2 * PATIENCE).await;
    phone.send_text(FRIEND, PHONE, &format!("{}{word}", guest.ping)).expect("sent");
    let reply = phone.wait_for_text(FRIEND, &format!("{}{word}", guest.pong), 2 * PATIENCE).await;
    assert!(reply.is_ok(), "{word} is not answered: {:?} {}", phone.counters(), app.logs());
}

/// The number of the simulator's logins, which grows with each link that opens.
fn logins(phone: &Handle) -> u64 {
    phone.counters().logins
}

async fn until_new_link(phone: &Handle, app: &App, before: u64, deadline: Duration) {
    let seen = phone.wait_for_counters("a login", deadline, |counters| counters.logins > before).await;
    assert!(seen.is_ok(), "no new link: {:?} {}", phone.counters(), app.logs());
}

#[derive(Default)]
struct Figures {
    redeploys: Vec<Duration>,
    kills: Vec<Duration>,
    silences: Vec<Duration>,
    wipes: Vec<Duration>,
}

fn told(what: &str, times: &mut [Duration]) {
    times.sort();
    let (Some(median), Some(most)) = (times.get(times.len() / 2), times.last()) else { return };
    println!("  {what}: {} times, until answered median {median:.2?} max {most:.2?}", times.len());
}

/// What `/metrics` says of a hosted bot that is open and has been restored.
fn measured(scrape: &Scrape) {
    let bot = [("bot", "main"), ("dyno", "web.1")];
    for (sample, labels) in [
        ("blacksky_hosted_running", &bot[..]),
        ("blacksky_link_open", &bot),
        ("blacksky_http_requests_total", &[("route", "(bot)"), ("status", "200")]),
    ] {
        assert_eq!(scrape.sum(sample, labels), 1.0, "{sample}\n{}", scrape.text);
    }
    for (sample, labels) in [
        ("blacksky_hosted_memory_bytes", &bot[..]),
        ("blacksky_memory_quota_bytes", &bot[1..]),
        ("blacksky_vault_files", &bot),
        ("blacksky_vault_size_bytes", &bot),
        ("blacksky_vault_written_bytes_total", &bot),
        ("blacksky_vault_mirror_duration_seconds_count", &bot[1..]),
        ("blacksky_relay_dials_total", &bot),
        ("blacksky_relay_frames_total", &[("direction", "in")]),
        ("blacksky_relay_transferred_bytes_total", &[("direction", "in")]),
        ("blacksky_relay_transferred_bytes_total", &[("direction", "out")]),
        ("blacksky_lease_wins_total", &bot),
    ] {
        assert!(scrape.sum(sample, labels) >= 1.0, "{sample}\n{}", scrape.text);
    }
    assert_eq!(scrape.sum("blacksky_vault_mirror_duration_seconds_count", &[("dyno", "web.2")]), 0.0);
}

async fn outlives(guest: Guest) {
    let cycles = std::env::var_os("BLACKSKY_HOSTED_CYCLES").and_then(|n| n.into_string().ok());
    let cycles: u32 = cycles.map_or(1, |cycles| cycles.parse().expect("a number"));
    node::install();
    let sim = sim::simulator();
    let phone = sim.handle();
    let slug = guest
        .slug(&sim.url())
        .database(&postgres::database().await)
        .env("BLACKSKY_ADMIN_TOKEN", TOKEN)
        .env("BLACKSKY_LEASE_TTL", "2s")
        // Many kills in a row are the test's doing; the platform would wait 20 minutes after the second.
        .rules(|rules| rules.cool_off = Some(Duration::ZERO));
    let app = App::start(slug, 1).await;
    pair(&app, &sim).await;
    answered(&phone, &app, &guest, "before").await;

    let mut figures = Figures::default();
    for cycle in 0..cycles {
        let (begun, before) = (Instant::now(), logins(&phone));
        for old in app.restart() {
            let end = old.ended(PATIENCE).await;
            assert!(end.asked && end.status.success(), "{end:?} {}", old.log());
        }
        until_new_link(&phone, &app, before, 2 * PATIENCE).await;
        answered(&phone, &app, &guest, &format!("redeploy-{cycle}")).await;
        figures.redeploys.push(begun.elapsed());

        let (begun, before, crashes) = (Instant::now(), logins(&phone), app.crashes());
        app.dyno("web.1").kill();
        eventually("the kill is seen", PATIENCE, async || app.crashes() > crashes).await;
        until_new_link(&phone, &app, before, 2 * PATIENCE).await;
        answered(&phone, &app, &guest, &format!("kill-{cycle}")).await;
        figures.kills.push(begun.elapsed());

        let (begun, before) = (Instant::now(), logins(&phone));
        let session = app.dyno("web.1").folder().join(guest.session);
        // The bot may write into it meanwhile.
        eventually("the folder is removed", PATIENCE, async || std::fs::remove_dir_all(&session).is_ok())
            .await;
        until_new_link(&phone, &app, before, 2 * PATIENCE).await;
        answered(&phone, &app, &guest, &format!("wipe-{cycle}")).await;
        figures.wipes.push(begun.elapsed());

        if cycles == 1 && !guest.lively {
            continue;
        }
        let (begun, before) = (Instant::now(), logins(&phone));
        phone.strike(Action::Silence);
        until_new_link(&phone, &app, before, SILENCE).await;
        phone.clear_faults();
        answered(&phone, &app, &guest, &format!("silence-{cycle}")).await;
        figures.silences.push(begun.elapsed());
    }

    let (counters, keys) = (phone.counters(), phone.ratchets());
    println!("{}:", guest.folder);
    told("redeploy", &mut figures.redeploys);
    told("kill -9 on an empty disk", &mut figures.kills);
    told("folder removed", &mut figures.wipes);
    told("silence", &mut figures.silences);
    println!(
        "  QR again {}, logins {}, decrypt failures {}, retry receipts {}, replaced {}, keys {} reused {}",
        counters.registrations - 1,
        counters.logins,
        counters.decrypt_failures,
        counters.retry_receipts,
        counters.replaced,
        keys.message_keys,
        keys.reused.len()
    );
    assert_eq!(counters.registrations, 1, "a new QR was shown: {}", app.logs());
    // A silent connection is one that the server holds to be open until it is replaced.
    assert_eq!(
        counters.replaced,
        figures.silences.len() as u64,
        "two links were open at once: {}",
        app.logs()
    );
    if guest.folder.ends_with("website") {
        let url = app.router().url("/hello");
        let hello = crate::support::http::client().get(url).send().await.expect("an answer");
        assert_eq!(hello.text().await.expect("a text"), r#"{"bot":"open"}"#);
        measured(&Scrape::of(&app.router().url("/metrics"), TOKEN).await);
    }
    assert!(app.shut_down().await.iter().all(|end| end.status.success()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_outlives_it_all_without_a_qr() {
    outlives(Guest {
        folder: "examples/baileys-bot",
        command: r#""node", "index.js""#,
        session: "sessions",
        ping: "!echo ",
        pong: "",
        lively: false,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_forks_another_outlives_it_all_without_a_qr() {
    outlives(Guest {
        folder: "tests/bots/forked",
        command: r#""node", ".""#,
        session: "sessions",
        ping: "!ping ",
        pong: "pong ",
        lively: false,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_with_a_website_outlives_it_all_without_a_qr() {
    outlives(WEBSITE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_never_waits_outlives_it_all_without_a_qr() {
    outlives(Guest {
        folder: "tests/bots/undelayed",
        command: r#""node", "bot.mjs""#,
        session: "session",
        ping: "!ping ",
        pong: "pong ",
        lively: true,
    })
    .await;
}
