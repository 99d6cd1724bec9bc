//! The other paths of the page's port, led to a hosted bot: a real server in its place, raw sockets as clients.

use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Json, Router};
use blacksky::link::LinkState;
use blacksky::runtime::clock;
use blacksky::runtime::status::{ChildState, Holder, HostedStatus};
use blacksky::web::{self, Paths};
use futures_util::{SinkExt, StreamExt, stream};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::support::eventually::eventually;
use crate::support::node;
use crate::support::site::TestSite;

const SOON: Duration = Duration::from_secs(10);
const TOKEN: &str = "correct horse";

/// A site whose other paths go to `port`.
async fn site(token: Option<&str>, base: &str, port: u16) -> TestSite {
    let paths = Paths { base: base.to_owned(), bot: Some("main".to_owned()) };
    let site = TestSite::start_at(0, token, web::HEARTBEAT, paths).await;
    site.board.bot("main", |bot| {
        bot.state = LinkState::Open;
        let mut hosted = HostedStatus { port: Some(port), ..HostedStatus::default() };
        hosted.child.state = ChildState::Running;
        bot.hosted = Some(hosted);
    });
    site
}

/// A bot's own server; ends when dropped.
struct Bot {
    port: u16,
    task: JoinHandle<()>,
}

impl Drop for Bot {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Bot {
    async fn start(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        Self { port, task }
    }

    /// Writes these bytes to every connection once a request head has come, and ends it.
    async fn saying(answer: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let task = tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.windows(4).any(|four| four == b"\r\n\r\n") {
                    if socket.read_buf(&mut head).await.unwrap_or(0) == 0 {
                        break;
                    }
                }
                let _ = socket.write_all(answer).await;
                let _ = socket.shutdown().await;
            }
        });
        Self { port, task }
    }

    /// Tells the head of every request as JSON, and the length of its body.
    async fn telling() -> Self {
        Self::start(Router::new().fallback(tell)).await
    }
}

async fn tell(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let headers: Vec<(String, String)> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let body = to_bytes(body, usize::MAX).await.expect("a body");
    let seen = json!({
        "method": parts.method.as_str(), "uri": parts.uri.to_string(), "headers": headers, "body": body.len(),
    });
    ([(header::SET_COOKIE, "sid=1")], Json(seen)).into_response()
}

async fn connect(site: &TestSite, text: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(site.address).await.expect("the port listens");
    socket.write_all(text).await.expect("it reads");
    socket
}

/// The whole answer to a request that asks for the end of the connection.
async fn raw(site: &TestSite, text: &str) -> String {
    let mut socket = connect(site, text.as_bytes()).await;
    let mut answer = Vec::new();
    timeout(SOON, socket.read_to_end(&mut answer)).await.expect("in time").expect("readable");
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: bot.example\r\nconnection: close\r\n{headers}\r\n")
}

/// What the bot said that it saw.
fn seen(answer: &str) -> serde_json::Value {
    let start = answer.find("\r\n\r\n{").map_or_else(|| panic!("no JSON: {answer}"), |at| at + 4);
    let body = &answer[start..];
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

fn values(seen: &serde_json::Value, name: &str) -> Vec<String> {
    let headers = seen["headers"].as_array().expect("headers");
    headers
        .iter()
        .filter(|pair| pair[0] == name)
        .map(|pair| pair[1].as_str().expect("text").to_owned())
        .collect()
}

#[tokio::test]
async fn the_bot_gets_the_request_as_it_came_without_what_is_ours() {
    let bot = Bot::telling().await;
    let site = site(Some(TOKEN), "/", bot.port).await;
    let cookie = signed_in(&site).await;
    let headers = format!(
        "cookie: a=1; {cookie}; b=2\r\nauthorization: Bearer {TOKEN}\r\nx-own: yes\r\nx-forwarded-for: 203.0.113.7\r\n"
    );
    let answer = raw(&site, &get("/panel?x=%2F&y", &headers)).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("set-cookie: sid=1\r\n"));
    assert!(!answer.contains("content-security-policy") && !answer.contains("x-frame-options"), "{answer}");
    let seen = seen(&answer);
    assert_eq!((&seen["method"], &seen["uri"]), (&json!("GET"), &json!("/panel?x=%2F&y")));
    assert_eq!(values(&seen, "cookie"), ["a=1; b=2"]);
    assert_eq!(values(&seen, "authorization"), Vec::<String>::new());
    assert_eq!(values(&seen, "host"), ["bot.example"]);
    assert_eq!(values(&seen, "x-own"), ["yes"]);
    assert_eq!(values(&seen, "x-forwarded-for"), ["203.0.113.7, 127.0.0.1"]);
    assert_eq!(values(&seen, "x-forwarded-proto"), ["http"]);
    // The bot's own sign-in is its own.
    let other = raw(&site, &get("/panel", "authorization: Bearer of the bot\r\n")).await;
    assert_eq!(values(&self::seen(&other), "authorization"), ["Bearer of the bot"]);
}

