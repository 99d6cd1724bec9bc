//! A hosted bot that opens far too many connections to the relay, and clients that do it to the simulator's port: each
//! harms itself and not what is beside it.
//!
//! `BLACKSKY_RELAY_CROWD=1000 cargo test --features simulator --test it hosted_crowd -- --nocapture` is the default.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

use crate::support::blacksky::Blacksky;
use crate::support::crowd::{Crowd, Manner, connect, setting, slowest_page};
use crate::support::eventually::eventually;
use crate::support::http::client;
use crate::support::sim::{PATIENCE, simulator};
use crate::support::weight::Weight;

const SECOND: Duration = Duration::from_secs(1);

/// Opens connections to the relay that say nothing, comes back with each that ends, and dials WhatsApp beside them.
const BOT: &str = r"
const net = require('net');
const https = require('https');
const relay = new URL(process.env.BLACKSKY_RELAY);
const number = Number(process.env.CROWD);
let cut = 0;
const open = (first) => {
  const socket = net.connect(Number(relay.port), relay.hostname);
  socket.on('connect', () => first && socket.write(first));
  socket.on('data', () => {});
  socket.on('error', () => {});
  socket.on('close', () => { cut += 1; setTimeout(() => open(first), 2000); });
};
for (let n = 0; n < number; n++) open(['', 'GET /', `POST ${relay.pathname}/said HTTP/1.1\r\ncontent-length: 60000\r\n\r\n{`][n % 3]);
const dial = () => {
  const asked = https.get({
    hostname: 'web.whatsapp.com', path: '/ws/chat',
    headers: { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': 13, 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==' },
  });
  asked.on('upgrade', (answer) => console.log(`dialled ${answer.statusCode}`));
  asked.on('error', (error) => { console.log(`dial failed ${error.message}`); setTimeout(dial, 500); });
};
setTimeout(dial, 1000);
setTimeout(() => console.log(`cut ${cut}`), 3000);
require('http').createServer((asked, answer) => answer.end('the bot\n')).listen(process.env.PORT);
setInterval(() => {}, 1000);
";

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_floods_the_relay_harms_only_itself() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let toml = "[bots.main]\nkind = \"hosted\"\ncommand = ['node', 'bot.js']\nstop_grace = \"1s\"\n";
    std::fs::write(folder.path().join("blacksky.toml"), toml).expect("written");
    std::fs::write(folder.path().join("bot.js"), BOT).expect("written");
    let number = setting("BLACKSKY_RELAY_CROWD", 1_000);
    // The bot inherits the limit, and has room for its own sockets.
    let mut process = Blacksky::in_folder(folder.path())
        .env("CROWD", number.to_string())
        .within(&["prlimit", "--nofile=4096:4096"])
        .run(&sim.url());
    let weight = Weight(process.pid());
    eventually("the bot dials beside its crowd", PATIENCE, async || process.log().contains("dialled 101"))
        .await;
    let (before, begun) = (weight.processor(), Instant::now());
    let slowest = slowest_page(&process, 2 * SECOND).await;
    let busy = (weight.processor() - before).as_secs_f64() / begun.elapsed().as_secs_f64();
    println!(
        "{number} connections to the relay that say nothing: {} files open, {} kB, {:.0} % of a processor, slowest page {slowest:.1?}",
        weight.files(),
        weight.resident(),
        busy * 100.0
    );
    assert!(slowest < SECOND, "{slowest:?}");
    assert!(weight.files() < 300, "{} files", weight.files());
    // Its own pages, too.
    let answer = client().get(process.url("/anything")).send().await.expect("it answers");
    assert_eq!(answer.text().await.expect("text"), "the bot\n");
    eventually("the crowd is cut", PATIENCE, async || process.log().contains("cut ")).await;
    process.term();
    let status = process.ended(PATIENCE).await;
    let log = process.log();
    assert!(status.success() && !log.contains("panicked"), "{status}: {log}");
    let cut: usize = log
        .lines()
        .filter_map(|line| {
            line.rsplit_once("cut ")?.1.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        })
        .next()
        .expect("a number");
    assert!(cut > 100, "only {cut} were cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_simulators_port_answers_beside_a_crowd() {
    let sim = simulator();
    let port = sim.address().port();
    let pause = Duration::from_millis(200);
    let many = vec![b'a'; 10_000];
    for (name, first) in [
        ("silence", ""),
        ("a slow first line", "GET /w"),
        ("a slow head", "GET /control/status HTTP/1.1\r\nhost: localhost\r\nx: "),
        (
            "a slow body",
            "POST /control/scan HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 40000\r\n\r\n",
        ),
    ] {
        let manner = Manner { first: first.as_bytes().to_vec(), then: many.clone(), pause };
        let crowd = Crowd::gather(port, 200, &manner);
        eventually("they are there", PATIENCE, async || crowd.open() == 200).await;
        let asked = Instant::now();
        let status = client().get(format!("{}/status", sim.control_url())).send().await.expect("it answers");
        assert!(status.status().is_success() && asked.elapsed() < SECOND, "{name}: {:?}", asked.elapsed());
        crowd.disperse().await;
    }
    // More connections than it takes are closed at once, and it goes on when they are gone.
    let mut open = Vec::new();
    for number in 0..300 {
        let mut socket = connect(port, number).await.expect("connects");
        let _ = socket.write_all(b"GET /control/status HTTP/1.1\r\nhost: localhost\r\nx: ").await;
        open.push(socket);
    }
    sleep(pause).await;
    drop(open);
    eventually("it answers again", PATIENCE, async || {
        client()
            .get(format!("{}/status", sim.control_url()))
            .send()
            .await
            .is_ok_and(|status| status.status() == 200)
    })
    .await;
}
