//! The webhook of a native bot: the real binary, the simulator, a receiver on loopback.

use std::path::Path;
use std::time::Duration;

use blacksky::config::Secret;
use blacksky::post::signature;
use blacksky::sim::Server;
use serde_json::{Value, json};

use crate::support::blacksky::{Blacksky, Process};
use crate::support::eventually::eventually;
use crate::support::http::client;
use crate::support::linked::linked;
use crate::support::listener::{Answer, Listener, Post};
use crate::support::postgres;
use crate::support::sim::{PATIENCE, simulator};

const PHONE: &str = "4915100000001";
const ADA: &str = "4915100000002";
const BEN: &str = "4915100000003";
const SECRET: &str = "a secret of the webhook test";

fn bot(folder: &Path, url: &str) -> Blacksky {
    let file = format!(
        "[bots.main]\nprefix = \"!\"\nwebhook = \"{url}\"\nwebhook_secret = \"{SECRET}\"\nwebhook_give_up = \"1s\"\n\
         [bots.main.commands]\nping = \"pong\"\n"
    );
    std::fs::write(folder.join("blacksky.toml"), file).expect("written");
    Blacksky::in_folder(folder)
}

async fn start(sim: &Server, folder: &Path, listener: &Listener) -> Process {
    linked(sim, bot(folder, &listener.url()), &sim.url(), PHONE).await
}