/// The cookie of a browser that signed in.
async fn signed_in(site: &TestSite) -> String {
    let body = "token=correct+horse";
    let text = format!(
        "POST /login HTTP/1.1\r\nhost: bot.example\r\norigin: http://bot.example\r\nconnection: close\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = raw(site, &text).await;
    let cookie = answer.split_once("set-cookie: ").expect("a cookie").1.split(';').next().expect("a pair");
    assert!(cookie.starts_with("blacksky="), "{answer}");
    cookie.to_owned()
}

#[tokio::test]
async fn our_paths_stay_ours_however_the_others_are_written() {
    let bot = Bot::telling().await;
    let at_root = site(Some(TOKEN), "/", bot.port).await;
    let cookie = signed_in(&at_root).await;
    let cookies = format!("cookie: {cookie}\r\n");
    for path in ["/healthz", "/status", "/readyz", "/"] {
        let answer = raw(&at_root, &get(path, "")).await;
        assert!(answer.contains("x-frame-options: DENY"), "{path} is ours: {answer}");
    }
    for path in [
        "//healthz",
        "/%68ealthz",
        "/%2e%2e/",
        "/./status",
        "/healthz/",
        "/STATUS",
        "//",
        "/a/../",
        "/bots/main/",
        "/*",
    ] {
        let seen = seen(&raw(&at_root, &get(path, &cookies)).await);
        assert_eq!(seen["uri"], path, "as it was written");
        assert_eq!(values(&seen, "cookie"), Vec::<String>::new(), "{path}");
    }
    // A method that our path does not know is not the bot's either.
    let put =
        raw(&at_root, "PUT /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            .await;
    assert!(put.starts_with("HTTP/1.1 405 "), "{put}");
    let absolute = raw(
        &at_root,
        "GET http://bot.example/x?y HTTP/1.1\r\nhost: bot.example\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(seen(&absolute)["uri"], "/x?y");
    let options = raw(&at_root, "OPTIONS * HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert_eq!(seen(&options)["uri"], "*");

    let moved = site(None, "/blacksky/", bot.port).await;
    for path in ["/", "/readyz", "/events", "/login", "/bots/main/qr"] {
        assert_eq!(seen(&raw(&moved, &get(path, "")).await)["uri"], path);
    }
    for path in ["/blacksky/", "/blacksky/readyz", "/blacksky/nothing", "/blacksky", "/status", "/healthz"] {
        assert!(raw(&moved, &get(path, "")).await.contains("x-frame-options: DENY"), "{path}");
    }
}

/// What one side could take for the end of the body and the other not.
#[tokio::test]
async fn requests_are_not_smuggled() {
    let bot = Bot::telling().await;
    let site = site(None, "/", bot.port).await;
    let hidden = "GET /hidden HTTP/1.1\r\nhost: x\r\n\r\n";
    // Both lengths: the chunks count, and the connection ends.
    let both = format!(
        "POST /one HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n{hidden}"
    );
    let answer = raw(&site, &both).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    let seen_one = seen(&answer);
    assert_eq!((&seen_one["uri"], &seen_one["body"]), (&json!("/one"), &json!(3)));
    assert_eq!(values(&seen_one, "content-length"), Vec::<String>::new());
    for (name, headers) in [
        ("two lengths", "content-length: 3\r\ncontent-length: 5\r\n"),
        ("a length that is none", "content-length: +3\r\n"),
        ("chunked is not last", "transfer-encoding: chunked, identity\r\n"),
        ("a folded header", "x: 1\r\n transfer-encoding: chunked\r\n"),
        ("a space before the colon", "content-length : 3\r\n"),
        ("two hosts", "host: y\r\nconnection: close\r\ncontent-length: 0\r\n"),
        ("a bare line feed in a name", "x\ny: 1\r\n"),
    ] {
        let answer = raw(&site, &format!("POST /two HTTP/1.1\r\nhost: x\r\n{headers}\r\nabc{hidden}")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{name}: {answer}");
        assert!(!answer.contains("/hidden") && !answer.contains("/two"), "{name}: {answer}");
    }
    // Pipelined requests stay two.
    let two = format!("POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc{}", get("/b", ""));
    let answer = raw(&site, &two).await;
    assert!(answer.contains("\"uri\":\"/a\"") && answer.contains("\"uri\":\"/b\""), "{answer}");
}

#[tokio::test]
async fn a_big_upload_and_a_big_download_stream() {
    const PIECE: usize = 1 << 16;
    const PIECES: usize = 1 << 10;
    let router = Router::new().route("/up", any(tell)).route(
        "/down",
        any(|| async {
            let piece = Ok::<_, Infallible>(Bytes::from_static(&[b'x'; PIECE]));
            Body::from_stream(stream::iter(std::iter::repeat_n(piece, PIECES)))
        }),
    );
    let bot = Bot::start(router).await;
    let site = site(None, "/", bot.port).await;
    for known in [true, false] {
        let length = if known {
            format!("content-length: {}", PIECE * PIECES)
        } else {
            "transfer-encoding: chunked".to_owned()
        };
        let head = format!("PUT /up HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{length}\r\n\r\n");
        let mut socket = connect(&site, head.as_bytes()).await;
        for _ in 0..PIECES {
            if known {
                socket.write_all(&[b'y'; PIECE]).await.expect("written");
            } else {
                socket.write_all(format!("{PIECE:x}\r\n").as_bytes()).await.expect("written");
                socket.write_all(&[b'y'; PIECE]).await.expect("written");
                socket.write_all(b"\r\n").await.expect("written");
            }
        }
        if !known {
            socket.write_all(b"0\r\n\r\n").await.expect("written");
        }
        let mut answer = String::new();
        timeout(SOON, socket.read_to_string(&mut answer)).await.expect("in time").expect("text");
        let seen = seen(&answer);
        assert_eq!((&seen["method"], &seen["body"]), (&json!("PUT"), &json!(PIECE * PIECES)), "{known}");
        assert_eq!(values(&seen, "content-length").len(), usize::from(known));
    }
    let client = crate::support::http::client();
    let mut answer = client.get(site.url("/down")).timeout(SOON * 6).send().await.expect("an answer");
    let mut got = 0;
    while let Some(piece) = answer.chunk().await.expect("a piece") {
        got += piece.len();
    }
    assert_eq!(got, PIECE * PIECES);
}

/// Nothing waits for the end of a body: each piece is there before the next one is sent.
#[tokio::test]
async fn pieces_pass_one_by_one_in_both_directions() {
    let echo = Router::new().fallback(|request: Request| async move { Response::new(request.into_body()) });
    let bot = Bot::start(echo).await;
    let site = site(None, "/", bot.port).await;
    let head = b"POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut socket = connect(&site, head).await;
    let mut seen = Vec::new();
    for piece in ["first", "second", "third"] {
        socket.write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes()).await.expect("written");
        let read = async {
            while !String::from_utf8_lossy(&seen).contains(piece) {
                assert!(socket.read_buf(&mut seen).await.expect("readable") > 0);
            }
        };
        timeout(SOON, read).await.unwrap_or_else(|_| panic!("{piece} is held back"));
    }
    // The client goes; the bot's side of it ends too, so its place comes free.
    drop(socket);
}

#[tokio::test]
async fn heads_trailers_and_old_clients() {
    let bot = Bot::saying(
        b"HTTP/1.1 200 Fine by me\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\nlocation: http://127.0.0.1/x\r\n\
          keep-alive: timeout=1\r\nset-cookie: blacksky=forged\r\nset-cookie: a=b\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 42\r\n\r\n",
    )
    .await;
    let site = site(None, "/", bot.port).await;
    let answer = raw(&site, &get("/", "te: trailers\r\n").replace("GET / ", "GET /x ")).await;
    assert!(answer.starts_with("HTTP/1.1 200 Fine by me\r\n"), "{answer}");
    assert!(answer.contains("location: http://127.0.0.1/x\r\n"), "as the bot wrote it");
    assert!(answer.contains("x-sum: 42\r\n"), "{answer}");
    assert!(!answer.contains("forged") && answer.contains("set-cookie: a=b"), "{answer}");
    assert!(!answer.contains("keep-alive:"), "{answer}");
    let old = raw(&site, "GET /x HTTP/1.0\r\n\r\n").await;
    assert!(old.ends_with("\r\n\r\nhi") && !old.contains("chunked"), "{old}");

    let bot = Bot::saying(b"HTTP/1.1 200 OK\r\ncontent-length: 5000000000\r\n\r\n").await;
    let site = self::site(None, "/", bot.port).await;
    let head = raw(&site, &get("/file", "").replace("GET", "HEAD")).await;
    assert!(head.contains("content-length: 5000000000\r\n") && head.ends_with("\r\n\r\n"), "{head}");
}

#[tokio::test]
async fn a_websocket_passes_both_ways_and_others_do_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let bot = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(socket).await else { return };
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() || message.is_binary() {
                        socket.send(message).await.expect("sent");
                    }
                }
            });
        }
    });
    let site = site(None, "/", port).await;
    let mut sockets = Vec::new();
    for n in 0..3 {
        let url = format!("ws://{}/socket?n={n}", site.address);
        let (mut socket, _) =
            timeout(SOON, tokio_tungstenite::connect_async(url)).await.expect("soon").expect("open");
        for size in [0, 10, 100_000] {
            let message = Message::binary(vec![n; size]);
            socket.send(message.clone()).await.expect("sent");
            let back = timeout(SOON, socket.next()).await.expect("soon").expect("a message").expect("good");
            assert_eq!(back, message);
        }
        sockets.push(socket);
    }
    // One side ends: so does the other.
    let mut first = sockets.remove(0);
    first.close(None).await.expect("closed");
    // The site stops: the open ones end, and nothing waits for them.
    let asked = Instant::now();
    site.stop.cancel();
    for socket in &mut sockets {
        while let Some(Ok(_)) = timeout(SOON, socket.next()).await.expect("it ends") {}
    }
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    bot.abort();
}

