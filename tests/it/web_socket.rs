//! The page's server against clients that are slow, rude or many, and its end.

use std::time::Duration;

use blacksky::link::LinkState;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::support::site::TestSite;

const SOON: Duration = Duration::from_secs(5);

async fn connect(site: &TestSite, text: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(site.address).await.expect("the port listens");
    socket.write_all(text).await.expect("it reads");
    socket
}

/// Reads until the text is there; the rest of the answer may follow.
async fn read_until(socket: &mut TcpStream, wanted: &str) -> String {
    let mut seen = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&seen).contains(wanted) {
            let read = socket.read_buf(&mut seen).await.expect("readable");
            assert!(read > 0, "ended without {wanted:?}: {}", String::from_utf8_lossy(&seen));
        }
    };
    timeout(SOON, read).await.expect("in time");
    String::from_utf8_lossy(&seen).into_owned()
}

async fn healthy(site: &TestSite) {
    let mut socket = connect(site, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let answer = read_until(&mut socket, "ok\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

const EVENTS: &[u8] = b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n";

#[tokio::test]
async fn stopping_ends_open_streams_and_frees_the_port() {
    let site = TestSite::start(None).await;
    let mut streams = Vec::new();
    for _ in 0..5 {
        let mut stream = connect(&site, EVENTS).await;
        read_until(&mut stream, "\"state\":\"starting\"").await;
        streams.push(stream);
    }
    // Said nothing yet, and only half a head.
    let _silent = connect(&site, b"").await;
    let _half = connect(&site, b"GET / HTTP/1.1\r\nho").await;
    healthy(&site).await;

    let asked = Instant::now();
    site.stop.cancel();
    for stream in &mut streams {
        let mut rest = Vec::new();
        timeout(SOON, stream.read_to_end(&mut rest)).await.expect("in time").expect("a clean end");
        assert!(rest.ends_with(b"0\r\n\r\n"), "the last chunk is sent, so no reader sees a broken answer");
    }
    let TestSite { address, .. } = &site;
    eventually_bindable(*address).await;
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
}

async fn eventually_bindable(address: std::net::SocketAddr) {
    crate::support::eventually::eventually("the port is free", SOON, async || {
        tokio::net::TcpListener::bind(address).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn serve_returns_in_time_though_a_client_reads_nothing() {
    let mut site = TestSite::start(None).await;
    let _never_reads = connect(&site, EVENTS).await;
    let text = "x".repeat(200_000);
    // More than the socket's buffers hold.
    for n in 0..40 {
        site.board.bot("main", |bot| {
            bot.messages_in = n;
            bot.advice = Some(text.clone());
        });
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    healthy(&site).await;
    site.stop.cancel();
    timeout(Duration::from_secs(4), &mut site.task).await.expect("within its deadline").expect("no panic");
}

#[tokio::test]
async fn garbage_is_answered_or_dropped_and_others_are_served() {
    let site = TestSite::start(None).await;
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(40_000));
    let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    let many = format!("GET / HTTP/1.1\r\nhost: x\r\n{many}\r\n");
    let cases: [&[u8]; 9] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello",
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /%ff%fe%00 HTTP/1.1\r\nhost: \xff\xff\r\ncookie: \xff=\xff\r\naccept: \xff;q=\xff\r\nconnection: close\r\n\r\n",
        b"GET /status HTTP/1.1\r\nhost: x\r\naccept: text/html;q=99999,;;;,*/*;q=nan\r\nconnection: close\r\n\r\n",
        b"POST /bots/%2e%2e%2f%00/qr HTTP/1.1\r\nhost: localhost\r\norigin: http://localhost\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        long.as_bytes(),
        many.as_bytes(),
    ];
    for case in cases {
        let mut socket = TcpStream::connect(site.address).await.expect("the port listens");
        // The server may hang up before it has read all.
        let _ = socket.write_all(case).await;
        let mut answer = Vec::new();
        let ended = timeout(SOON, socket.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "kept open: {}", String::from_utf8_lossy(case));
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.starts_with("HTTP/1.1 5"), "{answer}");
        healthy(&site).await;
    }
}

#[tokio::test]
async fn slow_clients_keep_nobody_waiting() {
    let site = TestSite::start(None).await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        slow.push(connect(&site, b"POST /login HTTP/1.1\r\nhost: x\r\norigin: http://x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 9\r\n\r\nt").await);
    }
    let asked = Instant::now();
    healthy(&site).await;
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    let answer = read_until(&mut slow[0], "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn a_stream_follows_the_board() {
    let site = TestSite::start(None).await;
    let mut stream = connect(&site, EVENTS).await;
    read_until(&mut stream, "\"state\":\"starting\"").await;
    site.board.bot("main", |bot| bot.state = LinkState::Open);
    read_until(&mut stream, "\"state\":\"open\"").await;
}