async fn kept(listener: &Listener, count: usize, process: &Process) -> Vec<Post> {
    eventually(&format!("{count} posts; log:\n{}", process.log()), PATIENCE, async || {
        listener.count() >= count
    })
    .await;
    listener.kept()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_is_posted_signed_and_the_commands_answer_too() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let listener = Listener::start(|_| Answer::Take);
    let process = start(&sim, folder.path(), &listener).await;
    sim.handle().send_text(ADA, PHONE, "!ping").expect("sent");
    let post = kept(&listener, 1, &process).await.remove(0);
    sim.handle().wait_for_text(ADA, "pong", PATIENCE).await.expect("the command is answered");

    assert_eq!(post.body["type"], "message");
    assert_eq!(post.body["bot"], "main");
    let message = &post.body["message"];
    assert_eq!(message["chat"], format!("{ADA}@s.whatsapp.net"));
    assert_eq!(
        (&message["kind"], &message["text"], &message["group"]),
        (&json!("text"), &json!("!ping"), &json!(false))
    );
    assert_eq!(post.header("x-blacksky-delivery"), post.body["id"].as_str().expect("an id"));
    assert_eq!(post.header("x-blacksky-attempt"), "1");
    assert_eq!(post.header("content-type"), "application/json");
    let timestamp: i64 = post.header("x-blacksky-timestamp").parse().expect("a number");
    assert_eq!(post.header("x-blacksky-signature"), signature(&Secret::new(SECRET), timestamp, &post.raw));

    let status = process.until_bot("a delivery in /status", |bot| bot["webhook"]["delivered"] == 1).await;
    assert_eq!(status["webhook"]["problem"], Value::Null);
    process.until_bot("an empty backlog", |bot| bot["webhook"]["waiting"] == 0).await;
    assert_eq!(listener.posts().len(), 1);
    for shown in [process.log(), process.status().await.expect("a status").to_string()] {
        assert!(!shown.contains("a-token-that-nobody-may-see") && !shown.contains(SECRET), "{shown}");
        assert!(!shown.contains(ADA), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_waits_for_its_first_message_and_others_do_not() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    // Ada's first message is refused three times.
    let refused = std::sync::atomic::AtomicU32::new(0);
    let listener = Listener::start(move |post| {
        if post.text() == "a1" && refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 3 {
            Answer::Refuse(500, None)
        } else {
            Answer::Take
        }
    });
    let process = start(&sim, folder.path(), &listener).await;
    for (from, text) in [(ADA, "a1"), (ADA, "a2"), (BEN, "b1"), (ADA, "a3"), (BEN, "b2")] {
        sim.handle().send_text(from, PHONE, text).expect("sent");
    }
    let posts = kept(&listener, 5, &process).await;
    let of =
        |first: char| posts.iter().map(Post::text).filter(|text| text.starts_with(first)).collect::<Vec<_>>();
    assert_eq!((of('a'), of('b')), (vec!["a1", "a2", "a3"], vec!["b1", "b2"]));
    assert_eq!(
        posts.iter().find(|post| post.text() == "a1").expect("posted").header("x-blacksky-attempt"),
        "4"
    );
    let tries: Vec<Post> = listener.posts().into_iter().filter(|post| post.text() == "a1").collect();
    assert!(tries.iter().all(|post| post.body == tries[0].body), "the same body at every try");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_wants_to_be_left_alone_is() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let first = std::sync::atomic::AtomicBool::new(true);
    let listener = Listener::start(move |_| match first.swap(false, std::sync::atomic::Ordering::Relaxed) {
        true => Answer::Refuse(429, Some(2)),
        false => Answer::Take,
    });
    let process = start(&sim, folder.path(), &listener).await;
    sim.handle().send_text(ADA, PHONE, "one").expect("sent");
    eventually("the first post", PATIENCE, async || !listener.posts().is_empty()).await;
    // Another chat waits as well: it is the receiver who asked.
    sim.handle().send_text(BEN, PHONE, "two").expect("sent");
    kept(&listener, 2, &process).await;
    let posts = listener.posts();
    assert_eq!(posts.len(), 3);
    for later in &posts[1..] {
        let wait = later.at - posts[0].at;
        assert!(wait >= Duration::from_millis(1900) && wait < Duration::from_secs(8), "{wait:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_is_kept_shown_and_tried_again_when_a_person_says_so() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let listener = Listener::start(|post| match post.text() {
        "bad" => Answer::Refuse(422, None),
        _ => Answer::Take,
    });
    let mut process = start(&sim, folder.path(), &listener).await;
    sim.handle().send_text(ADA, PHONE, "bad").expect("sent");
    sim.handle().send_text(ADA, PHONE, "good").expect("sent");
    // It holds its chat up until it is given up.
    kept(&listener, 1, &process).await;
    assert_eq!(listener.posts().len(), 7, "six tries and the next message");
    let status = process.until_bot("a dead letter", |bot| bot["webhook"]["dead"] == 1).await;
    assert_eq!(status["webhook"]["failed"], 6);
    assert_eq!(status["warnings"][0]["kind"], "dead_letters", "{status}");
    assert!(process.log().contains("a message for the webhook was given up: the webhook answered 422"));
    let page = async |process: &Process| {
        client().get(process.url("/")).send().await.expect("a page").text().await.expect("text")
    };
    assert!(page(&process).await.contains("Try the dead letter again"));

    // It outlives the process.
    process.term();
    process.ended(Duration::from_secs(30)).await;
    let process = bot(folder.path(), &listener.url()).run(&sim.url());
    process.until_bot("the dead letter", |bot| bot["webhook"]["dead"] == 1).await;
    listener.decide(|_| Answer::Take);
    let asked = client().post(process.url("/bots/main/webhook")).header("origin", process.url(""));
    assert_eq!(asked.send().await.expect("an answer").status(), 202);
    let posts = kept(&listener, 2, &process).await;
    assert_eq!((posts[1].text(), posts[1].header("x-blacksky-attempt")), ("bad", "1"));
    let status = process.until_bot("no dead letter", |bot| bot["webhook"]["dead"] == 0).await;
    assert_eq!(status["warnings"], json!([]));
    assert!(!page(&process).await.contains("Try the dead letter again"));
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_not_followed_and_a_webhook_is_not_ourselves() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let listener = Listener::start(|_| Answer::Refuse(308, None));
    let process = start(&sim, folder.path(), &listener).await;
    sim.handle().send_text(ADA, PHONE, "one").expect("sent");
    let status = process.until_bot("a problem", |bot| bot["webhook"]["problem"].is_object()).await;
    let text = status["webhook"]["problem"]["text"].as_str().unwrap_or_default();
    assert!(text.contains("308: it points elsewhere, and redirects are not followed"), "{text}");

    for url in ["http://localhost:4711/x", "http://127.0.0.1:4711", "https://my.example/hook"] {
        let ours = bot(folder.path(), url).env("PORT", "4711").env("HEROKU_APP_URL", "https://my.example");
        let (code, _, problems) = ours.arg("check").output();
        assert_eq!(code, 78, "{problems}");
        assert!(problems.contains("bots.main.webhook leads to blacksky itself"), "{problems}");
        assert!(!problems.contains(url), "{problems}");
    }
    // A port that is known only once it is bound.
    let (code, _, problems) =
        bot(folder.path(), "http://localhost:4712/x").env("PORT", "4711").arg("check").output();
    assert_eq!(code, 0, "{problems}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dyno_that_takes_over_posts_what_the_other_left() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let database = postgres::database().await;
    let mut listener = Listener::start(|_| Answer::Take);
    let dyno = |listener: &Listener| {
        bot(folder.path(), &listener.url())
            .env("DATABASE_URL", database.as_str())
            .env("BLACKSKY_DATABASE_TLS", "disable")
            .env("BLACKSKY_SECRET_KEY", "a secret key for the webhook test")
            .env("BLACKSKY_LEASE_TTL", "2s")
            .env("BLACKSKY_BOTS_MAIN_WEBHOOK_GIVE_UP", "1h")
    };
    let first = linked(&sim, dyno(&listener), &sim.url(), PHONE).await;
    listener.kill();
    for n in 0..5 {
        sim.handle().send_text(ADA, PHONE, &format!("a{n}")).expect("sent");
    }
    first.until_bot("a backlog", |bot| bot["webhook"]["waiting"] == 5).await;
    let second = dyno(&listener).run(&sim.url());
    second.until("standby", PATIENCE).await;
    first.kill();
    listener.revive();
    let posts = kept(&listener, 5, &second).await;
    assert_eq!(posts.iter().map(Post::text).collect::<Vec<_>>(), ["a0", "a1", "a2", "a3", "a4"]);
    second.until_bot("an empty backlog", |bot| bot["webhook"]["waiting"] == 0).await;
}