#[tokio::test]
async fn only_websockets_are_upgraded() {
    let bot = Bot::telling().await;
    let site = site(None, "/", bot.port).await;
    let h2c = "GET /x HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAM\r\n\r\n";
    let mut socket = connect(&site, h2c.as_bytes()).await;
    let mut answer = Vec::new();
    let read = async {
        while !answer.ends_with(b"}") {
            assert!(socket.read_buf(&mut answer).await.expect("readable") > 0);
        }
    };
    timeout(SOON, read).await.expect("in time");
    let seen = seen(&String::from_utf8_lossy(&answer));
    assert_eq!(values(&seen, "upgrade"), Vec::<String>::new());
    assert_eq!(values(&seen, "http2-settings"), Vec::<String>::new());
    assert_eq!(values(&seen, "connection"), ["close"]);

    let rude =
        Bot::saying(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n").await;
    let site = self::site(None, "/", rude.port).await;
    assert!(raw(&site, &get("/x", "")).await.starts_with("HTTP/1.1 502 "));
}

#[tokio::test]
async fn events_of_the_bot_stream_and_end_with_it() {
    let ticks = Router::new().fallback(|| async {
        let events = stream::unfold(0, |n| async move {
            if n > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Some((Ok::<_, std::io::Error>(format!("data: {n}\n\n")), n + 1))
        });
        ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(events))
    });
    let bot = Bot::start(ticks).await;
    let site = site(None, "/", bot.port).await;
    let mut answer =
        crate::support::http::client().get(site.url("/ticks")).timeout(SOON).send().await.expect("an answer");
    let mut text = String::new();
    while !text.contains("data: 5\n") {
        text += &String::from_utf8_lossy(&answer.chunk().await.expect("good").expect("more"));
    }
}

