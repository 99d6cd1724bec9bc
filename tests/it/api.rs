//! `/api/v1`: a program asks, the real binary sends, the simulator's phones get it.

use std::path::Path;
use std::time::Duration;

use blacksky::sim::Server;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::support::blacksky::{Blacksky, Process};
use crate::support::eventually::eventually;
use crate::support::http::client;
use crate::support::postgres;
use crate::support::sim::{PATIENCE, simulator};

pub const PHONE: &str = "4915100000001";
pub const ADA: &str = "4915100000002";
pub const TOKEN: &str = "the admin token of the api test";

pub fn bot(folder: &Path) -> Blacksky {
    std::fs::write(folder.join("blacksky.toml"), "[bots.main]\n").expect("written");
    Blacksky::in_folder(folder).env("BLACKSKY_ADMIN_TOKEN", TOKEN)
}

/// Asks with the token.
pub async fn ask(request: RequestBuilder) -> (StatusCode, Value) {
    let answer = request.bearer_auth(TOKEN).send().await.expect("it answers");
    let status = answer.status();
    let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let expected = if status.is_success() { "application/json" } else { "application/problem+json" };
    assert_eq!(kind, expected, "{status}");
    let text = answer.text().await.expect("text");
    (status, serde_json::from_str(&text).expect("JSON"))
}

fn raw(process: &Process, body: impl Into<reqwest::Body>) -> RequestBuilder {
    let url = process.url("/api/v1/bots/main/messages");
    client().post(url).header("content-type", "application/json").body(body)
}

pub fn post(process: &Process, body: &Value) -> RequestBuilder {
    raw(process, body.to_string())
}

/// Sends and gives back the id.
async fn send(process: &Process, body: Value) -> String {
    let (status, sent) = ask(post(process, &body)).await;
    assert_eq!((status, &sent["status"]), (StatusCode::ACCEPTED, &json!("queued")), "{sent}");
    sent["id"].as_str().expect("an id").to_owned()
}

/// Waits until a message has ended.
pub async fn ended(process: &Process, id: &str) -> Value {
    let mut last = Value::Null;
    eventually(&format!("{id} has ended; log:\n{}", process.log()), PATIENCE, async || {
        last = ask(client().get(process.url(&format!("/api/v1/bots/main/messages/{id}")))).await.1;
        last["status"] != "queued"
    })
    .await;
    last
}

/// Scans the QR of the page.
pub async fn scan(sim: &Server, process: &Process) {
    let mut payload = None;
    eventually("a QR on the page", PATIENCE, async || {
        let page = client().get(process.url("/")).bearer_auth(TOKEN).send().await.expect("a page");
        payload = crate::support::qr::on_page(&page.text().await.expect("text"));
        payload.is_some()
    })
    .await;
    sim.handle().scan(&payload.expect("just seen"), PHONE).expect("it can be scanned");
}

/// A dyno that waits to be paired, and one that stands by.
pub async fn two_dynos(sim: &Server, folder: &Path, database: &str) -> (Process, Process) {
    let dyno = |name: &str| {
        bot(folder)
            .env("DYNO", name)
            .env("DATABASE_URL", database)
            .env("BLACKSKY_DATABASE_TLS", "disable")
            .env("BLACKSKY_SECRET_KEY", "a secret key for this test")
            .run(&sim.url())
    };
    let holder = dyno("web.1");
    holder.until("pairing", PATIENCE).await;
    let standby = dyno("web.2");
    standby.until("standby", PATIENCE).await;
    (holder, standby)
}

