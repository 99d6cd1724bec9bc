//! Alerts of the real program to a real receiver, and `blacksky status` beside it.

use std::time::Duration;

use blacksky::alerts::signature;
use blacksky::config::Secret;
use blacksky::sim::{Action, Fault, When};

use crate::restarts::pair;
use crate::support::blacksky::Blacksky;
use crate::support::eventually::eventually;
use crate::support::sim;
use crate::support::webhook::{Post, Receiver};

const SECRET: &str = "the secret of the alerts test";
const SOON: Duration = Duration::from_secs(20);

/// A folder with a blacksky.toml in which nothing is set.
fn empty_file() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("blacksky.toml"), "").expect("written");
    folder
}

fn assert_signed(post: &Post) {
    let header = |name: &str| post.headers[name].to_str().expect("text").to_owned();
    let timestamp = header("x-blacksky-timestamp").parse().expect("seconds");
    assert_eq!(header("x-blacksky-signature"), signature(&Secret::new(SECRET), timestamp, &post.raw));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_needs_somebody_says_so_and_says_when_it_is_well_again() {
    let sim = sim::simulator();
    // The first post is refused and must come again.
    let receiver = Receiver::start(&[503]).await;
    let folder = empty_file();
    let blacksky = || {
        Blacksky::in_folder(folder.path())
            .env("BLACKSKY_ALERTS_WEBHOOK", receiver.url())
            .env("BLACKSKY_ALERTS_SECRET", SECRET)
            .env("BLACKSKY_ALERTS_REPEAT_AFTER", "0s")
            .env("BLACKSKY_BACKOFF_INITIAL", "10ms")
    };
    let process = blacksky().run(&sim.url());
    let pairing = receiver.until("pairing", SOON).await;
    assert_signed(&pairing);
    assert_eq!(pairing.body["bot"], "main");
    pair(&sim, &process).await;
    receiver.until("up", SOON).await;
    let same = |post: &&Post| post.headers["x-blacksky-delivery"] == pairing.headers["x-blacksky-delivery"];
    assert_eq!(receiver.posts().iter().filter(same).count(), 2, "refused, then taken, under one id");

    let status = |args: &[&str]| {
        let mut command = blacksky().arg("status").arg("--url").arg(process.url("/"));
        for arg in args {
            command = command.arg(*arg);
        }
        command.output()
    };
    let (code, out, err) = status(&[]);
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("main  open  for "), "{out}");

    // A client that is refused: parked, told, and `status` says what to do.
    let refusal = Fault::new(Action::Failure { reason: 405, code: None, expire: None }, When::Login);
    sim.handle().inject(refusal);
    sim.handle().strike(Action::Drop);
    let parked = receiver.until("parked", SOON).await;
    assert_signed(&parked);
    assert!(parked.body["text"].as_str().expect("text").contains("wa_version"), "{}", parked.body);
    let (code, out, _) = status(&[]);
    assert_eq!(code, 1);
    assert!(out.contains("parked (client_outdated)") && out.contains("wa_version"), "{out}");
    let (code, out, _) = status(&["--watch", "1s"]);
    assert_eq!(code, 1, "a link that is not open is not good: {out}");
    assert!(out.ends_with("not good\n"), "{out}");

    // The page tells the same, and that it was taken.
    eventually("the alert is noted as taken", SOON, async || {
        let Some(status) = process.status().await else { return false };
        assert_eq!(status["alerts"]["webhook"], true);
        status["alerts"]["latest"].as_array().expect("a list").iter().any(|alert| {
            alert["event"] == "parked"
                && alert["bot"] == "main"
                && alert["text"].as_str().is_some_and(|text| text.contains("wa_version"))
                && alert["sent_at"].is_string()
                && alert["problem"].is_null()
        })
    })
    .await;

    for post in receiver.posts() {
        assert!(!post.body.to_string().contains(crate::restarts::PHONE), "no personal data");
    }
    assert!(!process.log().contains("a-token-that-nobody-may-see"), "{}", process.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_alert_says_whether_it_arrived() {
    let receiver = Receiver::start(&[204, 404]).await;
    let folder = empty_file();
    let test = |url: Option<String>| {
        let mut command = Blacksky::in_folder(folder.path()).arg("alerts").arg("test");
        if let Some(url) = url {
            command = command.env("BLACKSKY_ALERTS_WEBHOOK", url).env("BLACKSKY_ALERTS_FORMAT", "slack");
        }
        tokio::task::spawn_blocking(move || command.output())
    };
    let (code, out, err) = test(Some(receiver.url())).await.expect("runs");
    assert_eq!((code, out.as_str()), (0, "the webhook took the alert (HTTP 204)\n"), "{err}");
    let post = receiver.until("test", SOON).await;
    assert!(post.body["text"].as_str().is_some_and(|text| text.contains("test of the alerts")));
    assert!(!post.headers.contains_key("x-blacksky-signature"), "there is no secret to sign with");

    let (code, _, err) = test(Some(receiver.url())).await.expect("runs");
    assert_eq!(code, 69);
    assert!(err.contains("answered 404") && !err.contains("a-token-that-nobody"), "{err}");

    let (code, _, err) =
        test(Some("http://127.0.0.1:1/hook/a-token-that-nobody-may-see".into())).await.expect("runs");
    assert_eq!(code, 69);
    assert!(err.contains("nothing listens") && !err.contains("a-token-that-nobody"), "{err}");

    let (code, _, err) = test(None).await.expect("runs");
    assert_eq!(code, 78);
    assert!(err.contains("BLACKSKY_ALERTS_WEBHOOK"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_of_nothing_is_69() {
    let folder = empty_file();
    let command =
        Blacksky::in_folder(folder.path()).arg("status").arg("--url").arg("http://u:pass@127.0.0.1:1/");
    let (code, _, err) = command.output();
    assert_eq!(code, 69);
    assert!(err.contains("does not answer") && !err.contains("pass@"), "{err}");
}