#[tokio::test]
async fn a_bot_that_does_not_answer_is_explained() {
    // Bound and let go: nobody listens there.
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("bound").port();
    let site = site(None, "/", free).await;
    let answer = raw(&site, &get("/panel", "")).await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 3"), "{answer}");
    let sentence = format!("The bot main does not listen on port {free} yet.");
    assert!(answer.contains(&sentence) && answer.contains("content-type: text/plain"), "{answer}");
    let page = raw(&site, &get("/panel", "accept: text/html\r\n")).await;
    assert!(page.contains(&sentence) && page.contains("<meta http-equiv=\"refresh\""), "{page}");
    assert!(page.contains("x-frame-options: DENY"), "{page}");

    let set = |state: ChildState| {
        site.board.bot("main", |bot| bot.hosted.as_mut().expect("hosted").child.state = state);
    };
    set(ChildState::CrashLoop);
    let crashed = raw(&site, &get("/panel", "")).await;
    assert!(
        crashed.starts_with("HTTP/1.1 503 ") && crashed.contains("ended soon after each start"),
        "{crashed}"
    );
    site.board.update(|snapshot| snapshot.dyno = Some("web.2".into()));
    site.board.bot("main", |bot| {
        bot.state = LinkState::Standby;
        let held = blacksky::runtime::status::BotStatus::starting(clock::now());
        bot.holder = Some(Holder { dyno: Some("web.1".into()), bot: Box::new(held), qr_withheld: false });
    });
    let elsewhere = raw(&site, &get("/panel", "")).await;
    assert!(
        elsewhere.starts_with("HTTP/1.1 503 ") && elsewhere.contains("runs on web.1, and web.2 stands by"),
        "{elsewhere}"
    );
    assert!(raw(&site, &get("/healthz", "")).await.starts_with("HTTP/1.1 200 "));

    let rude = Bot::saying(b"").await;
    let site = self::site(None, "/", rude.port).await;
    let ended = raw(&site, &get("/x", "")).await;
    assert!(ended.starts_with("HTTP/1.1 502 ") && ended.contains("without an answer"), "{ended}");
    let garbage = Bot::saying(b"SSH-2.0-OpenSSH\r\n\r\n").await;
    let site = self::site(None, "/", garbage.port).await;
    assert!(raw(&site, &get("/x", "")).await.starts_with("HTTP/1.1 502 "));
}

