//! The port of the real program against clients that never finish, that send too much, and that are too many: the
//! page answers within a second, the link stays, and nobody keeps a place for ever.
//!
//! `BLACKSKY_CROWD=8000 BLACKSKY_CROWD_SECONDS=20 cargo test --features simulator --test it page_crowd -- --nocapture
//! --test-threads=1` gathers more for longer, and prints its figures.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use blacksky::sim::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::support::blacksky::Process;
use crate::support::crowd::{Crowd, Manner, connect, setting, slowest_page};
use crate::support::eventually::eventually;
use crate::support::linked::{bot, linked};
use crate::support::sim::{PATIENCE, simulator};
use crate::support::site::TestSite;
use crate::support::weight::Weight;

const SECOND: Duration = Duration::from_secs(1);
const NUMBER: &str = "4915300001101";

/// A linked bot in a process that may open so many files, and how often it has logged in.
async fn scene(sim: &Server, folder: &Path, files: u32) -> (Process, u64) {
    let files = format!("--nofile={files}:{files}");
    let process = linked(sim, bot(folder, &[]).within(&["prlimit", &files]), &sim.url(), NUMBER).await;
    (process, sim.handle().counters().logins)
}

/// The link was never lost.
async fn still_linked(sim: &Server, process: &Process, logins: u64) {
    assert_eq!(process.state().await, "open", "{}", process.log());
    assert_eq!(sim.handle().counters().logins, logins, "it had to dial again");
    assert!(!process.log().contains("panicked"), "{}", process.log());
}

