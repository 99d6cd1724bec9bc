//! Bodies that are too long, lie about their length, or come with a trick, at every route that takes one: refused
//! without being kept in memory, while the page answers and the link stays.
//!
//! `BLACKSKY_UPLOADS=50 BLACKSKY_UPLOAD_MB=16 cargo test --features simulator --test it page_bodies -- --nocapture
//! --test-threads=1` uploads as much as there may be at once, and prints its figures.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use blacksky::sim::Server;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::api::{TOKEN, start};
use crate::support::blacksky::{Blacksky, Process};
use crate::support::crowd::{connect, setting, slowest_page};
use crate::support::eventually::eventually;
use crate::support::http::client;
use crate::support::sim::{PATIENCE, simulator};
use crate::support::weight::Weight;

const SECOND: Duration = Duration::from_secs(1);
const MB: usize = 1 << 20;
/// What a dyno of the smaller sizes has, in kB.
const QUOTA: u64 = 512 << 10;

async fn scene(sim: &Server, folder: &Path) -> (Process, Weight, u64) {
    let process = start(sim, folder).await;
    slowest_page(&process, Duration::from_millis(500)).await;
    let weight = Weight(process.pid());
    let before = weight.resident();
    weight.reset();
    (process, weight, before)
}

/// Sends a head, then as much of a body as is taken, while it waits for the answer: its head, and how much was sent.
async fn send(port: u16, number: usize, head: &str, piece: &[u8], pieces: usize) -> (String, usize) {
    let mut socket = connect(port, number).await.expect("connects");
    socket.write_all(head.as_bytes()).await.expect("written");
    let (mut reader, mut writer) = socket.split();
    let (mut answer, mut sent) = (Vec::new(), 0);
    let sending = async {
        for _ in 0..pieces {
            if writer.write_all(piece).await.is_err() {
                break;
            }
            sent += piece.len();
        }
        std::future::pending::<()>().await
    };
    let reading = async {
        while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
            if reader.read_buf(&mut answer).await.is_ok_and(|read| read == 0) {
                break;
            }
        }
    };
    let both = async {
        tokio::select! {
            () = reading => {}
            () = sending => {}
        }
    };
    timeout(PATIENCE, both).await.expect("an answer in time");
    (String::from_utf8_lossy(&answer).into_owned(), sent)
}

fn head(path: &str, more: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\norigin: http://localhost\r\n{more}\r\n"
    )
}

