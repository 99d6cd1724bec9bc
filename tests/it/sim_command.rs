//! `blacksky sim` as a person starts it, its control API, and clients that speak garbage.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use blacksky::sim::{Options, Server, StartError};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::blacksky::Blacksky;
use crate::support::eventually::eventually;
use crate::support::http;
use crate::support::node::NodeBot;
use crate::support::sim::{PATIENCE, pair_rust, simulator};

/// A running `blacksky sim`; killed when dropped.
struct Running {
    child: Child,
    ready: Value,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("text");
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no ready line: {line:?}"));
        Self { child, ready }
    }

    fn text(&self, key: &str) -> String {
        self.ready[key].as_str().expect("a text").to_owned()
    }

    async fn call(&self, method: reqwest::Method, path: &str, body: Value) -> (u16, Value) {
        let mut request =
            http::client().request(method, format!("{}/{path}", self.text("control"))).timeout(PATIENCE);
        if !body.is_null() {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.expect("a body")).unwrap_or_default())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.call(reqwest::Method::GET, path, Value::Null).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(reqwest::Method::POST, path, body).await
    }

    async fn end(mut self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().is_ok_and(|s| s.success()));
        let mut code = None;
        eventually("it ends", Duration::from_secs(5), async || {
            code = self.child.try_wait().expect("waitable");
            code.is_some()
        })
        .await;
        assert_eq!(code.and_then(|c| c.code()), Some(0));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_author_drives_it_over_http_and_restarts_it() {
    let folder = tempfile::tempdir().unwrap();
    let sim =
        Blacksky::in_folder(folder.path()).arg("sim").arg("--port").arg("0").arg("--state").arg("state");
    let running = Running::start(&mut sim.command());
    assert!(running.text("url").starts_with("ws://127.0.0.1:"));

    let session = folder.path().join("session");
    let mut bot = NodeBot::start(&running.text("url"), &session);
    let qr = bot.next("qr").await["qr"].clone();
    let (status, body) = running.post("scan", json!({ "qr": "2@no,such,thing,here" })).await;
    assert_eq!(status, 422, "{body}");
    let scan = json!({ "qr": qr, "phone": "15550001005", "name": "Ada" });
    assert_eq!(running.post("scan", scan.clone()).await.0, 200);
    assert_eq!(running.post("scan", scan).await.0, 422, "a QR links once");
    bot.next("open").await;

    let (status, sent) = running.post("send", json!({ "text": "over http" })).await;
    assert_eq!(status, 200, "{sent}");
    bot.text("over http").await;
    let events = running.get("events?after=0&wait=10").await;
    assert!(events.as_array().is_some_and(|e| e.iter().any(|e| e["event"] == "paired")), "{events}");
    eventually("the echo arrives", PATIENCE, async || {
        let received = running.get("received").await;
        received.as_array().is_some_and(|r| r.iter().any(|r| r["text"] == "echo: over http"))
    })
    .await;
    eventually("it is acknowledged", PATIENCE, async || {
        running.get("sent").await[0]["acknowledged_at"].is_i64()
    })
    .await;
    assert_eq!(running.get("ratchets").await["reused"], json!([]));

    let (status, body) = running.post("faults", json!({ "do": "http", "status": 503 })).await;
    assert_eq!(status, 422, "{body}");
    assert_eq!(running.post("faults", json!({ "do": "explode" })).await.0, 422);
    assert_eq!(running.post("faults", json!({ "do": "stream_error", "code": 503 })).await.0, 200);
    assert_eq!(bot.next("close").await["code"], 503);
    bot.next("open").await;
    let status = running.get("status").await;
    assert_eq!(status["counters"]["pairings"], 1);
    assert_eq!(status["accounts"][0]["name"], "Ada");
    bot.stop().await;
    running.end().await;

    // The same session with a restarted simulator, and a name that only resolves to loopback.
    let running = Running::start(&mut sim.command());
    let mut bot = NodeBot::start(&running.text("url"), &session);
    bot.next("open").await;
    assert_eq!(running.get("status").await["counters"]["registrations"], 0);
    let foreign = http::client()
        .get(format!("{}/status", running.text("control")))
        .header("host", "rebound.example")
        .send()
        .await
        .unwrap();
    assert_eq!(foreign.status().as_u16(), 403);
    bot.stop().await;
    running.end().await;
}

#[test]
fn a_port_in_use_and_a_wrong_state_file_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, _, stderr) = Blacksky::in_folder(folder.path()).arg("sim").arg("--port").arg(&port).output();
    assert_eq!(code, 69, "{stderr}");
    assert!(stderr.contains(&port) && stderr.contains("--port"), "{stderr}");

    std::fs::write(folder.path().join("simulator.json"), "{}").unwrap();
    let (code, _, stderr) =
        Blacksky::in_folder(folder.path()).arg("sim").arg("--port").arg("0").arg("--state").arg(".").output();
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("simulator.json"), "{stderr}");
}

#[tokio::test]
async fn it_listens_only_on_loopback() {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let refused = Server::start(Options { listener, state_dir: None });
    assert!(matches!(refused.err(), Some(StartError::NotLoopback(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_closes_its_own_connection_and_nothing_else() {
    let server = simulator();
    let handle = server.handle();
    let mut hello = b"WA\x06\x03\x00\x00\x04".to_vec();
    hello.extend([0xff; 4]);
    let garbage = [
        Message::text("hello"),
        Message::binary(b"GET / HTTP/1.1\r\n".to_vec()),
        Message::binary(b"WA\x06\x03\xff\xff\xff".to_vec()),
        Message::binary(hello),
        Message::binary(b"ED\x00\x01\xff\xff\xff".to_vec()),
    ];
    let rounds = garbage.len() as u64;
    for message in garbage {
        let (mut socket, _) = tokio_tungstenite::connect_async(server.url()).await.unwrap();
        socket.send(message.clone()).await.unwrap();
        let closed = tokio::time::timeout(PATIENCE, async {
            while let Some(Ok(message)) = socket.next().await {
                assert!(message.is_close(), "{message:?}");
            }
        });
        closed.await.unwrap_or_else(|_| panic!("not closed after {message:?}"));
    }
    handle.wait_for_counters("all closed", PATIENCE, |c| c.garbage == rounds).await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let client = pair_rust(&server, &folder.path().join("session.db"), "15550001006").await;
    client.stop().await;
    server.shutdown().await.unwrap();
}