fn limit_files(process: &Process, files: usize) {
    let set = Command::new("prlimit")
        .args(["--pid", &process.pid().to_string(), &format!("--nofile={files}:")])
        .status();
    assert!(set.is_ok_and(|status| status.success()), "the limit cannot be set");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_finishes_keeps_nobody_waiting() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    // Places for 156 connections.
    let (process, logins) = scene(&sim, folder.path(), 256).await;
    let weight = Weight(process.pid());
    let number = setting("BLACKSKY_CROWD", 600);
    let time = Duration::from_secs(setting("BLACKSKY_CROWD_SECONDS", 2) as u64);
    let pause = Duration::from_millis(200);
    let form = "POST /login HTTP/1.1\r\nhost: localhost\r\norigin: http://localhost\r\n\
                content-type: application/x-www-form-urlencoded\r\n";
    let many = vec![b'a'; 10_000];
    for (name, first, then) in [
        ("say nothing", String::new(), Vec::new()),
        ("send a head byte by byte", "GET / HTTP/1.1\r\nhost: localhost\r\nx: ".to_owned(), many.clone()),
        ("send a body byte by byte", format!("{form}content-length: 4000\r\n\r\n"), many.clone()),
        (
            "send chunks of one byte",
            format!("{form}transfer-encoding: chunked\r\n\r\n"),
            b"1\r\na\r\n".repeat(2_000),
        ),
        ("keep connections", "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(), Vec::new()),
    ] {
        let crowd = Crowd::gather(process.port, number, &Manner { first: first.into_bytes(), then, pause });
        eventually("they are there", PATIENCE, async || crowd.cut() + crowd.open() >= number).await;
        let (before, begun) = (weight.processor(), Instant::now());
        let slowest = slowest_page(&process, time).await;
        let busy = (weight.processor() - before).as_secs_f64() / begun.elapsed().as_secs_f64();
        println!(
            "{number} clients that {name}: slowest page {slowest:.1?}, {} cut, {} files, {} kB, {:.0} % of a processor",
            crowd.cut(),
            weight.files(),
            weight.resident(),
            busy * 100.0
        );
        assert!(slowest < SECOND, "{name}: {slowest:?}");
        assert!(weight.files() <= 256);
        crowd.disperse().await;
    }
    still_linked(&sim, &process, logins).await;
}

/// Time runs by itself whenever everybody waits.
#[tokio::test(start_paused = true)]
async fn who_is_slow_is_cut_after_its_deadline() {
    let site = TestSite::start(None).await;
    for (name, first, byte, seconds) in [
        ("silence", "", "", 10),
        ("a slow head", "GET / HTTP/1.1\r\nhost: x\r\nx: ", "a", 10),
        ("a slow second head", "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n", "G", 10),
        (
            "a slow body",
            "POST /login HTTP/1.1\r\nhost: x\r\norigin: http://x\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: 4000\r\n\r\n",
            "a",
            5,
        ),
        ("an idle connection", "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n", "", 95),
    ] {
        let mut socket = TcpStream::connect(site.address).await.expect("the port listens");
        let begun = Instant::now();
        let (mut reader, mut writer) = socket.split();
        let dripping = async {
            let _ = writer.write_all(first.as_bytes()).await;
            loop {
                sleep(SECOND).await;
                if writer.write_all(byte.as_bytes()).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let mut answer = Vec::new();
        tokio::select! {
            // Cut with or without a word.
            _ = reader.read_to_end(&mut answer) => {}
            () = dripping => {}
        }
        let took = begun.elapsed().as_secs();
        assert!((seconds..=seconds + 3).contains(&took), "{name}: {took} s");
        assert_eq!(answer.starts_with(b"HTTP/1.1 408 "), name == "a slow body", "{name}");
    }
}

/// Reads to the end, as far as it comes.
async fn answers(socket: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_secs(20), socket.read_to_end(&mut answer)).await.expect("it ends");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_without_end_are_refused_and_cost_no_memory() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let (process, logins) = scene(&sim, folder.path(), 1024).await;
    let weight = Weight(process.pid());
    // What was used for linking is no part of this.
    slowest_page(&process, SECOND).await;
    let before = weight.resident();
    weight.reset();
    let lines: String = (0..5_000).map(|n| format!("x-{n}: 1\r\n")).collect();
    let mut open = tokio::task::JoinSet::new();
    for (name, head, wanted) in [
        ("5,000 headers", format!("GET / HTTP/1.1\r\nhost: x\r\n{lines}\r\n"), "431"),
        (
            "65 headers",
            format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", &lines[..lines.find("x-65:").expect("there")]),
            "431",
        ),
        (
            "a header of 8 MB",
            format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(8 << 20)),
            "431",
        ),
        ("a name of 8 MB", format!("GET / HTTP/1.1\r\n{}: x\r\n\r\n", "a".repeat(8 << 20)), "431"),
        ("a path of 8 MB", format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(8 << 20)), "4"),
        ("a method of 8 MB", format!("{} / HTTP/1.1\r\nhost: x\r\n\r\n", "A".repeat(8 << 20)), "4"),
        ("8 MB of line ends", "\r\n".repeat(4 << 20), ""),
    ] {
        for client in 0..20 {
            let (port, head) = (process.port, head.clone());
            open.spawn(async move {
                let mut socket = connect(port, client).await.expect("connects");
                let (mut reader, mut writer) = socket.split();
                let mut answer = vec![0; 4096];
                let sending = async {
                    let _ = writer.write_all(head.as_bytes()).await;
                    std::future::pending::<()>().await;
                };
                let read = tokio::select! {
                    read = reader.read(&mut answer) => read.unwrap_or(0),
                    () = sending => 0,
                };
                let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
                // One that sends on sees a reset, and no answer.
                assert!(
                    answer.is_empty() || answer.starts_with(&format!("HTTP/1.1 {wanted}")),
                    "{name}: {answer}"
                );
            });
        }
        let slowest = slowest_page(&process, Duration::from_millis(300)).await;
        assert!(slowest < SECOND, "{name}: {slowest:?}");
        let ended = async {
            while let Some(ended) = open.join_next().await {
                ended.expect("as wanted")
            }
        };
        timeout(Duration::from_secs(20), ended).await.unwrap_or_else(|_| panic!("{name}: kept open"));
    }
    let most = weight.most();
    println!("heads of megabytes by 140 clients: {before} kB before, {most} kB at the most");
    assert!(most < before + 30_000, "{before} kB, {most} kB");
    still_linked(&sim, &process, logins).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_order_and_stop_where_nobody_reads() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let (process, logins) = scene(&sim, folder.path(), 1024).await;
    let weight = Weight(process.pid());
    let one = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut socket = connect(process.port, 1).await.expect("connects");
    let all = format!("{}{}", one.repeat(1_999), one.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n"));
    let (mut reader, mut writer) = socket.split();
    let mut answer = String::new();
    let (written, read) =
        tokio::join!(writer.write_all(all.as_bytes()), timeout(PATIENCE, reader.read_to_string(&mut answer)));
    written.expect("it takes them");
    read.expect("in time").expect("text");
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2_000);
    // Who reads nothing gets no more than the buffers hold.
    let before = weight.resident();
    let page = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(200);
    let mut open = Vec::new();
    for client in 0..10 {
        let mut socket = connect(process.port, client).await.expect("connects");
        let mut sent = 0;
        while sent < 4 << 20 {
            match timeout(Duration::from_millis(50), socket.write_all(page.as_bytes())).await {
                Ok(Ok(())) => sent += page.len(),
                _ => break,
            }
        }
        open.push(socket);
    }
    let slowest = slowest_page(&process, SECOND).await;
    let most = weight.most();
    println!(
        "10 clients that read none of their answers: {before} kB before, {most} kB at the most, slowest page {slowest:.1?}"
    );
    assert!(slowest < SECOND, "{slowest:?}");
    assert!(most < before + 60_000, "{before} kB, {most} kB");
    still_linked(&sim, &process, logins).await;
}

