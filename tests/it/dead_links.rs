//! Links of which nobody says that they are dead: each is noticed within period + deadline + 1 s.
//!
//! `BLACKSKY_DEATHS=10 cargo test --features simulator --test it dead_links -- --nocapture` kills more of them.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use blacksky::sim::Action;
use tokio::time::Instant;

use crate::support::blacksky::{Blacksky, Process};
use crate::support::eventually::eventually;
use crate::support::figures;
use crate::support::linked::{bot, linked};
use crate::support::proxy::{Proxy, Traffic};
use crate::support::sim::{PATIENCE, simulator, simulator_in};

const ACCOUNT: &str = "15550001403";
const PERIOD: Duration = Duration::from_secs(1);
const DEADLINE: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(3);
const ENV: &[(&str, &str)] = &[
    ("BLACKSKY_HEARTBEAT_PERIOD", "1s"),
    ("BLACKSKY_HEARTBEAT_DEADLINE", "1s"),
    ("BLACKSKY_BACKOFF_INITIAL", "200ms"),
    ("BLACKSKY_BACKOFF_RESET_AFTER", "500ms"),
];

/// Each kind of death so many times, at different moments between two signs of life.
fn rounds() -> u32 {
    u32::try_from(figures::number("BLACKSKY_DEATHS", 3)).expect("few")
}

async fn measure(kind: &str, process: &Process, kill: impl Fn(), mend: impl Fn()) {
    let mut times = Vec::new();
    let silences = |bot: &serde_json::Value| bot["disconnects"]["silence"].as_u64().unwrap_or_default();
    let rounds = rounds();
    for round in 0..rounds {
        let bot = process.until_bot("stable link", |bot| bot["state"] == "open" && bot["attempt"] == 0).await;
        tokio::time::sleep(PERIOD * round / rounds).await;
        let before = silences(&bot);
        let began = Instant::now();
        kill();
        process.until_bot("end", |bot| bot["state"] != "open" && silences(bot) > before).await;
        times.push(began.elapsed());
        mend();
    }
    report(kind, &mut times);
}

fn report(kind: &str, times: &mut [Duration]) {
    println!("{kind}; period {PERIOD:?}, deadline {DEADLINE:?}: noticed after {times:?}");
    figures::times("dead link", kind, times);
    figures::note("dead link", kind, "period + deadline", (PERIOD + DEADLINE).as_secs_f64() * 1e3);
    let worst = times.last().expect("measured");
    assert!(*worst <= LIMIT, "{kind}: {worst:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_falls_silent() {
    let (server, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let phone = server.handle();
    let process = linked(&server, bot(folder.path(), ENV), &server.url(), ACCOUNT).await;
    for (kind, action) in
        [("reads and writes nothing", Action::Silence), ("reads all and answers nothing", Action::Swallow)]
    {
        measure(kind, &process, || phone.strike(action.clone()), || phone.clear_faults()).await;
    }
    assert_eq!(phone.counters().registrations, 1);
    server.shutdown().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_acknowledges_and_loses_everything() {
    let (server, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let proxy = Proxy::start(server.address()).await;
    let url = format!("ws://{}/ws/chat", proxy.address());
    let process = linked(&server, bot(folder.path(), ENV), &url, ACCOUNT).await;
    let mend = || {
        proxy.set(Traffic::Pass);
        proxy.cut();
    };
    measure("only TCP acknowledges (proxy)", &process, || proxy.set(Traffic::Swallow), mend).await;
    assert_eq!(server.handle().counters().registrations, 1);
    server.shutdown().await.expect("stops");
}

/// A network namespace with a simulator in it; killed when dropped.
struct Island {
    simulator: Child,
}

impl Island {
    /// `None` where namespaces may not be made.
    fn with_simulator(folder: &std::path::Path, port: u16) -> Option<Self> {
        let may = Command::new("unshare").args(["-n", "ip", "link", "set", "lo", "up"]).output();
        if !may.as_ref().is_ok_and(|output| output.status.success()) {
            println!("skipped: no network namespace may be made here ({may:?})");
            return None;
        }
        let simulator = Blacksky::in_folder(folder)
            .within(&["unshare", "-n", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"])
            .arg("sim")
            .arg("--port")
            .arg(port.to_string())
            .arg("--state")
            .arg(".")
            .command()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        Some(Self { simulator })
    }

    fn pid(&self) -> String {
        self.simulator.id().to_string()
    }

    /// Takes the only route there is away, or gives it back.
    fn route(&self, there: bool) {
        let pid = self.pid();
        let state = if there { "up" } else { "down" };
        let change = ["-t", &pid, "-n", "ip", "link", "set", "lo", state];
        let done = Command::new("nsenter").args(change).status().expect("nsenter starts");
        assert!(done.success());
    }

    /// Whether the simulator listens; `ss` and the like need not be there.
    fn listens(&self, port: u16) -> bool {
        let sockets = std::fs::read_to_string(format!("/proc/{}/net/tcp", self.pid())).unwrap_or_default();
        sockets.contains(&format!("0100007F:{port:04X} 00000000:0000 0A"))
    }
}

impl Drop for Island {
    fn drop(&mut self) {
        let _ = self.simulator.kill();
        let _ = self.simulator.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_is_gone() {
    let (state, folder) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    // Linked in the open, since the simulator of the island cannot be reached from here.
    let server = simulator_in(state.path());
    let mut process = linked(&server, bot(folder.path(), ENV), &server.url(), ACCOUNT).await;
    let (url, port) = (server.url(), server.address().port());
    process.term();
    assert!(process.ended(PATIENCE).await.success());
    drop(process);
    server.shutdown().await.expect("stops");

    let Some(island) = Island::with_simulator(state.path(), port) else { return };
    eventually("the simulator of the island", PATIENCE, async || island.listens(port)).await;
    let pid = island.pid();
    let process = bot(folder.path(), ENV).within(&["nsenter", "-t", &pid, "-n"]).run(&url);
    let seen = |what: &str| process.log().matches(what).count();
    let mut times = Vec::new();
    let rounds = rounds();
    for round in 0..rounds {
        // Only its log gets out of the namespace.
        let opened = round as usize + 1;
        eventually("an open link", PATIENCE, async || seen("Connection established") >= opened).await;
        tokio::time::sleep(PERIOD + PERIOD * round / rounds).await;
        let (before, began) = (seen("the link ended"), Instant::now());
        island.route(false);
        eventually("the end of the link", PATIENCE, async || seen("the link ended") > before).await;
        times.push(began.elapsed());
        island.route(true);
    }
    let endings = process.log();
    for line in endings.lines().filter(|line| line.contains("the link ended")) {
        println!("{line}");
    }
    report("the route is gone (network namespace)", &mut times);
    assert!(!endings.contains("QR"), "a new QR was asked for:\n{endings}");
}
