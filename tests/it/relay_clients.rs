//! Unmodified Node clients that believe they dial WhatsApp, led through the relay to the simulator by the preload.
//!
//! `BLACKSKY_RELAY_SECONDS=60 cargo test --features simulator --test it relay_clients -- --nocapture` counts the
//! dials of a bot without any delay for a minute, and prints them. BLACKSKY_RELAY_BOT is the absolute path of another
//! program that speaks as `tests/node/bot.mjs` does, with another version of Baileys beside it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use blacksky::bot::hosted::preload::{self, Preload};
use blacksky::config::{Backoff, Period};
use blacksky::link::LinkAddress;
use blacksky::link::relay::{Relay, Report, Said, Setting};
use blacksky::sim::{Action, Fault, Server, When};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use url::Url;

use crate::support::node::{self, NodeBot};
use crate::support::sim::{PATIENCE, assert_clean, echo, simulator};

const WHATSAPP: &str = "wss://web.whatsapp.com/ws/chat";
const ACCOUNT: &str = "15550001022";
const CONTACT: &str = "15550002022";

/// The relay before a simulator, and what it reports.
struct Scene {
    server: Server,
    folder: tempfile::TempDir,
    address: String,
    options: String,
    reports: mpsc::UnboundedReceiver<Report>,
    relaying: JoinHandle<()>,
}

impl Scene {
    async fn new(backoff: Backoff) -> Self {
        let server = simulator();
        // Blanks, since nobody knows where a bot lies.
        let folder = tempfile::Builder::new().prefix("a bot ").tempdir().expect("a folder");
        let url = Url::parse(&server.url()).expect("a URL");
        let upstream = LinkAddress::decide(Some(url)).expect("loopback");
        let relay = Relay::start(Setting { upstream, deadline: Duration::from_secs(10), backoff });
        let mut relay = relay.await.expect("it listens");
        relay.admit();
        let address = relay.address();
        let (sender, reports) = mpsc::unbounded_channel();
        let relaying = tokio::spawn(async move {
            loop {
                let _ = sender.send(relay.next().await);
            }
        });
        let preload = Preload::write(folder.path()).expect("it is written");
        let guard = node::folder().join("loopback_only.cjs");
        let options = format!("--require \"{}\" {}", guard.display(), preload.node_options());
        Self { server, folder, address, options, reports, relaying }
    }

    fn session(&self) -> std::path::PathBuf {
        self.folder.path().join("session")
    }

    /// What the program finds around it.
    fn environment(&self) -> Vec<(String, String)> {
        let mut all = preload::variables(&self.address, true);
        all.push(("NODE_OPTIONS".to_owned(), self.options.clone()));
        all
    }

    fn bot(&self, program: &str, more: &[(&str, &str)]) -> NodeBot {
        let around = self.environment();
        let around = around.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let env: Vec<_> = around.chain(more.iter().copied()).collect();
        NodeBot::program(program, WHATSAPP, &self.session(), &env)
    }

    /// The next report that is `wanted`.
    async fn report(&mut self, what: &str, wanted: impl Fn(&Report) -> bool) -> Report {
        let found = timeout(PATIENCE, async {
            loop {
                let report = self.reports.recv().await.expect("the relay lives");
                if wanted(&report) {
                    return report;
                }
            }
        });
        found.await.unwrap_or_else(|_| panic!("no {what} was reported"))
    }

    async fn said(&mut self, what: &str, wanted: impl Fn(&Said) -> bool) -> Said {
        match self.report(what, |report| matches!(report, Report::Said(said) if wanted(said))).await {
            Report::Said(said) => said,
            other => panic!("{other:?}"),
        }
    }

    async fn end(self) {
        self.relaying.abort();
        self.server.shutdown().await.expect("it ends");
    }
}

fn backoff(initial: u64) -> Backoff {
    Backoff {
        initial: Period(Duration::from_millis(initial)),
        factor: 2.0,
        max: Period(Duration::from_secs(300)),
        jitter: 0.0,
        reset_after: Period(Duration::from_secs(30)),
    }
}