#[tokio::test(start_paused = true)]
async fn who_reads_nothing_is_let_go() {
    let site = TestSite::start(None).await;
    let mut socket = TcpStream::connect(site.address).await.expect("the port listens");
    let page = "GET / HTTP/1.1\r\nhost: x\r\n\r\n".repeat(100);
    let begun = Instant::now();
    // Until the buffers of both sides are full, and then until the other side gives up.
    while socket.write_all(page.as_bytes()).await.is_ok() {}
    assert!((30..=100).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn more_connections_than_files_harm_neither_the_page_nor_the_link() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let (process, logins) = scene(&sim, folder.path(), 256).await;
    let weight = Weight(process.pid());
    let number = setting("BLACKSKY_CROWD", 1_000);
    let time = Duration::from_secs(setting("BLACKSKY_CROWD_SECONDS", 2) as u64);
    let mut held = Vec::new();
    for client in 0..number {
        held.push(connect(process.port, client).await.expect("connects"));
    }
    let busy = || async {
        let (before, begun) = (weight.processor(), Instant::now());
        sleep(time).await;
        (weight.processor() - before).as_secs_f64() / begun.elapsed().as_secs_f64()
    };
    // A file that the rest of the program needs is always left.
    let (share, slowest) = (busy().await, slowest_page(&process, SECOND).await);
    println!(
        "{number} connections, 256 files: {} open, {:.1} % of a processor, slowest page {slowest:.1?}",
        weight.files(),
        share * 100.0
    );
    assert!(share < 0.25 && slowest < SECOND, "{share}, {slowest:?}");
    still_linked(&sim, &process, logins).await;
    let mut more = Vec::new();
    // Few, and then fewer than it began with: accepting fails again and again.
    for files in [60, 10] {
        limit_files(&process, files);
        for client in 0..number.min(500) {
            more.push(connect(process.port, client).await.expect("the system's queue takes it"));
        }
        let share = busy().await;
        println!("{} connections more, {files} files: {:.1} % of a processor", more.len(), share * 100.0);
        assert!(share < 0.25, "{share}");
        if files > 10 {
            let slowest = slowest_page(&process, SECOND).await;
            println!("slowest page {slowest:.1?}");
            assert!(slowest < SECOND, "{slowest:?}");
        }
    }
    limit_files(&process, 256);
    let log = process.log();
    assert!((1..=2).contains(&log.matches("cannot accept a web connection").count()), "{log}");
    let mut slowest = SECOND;
    eventually("the page answers again", PATIENCE, async || {
        slowest = slowest_page(&process, Duration::ZERO).await;
        slowest < SECOND
    })
    .await;
    drop((held, more));
    still_linked(&sim, &process, logins).await;
    let mut last = connect(process.port, 1).await.expect("connects");
    last.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("written");
    assert!(answers(&mut last).await.ends_with("ok\n"));
}
