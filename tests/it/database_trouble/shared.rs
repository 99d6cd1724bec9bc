//! Two apps on one database and one session.

use sqlx::{Connection, PgConnection};

use super::scene::{PATIENCE, Scene, report};
use crate::support::eventually::eventually;
use crate::support::postgres::database;

const FIRST: (&str, &str) = ("HEROKU_APP_URL", "https://first-bot.herokuapp.com");
const OTHER: (&str, &str) = ("HEROKU_APP_URL", "https://other-bot.herokuapp.com");

/// All that is stored of the session, as one word.
async fn stored(url: &str) -> String {
    let mut admin = PgConnection::connect(url).await.expect("connects");
    sqlx::query_scalar("SELECT md5(string_agg(r::text, ',' ORDER BY r::text)) FROM blacksky.session_row AS r")
        .fetch_one(&mut admin)
        .await
        .expect("there are rows")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_app_stands_by_and_says_who_keeps_the_link() {
    let mut scene = Scene::linked(database().await).await;
    scene.set(FIRST.0, FIRST.1);
    scene.restart().await;
    scene.until("open").await;
    let other = scene.blacksky().env(OTHER.0, OTHER.1).env("DYNO", "web.1").run(&scene.sim.url());
    other.until("standby", PATIENCE).await;
    let status = other.status().await.expect("a status");
    let advice = status["bots"]["main"]["advice"].as_str().expect("advice").to_owned();
    assert!(advice.contains("first-bot.herokuapp.com keeps the link"), "{advice}");
    assert!(advice.contains("SESSION_ID"), "{advice}");
    scene.talk(20);
    scene.all_answered().await;
    assert_eq!(scene.sim.handle().counters().replaced, 0, "they fought");
    assert_eq!(scene.reconnects().await, 0);
    assert_eq!(other.state().await, "standby");
    report("two apps on one session", &advice, std::time::Duration::ZERO);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_with_another_key_overwrites_nothing_and_gives_way() {
    let mut scene = Scene::linked(database().await).await;
    let other = scene.blacksky().env("BLACKSKY_SECRET_KEY", "quite another key").run(&scene.sim.url());
    other.until("standby", PATIENCE).await;
    scene.stop().await;
    let before = stored(&scene.url).await;
    // Now it gets the lease, and cannot read a thing.
    other.until("parked", PATIENCE).await;
    let status = other.status().await.expect("a status");
    let bot = &status["bots"]["main"];
    assert_eq!(bot["reason"], "session_unreadable");
    let advice = bot["advice"].as_str().expect("advice").to_owned();
    assert!(advice.contains("BLACKSKY_SECRET_KEY") && advice.contains("not replaced"), "{advice}");
    assert_eq!(stored(&scene.url).await, before, "something was overwritten");
    // The right one comes back, as every day, and is not kept out.
    let begun = tokio::time::Instant::now();
    scene.start();
    scene.until("open").await;
    report("another app with another key had the lease", &advice, begun.elapsed());
    eventually("the other one stays parked", PATIENCE, async || other.state().await == "parked").await;
    scene.end().await;
}
