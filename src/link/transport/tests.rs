use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use url::Url;

use super::*;

type Peer = tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>;

const PATIENCE: Duration = Duration::from_secs(5);

fn factory(address: SocketAddr) -> Factory {
    let url = Url::parse(&format!("ws://{address}/ws/chat")).expect("url");
    let address = LinkAddress::decide(Some(url)).expect("loopback");
    Factory::new(address, Duration::from_secs(35), TaskTracker::new())
}

/// A connected pair: our side as whatsapp-rust sees it, its line, and the server's side.
async fn connected() -> (Arc<dyn Transport>, async_channel::Receiver<TransportEvent>, Line, Peer) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let factory = factory(listener.local_addr().expect("address"));
    let line = factory.next_line();
    let server = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.expect("accept");
        #[allow(clippy::result_large_err, reason = "the callback's type is tungstenite's")]
        let check = |request: &Request, response: Response| {
            assert_eq!(request.uri().path(), "/ws/chat");
            assert_eq!(request.headers()["origin"], "https://web.whatsapp.com");
            Ok(response)
        };
        accept_hdr_async(socket, check).await.expect("upgrade")
    });
    let (transport, events) = factory.create_transport().await.expect("dial");
    assert!(matches!(events.recv().await, Ok(TransportEvent::Connected)));
    assert!(line.was_opened());
    (transport, events, line, server.await.expect("server"))
}

async fn last(events: &async_channel::Receiver<TransportEvent>) -> TransportEvent {
    let mut last = None;
    while let Ok(event) = tokio::time::timeout(PATIENCE, events.recv()).await.expect("events end") {
        last = Some(event);
    }
    last.expect("an event")
}

#[tokio::test]
async fn frames_pass_both_ways_and_are_noted() {
    let (transport, events, line, mut peer) = connected().await;
    let before = line.pulse().last_heard();
    transport.send(Bytes::from_static(b"ping")).await.expect("send");
    assert_eq!(peer.next().await.expect("frame").expect("frame"), Message::binary("ping".as_bytes()));
    assert!(line.pulse().last_spoke() > before);
    peer.send(Message::binary("pong".as_bytes())).await.expect("send");
    match events.recv().await.expect("event") {
        TransportEvent::DataReceived(frame) => assert_eq!(&frame[..], b"pong"),
        other => panic!("{other:?}"),
    }
    assert!(line.pulse().last_heard() > before);
}

#[tokio::test]
async fn a_cut_closes_the_socket_at_once_and_says_why() {
    let (transport, events, line, mut peer) = connected().await;
    line.cut(CutReason::Silence);
    assert!(matches!(last(&events).await, TransportEvent::Disconnected(DisconnectReason::Unknown)));
    assert_eq!(line.end(), Some(End::Cut(CutReason::Silence)));
    // No close frame: the stream just ends.
    let seen = tokio::time::timeout(PATIENCE, peer.next()).await.expect("the peer sees the end");
    assert!(!matches!(seen, Some(Ok(_))), "{seen:?}");
    assert!(transport.send(Bytes::from_static(b"late")).await.is_err());
    // The first reason stays.
    line.cut(CutReason::Lease);
    assert_eq!(line.end(), Some(End::Cut(CutReason::Silence)));
}

#[tokio::test]
async fn a_cut_interrupts_a_send_that_is_stuck() {
    let (transport, _events, line, _peer) = connected().await;
    let stuck = tokio::spawn(async move {
        let frame = Bytes::from(vec![0; 1 << 20]);
        // The peer reads nothing, so the kernel's buffers fill up.
        loop {
            if let Err(error) = transport.send(frame.clone()).await {
                return error;
            }
        }
    });
    let spoke = line.pulse().last_spoke();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while line.pulse().last_spoke() == spoke && tokio::time::Instant::now() < deadline {
        tokio::task::yield_now().await;
    }
    line.cut(CutReason::Lease);
    tokio::time::timeout(PATIENCE, stuck).await.expect("the send is interrupted").expect("no panic");
}

#[tokio::test]
async fn a_close_frame_is_reported_with_its_code() {
    let (_transport, events, line, mut peer) = connected().await;
    let frame = CloseFrame { code: CloseCode::Error, reason: "".into() };
    peer.send(Message::Close(Some(frame))).await.expect("close");
    assert!(matches!(
        last(&events).await,
        TransportEvent::Disconnected(DisconnectReason::ServerClose { code: Some(1011), .. })
    ));
    assert_eq!(line.end(), Some(End::Closed { code: Some(1011) }));
}