pub async fn start(sim: &Server, folder: &Path) -> Process {
    let process = bot(folder).run(&sim.url());
    scan(sim, &process).await;
    process.until("open", PATIENCE).await;
    process
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_a_reply_and_a_reaction_reach_the_phone() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let process = start(&sim, folder.path()).await;
    let got = async |text: &str| sim.handle().wait_for_text(ADA, text, PATIENCE).await.expect("it arrives");

    let id = send(&process, json!({ "to": format!("+{ADA}"), "text": "hello from a program" })).await;
    assert_eq!(got("hello from a program").await.id, id);
    let sent = ended(&process, &id).await;
    assert_eq!((&sent["status"], &sent["detail"]), (&json!("sent"), &Value::Null), "{sent}");

    let theirs = sim.handle().send_text(ADA, PHONE, "a question").expect("sent");
    let reply = json!({ "to": ADA, "text": "an answer", "reply_to": { "id": theirs, "text": "a question" } });
    send(&process, reply).await;
    assert_eq!(got("an answer").await.about.as_deref(), Some(theirs.as_str()));

    let id =
        send(&process, json!({ "to": ADA, "reaction": { "emoji": "👍", "to": { "id": theirs } } })).await;
    assert_eq!(ended(&process, &id).await["status"], "sent");
    let received = sim.handle().received();
    let reaction = received.iter().find(|one| one.id == id && one.to == ADA).expect("the reaction");
    assert_eq!(
        (reaction.reaction.as_deref(), reaction.about.as_deref()),
        (Some("👍"), Some(theirs.as_str()))
    );

    let (_, bots) = ask(client().get(process.url("/api/v1/bots"))).await;
    assert_eq!((&bots["bots"][0]["name"], &bots["bots"][0]["state"]), (&json!("main"), &json!("open")));
    let (_, one) = ask(client().get(process.url("/api/v1/bots/main"))).await;
    assert_eq!(one, bots["bots"][0]);
    for shown in [process.log(), process.status().await.expect("a status").to_string()] {
        assert!(!shown.contains(ADA) && !shown.contains("an answer"), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_makes_a_send_safe_to_repeat() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let process = start(&sim, folder.path()).await;
    let body = json!({ "to": ADA, "text": "once" });
    let with = |body: &Value, key: &str| post(&process, body).header("idempotency-key", key);
    let (_, first) = ask(with(&body, "order-17")).await;
    let sent = ended(&process, first["id"].as_str().expect("an id")).await;
    let (status, again) = ask(with(&body, "order-17")).await;
    assert_eq!((status, &again), (StatusCode::ACCEPTED, &sent));
    let (status, other) = ask(with(&json!({ "to": ADA, "text": "twice" }), "order-17")).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(other["detail"].as_str().is_some_and(|detail| detail.contains("used before")), "{other}");
    // A reaction has no time of its own.
    let reaction = json!({ "to": ADA, "reaction": { "emoji": "🎉", "to": { "id": "3EB0AA" } } });
    let (_, one) = ask(with(&reaction, "order-18")).await;
    let (status, two) = ask(with(&reaction, "order-18")).await;
    assert_eq!((status, &one["id"]), (StatusCode::ACCEPTED, &two["id"]));
    for key in ["", &"k".repeat(129)] {
        assert_eq!(ask(with(&body, key)).await.0, StatusCode::BAD_REQUEST, "{key:?}");
    }
    ended(&process, two["id"].as_str().expect("an id")).await;
    let texts = sim.handle().received().into_iter().filter(|one| one.to == ADA);
    assert_eq!(texts.filter(|one| one.text.as_deref() == Some("once")).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_is_sent_although_the_process_dies() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let process = start(&sim, folder.path()).await;
    for n in 0..5 {
        send(&process, json!({ "to": ADA, "text": format!("kept {n}") })).await;
    }
    process.kill();
    let process = bot(folder.path()).run(&sim.url());
    for n in 0..5 {
        let text = format!("kept {n}");
        sim.handle()
            .wait_for_text(ADA, &text, PATIENCE)
            .await
            .unwrap_or_else(|_| panic!("{}", process.log()));
    }
    let received = sim.handle().received();
    let kept = |one: &&blacksky::sim::Received| {
        one.to == ADA && one.text.as_deref().is_some_and(|text| text.starts_with("kept"))
    };
    assert_eq!(received.iter().filter(kept).count(), 5, "none of them twice");
    assert_eq!(sim.handle().ratchets().reused.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_waits_for_a_link_that_is_away() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let process = bot(folder.path()).run(&sim.url());
    process.until("pairing", PATIENCE).await;
    let id = send(&process, json!({ "to": ADA, "text": "early" })).await;
    scan(&sim, &process).await;
    sim.handle().wait_for_text(ADA, "early", PATIENCE).await.expect("it arrives");
    assert_eq!(ended(&process, &id).await["status"], "sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dyno_in_standby_accepts_and_the_holder_sends() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let database = postgres::database().await;
    let (holder, standby) = two_dynos(&sim, folder.path(), &database).await;
    scan(&sim, &holder).await;
    holder.until("open", PATIENCE).await;
    let begun = tokio::time::Instant::now();
    let id = send(&standby, json!({ "to": ADA, "text": "by the other dyno" })).await;
    sim.handle().wait_for_text(ADA, "by the other dyno", PATIENCE).await.expect("it arrives");
    // By a notice, not by looking every now and then.
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(ended(&standby, &id).await["status"], "sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_sends_by_the_same_outbox() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let job = format!("[jobs.greeting]\ncron = \"@yearly\"\nsend = \"good morning\"\nto = \"+{ADA}\"\n");
    std::fs::write(folder.path().join("blacksky.toml"), format!("[bots.main]\n{job}")).expect("written");
    let process = Blacksky::in_folder(folder.path()).env("BLACKSKY_ADMIN_TOKEN", TOKEN).run(&sim.url());
    scan(&sim, &process).await;
    process.until("open", PATIENCE).await;
    let pressed =
        client().post(process.url("/jobs/greeting/run")).bearer_auth(TOKEN).send().await.expect("answers");
    assert_eq!(pressed.status(), StatusCode::ACCEPTED);
    sim.handle().wait_for_text(ADA, "good morning", PATIENCE).await.expect("it arrives");
    let mut status = Value::Null;
    eventually("the run is told", PATIENCE, async || {
        status = process.status().await.expect("a status");
        status["jobs"].to_string().contains("handed to the bot")
    })
    .await;
    assert!(!status.to_string().contains(ADA) && !process.log().contains("good morning"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_refused_with_its_reason() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let process = bot(folder.path()).run(&sim.url());
    process.until("pairing", PATIENCE).await;
    let deep = "[".repeat(100_000);
    for (body, status, part) in [
        ("", 400, "EOF"),
        ("{", 400, "EOF"),
        ("[]", 422, "expected a map"),
        (r#"["+4915112345678","hi"]"#, 422, "expected a map"),
        (r#"{"to":"+4915112345678","text":"hi","reply_to":["A"]}"#, 422, "expected a map"),
        (&*deep, 400, "recursion"),
        (r#"{"to":"x","text":"hi"}"#, 422, "to must be"),
        (r#"{"to":"+4915112345678","text":"hi","danse":1}"#, 422, "unknown field `danse`"),
        (r#"{"to":"+4915112345678","text":5}"#, 422, "expected a string"),
        ("{\"to\":\"+4915112345678\",\"text\":\"\\u0000\"}", 422, "control"),
    ] {
        let (got, problem) = ask(raw(&process, body.to_owned())).await;
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(got.as_u16() == status && detail.contains(part), "{body:.60}: {got} {problem}");
    }
    let huge = json!({ "to": ADA, "text": "x".repeat(400 * 1024) }).to_string();
    assert_eq!(ask(raw(&process, huge)).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let url = process.url("/api/v1/bots/main/messages");
    let form = client().post(url).header("content-type", "text/plain").body("to=1&text=hi");
    assert_eq!(ask(form).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    for (path, part) in [
        ("/api/v1/bots/nobody", "no enabled bot"),
        ("/api/v1/bots/main/messages/3EB0", "no message of this id"),
        ("/api/v1/dance", "there is nothing here"),
    ] {
        let (status, problem) = ask(client().get(process.url(path))).await;
        assert!(
            status == StatusCode::NOT_FOUND && problem["detail"].as_str().unwrap_or_default().contains(part),
            "{path}: {problem}"
        );
    }
    assert_eq!(ask(client().delete(process.url("/api/v1/bots"))).await.0, StatusCode::METHOD_NOT_ALLOWED);
    // Nothing of it waits.
    assert_eq!(sim.handle().received().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_token_opens_it_and_guessing_is_slowed_down() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let process = bot(folder.path()).run(&sim.url());
    let url = process.url("/api/v1/bots");
    let bare = client().get(&url).send().await.expect("it answers");
    assert_eq!(bare.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(bare.headers()["www-authenticate"], "Bearer");
    let mut slowed = None;
    for n in 0..40 {
        let answer = client().get(&url).bearer_auth(format!("guess {n}")).send().await.expect("it answers");
        match answer.status() {
            StatusCode::UNAUTHORIZED => {}
            StatusCode::TOO_MANY_REQUESTS => {
                slowed = answer.headers().get("retry-after").cloned();
                break;
            }
            other => panic!("{other}"),
        }
    }
    assert!(slowed.is_some(), "40 guesses in a row");
    // Another site's page cannot send by the browser of somebody who is signed in, or sits at this machine.
    drop(process);
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("blacksky.toml"), "[bots.main]\n").expect("written");
    let process = Blacksky::in_folder(folder.path()).run(&sim.url());
    process.until("pairing", PATIENCE).await;
    let body = json!({ "to": ADA, "text": "hi" });
    let foreign =
        post(&process, &body).header("origin", "https://evil.example").send().await.expect("it answers");
    assert_eq!(foreign.status(), StatusCode::FORBIDDEN);
    let here = post(&process, &body).send().await.expect("it answers");
    assert_eq!(here.status(), StatusCode::ACCEPTED);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_says_what_there_is() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let process = bot(folder.path()).run(&sim.url());
    let (_, document) = ask(client().get(process.url("/api/v1/openapi.json"))).await;
    assert_eq!(document["openapi"], "3.1.0");
    let page =
        client().get(process.url("/api/v1/docs")).send().await.expect("answers").text().await.expect("text");
    for path in document["paths"].as_object().expect("paths").keys() {
        assert!(page.contains(path.as_str()), "{path}");
    }
}
