//! Very many event streams at the real program: memory, the page beside them, and where they end.
//!
//! `BLACKSKY_STREAMS=10000 cargo test --features simulator --test it page_streams -- --nocapture --test-threads=1` opens
//! as many as there may be, and prints its figures; the tests need a file for each, and so does the program.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::api::TOKEN;
use crate::support::crowd::{connect, setting, slowest_page};
use crate::support::eventually::eventually;
use crate::support::linked::{bot, linked};
use crate::support::sim::{PATIENCE, simulator};
use crate::support::weight::Weight;

const SECOND: Duration = Duration::from_secs(1);
const NUMBER: &str = "4915300001201";
const FRIEND: &str = "4915300001202";
/// What a dyno of the smaller sizes has, in kB.
const QUOTA: u64 = 512 << 10;

/// Counts who has seen the newest number of messages.
async fn follow(mut socket: TcpStream, path: &str, wanted: watch::Receiver<u64>, seen: Arc<AtomicUsize>) {
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n");
    socket.write_all(head.as_bytes()).await.expect("written");
    let (mut text, mut counted) = (Vec::new(), u64::MAX);
    loop {
        if socket.read_buf(&mut text).await.expect("readable") == 0 {
            return;
        }
        // Events end with an empty line.
        let Some(end) = text.windows(2).rposition(|two| two == b"\n\n") else { continue };
        let rest = text.split_off(end + 2);
        let wanted = *wanted.borrow();
        let found = format!("\"messages_in\":{wanted},");
        if counted != wanted && String::from_utf8_lossy(&text).contains(&found) {
            counted = wanted;
            seen.fetch_add(1, Ordering::Relaxed);
        }
        text = rest;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn very_many_streams_follow_and_the_page_answers_beside_them() {
    let number = setting("BLACKSKY_STREAMS", 400);
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let process = linked(&sim, bot(folder.path(), &[]), &sim.url(), NUMBER).await;
    let weight = Weight(process.pid());
    let none = weight.resident();
    let (wanted, reading) = watch::channel(0);
    let seen = Arc::new(AtomicUsize::new(0));
    let mut streams = JoinSet::new();
    let begun = Instant::now();
    for client in 0..number {
        let socket = connect(process.port, client).await.expect("connects");
        streams.spawn(follow(socket, "/events", reading.clone(), Arc::clone(&seen)));
    }
    eventually("each has its first event", PATIENCE, async || seen.load(Ordering::Relaxed) == number).await;
    let opened = begun.elapsed();
    let open = weight.resident();
    let mut longest = Duration::ZERO;
    for round in 1..=3_u64 {
        seen.store(0, Ordering::Relaxed);
        wanted.send_replace(round);
        let begun = Instant::now();
        sim.handle().send_text(FRIEND, NUMBER, &format!("hello {round}")).expect("sent");
        eventually("each sees the message", PATIENCE, async || seen.load(Ordering::Relaxed) == number).await;
        longest = longest.max(begun.elapsed());
    }
    let slowest = slowest_page(&process, 2 * SECOND).await;
    let (now, most) = (weight.resident(), weight.most());
    println!(
        "{number} streams, open after {opened:.1?}: {none} kB without, {open} kB open, {now} kB after three events to each, {most} kB at the \
         most, {:.1} kB each; an event at the last after {longest:.1?}, slowest page {slowest:.1?}",
        now.saturating_sub(none) as f64 / number as f64
    );
    assert_eq!(streams.len(), number, "none ended");
    assert!(slowest < SECOND, "{slowest:?}");
    assert!(most < QUOTA, "{most} kB");
    assert!(longest < Duration::from_secs(10), "{longest:?}");
    // The pace is 2 s at 10,000; a browser gives up much later.
    assert_eq!(process.state().await, "open");
    streams.shutdown().await;
    eventually("their places come free", PATIENCE, async || weight.files() < 200).await;
    println!("{} kB after they are gone", weight.resident());
}

/// The head of an answer to a request that asks for a stream.
async fn head(port: u16, client: usize, path: &str, headers: &str) -> (String, TcpStream) {
    let mut socket = connect(port, client).await.expect("connects");
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
    socket.write_all(request.as_bytes()).await.expect("written");
    let mut text = Vec::new();
    let read = async {
        while !text.windows(4).any(|four| four == b"\r\n\r\n") {
            assert!(socket.read_buf(&mut text).await.expect("readable") > 0);
        }
    };
    timeout(PATIENCE, read).await.expect("in time");
    (String::from_utf8_lossy(&text).into_owned(), socket)
}

/// Opens until one is refused; how many there were, and the refusal.
async fn until_refused(port: u16, path: &str, headers: &str, open: &mut Vec<TcpStream>) -> (usize, String) {
    let before = open.len();
    loop {
        let (answer, socket) = head(port, open.len(), path, headers).await;
        if answer.starts_with("HTTP/1.1 503 ") {
            return (open.len() - before, answer);
        }
        assert!(answer.starts_with("HTTP/1.1 200 ") || answer.starts_with("HTTP/1.1 101 "), "{answer}");
        open.push(socket);
        assert!(open.len() < 1_000, "no end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_have_an_end_and_visitors_leave_places_to_the_owner() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let process = crate::api::bot(folder.path()).within(&["prlimit", "--nofile=256:256"]).run(&sim.url());
    process.until("pairing", PATIENCE).await;
    let weight = Weight(process.pid());
    let port = process.port;
    let mut open = Vec::new();
    let (visitors, refused) = until_refused(port, "/events", "", &mut open).await;
    assert!(refused.contains("\r\nretry-after: 30\r\n"), "{refused}");
    let token = format!("authorization: Bearer {TOKEN}\r\n");
    let upgrade = format!(
        "{token}connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    );
    // A request that asks for a WebSocket and says nothing after it is a stream like all others.
    let (own, refused) = until_refused(port, "/api/v1/bots/main/events", &upgrade, &mut open).await;
    assert!(
        refused.contains("\r\nretry-after: 30\r\n") && refused.contains("application/problem+json"),
        "{refused}"
    );
    println!(
        "256 files: {visitors} streams of visitors and {own} of the owner, {} files open",
        weight.files()
    );
    assert_eq!((visitors, own), (66, 19));
    assert!(slowest_page(&process, SECOND).await < SECOND);
    // One that goes makes room for the next.
    let gone = open.pop().expect("there are some");
    drop(gone);
    eventually("a place comes free", PATIENCE, async || {
        let (answer, socket) = head(port, 999, "/api/v1/bots/main/events", &upgrade).await;
        let opened = answer.starts_with("HTTP/1.1 101 ");
        open.extend(opened.then_some(socket));
        opened
    })
    .await;
}
