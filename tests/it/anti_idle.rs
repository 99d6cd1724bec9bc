//! The real program pings itself through a router, and others, and says how that went.

use std::time::Duration;

use serde_json::Value;

use crate::support::dyno::{App, Slug};
use crate::support::eventually::eventually;
use crate::support::{http, postgres, sim};

const PATIENCE: Duration = Duration::from_secs(60);

/// What the dyno says of a target.
async fn target(app: &App, place: usize) -> Value {
    let status = app.status().await.unwrap_or_default();
    status["anti_idle"]["targets"][place].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_eco_dyno_pings_itself_by_the_address_it_learns_and_others() {
    let sim = sim::simulator();
    // The router's own address is not known before it runs, so it is learned; the others are named.
    let toml = "[heroku]\ndyno = \"eco\"\n[anti_idle]\n\
                targets = [\"self\", \"http://127.0.0.1:9/\"]\n";
    let slug = Slug::blacksky(toml, &sim.url())
        .database(&postgres::database().await)
        .env("BLACKSKY_ANTI_IDLE_INTERVAL", "1m");
    let app = App::start(slug, 1).await;
    app.until_up().await;
    eventually("a ping is due", PATIENCE, async || target(&app, 0).await["next_at"].is_string()).await;
    eventually("nobody listens there", PATIENCE, async || target(&app, 1).await["failed"] == 1).await;
    let refused = target(&app, 1).await;
    assert_eq!(refused["answered"], 0);
    assert!(
        refused["last"]["problem"].as_str().is_some_and(|text| text.contains("nothing listens")),
        "{refused}"
    );
    // Its own address is no name of the outside here, so that none is learned.
    let own = target(&app, 0).await;
    assert!(own["last"]["problem"].as_str().is_some_and(|text| text.contains("HEROKU_APP_URL")), "{own}");

    // With the address set, as by `heroku config:set`.
    let url = app.router().url("/");
    for old in app.set_env("HEROKU_APP_URL", &url) {
        old.ended(PATIENCE).await;
    }
    eventually("it reaches itself", PATIENCE, async || target(&app, 0).await["answered"] == 1).await;
    let own = target(&app, 0).await;
    assert_eq!((&own["last"]["status"], &own["target"]), (&Value::from(200), &Value::from("self")), "{own}");
    let page = http::client().get(&url).send().await.expect("an answer").text().await.expect("a text");
    assert!(page.contains("Kept awake") && page.contains("answered 200"), "{page}");
    assert!(app.shut_down().await.iter().all(|end| end.status.success()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dyno_that_never_sleeps_pings_nothing() {
    let sim = sim::simulator();
    let slug = Slug::blacksky("", &sim.url()).database(&postgres::database().await);
    let app = App::start(slug, 1).await;
    app.until_up().await;
    assert_eq!(app.status().await.expect("a status")["anti_idle"], Value::Null);
    assert!(app.shut_down().await.iter().all(|end| end.status.success()));
}
