//! Files by the API: a program uploads, the real binary sends, the simulator's phones get it.

use std::time::Duration;

use blacksky::sim::{Action, Fault, MediaKind, Received, Server, What, When};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::api::{ADA, TOKEN, ask, bot, ended, post, scan, start, two_dynos};
use crate::support::blacksky::Process;
use crate::support::http::client;
use crate::support::postgres;
use crate::support::sim::{PATIENCE, simulator};

/// The first bytes of a file, and more up to `size`, no two pieces alike.
fn file(head: &[u8], size: usize) -> Vec<u8> {
    let mut file = head.to_vec();
    let filling = (0u32..).flat_map(u32::to_be_bytes);
    file.extend(filling.take(size.saturating_sub(head.len())));
    file
}

fn png(size: usize) -> Vec<u8> {
    file(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", size)
}

fn opus() -> Vec<u8> {
    let mut head = b"OggS".to_vec();
    head.resize(28, 0);
    head.extend_from_slice(b"OpusHead");
    file(&head, 3000)
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn uploading(process: &Process, body: impl Into<reqwest::Body>) -> RequestBuilder {
    client().post(process.url("/api/v1/bots/main/media")).body(body)
}

/// Uploads and gives back the id.
async fn upload(process: &Process, bytes: &[u8]) -> String {
    let (status, uploaded) = ask(uploading(process, bytes.to_vec())).await;
    assert_eq!(status, StatusCode::CREATED, "{uploaded}");
    assert_eq!((&uploaded["size"], &uploaded["sha256"]), (&json!(bytes.len()), &json!(hex(bytes))));
    uploaded["id"].as_str().expect("an id").to_owned()
}

/// Asks for a message with a file and gives back its id.
async fn send(process: &Process, media: Value) -> String {
    let (status, sent) = ask(post(process, &json!({ "to": ADA, "media": media }))).await;
    assert_eq!((status, &sent["status"]), (StatusCode::ACCEPTED, &json!("queued")), "{sent}");
    sent["id"].as_str().expect("an id").to_owned()
}

async fn arrived(sim: &Server, process: &Process, id: &str) -> Received {
    let got = sim.handle().wait_for_message(ADA, id, PATIENCE).await;
    got.unwrap_or_else(|error| panic!("{error}; log:\n{}", process.log()))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_reaches_the_phone() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let process = start(&sim, folder.path()).await;
    let mp4 = b"\0\0\0\x18ftypisom\0\0\0\0isomiso2";
    for (kind, bytes, more, mimetype) in [
        (MediaKind::Image, png(700_000), json!({ "caption": "look" }), "image/png"),
        (MediaKind::Video, file(mp4, 300_000), json!({ "caption": "move" }), "video/mp4"),
        (MediaKind::Audio, opus(), json!({ "voice": true }), "audio/ogg; codecs=opus"),
        (MediaKind::Audio, file(b"ID3\x03\0\0", 20), json!({}), "audio/mpeg"),
        (
            MediaKind::Document,
            file(b"%PDF-1.7", 5000),
            json!({ "file_name": "bill.pdf", "caption": "to pay" }),
            "application/pdf",
        ),
        (MediaKind::Document, b"plain".to_vec(), json!({}), "application/octet-stream"),
        (MediaKind::Sticker, file(b"RIFF\0\0\0\0WEBPVP8 ", 2000), json!({}), "image/webp"),
    ] {
        let id = upload(&process, &bytes).await;
        let mut media = json!({ "kind": kind, "id": id });
        let more = more.as_object().expect("an object").clone();
        media.as_object_mut().expect("an object").extend(more.clone());
        let id = send(&process, media).await;
        let got = arrived(&sim, &process, &id).await.media.expect("a medium");
        assert_eq!((got.kind, got.problem.as_deref()), (kind, None));
        assert_eq!((got.size, got.sha256), (bytes.len() as u64, hex(&bytes)));
        assert_eq!(got.mimetype.as_deref(), Some(mimetype));
        assert_eq!(json!(got.caption), more.get("caption").cloned().unwrap_or_default());
        assert_eq!(got.voice, more.contains_key("voice"));
        if kind == MediaKind::Document {
            let name = more.get("file_name").and_then(Value::as_str).unwrap_or("document");
            assert_eq!(got.file_name.as_deref(), Some(name));
        }
        assert_eq!(ended(&process, &id).await["status"], "sent");
    }
    // One upload for any number of messages.
    let id = upload(&process, &png(1000)).await;
    for caption in ["first", "second"] {
        let media = json!({ "kind": "image", "id": id, "caption": caption });
        let id = send(&process, media).await;
        let got = arrived(&sim, &process, &id).await.media.expect("a medium");
        assert_eq!(got.caption.as_deref(), Some(caption));
    }
    for shown in [process.log(), process.status().await.expect("a status").to_string()] {
        assert!(!shown.contains("look") && !shown.contains("bill"), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_is_refused_with_its_reason() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let process = bot(folder.path()).run(&sim.url());
    process.until("pairing", PATIENCE).await;
    let image = upload(&process, &png(100)).await;
    let program = upload(&process, b"\x7fELF and so on").await;
    let port = process.url("/healthz");
    for (media, part) in [
        (json!({ "kind": "image", "id": program }), "an image must be JPEG or PNG"),
        (json!({ "kind": "sticker", "id": image }), "a sticker must be WebP, and the file is image/png"),
        (json!({ "kind": "audio", "id": image, "voice": true }), "voice message must be Opus"),
        (json!({ "kind": "image", "id": "0123abcd" }), "no such file of this bot"),
        (json!({ "kind": "image", "id": image, "caption": "" }), "media.caption"),
        (json!({ "kind": "image" }), "needs the id of an upload"),
        (json!({ "kind": "image", "url": port }), "not an https address"),
        (json!({ "kind": "image", "url": "https://127.0.0.1/a.png" }), "not on the public internet"),
        (json!({ "kind": "image", "url": "https://localhost:1/a.png" }), "not on the public internet"),
        (json!({ "kind": "image", "url": "https://[::ffff:127.0.0.1]/" }), "not on the public internet"),
        (json!({ "kind": "image", "url": "https://169.254.169.254/" }), "not on the public internet"),
        (json!({ "kind": "image", "url": "https://10.0.0.1/" }), "not on the public internet"),
        (json!({ "kind": "image", "url": "https://a:b@example.com/" }), "user name"),
        (json!([]), "expected a map"),
    ] {
        let (status, refused) = ask(post(&process, &json!({ "to": ADA, "media": media }))).await;
        let detail = refused["detail"].as_str().unwrap_or_default();
        assert!(status == 422 && detail.contains(part), "{media}: {status} {refused}");
    }
    let (status, refused) = ask(uploading(&process, "")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
    let (status, refused) = ask(uploading(&process, png((16 << 20) + 1))).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{refused}");
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("16 MB")), "{refused}");
    let unknown = client().post(process.url("/api/v1/bots/nobody/media")).body("x");
    assert_eq!(ask(unknown).await.0, StatusCode::NOT_FOUND);
    let bare = uploading(&process, "x").send().await.expect("it answers");
    assert_eq!(bare.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(sim.handle().received().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_upload_is_waited_for_longer_than_other_requests() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let process = bot(folder.path()).run(&sim.url());
    process.until("pairing", PATIENCE).await;
    let bytes = png(600_000);
    let address = process.url("").trim_start_matches("http://").to_owned();
    let mut socket = TcpStream::connect(&address).await.expect("connects");
    let head = format!(
        "POST /api/v1/bots/main/media HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {TOKEN}\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        bytes.len()
    );
    socket.write_all(head.as_bytes()).await.expect("writes");
    for piece in bytes.chunks(bytes.len() / 6) {
        socket.write_all(piece).await.expect("writes");
        // The slowness is what is tested.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("reads");
    assert!(answer.starts_with("HTTP/1.1 201") && answer.contains(&hex(&bytes)), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_its_file_was_uploaded_it_arrives_once() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let process = start(&sim, folder.path()).await;
    // The media server takes the file and says nothing.
    sim.handle().inject(Fault::new(Action::Silence, When::Upload));
    let bytes = png(600_000);
    let media = json!({ "kind": "image", "id": upload(&process, &bytes).await, "caption": "kept" });
    let body = json!({ "to": ADA, "media": media });
    let asking = |process: &Process| post(process, &body).header("idempotency-key", "image-1");
    let (status, sent) = ask(asking(&process)).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{sent}");
    let struck = |event: &blacksky::sim::Event| matches!(event.what, What::Fault { .. });
    sim.handle().wait_for_event("an upload", 0, PATIENCE, struck).await.expect("it is tried");
    process.kill();
    let to_ada = || sim.handle().received().into_iter().filter(|one| one.to == ADA).count();
    assert_eq!(to_ada(), 0);
    let process = bot(folder.path()).run(&sim.url());
    let id = sent["id"].as_str().expect("an id");
    let got = arrived(&sim, &process, id).await.media.expect("a medium");
    assert_eq!((got.problem, got.sha256), (None, hex(&bytes)));
    let sent = ended(&process, id).await;
    assert_eq!(sent["status"], "sent");
    let (status, again) = ask(asking(&process)).await;
    assert_eq!((status, &again), (StatusCode::ACCEPTED, &sent));
    assert_eq!((to_ada(), sim.handle().counters().uploads), (1, 1));
    assert_eq!(sim.handle().ratchets().reused.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_media_server_that_refuses_is_tried_again_and_then_given_up() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let process = start(&sim, folder.path()).await;
    let media = json!({ "kind": "image", "id": upload(&process, &png(100)).await });
    sim.handle().inject(Fault::new(Action::Http { status: 503 }, When::Upload));
    let id = send(&process, media.clone()).await;
    arrived(&sim, &process, &id).await;
    sim.handle().inject(Fault::new(Action::Http { status: 503 }, When::Upload).lasting());
    let id = send(&process, media).await;
    let failed = ended(&process, &id).await;
    assert_eq!((&failed["status"], &failed["detail"]), (&json!("failed"), &json!("Upload(503)")));
    // The next message is none the worse for it.
    let (_, sent) = ask(post(&process, &json!({ "to": ADA, "text": "after it" }))).await;
    assert_eq!(ended(&process, sent["id"].as_str().expect("an id")).await["status"], "sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dyno_in_standby_takes_a_file_and_the_holder_sends_it() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let database = postgres::database().await;
    let (holder, standby) = two_dynos(&sim, folder.path(), &database).await;
    scan(&sim, &holder).await;
    holder.until("open", PATIENCE).await;
    let bytes = png(1_500_000);
    let id = send(&standby, json!({ "kind": "image", "id": upload(&standby, &bytes).await })).await;
    let got = arrived(&sim, &holder, &id).await.media.expect("a medium");
    assert_eq!((got.problem, got.sha256), (None, hex(&bytes)));
}

/// The most that the process ever had resident, in kB.
fn most_memory(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_file_does_not_need_much_memory() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let process = start(&sim, folder.path()).await;
    let before = most_memory(&process);
    let bytes = png(16 << 20);
    let id = upload(&process, &bytes).await;
    let taken = most_memory(&process);
    let id = send(&process, json!({ "kind": "document", "id": id, "file_name": "large" })).await;
    let got = arrived(&sim, &process, &id).await.media.expect("a medium");
    assert_eq!((got.problem, got.size), (None, 16 << 20));
    let sent = most_memory(&process);
    println!("most memory: {before} kB linked, {taken} kB after the upload, {sent} kB after the send");
    assert!(sent < 100_000, "{before} kB, {taken} kB, {sent} kB");
    let answer = client().get(process.url("/healthz")).bearer_auth(TOKEN).send().await.expect("answers");
    assert!(answer.status().is_success());
}
