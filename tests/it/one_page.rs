//! Two dynos on one PostgreSQL: each serves the same page, whichever of them keeps the link.

use std::time::Duration;

use blacksky::sim::{Action, Server};
use serde_json::Value;
use tokio::time::Instant;

use crate::support::blacksky::{Blacksky, Process};
use crate::support::eventually::eventually;
use crate::support::proxy::{Proxy, Traffic};
use crate::support::{http, postgres, qr, sim};

const PHONE: &str = "4915100000801";
const TOKEN: &str = "the admin token of this test";
const PATIENCE: Duration = Duration::from_secs(20);

/// Dynos of one app.
struct App {
    folder: tempfile::TempDir,
    database: String,
    sim: Server,
    ttl: &'static str,
    /// Nothing dials by itself while a test watches.
    backoff: &'static str,
}

impl App {
    async fn new(ttl: &'static str) -> Self {
        Self::on(postgres::database().await, ttl)
    }

    fn on(database: String, ttl: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("blacksky.toml"), "[bots.main]\n").expect("written");
        Self { folder, database, sim: sim::simulator(), ttl, backoff: "60s" }
    }

    fn dyno(&self, name: &str) -> Process {
        self.command(name).env("BLACKSKY_SECRET_KEY", "a secret key for this test").run(&self.sim.url())
    }

    fn command(&self, name: &str) -> Blacksky {
        Blacksky::in_folder(self.folder.path())
            .env("DYNO", name)
            .env("DATABASE_URL", self.database.as_str())
            .env("BLACKSKY_DATABASE_TLS", "disable")
            .env("BLACKSKY_ADMIN_TOKEN", TOKEN)
            .env("BLACKSKY_LEASE_TTL", self.ttl)
            .env("BLACKSKY_BACKOFF_INITIAL", self.backoff)
    }

    /// web.1 with an open link and web.2, which stands by.
    async fn open(&self) -> (Process, Process) {
        let first = self.dyno("web.1");
        first.until("pairing", PATIENCE).await;
        let second = self.dyno("web.2");
        second.until("standby", PATIENCE).await;
        let mut payload = String::new();
        eventually("the same QR on both pages", PATIENCE, async || {
            let (here, there) = (code(&first).await, code(&second).await);
            payload = here.clone().unwrap_or_default();
            here.is_some() && here == there
        })
        .await;
        self.nothing_in_clear(&payload).await;
        self.sim.handle().scan(&payload, PHONE).expect("the QR can be scanned");
        both_say(&first, &second, "open").await;
        (first, second)
    }

    /// A dump of the tables that dynos talk through holds the QR only sealed.
    async fn nothing_in_clear(&self, payload: &str) {
        use sqlx::Connection;
        let mut connection = sqlx::PgConnection::connect(&self.database).await.expect("connects");
        let (sealed, dump): (i64, String) = sqlx::query_as(
            "SELECT count(qr), coalesce(string_agg(t::text, E'\\n'), '') FROM blacksky.status AS t",
        )
        .fetch_one(&mut connection)
        .await
        .expect("a dump");
        assert_eq!(sealed, 1, "{dump}");
        let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        // Any part of it: the payload is made of keys, joined by commas.
        for part in payload.split(',').filter(|part| part.len() > 8) {
            assert!(!dump.contains(part) && !dump.contains(&hex(part)), "{dump}");
        }
    }
}

async fn page(process: &Process) -> String {
    let asked = http::client().get(process.url("/")).bearer_auth(TOKEN).timeout(Duration::from_secs(2));
    match asked.send().await {
        Ok(answer) => answer.text().await.unwrap_or_default(),
        Err(_) => String::new(),
    }
}

async fn code(process: &Process) -> Option<String> {
    qr::on_page(&page(process).await)
}

async fn bot(process: &Process) -> Value {
    process.status().await.unwrap_or_default()["bots"]["main"].clone()
}

async fn ready(process: &Process) -> u16 {
    http::client().get(process.url("/readyz")).send().await.expect("an answer").status().as_u16()
}

