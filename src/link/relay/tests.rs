//! A WebSocket client, the relay and a server, over real sockets.

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, accept_async, connect_async};
use url::Url;

use super::*;
use crate::config::Period;
use crate::link::backoff::tests::defaults;

const PATIENCE: Duration = Duration::from_secs(20);

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Where the relay dials in a test.
struct Upstream(TcpListener);

impl Upstream {
    async fn new() -> Self {
        Self(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("listens"))
    }

    async fn relay(&self) -> Relay {
        let url =
            Url::parse(&format!("ws://{}/ws/chat", self.0.local_addr().expect("an address"))).expect("a URL");
        let backoff = Backoff { initial: Period(Duration::from_millis(400)), jitter: 0.0, ..defaults() };
        let upstream = LinkAddress::decide(Some(url)).expect("loopback");
        Relay::start(Setting { upstream, deadline: Duration::from_secs(10), backoff }).await.expect("starts")
    }

    async fn accept(&self) -> WebSocketStream<TcpStream> {
        let (socket, _) = timeout(PATIENCE, self.0.accept()).await.expect("dials").expect("accepts");
        accept_async(socket).await.expect("upgrades")
    }

    /// Whether anybody dials within this.
    async fn dialled_within(&self, time: Duration) -> bool {
        timeout(time, self.0.accept()).await.is_ok()
    }
}

async fn connect(relay: &Relay) -> Client {
    let url = format!("{}/ws/chat", relay.address().replace("http://", "ws://"));
    timeout(PATIENCE, connect_async(url)).await.expect("in time").expect("an upgrade").0
}

/// The code with which the server's side ends it.
async fn closed(client: &mut Client) -> Option<u16> {
    match timeout(PATIENCE, client.next()).await.expect("it ends") {
        Some(Ok(Message::Close(frame))) => frame.map(|frame| frame.code.into()),
        _ => None,
    }
}

async fn report(relay: &mut Relay, wanted: impl Fn(&Report) -> bool) -> Report {
    timeout(PATIENCE, async {
        loop {
            let report = relay.next().await;
            if wanted(&report) {
                break report;
            }
        }
    })
    .await
    .expect("it is reported")
}

#[tokio::test]
async fn messages_pass_both_ways_and_a_close_passes_with_its_code() {
    let upstream = Upstream::new().await;
    let mut relay = upstream.relay().await;
    relay.admit();
    let (mut client, mut server) = tokio::join!(connect(&relay), upstream.accept());
    assert_eq!(report(&mut relay, |_| true).await, Report::Dialled);
    assert_eq!(report(&mut relay, |_| true).await, Report::Connected);
    let large = vec![7_u8; 3 << 20];
    client.send(Message::binary(large.clone())).await.expect("sends");
    assert_eq!(server.next().await.expect("comes").expect("whole").into_data().as_ref(), large);
    server.send(Message::binary(vec![1, 2, 3])).await.expect("sends");
    assert_eq!(client.next().await.expect("comes").expect("whole").into_data().as_ref(), [1, 2, 3]);
    let traffic = report(&mut relay, |report| matches!(report, Report::Traffic { .. })).await;
    // Headers of 2 and 14 bytes, the bot's with a mask.
    let (inbound, outbound) = (Flow { frames: 1, bytes: 5 }, Flow { frames: 1, bytes: (3 << 20) + 14 });
    assert_eq!(traffic, Report::Traffic { inbound, outbound });
    server.close(Some(CloseFrame { code: 1011.into(), reason: "".into() })).await.expect("closes");
    assert_eq!(closed(&mut client).await, Some(1011));
    drop((client, server));
    let ended = report(&mut relay, |report| matches!(report, Report::Ended { .. })).await;
    assert!(matches!(ended, Report::Ended { reason, .. } if reason == "closed" || reason == "closed_by_bot"));
}