/// Time runs by itself whenever everybody waits.
#[tokio::test(start_paused = true)]
async fn a_silent_bot_is_a_504_and_a_slow_upload_is_not() {
    let bot =
        Bot::start(Router::new().route("/silent", any(std::future::pending::<()>)).fallback(tell)).await;
    let site = site(None, "/", bot.port).await;
    let began = Instant::now();
    let mut socket = connect(&site, get("/silent", "").as_bytes()).await;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("text");
    assert!(answer.starts_with("HTTP/1.1 504 ") && answer.contains("within 30 s"), "{answer}");
    assert!(began.elapsed() >= Duration::from_secs(30), "{:?}", began.elapsed());

    let head = b"POST /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 5\r\n\r\n";
    let mut socket = connect(&site, head).await;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(20)).await;
        socket.write_all(b"y").await.expect("written");
    }
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("text");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(seen(&answer)["body"], 5);
}

/// Time runs by itself whenever everybody waits.
#[tokio::test(start_paused = true)]
async fn a_body_that_hardly_moves_gives_its_place_back() {
    let bot = Bot::telling().await;
    let site = site(None, "/", bot.port).await;
    let head = b"POST /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 100000\r\n\r\n";
    let mut socket = connect(&site, head).await;
    let began = Instant::now();
    let (mut reader, mut writer) = socket.split();
    let dripping = async {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            if writer.write_all(b"y").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let mut answer = String::new();
    tokio::select! {
        read = reader.read_to_string(&mut answer) => drop(read.expect("text")),
        () = dripping => {}
    }
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("too slowly"), "{answer}");
    assert!((120..=126).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

/// The bot's requests cannot take the page's places.
#[tokio::test]
async fn many_requests_of_the_bot_leave_room_for_the_page() {
    // Takes connections and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let bot = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            open.push(socket);
        }
    });
    let site = site(None, "/", port).await;
    let mut waiting = Vec::new();
    for _ in 0..256 {
        waiting.push(connect(&site, b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await);
    }
    let refused = async {
        loop {
            let answer = timeout(Duration::from_millis(300), raw(&site, &get("/slow", ""))).await;
            if let Ok(answer) = answer {
                return answer;
            }
        }
    };
    let answer = timeout(SOON, refused).await.expect("in time");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Too many requests"), "{answer}");
    assert!(raw(&site, &get("/healthz", "")).await.starts_with("HTTP/1.1 200 "));
    drop(waiting);
    // Their places come free: another one waits for the bot again instead of being refused.
    let waits =
        async { while timeout(Duration::from_millis(300), raw(&site, &get("/slow", ""))).await.is_ok() {} };
    timeout(SOON, waits).await.expect("the places come free");
    bot.abort();
}

