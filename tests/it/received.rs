//! The file of a message that came: the webhook tells of it, and a program fetches it.

use std::path::Path;

use blacksky::sim::{MediaKind, Medium};
use reqwest::StatusCode;
use serde_json::Value;

use crate::api::{ADA, TOKEN, ask, scan};
use crate::support::blacksky::Blacksky;
use crate::support::eventually::eventually;
use crate::support::http::client;
use crate::support::listener::{Answer, Listener};
use crate::support::sim::{PATIENCE, simulator};

const PHONE: &str = "4915100000001";

fn bot(folder: &Path, url: &str, key: bool) -> Blacksky {
    let file = format!("[bots.main]\nwebhook = \"{url}\"\n");
    std::fs::write(folder.join("blacksky.toml"), file).expect("written");
    let bot = Blacksky::in_folder(folder).env("BLACKSKY_ADMIN_TOKEN", TOKEN);
    if key { bot.env("BLACKSKY_SECRET_KEY", "a secret key of the test of files") } else { bot }
}

fn medium(bytes: Vec<u8>) -> Medium {
    Medium {
        kind: MediaKind::Document,
        mimetype: "text/html".into(),
        caption: Some("my page".into()),
        file_name: Some("page.html".into()),
        bytes,
    }
}

/// The message that the webhook gets for a medium.
async fn posted(sim: &blacksky::sim::Server, listener: &Listener, medium: Medium) -> Value {
    let known = listener.count();
    sim.handle().send_media(ADA, PHONE, medium).expect("sent");
    eventually("a post", PATIENCE, async || listener.count() > known).await;
    listener.kept().last().expect("just seen").body["message"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_fetches_what_came() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let listener = Listener::start(|_| Answer::Take);
    let process = bot(folder.path(), &listener.url(), true).run(&sim.url());
    scan(&sim, &process).await;
    process.until("open", PATIENCE).await;
    let bytes: Vec<u8> = (0..1_000_000u32).flat_map(u32::to_be_bytes).collect();
    let message = posted(&sim, &listener, medium(bytes.clone())).await;
    assert_eq!((&message["kind"], &message["text"]), (&"document".into(), &"my page".into()));
    assert_eq!((&message["size"], &message["file_name"]), (&bytes.len().into(), &"page.html".into()));
    let path = message["download"].as_str().expect("a path").to_owned();
    let get = |path: &str| client().get(process.url(path)).bearer_auth(TOKEN);
    let answer = get(&path).send().await.expect("it answers");
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "application/octet-stream");
    assert_eq!(answer.headers()["content-disposition"], "attachment");
    assert!(answer.bytes().await.expect("a body")[..] == bytes[..], "the file");

    let bare = client().get(process.url(&path)).send().await.expect("it answers");
    assert_eq!(bare.status(), StatusCode::UNAUTHORIZED);
    let (head, token) = path.rsplit_once('/').expect("a token");
    let mut changed = token.to_owned().into_bytes();
    let middle = changed.len() / 2;
    changed[middle] = if changed[middle] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).expect("text");
    for path in [format!("{head}/{changed}"), format!("{head}/AAAA"), format!("{head}/%ff")] {
        let status = ask(get(&path)).await.0;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
    let (status, refused) = {
        let large = posted(&sim, &listener, medium(vec![0; (16 << 20) + 1])).await;
        ask(get(large["download"].as_str().expect("a path"))).await
    };
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{refused}");
    drop(sim);
    let (status, refused) = ask(get(&path)).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY, "{refused}");
    assert!(!process.log().contains(token) && !process.log().contains("page.html"), "{}", process.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_secret_key_no_path_is_given() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let listener = Listener::start(|_| Answer::Take);
    let process = bot(folder.path(), &listener.url(), false).run(&sim.url());
    scan(&sim, &process).await;
    process.until("open", PATIENCE).await;
    let message = posted(&sim, &listener, medium(b"short".to_vec())).await;
    assert_eq!((&message["size"], message.get("download")), (&5.into(), None), "{message}");
}