const FORM: &str = "content-type: application/x-www-form-urlencoded\r\n";
const JSON: &str = "content-type: application/json\r\n";
/// Every route that takes a body, or is a POST, and the type of its body.
const ROUTES: [(&str, &str); 14] = [
    ("/login", FORM),
    ("/logout", FORM),
    ("/bots/main/reconnect", FORM),
    ("/bots/main/qr", FORM),
    ("/bots/main/code", FORM),
    ("/bots/main/restart", FORM),
    ("/bots/main/webhook", FORM),
    ("/jobs/none/run", FORM),
    ("/api/v1/bots/main/messages", JSON),
    ("/api/v1/bots/main/typing", JSON),
    ("/api/v1/bots/main/read", JSON),
    ("/api/v1/bots/main/contacts", JSON),
    ("/api/v1/bots/main/pairing/code", JSON),
    ("/api/v1/bots/main/media", ""),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_long_is_refused_at_once() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let (process, weight, before) = scene(&sim, folder.path()).await;
    let port = process.port;
    let piece = vec![b'a'; MB];
    for (path, kind) in ROUTES {
        let mut open = JoinSet::new();
        for number in 0..50 {
            let (piece, head) =
                (piece.clone(), head(path, &format!("{kind}content-length: {}\r\n", 64 * MB)));
            open.spawn(async move { send(port, number, &head, &piece, 64).await });
        }
        let slowest = slowest_page(&process, Duration::from_millis(100)).await;
        assert!(slowest < SECOND, "{path}: {slowest:?}");
        while let Some(sent) = open.join_next().await {
            let (answer, _) = sent.expect("no panic");
            assert!(answer.starts_with("HTTP/1.1 413 "), "{path}: {answer}");
            let of_api = answer.contains("content-type: application/problem+json");
            assert_eq!(of_api, path.starts_with("/api/"), "{path}: {answer}");
        }
        // Who asks first learns it before the body is on its way.
        let asking = format!("{kind}content-length: {}\r\nexpect: 100-continue\r\n", 64 * MB);
        let (answer, _) = send(port, 1, &head(path, &asking), &[], 0).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{path}: {answer}");
    }
    let most = weight.most();
    println!(
        "50 bodies of 64 MB at each of {} routes: {before} kB before, {most} kB at the most",
        ROUTES.len()
    );
    assert!(most < before + 60_000, "{before} kB, {most} kB");
    assert_eq!(process.state().await, "open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_a_length_is_read_to_its_limit_only() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let (process, weight, before) = scene(&sim, folder.path()).await;
    let port = process.port;
    let chunk = [format!("{MB:x}\r\n").into_bytes(), vec![b'a'; MB], b"\r\n".to_vec()].concat();
    let mut longest = 0;
    for (path, kind) in ROUTES {
        let mut open = JoinSet::new();
        // Of a file 16 MB are taken: few, or it is refused for want of room.
        let clients = if path.ends_with("/media") { 4 } else { 50 };
        for number in 0..clients {
            let (chunk, head) = (chunk.clone(), head(path, &format!("{kind}transfer-encoding: chunked\r\n")));
            open.spawn(async move { send(port, number, &head, &chunk, 64).await });
        }
        while let Some(sent) = open.join_next().await {
            let (answer, sent) = sent.expect("no panic");
            // Those that take no body do what they are asked.
            let reads = !["/logout", "/reconnect", "/qr", "/restart", "/webhook", "/run"]
                .iter()
                .any(|end| path.ends_with(end));
            let refused = answer.starts_with("HTTP/1.1 413 ");
            assert!(refused || !reads && answer.starts_with("HTTP/1.1 "), "{path}: {answer}");
            longest = longest.max(sent);
        }
        assert!(slowest_page(&process, Duration::from_millis(100)).await < SECOND, "{path}");
    }
    let most = weight.most();
    println!(
        "chunked bodies of 64 MB: {before} kB before, {most} kB at the most, {} MB sent at the most",
        longest / MB
    );
    assert!(most < before + 80_000, "{before} kB, {most} kB");
    // It was asked to dial anew.
    process.until("open", PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_files_at_once_fit_into_a_small_dyno() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let (process, weight, before) = scene(&sim, folder.path()).await;
    let (uploads, size) = (setting("BLACKSKY_UPLOADS", 50), setting("BLACKSKY_UPLOAD_MB", 3) * MB);
    let (port, mut open) = (process.port, JoinSet::new());
    for number in 0..uploads {
        open.spawn(async move {
            let head = head("/api/v1/bots/main/media", &format!("content-length: {size}\r\n"));
            send(port, number, &head, &vec![b'a'; 64 << 10], size / (64 << 10)).await
        });
    }
    let slowest = slowest_page(&process, SECOND).await;
    let (mut taken, mut refused) = (0, 0);
    while let Some(sent) = open.join_next().await {
        let (answer, _) = sent.expect("no panic");
        match answer.split(' ').nth(1) {
            Some("201") => taken += 1,
            // No room, with a word when there will be.
            Some("429") if answer.contains("\r\nretry-after: 60\r\n") => refused += 1,
            Some("503") if answer.contains("\r\nretry-after: 5\r\n") => refused += 1,
            _ => panic!("{answer}"),
        }
    }
    let most = weight.most();
    println!(
        "{uploads} uploads of {} MB at once: {taken} taken, {refused} refused; {before} kB before, {most} kB at the most; \
         slowest page {slowest:.1?}",
        size / MB
    );
    assert!(taken > 0, "{}", process.log());
    assert!(slowest < SECOND, "{slowest:?}");
    assert!(most < QUOTA / 2, "{before} kB, {most} kB");
    assert_eq!(process.state().await, "open");
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_that_lie_and_packed_bodies_get_nowhere() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let (process, weight, before) = scene(&sim, folder.path()).await;
    let port = process.port;
    let api = "/api/v1/bots/main/messages";
    let chunked = format!("{JSON}transfer-encoding: chunked\r\n");
    let half_a_megabyte = "a".repeat(MB / 2);
    let trailers: String = (0..5_000).map(|n| format!("x-{n}: {n}\r\n")).collect();
    for (name, more, body) in [
        ("more than it says", format!("{JSON}content-length: 2\r\n"), format!("{{}}{half_a_megabyte}")),
        ("a chunk of 2^64-1 bytes", chunked.clone(), format!("ffffffffffffffff\r\n{half_a_megabyte}")),
        ("a chunk of more than 2^64 bytes", chunked.clone(), "fffffffffffffffff\r\na".to_owned()),
        ("a chunk of 2^63-1 bytes", chunked.clone(), format!("7fffffffffffffff\r\n{half_a_megabyte}")),
        ("a chunk of minus one", chunked.clone(), "-1\r\na\r\n0\r\n\r\n".to_owned()),
        ("a chunk of x", chunked.clone(), "xyz\r\na\r\n0\r\n\r\n".to_owned()),
        ("a size of a megabyte", chunked.clone(), format!("{}1\r\na\r\n0\r\n\r\n", "0".repeat(MB))),
        (
            "an extension of half a megabyte",
            chunked.clone(),
            format!("1;{half_a_megabyte}\r\na\r\n0\r\n\r\n"),
        ),
        ("5,000 trailers", chunked.clone(), format!("2\r\n{{}}\r\n0\r\n{trailers}\r\n")),
        ("a length of 2^64", format!("{JSON}content-length: 18446744073709551616\r\n"), "{}".to_owned()),
        ("a length below nothing", format!("{JSON}content-length: -1\r\n"), "{}".to_owned()),
        ("two lengths", format!("{JSON}content-length: 2\r\ncontent-length: 3\r\n"), "{}".to_owned()),
        ("an unknown coding", format!("{JSON}transfer-encoding: gzip\r\n"), "{}".to_owned()),
    ] {
        let mut open = JoinSet::new();
        for number in 0..20 {
            let (head, body) = (head(api, &more), body.clone());
            open.spawn(async move { send(port, number, &head, body.as_bytes(), 1).await });
        }
        while let Some(sent) = open.join_next().await {
            let (answer, _) = sent.expect("no panic");
            // Cut without a word, or refused.
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{name}: {answer}");
        }
        assert!(slowest_page(&process, Duration::ZERO).await < SECOND, "{name}");
    }
    // Nothing is unpacked: 100 MB of zeros in 100 kB are 100 kB that are no JSON.
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..100 {
        packed.write_all(&vec![0; MB]).expect("in memory");
    }
    let packed = packed.finish().expect("in memory");
    assert!(packed.len() < 200_000);
    let sent = client()
        .post(process.url(api))
        .bearer_auth(TOKEN)
        .header("content-type", "application/json")
        .header("content-encoding", "gzip")
        .body(packed);
    let answer = sent.send().await.expect("it answers");
    assert_eq!(answer.status(), 400);
    let problem: Value = serde_json::from_str(&answer.text().await.expect("text")).expect("JSON");
    assert_eq!(problem["status"], 400);
    let most = weight.most();
    println!("lies: {before} kB before, {most} kB at the most");
    assert!(most < before + 50_000, "{before} kB, {most} kB");
    assert_eq!(process.state().await, "open");
}

/// The real program with a bot on Node.js, whose own port this script serves.
async fn hosted(sim: &Server, folder: &Path, script: &str) -> Process {
    let toml = "[bots.main]\nkind = \"hosted\"\ncommand = ['node', 'bot.js']\nstop_grace = \"1s\"\n";
    std::fs::write(folder.join("blacksky.toml"), toml).expect("written");
    std::fs::write(folder.join("bot.js"), script).expect("written");
    let process = Blacksky::in_folder(folder).env("BLACKSKY_ADMIN_TOKEN", TOKEN).run(&sim.url());
    eventually("the bot listens", PATIENCE, async || process.log().contains("it listens")).await;
    process
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_to_a_hosted_bot_pass_without_being_kept() {
    // It takes a connection and reads nothing: all that is sent stays with whoever sends it.
    let deaf = "require('net').createServer({ pauseOnConnect: true }, () => {})
        .listen(process.env.PORT, () => console.log('it listens'));";
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let process = hosted(&sim, folder.path(), deaf).await;
    let weight = Weight(process.pid());
    let before = weight.resident();
    weight.reset();
    let to = process.port;
    let mut open = Vec::new();
    for number in 0..50 {
        let mut socket = connect(to, number).await.expect("connects");
        let head = head("/upload", &format!("content-length: {}\r\n", 1024 * MB));
        socket.write_all(head.as_bytes()).await.expect("written");
        let piece = vec![b'a'; MB];
        let mut sent = 0;
        while sent < 32 && timeout(Duration::from_millis(100), socket.write_all(&piece)).await.is_ok() {
            sent += 1;
        }
        assert!(sent < 32, "somebody keeps it");
        open.push(socket);
    }
    let slowest = slowest_page(&process, SECOND).await;
    let most = weight.most();
    println!(
        "50 uploads to a bot that reads nothing: {before} kB before, {most} kB at the most; slowest page {slowest:.1?}"
    );
    assert!(slowest < SECOND, "{slowest:?}");
    assert!(most < before + 30_000, "{before} kB, {most} kB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hosted_bot_gets_whole_requests_whatever_the_client_says_of_its_length() {
    // What came to the bot, told back.
    let telling = "require('http').createServer((asked, answer) => {
            let length = 0;
            asked.on('data', (data) => { length += data.length; });
            asked.on('end', () => answer.end(`${asked.url} ${length}\\n`));
        }).listen(process.env.PORT, () => console.log('it listens'));";
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let process = hosted(&sim, folder.path(), telling).await;
    let hidden = "GET /hidden HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    for (name, more, body) in [
        ("chunked twice", "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n"),
        (
            "chunked, then identity",
            "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
            "0\r\n\r\n",
        ),
        ("a tab before chunked", "transfer-encoding:\tchunked\r\ncontent-length: 5\r\n", "0\r\n\r\n"),
        ("a vertical tab", "transfer-encoding: \u{b}chunked\r\ncontent-length: 5\r\n", "0\r\n\r\n"),
        ("in capitals", "Transfer-Encoding: CHUNKED\r\ncontent-length: 5\r\n", "0\r\n\r\n"),
        ("quoted", "transfer-encoding: \"chunked\"\r\ncontent-length: 5\r\n", "0\r\n\r\n"),
        (
            "behind a name of the connection",
            "connection: transfer-encoding\r\ntransfer-encoding: chunked\r\n",
            "0\r\n\r\n",
        ),
        ("a list of lengths", "content-length: 5, 5\r\n", "0\r\n\r\n"),
        ("a length in hexadecimal", "content-length: 0x5\r\n", "0\r\n\r\n"),
        ("chunks with line feeds alone", "transfer-encoding: chunked\r\n", "0\n\n"),
    ] {
        let mut socket = TcpStream::connect(("127.0.0.1", process.port)).await.expect("connects");
        let text = format!("POST /one HTTP/1.1\r\nhost: localhost\r\n{more}\r\n{body}{hidden}");
        socket.write_all(text.as_bytes()).await.expect("written");
        let mut answer = Vec::new();
        // What was taken for a body is waited for.
        let _ = timeout(2 * SECOND, socket.read_to_end(&mut answer)).await;
        let answer = String::from_utf8_lossy(&answer);
        // Either it is refused; or the bot got one request with what both of us take for its body, and the rest was
        // a request of its own.
        let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
        let one = answer.contains("/one 0\n") || answer.contains("/one 5\n");
        assert!(refused || one, "{name}: {answer}");
        assert!(!answer.contains("/hidden") || answer.contains("/one "), "{name}: {answer}");
    }
    let answer = client().get(process.url("/after")).send().await.expect("it answers").text().await;
    assert_eq!(answer.expect("text"), "/after 0\n");
}