/// Links a fresh bot, lets it echo, and checks what the preload tells meanwhile.
async fn pairs_and_echoes(program: &str, processes: usize) {
    let mut scene = Scene::new(backoff(2000)).await;
    let mut bot = scene.bot(program, &[]);
    for _ in 0..processes {
        scene.said("start", |said| matches!(said, Said::Loaded { .. })).await;
    }
    let shown = bot.next("qr").await["qr"].as_str().expect("a text").to_owned();
    let told = scene.said("QR", |said| matches!(said, Said::Qr { .. })).await;
    assert_eq!(told, Said::Qr { payload: shown.clone() });
    let handle = scene.server.handle();
    let scanned = Instant::now();
    handle.scan(&shown, ACCOUNT).expect("the QR is good");
    // The restart that belongs to pairing is not made to wait.
    scene.said("515", |said| *said == Said::Closed { code: 515 }).await;
    bot.next("open").await;
    scene.said("open", |said| *said == Said::Open).await;
    println!("{program}: open {:?} after the scan", scanned.elapsed());
    handle.wait_for_login(ACCOUNT, PATIENCE).await.expect("it logs in");
    echo(&handle, CONTACT, ACCOUNT, "through the relay").await;
    let traffic = scene.report("traffic", |report| matches!(report, Report::Traffic { .. })).await;
    let Report::Traffic { inbound, outbound } = &traffic else { panic!("{traffic:?}") };
    assert!(inbound.frames >= 3 && outbound.frames >= 3 && inbound.bytes > inbound.frames, "{traffic:?}");
    assert_eq!((handle.counters().dials, handle.counters().pairings), (2, 1));
    // Other versions of Baileys ask for things that the simulator has no word for.
    if !Path::new(program).is_absolute() {
        assert_clean(&handle);
    }
    // Another client takes the session: only the preload can tell.
    handle.strike(Action::StreamError {
        code: None,
        conflict: Some("replaced".into()),
        child: None,
        close: true,
    });
    scene.said("440", |said| *said == Said::Closed { code: 440 }).await;
    let held = scene.report("wait", |report| matches!(report, Report::Held(_))).await;
    assert!(matches!(held, Report::Held(wait) if wait > Duration::from_secs(25)), "{held:?}");
    bot.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_as_an_es_module_pairs_and_echoes() {
    let another = std::env::var_os("BLACKSKY_RELAY_BOT").and_then(|path| path.into_string().ok());
    pairs_and_echoes(another.as_deref().unwrap_or("bot.mjs"), 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_in_a_forked_process_of_a_commonjs_program_pairs_and_echoes() {
    pairs_and_echoes("forked.cjs", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_open_a_websocket_comes_to_the_relay() {
    node::install();
    let scene = Scene::new(backoff(10)).await;
    let program = Command::new("node")
        .arg(node::folder().join("upgrades.cjs"))
        .envs(scene.environment())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(PATIENCE, program).await.expect("none of them hangs").expect("node starts");
    let lines = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let ways: Vec<&str> = lines.lines().collect();
    let wanted = ["request 101", "get 101", "url 101", "imported 101", "ws 101", "thread 101"];
    assert_eq!(ways, wanted, "{errors}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upgrade_hangs_a_bare_bot_and_not_one_behind_the_relay() {
    let mut scene = Scene::new(backoff(50)).await;
    let handle = scene.server.handle();
    let refuse = Fault::new(Action::Http { status: 429 }, When::Dial);
    handle.inject(refuse.clone());
    let bare = NodeBot::start(&scene.server.url(), &scene.folder.path().join("bare"));
    handle.wait_for_counters("refusal", PATIENCE, |counters| counters.refused == 1).await.expect("refused");

    handle.inject(refuse);
    let mut bot = scene.bot("bot.mjs", &[]);
    bot.next("close").await;
    let ended = scene.report("end", |report| matches!(report, Report::Ended { .. })).await;
    assert!(matches!(&ended, Report::Ended { reason, .. } if reason == "http_429"), "{ended:?}");
    // 0.05 s · 2^5 later it is let through, and shows its QR.
    let refused = Instant::now();
    bot.next("qr").await;
    assert!(refused.elapsed() > Duration::from_millis(1300), "{:?}", refused.elapsed());
    // All this time the bare one has waited for nothing: why the relay answers as it does.
    assert_eq!((bare.times("close"), bare.times("qr")), (0, 0));
    bot.stop().await;
    scene.end().await;
}

/// Dials that reach a server which ends every connection, within `time`.
async fn dials(server: &Server, time: Duration, _bot: &NodeBot) -> u64 {
    let before = server.handle().counters().dials;
    // The measure itself: how many there are in a given time.
    tokio::time::sleep(time).await;
    server.handle().counters().dials - before
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_without_any_delay_reaches_the_server_seldom() {
    let seconds = std::env::var_os("BLACKSKY_RELAY_SECONDS").and_then(|text| text.to_str()?.parse().ok());
    let time = Duration::from_secs(seconds.unwrap_or(4));
    let scene = Scene::new(backoff(1000)).await;
    scene.server.handle().inject(Fault::new(Action::Drop, When::Hello).lasting());
    let hasty = [("RECONNECT_MS", "0")];
    let bare = NodeBot::with_env(&scene.server.url(), &scene.folder.path().join("bare"), &hasty);
    let without = dials(&scene.server, time, &bare).await;
    drop(bare);
    let bot = scene.bot("bot.mjs", &hasty);
    let with = dials(&scene.server, time, &bot).await;
    println!("dials in {time:?}: {without} without the relay, {with} through it");
    // At 0 s, 1 s, 3 s, 7 s, 15 s …
    let most = 1 + u64::from((time.as_secs() + 1).ilog2());
    assert!((1..=most).contains(&with) && without > 3 * with, "{without} without, {with} through it");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preload_that_cannot_work_does_not_keep_a_program_from_running() {
    let folder = tempfile::tempdir().expect("a folder");
    let preload = Preload::write(folder.path()).expect("it is written");
    let run = async |variables: Vec<(String, String)>| {
        let code =
            "console.log(Object.getOwnPropertyNames(globalThis).length, require('https').request.name)";
        let mut program = Command::new("node");
        program.args(["-e", code]).env("NODE_OPTIONS", preload.node_options()).envs(variables);
        let output = timeout(PATIENCE, program.output()).await.expect("it ends").expect("node starts");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{errors}");
        (String::from_utf8_lossy(&output.stdout).into_owned(), errors)
    };
    let bare = run(Vec::new()).await;
    assert_eq!(bare.1, "");
    // Nobody listens there, and with the hook off `https` is Node's own.
    assert_eq!(run(preload::variables("http://127.0.0.1:9/secret", false)).await, bare);
    let (out, errors) = run(preload::variables("no address", true)).await;
    assert_eq!(out, bare.0);
    assert!(errors.contains("the bot goes around the relay"), "{errors}");
}