#[tokio::test]
async fn without_the_lease_no_dial_reaches_the_server() {
    let upstream = Upstream::new().await;
    let relay = upstream.relay().await;
    assert_eq!(closed(&mut connect(&relay).await).await, Some(1013));
    relay.admit();
    let (mut client, server) = tokio::join!(connect(&relay), upstream.accept());
    relay.refuse();
    relay.cut();
    assert!(client.next().await.is_none_or(|message| message.is_err()));
    assert_eq!(closed(&mut connect(&relay).await).await, Some(1013));
    drop(server);
    assert!(!upstream.dialled_within(Duration::from_millis(300)).await);
}

#[tokio::test]
async fn a_bot_that_dials_in_a_loop_reaches_the_server_seldom() {
    let upstream = Upstream::new().await;
    let mut relay = upstream.relay().await;
    relay.admit();
    let looping = async {
        loop {
            let mut client = connect(&relay).await;
            while client.next().await.is_some_and(|message| message.is_ok()) {}
        }
    };
    let (began, mut dials) = (Instant::now(), Vec::new());
    let dropping = async {
        while dials.len() < 4 {
            drop(upstream.accept().await);
            dials.push(began.elapsed());
        }
    };
    tokio::select! {
        () = looping => {}
        () = dropping => {}
    }
    // 0.4 s, 0.8 s and 1.6 s.
    assert!(dials[3] >= Duration::from_millis(2700), "{dials:?}");
    let held = report(&mut relay, |report| matches!(report, Report::Held(_))).await;
    assert!(matches!(held, Report::Held(wait) if wait <= Duration::from_millis(400)), "{held:?}");
}

#[tokio::test]
async fn a_refused_upgrade_becomes_a_close_that_the_bot_understands() {
    let upstream = Upstream::new().await;
    let mut relay = upstream.relay().await;
    relay.admit();
    let refuse = async {
        let (mut socket, _) = upstream.0.accept().await.expect("accepts");
        let mut buffer = [0; 2048];
        assert!(socket.read(&mut buffer).await.expect("reads") > 0);
        socket
            .write_all(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n")
            .await
            .expect("writes");
    };
    let (mut client, ()) = tokio::join!(connect(&relay), refuse);
    assert_eq!(closed(&mut client).await, Some(1013));
    let ended = report(&mut relay, |report| matches!(report, Report::Ended { .. })).await;
    assert!(matches!(&ended, Report::Ended { reason, .. } if reason == "http_429"), "{ended:?}");
    // Five steps further: 0.4 s · 2^5.
    assert!(relay.shared.pacing().wait(Instant::now()) > Duration::from_secs(10));
    relay.at_once();
    let (client, server) = tokio::join!(connect(&relay), upstream.accept());
    drop((client, server));
}

#[tokio::test]
async fn a_newer_connection_ends_the_older_one() {
    let upstream = Upstream::new().await;
    let relay = upstream.relay().await;
    relay.admit();
    let (mut first, _server) = tokio::join!(connect(&relay), upstream.accept());
    let (_second, _other) = tokio::join!(connect(&relay), upstream.accept());
    assert!(timeout(PATIENCE, first.next()).await.expect("it ends").is_none_or(|message| message.is_err()));
}

#[tokio::test]
async fn strangers_find_nothing_and_reports_are_read() {
    let upstream = Upstream::new().await;
    let mut relay = upstream.relay().await;
    relay.admit();
    let ask = async |text: String| {
        let mut socket = TcpStream::connect(relay.address).await.expect("connects");
        socket.write_all(text.as_bytes()).await.expect("writes");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.expect("reads");
        answer
    };
    let post = |secret: &str, body: &str| {
        format!("POST /{secret}/said HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    let body = r#"{"what":"closed","code":515}"#;
    let secret = relay.secret.clone();
    assert!(ask(post("0000", body)).await.starts_with("HTTP/1.1 404"));
    assert!(ask(post(&secret, "{}")).await.starts_with("HTTP/1.1 400"));
    assert!(ask(post(&secret, body)).await.starts_with("HTTP/1.1 204"));
    assert!(ask(format!("GET /{secret}/ws HTTP/1.1\r\nHost: x\r\n\r\n")).await.starts_with("HTTP/1.1 404"));
    assert_eq!(report(&mut relay, |_| true).await, Report::Said(Said::Closed { code: 515 }));
}