#[tokio::test]
async fn an_end_without_a_word_is_an_eof() {
    let (_transport, events, line, peer) = connected().await;
    drop(peer);
    assert!(matches!(last(&events).await, TransportEvent::Disconnected(DisconnectReason::StreamEnded)));
    assert_eq!(line.end(), Some(End::Eof));
}

#[tokio::test]
async fn our_close_says_goodbye() {
    let (transport, events, line, mut peer) = connected().await;
    transport.send(Bytes::from_static(b"last")).await.expect("send");
    let closing = tokio::spawn(async move { transport.disconnect().await });
    assert_eq!(peer.next().await.expect("frame").expect("frame"), Message::binary("last".as_bytes()));
    match peer.next().await {
        Some(Ok(Message::Close(Some(frame)))) => assert_eq!(frame.code, CloseCode::Normal),
        other => panic!("{other:?}"),
    }
    tokio::time::timeout(PATIENCE, closing).await.expect("close ends").expect("no panic");
    last(&events).await;
    assert_eq!(line.end(), Some(End::Local));
}

#[tokio::test]
async fn a_refused_upgrade_keeps_its_status() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let factory = factory(listener.local_addr().expect("address"));
    let line = factory.next_line();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.expect("accept");
        let mut request = [0; 4096];
        let _ = socket.read(&mut request).await;
        let answer = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n";
        socket.write_all(answer).await.expect("write");
        let _ = socket.read(&mut request).await;
    });
    assert!(factory.create_transport().await.is_err());
    assert_eq!(line.dial_error(), Some(DialError::Status { status: 429 }));
    assert!(!line.was_opened());
}

#[tokio::test]
async fn nobody_there_is_a_refused_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let factory = factory(listener.local_addr().expect("address"));
    drop(listener);
    let line = factory.next_line();
    assert!(factory.create_transport().await.is_err());
    assert_eq!(line.dial_error(), Some(DialError::Connect { kind: io::ErrorKind::ConnectionRefused }));
}

#[tokio::test]
async fn a_cut_ends_a_dial_under_way() {
    // Accepts the connection in the kernel and never answers the upgrade.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let factory = factory(listener.local_addr().expect("address"));
    let line = factory.next_line();
    let dialling = tokio::spawn(async move { factory.create_transport().await.is_err() });
    let (_socket, _) = listener.accept().await.expect("accept");
    line.cut(CutReason::Stop);
    assert!(tokio::time::timeout(PATIENCE, dialling).await.expect("the dial ends").expect("no panic"));
}

#[tokio::test]
async fn last_words_are_heard_after_a_write_has_failed() {
    let (transport, events, line, mut peer) = connected().await;
    peer.send(Message::binary("why".as_bytes())).await.expect("send");
    peer.close(None).await.expect("close");
    drop(peer);
    // Writes into the closed socket fail sooner or later.
    let failing = async { while transport.send(Bytes::from_static(b"x")).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, failing).await.expect("a write fails");
    match events.recv().await.expect("event") {
        TransportEvent::DataReceived(frame) => assert_eq!(&frame[..], b"why"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(last(&events).await, TransportEvent::Disconnected(_)));
    assert!(matches!(line.end(), Some(End::Closed { .. } | End::Eof | End::Io { .. })), "{:?}", line.end());
}

/// A frame is not written before what it depends on is stored.
struct Stored(tokio::sync::Semaphore);

#[async_trait]
impl BeforeWrite for Stored {
    async fn ready(&self) -> anyhow::Result<()> {
        self.0.acquire().await?.forget();
        Ok(())
    }
}

#[tokio::test]
async fn a_frame_waits_for_what_must_come_first() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let factory = factory(listener.local_addr().expect("address"));
    let _line = factory.next_line();
    let stored = Arc::new(Stored(tokio::sync::Semaphore::new(0)));
    factory.before_write(stored.clone());
    let server = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.expect("accept");
        tokio_tungstenite::accept_async(socket).await.expect("upgrade")
    });
    let (transport, _events) = factory.create_transport().await.expect("dial");
    let mut peer = server.await.expect("server");

    let early = transport.send(Bytes::from_static(b"reply"));
    tokio::pin!(early);
    assert!(futures_util::poll!(&mut early).is_pending());
    assert!(
        tokio::time::timeout(Duration::from_millis(50), peer.next()).await.is_err(),
        "nothing is seen yet"
    );
    stored.0.add_permits(1);
    early.await.expect("written");
    assert_eq!(peer.next().await.expect("frame").expect("frame"), Message::binary("reply".as_bytes()));

    stored.0.close();
    assert!(transport.send(Bytes::from_static(b"late")).await.is_err(), "an error keeps the frame back");
}