async fn both_say(holder: &Process, standby: &Process, state: &str) {
    for (who, process) in [("holder", holder), ("standby", standby)] {
        let mut last = Value::Null;
        let said = async {
            while last["state"] != state {
                last = bot(process).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, said).await.is_err() {
            let (holder, standby) = (holder.log(), standby.log());
            panic!("the {who} does not say {state} but {last}; holder:\n{holder}\nstandby:\n{standby}");
        }
    }
}

/// Presses a button: status, time to the answer's head, body.
async fn press(process: &Process, path: &str) -> (u16, Duration, String) {
    let began = Instant::now();
    let client = reqwest::Client::builder().timeout(Duration::from_secs(20)).build().expect("a client");
    let answer = client.post(process.url(path)).bearer_auth(TOKEN).send().await.expect("an answer");
    let (status, head) = (answer.status().as_u16(), began.elapsed());
    (status, head, answer.text().await.expect("a body"))
}

#[tokio::test(flavor = "multi_thread")]
async fn both_dynos_serve_the_same_page_and_the_holder_does_what_either_is_asked() {
    let app = App::new("2s").await;
    let (first, second) = app.open().await;
    let phone = app.sim.handle();

    let (here, there) = (bot(&first).await, bot(&second).await);
    assert_eq!(here["dyno"], serde_json::json!({ "role": "holder", "holder": "web.1" }));
    assert_eq!(there["dyno"], serde_json::json!({ "role": "standby", "holder": "web.1" }));
    assert_eq!(here["open_since"], there["open_since"]);
    assert_eq!((ready(&first).await, ready(&second).await), (200, 200));
    let shown = page(&second).await;
    assert!(shown.contains("Connected") && shown.contains("Kept by web.1."), "{shown}");

    // The link breaks and nothing dials for half a minute, unless a person wants it.
    phone.strike(Action::Drop);
    both_say(&first, &second, "backing_off").await;
    assert_eq!(bot(&second).await["last_disconnect"]["reason"], "eof");
    assert_eq!((ready(&first).await, ready(&second).await), (503, 503));
    let dials = phone.counters().dials;
    let (status, head, text) = press(&second, "/bots/main/reconnect").await;
    assert_eq!((status, text.as_str()), (202, "web.1 took the request.\n"));
    assert!(head < Duration::from_secs(1), "{head:?}");
    both_say(&first, &second, "open").await;
    assert_eq!(phone.counters().dials, dials + 1);
    assert!(first.log().contains("asked by the page of another dyno"), "{}", first.log());
    assert_eq!(bot(&second).await["dyno"]["role"], "standby");

    // Its death is told within the lease and a second.
    first.kill();
    let began = Instant::now();
    eventually("web.2 speaks for itself", PATIENCE, async || bot(&second).await["dyno"]["role"] == "holder")
        .await;
    assert!(began.elapsed() <= Duration::from_secs(3), "{:?}", began.elapsed());
    second.until("open", PATIENCE).await;
    assert_eq!((ready(&second).await, phone.counters().registrations), (200, 1));
    assert_eq!(bot(&second).await["dyno"]["holder"], "web.2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_does_not_answer_is_said_so_and_not_believed_for_long() {
    // A process that stood still for so long may find its socket dead when it wakes; then it dials again.
    let app = App { backoff: "1s", ..App::new("60s").await };
    let (first, second) = app.open().await;
    first.signal("STOP");
    let (status, head, text) = press(&second, "/bots/main/reconnect").await;
    assert_eq!(status, 202);
    assert!(head < Duration::from_secs(1), "{head:?}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].starts_with("Asked web.1"), "{text}");
    assert!(lines[1].starts_with("web.1 did not answer within 10 s."), "{text}");

    // Its last word is believed for fifteen seconds; most of them are over.
    eventually("plain standby", Duration::from_secs(8), async || bot(&second).await["state"] == "standby")
        .await;
    assert_eq!(bot(&second).await["dyno"], serde_json::json!({ "role": "standby", "holder": null }));
    assert_eq!(ready(&second).await, 503);
    first.signal("CONT");
    both_say(&first, &second, "open").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_the_qr_stays_with_the_holder() {
    let app = App::new("30s").await;
    let first = app.command("web.1").run(&app.sim.url());
    eventually("a QR", PATIENCE, async || code(&first).await.is_some()).await;
    let second = app.command("web.2").run(&app.sim.url());
    eventually("web.2 says where the QR is", PATIENCE, async || {
        page(&second).await.contains("heroku config:set BLACKSKY_SECRET_KEY=")
    })
    .await;
    assert_eq!(code(&second).await, None);
    assert_eq!(bot(&second).await["state"], "pairing");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_says_when_the_database_is_lost_while_the_link_is_open_and_when_it_is_back() {
    let cluster = postgres::cluster().await;
    let own = postgres::database().await;
    let proxy = Proxy::start(([127, 0, 0, 1], cluster.port).into()).await;
    let through = own.replace(&format!(":{}/", cluster.port), &format!(":{}/", proxy.port()));
    assert_ne!(own, through);
    let app = App { backoff: "1s", ..App::on(through, "3s") };
    let process = app.dyno("web.1");
    let mut payload = None;
    eventually("a QR", PATIENCE, async || {
        payload = code(&process).await;
        payload.is_some()
    })
    .await;
    app.sim.handle().scan(&payload.expect("a QR"), PHONE).expect("the QR can be scanned");
    process.until("open", PATIENCE).await;
    let database = async || process.status().await.unwrap_or_default()["database"].clone();
    assert_eq!(database().await["state"], "ok");

    proxy.set(Traffic::Refuse);
    proxy.cut();
    // No message, no write: the publications notice all the same.
    eventually("the page says so", Duration::from_secs(4), async || database().await["state"] == "down")
        .await;
    let problem = database().await["problem"].as_str().unwrap_or_default().to_owned();
    assert!(
        !problem.is_empty() && !problem.contains("127.0.0.1") && !problem.contains("not-a-secret"),
        "{problem}"
    );
    process.until("waiting_for_database", PATIENCE).await;
    assert_eq!(ready(&process).await, 503);
    assert_eq!(database().await["state"], "down", "as long as the bot waits");

    proxy.set(Traffic::Pass);
    process.until("open", PATIENCE).await;
    eventually("the page says so", PATIENCE, async || database().await["state"] == "ok").await;
    assert_eq!(database().await["kind"], "postgresql");
    assert_eq!(app.sim.handle().counters().registrations, 1);
}