#[tokio::test]
async fn a_program_on_either_localhost_is_found() {
    let Ok(listener) = TcpListener::bind("[::1]:0").await else { return };
    let port = listener.local_addr().expect("bound").port();
    let bot = tokio::spawn(async move {
        axum::serve(listener, Router::new().fallback(|| async { StatusCode::IM_A_TEAPOT }))
            .await
            .expect("serves");
    });
    let site = site(None, "/", port).await;
    assert!(raw(&site, &get("/x", "")).await.starts_with("HTTP/1.1 418 "));
    bot.abort();
}

/// A server of Node's, with the WebSockets of the package `ws`.
struct NodeSite {
    port: u16,
    child: std::process::Child,
}

impl NodeSite {
    fn start() -> Self {
        node::install();
        let mut child = Command::new("node")
            .arg(node::folder().join("site.mjs"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("text");
        Self { port: line.trim().parse().expect("a port"), child }
    }
}

impl Drop for NodeSite {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn the_server_of_a_node_bot_behaves_as_if_it_were_asked_itself() {
    let bot = NodeSite::start();
    let site = site(Some(TOKEN), "/", bot.port).await;
    let client = crate::support::http::client();
    let get = async |path: &str| {
        let answer = client.get(site.url(path)).send().await.expect("an answer");
        answer.text().await.expect("text")
    };

    let plain = raw(&site, &self::get("/panel", "cookie: blacksky=x; a=1\r\n")).await;
    assert!(plain.contains("set-cookie: sid=1\r\n") && !plain.contains("forged"), "{plain}");
    assert_eq!(seen(&plain)["headers"]["cookie"], "a=1");

    // A client that asks first whether it may send.
    let upload = "POST /upload HTTP/1.1\r\nhost: x\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n";
    let mut socket = connect(&site, upload.as_bytes()).await;
    let mut answer = vec![0; 25];
    timeout(SOON, socket.read_exact(&mut answer)).await.expect("in time").expect("readable");
    assert_eq!(answer, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(b"abc").await.expect("written");
    let mut answer = String::new();
    timeout(SOON, socket.read_to_string(&mut answer)).await.expect("in time").expect("text");
    assert_eq!(seen(&answer)["bytes"], 3);

    let trailers = raw(&site, &self::get("/trailers", "te: trailers\r\n")).await;
    assert!(trailers.contains("x-sum: 42"), "{trailers}");
    assert!(raw(&site, &self::get("/gone", "")).await.starts_with("HTTP/1.1 502 "));

    // A stream that the client leaves is left at the bot too.
    let mut streams = Vec::new();
    for _ in 0..5 {
        let mut answer = client.get(site.url("/ticks")).send().await.expect("an answer");
        assert!(answer.chunk().await.expect("readable").is_some());
        streams.push(answer);
    }
    assert_eq!(get("/streams").await, "5");
    drop(streams);
    eventually("the bot sees them go", SOON, async || get("/streams").await == "0").await;

    let url = format!("ws://{}/live", site.address);
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.expect("open");
    for n in 0..200 {
        socket.send(Message::text(format!("message {n}"))).await.expect("sent");
    }
    for n in 0..200 {
        let message = timeout(SOON, socket.next()).await.expect("soon").expect("a message").expect("good");
        assert_eq!(message, Message::text(format!("message {n}")));
    }
    socket.send(Message::text("close")).await.expect("sent");
    let end = timeout(SOON, socket.next()).await.expect("soon").expect("a message").expect("good");
    let Message::Close(Some(frame)) = end else { panic!("{end:?}") };
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (4001, "as asked"));
}
