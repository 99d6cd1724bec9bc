//! What the relay costs: the time of a frame there and back, and bytes a second, beside a direct socket of the
//! same machine in the same run.
//!
//! ```text
//! cargo bench --features simulator --bench relay
//! ```
//!
//! `BENCH_FRAMES` (20000) and `BENCH_MIB` (2048) make it shorter. One socket each is opened directly and through
//! the relay; the two take turns, so that what else the machine does meets both. The client, the relay and the
//! server share the machine: the throughput through the relay is that of two hops on its cores.

#[allow(dead_code, reason = "shared with the tests, which use all of it")]
#[path = "../tests/it/support/figures.rs"]
mod figures;

use std::net::Ipv4Addr;
use std::time::Duration;

use blacksky::config::{Backoff, Period};
use blacksky::link::LinkAddress;
use blacksky::link::relay::{Relay, Setting};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use url::Url;

/// A masked binary frame of 100 bytes, the size of a short stanza.
const FRAME: usize = 106;
/// Frames that take turns.
const TURN: usize = 500;
/// Payload of a large frame.
const LARGE: usize = 256 << 10;

/// A socket whose upgrade is over, whatever way it took.
async fn open(address: &str, path: &str) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.expect("connects");
    socket.set_nodelay(true).expect("set");
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.expect("writes");
    let answer = head_of(&mut socket).await;
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    socket
}

async fn head_of(socket: &mut TcpStream) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.expect("a head"));
    }
    head
}

/// Echoes frames of the small size; after `/sink` it takes all and answers each whole large frame with a byte.
async fn serve(listener: TcpListener) {
    while let Ok((mut socket, _)) = listener.accept().await {
        tokio::spawn(async move {
            socket.set_nodelay(true).expect("set");
            let head = head_of(&mut socket).await;
            let sink = String::from_utf8_lossy(&head).contains("?sink");
            let answer =
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
            socket.write_all(answer).await.expect("writes");
            let mut buffer = vec![0; 256 << 10];
            let mut total = 0_u64;
            let whole = (LARGE + 14) as u64;
            while let Ok(read) = socket.read(&mut buffer).await {
                if read == 0 {
                    return;
                }
                if !sink {
                    if socket.write_all(&buffer[..read]).await.is_err() {
                        return;
                    }
                    continue;
                }
                let before = total / whole;
                total += read as u64;
                // A pong a frame: what is written is answered, as from a live server.
                for _ in before..total / whole {
                    if socket.write_all(&[0x8a, 0]).await.is_err() {
                        return;
                    }
                }
            }
        });
    }
}

async fn there_and_back(socket: &mut TcpStream, frame: &[u8], times: &mut Vec<Duration>) {
    let mut back = vec![0; frame.len()];
    for _ in 0..TURN {
        let begun = Instant::now();
        socket.write_all(frame).await.expect("writes");
        socket.read_exact(&mut back).await.expect("comes back");
        times.push(begun.elapsed());
    }
}

/// Time for `frames` large frames to be taken, the last one answered.
async fn pour(socket: TcpStream, frames: usize) -> Duration {
    let mut frame = vec![0x82, 0x80 | 127];
    frame.extend((LARGE as u64).to_be_bytes());
    frame.extend([0; 4 + LARGE]);
    let (mut read, mut write) = socket.into_split();
    let begun = Instant::now();
    let pouring = tokio::spawn(async move {
        for _ in 0..frames {
            write.write_all(&frame).await.expect("writes");
        }
        write
    });
    let mut answers = vec![0; 2 * frames];
    read.read_exact(&mut answers).await.expect("answers");
    let took = begun.elapsed();
    drop(pouring.await.expect("poured"));
    took
}

#[tokio::main]
async fn main() {
    let frames = figures::number("BENCH_FRAMES", 20_000);
    let poured = (figures::number("BENCH_MIB", 2048) << 20) / LARGE;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("listens");
    let server = listener.local_addr().expect("an address").to_string();
    tokio::spawn(serve(listener));

    let second = Period(Duration::from_secs(1));
    let millisecond = Period(Duration::from_millis(10));
    let relay = Relay::start(Setting {
        upstream: LinkAddress::decide(Some(Url::parse(&format!("ws://{server}/ws")).expect("a URL")))
            .expect("loopback"),
        deadline: Duration::from_secs(10),
        backoff: Backoff {
            initial: millisecond,
            factor: 1.0,
            max: millisecond,
            jitter: 0.0,
            reset_after: second,
        },
    });
    let mut relay = relay.await.expect("listens");
    relay.admit();
    let (through, secret) = {
        let url = Url::parse(&relay.address()).expect("a URL");
        (format!("127.0.0.1:{}", url.port().expect("a port")), url.path().to_owned())
    };
    // It lives, and tells what nobody asks here, until the end.
    tokio::spawn(async move {
        loop {
            relay.next().await;
        }
    });

    let mut frame = vec![0x82, 0x80 | 100, 1, 2, 3, 4];
    frame.resize(FRAME, 7);
    let mut direct = open(&server, "/ws").await;
    let mut relayed = open(&through, &format!("{secret}/ws")).await;
    let (mut plain, mut led) = (Vec::new(), Vec::new());
    // The first turn warms both.
    for turn in 0..=frames.div_ceil(TURN) {
        if turn == 1 {
            plain.clear();
            led.clear();
        }
        there_and_back(&mut direct, &frame, &mut plain).await;
        there_and_back(&mut relayed, &frame, &mut led).await;
    }
    drop((direct, relayed));
    println!("{} frames of {FRAME} bytes there and back, µs:", plain.len());
    plain.sort_unstable();
    led.sort_unstable();
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let us = |times| figures::percentile(times, share).as_secs_f64() * 1e6;
        let (direct, relayed) = (us(&plain), us(&led));
        println!("  {name}  direct {direct:7.1}  relay {relayed:7.1}  added {:7.1}", relayed - direct);
        for (of, value) in [("direct", direct), ("relay", relayed), ("added", relayed - direct)] {
            figures::note("relay latency", of, &format!("{name}, µs"), value);
        }
    }

    println!("{poured} frames of {} KiB one way, best of 3:", LARGE >> 10);
    for (name, address, path) in
        [("direct", &server, "/ws?sink".to_owned()), ("relay", &through, format!("{secret}/ws?sink"))]
    {
        let mut best = Duration::MAX;
        for _ in 0..3 {
            best = best.min(pour(open(address, &path).await, poured).await);
        }
        let rate = (poured * LARGE) as f64 / best.as_secs_f64() / 1e9;
        println!("  {name:6}  {rate:.2} GB/s");
        figures::note("relay throughput", name, "GB/s", rate);
    }
}
