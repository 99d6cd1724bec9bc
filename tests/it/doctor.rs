//! `blacksky doctor`, the real command, against real parts.

use std::path::Path;

use serde_json::Value;
use sqlx::{Connection, PgConnection};

use crate::support::blacksky::Blacksky;
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::{self, PASSWORD, USER};
use crate::support::{linked, sim};

const KEY: &str = "a secret key that no output may show";
const TOKEN: &str = "an admin token that no output may show";

struct Report {
    code: i32,
    json: Value,
    all: String,
}

impl Report {
    /// Outcome and message of a check.
    fn of(&self, check: &str) -> (String, String) {
        let checks = self.json["checks"].as_array().expect("checks");
        let found = checks.iter().find(|one| one["check"] == check);
        let found = found.unwrap_or_else(|| panic!("no check {check} in {:#}", self.json));
        let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
        (text("outcome"), format!("{} → {}", text("message"), text("todo")))
    }

    #[track_caller]
    fn is(&self, check: &str, outcome: &str, words: &str) {
        let (found, text) = self.of(check);
        assert_eq!(found, outcome, "{check}: {text}");
        assert!(text.contains(words), "{check}: {text}");
    }
}

fn command(folder: &Path) -> Blacksky {
    Blacksky::in_folder(folder)
        .arg("doctor")
        .arg("--json")
        .env("BLACKSKY_SECRET_KEY", KEY)
        .env("BLACKSKY_ADMIN_TOKEN", TOKEN)
}

/// Runs it off this task's thread, since proxies and simulators of the test live there.
async fn doctor(command: Blacksky) -> Report {
    let (code, out, err) = tokio::task::spawn_blocking(move || command.output()).await.expect("ran");
    let json = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}\n{err}"));
    let all = format!("{out}{err}");
    for secret in [KEY, TOKEN, PASSWORD, "hunter2"] {
        assert!(!all.contains(secret), "{all}");
    }
    Report { code, json, all }
}

fn folder(file: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("blacksky.toml"), file).expect("written");
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_environment_is_good_and_is_not_changed() {
    let (url, server) = (postgres::database().await, sim::simulator());
    let folder = folder("[database]\ntls = \"disable\"\n");
    let on_it = |command: Blacksky| command.env("DATABASE_URL", &url);
    let fresh = doctor(on_it(command(folder.path())).arg("--link").arg(server.url())).await;
    assert_eq!(fresh.code, 0, "{:#}", fresh.json);
    fresh.is("config", "ok", "1 bot enabled");
    fresh.is("port", "ok", "free port");
    fresh.is("admin_token", "ok", "is set");
    fresh.is("disk", "ok", "no dyno");
    fresh.is("memory", "ok", "512 MB");
    fresh.is("database", "ok", "PostgreSQL 1");
    fresh.is("database.tls", "ok", "on this machine");
    fresh.is("database.pooler", "ok", "of its own");
    fresh.is("database.connections", "ok", "allowed; essential-0 is known for 20");
    fresh.is("database.write", "ok", "taken back");
    fresh.is("database.size", "ok", " MB");
    fresh.is("database.clock", "ok", "within 0.");
    fresh.is("database.schema", "warn", "no tables yet → blacksky migrate");
    fresh.is("secret_key", "ok", "its id is ");
    fresh.is("whatsapp", "ok", "127.0.0.1 answers: name, TCP, TLS and WebSocket");

    // It made nothing.
    let mut connection = PgConnection::connect(&url).await.expect("connects");
    let made: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'blacksky%'")
        .fetch_one(&mut connection)
        .await
        .expect("counted");
    assert_eq!(made, 0);

    // Neither does it change what is there.
    let migrated =
        on_it(Blacksky::in_folder(folder.path()).arg("migrate").env("BLACKSKY_DATABASE_TLS", "disable"));
    assert_eq!(migrated.output().0, 0);
    let later = doctor(on_it(command(folder.path()))).await;
    assert_eq!(later.code, 0, "{:#}", later.json);
    later.is("database.schema", "ok", "as this blacksky knows it");
    later.is("bots.main.session", "ok", "there is no session main yet");
    later.is("whatsapp", "skip", "for the simulator");
    let dynos: i64 = sqlx::query_scalar("SELECT count(*) FROM blacksky.dyno")
        .fetch_one(&mut connection)
        .await
        .expect("counted");
    assert_eq!(dynos, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_bot_is_seen_with_its_holder_and_its_key() {
    let (url, server) = (postgres::database().await, sim::simulator());
    let file = folder("[database]\ntls = \"disable\"\n");
    let port = postgres::free_port();
    let bot = Blacksky::in_folder(file.path())
        .env("DATABASE_URL", &url)
        .env("BLACKSKY_SECRET_KEY", KEY)
        .env("PORT", port.to_string());
    let process = linked::linked(&server, bot, &server.url(), "491700000001").await;

    let on_it = |key: &str| {
        command(file.path())
            .env("DATABASE_URL", &url)
            .env("PORT", port.to_string())
            .env("BLACKSKY_SECRET_KEY", key)
            .env("HEROKU_APP_URL", process.url("/"))
    };
    let report = doctor(on_it(KEY)).await;
    assert_eq!(report.code, 0, "{:#}", report.json);
    report.is("port", "ok", "blacksky's own: it is running");
    report.is("address", "ok", concat!("blacksky ", env!("CARGO_PKG_VERSION"), " answers"));
    report.is("bots.main.session", "ok", "held by ");
    report.is("bots.main.unseal", "ok", "all can be read");
    assert!(!report.of("bots.main.unseal").1.starts_with("0 "), "{}", report.all);

    let other = doctor(on_it("another key than that of the database")).await;
    assert_eq!(other.code, 1, "{:#}", other.json);
    other.is("bots.main.unseal", "fail", "sealed under a key that is not set");
    assert_eq!(process.state().await, "open", "the bot did not notice");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_database_is_told_apart() {
    let url = postgres::database().await;
    let plain = folder("[database]\ntls = \"disable\"\n");
    let with = |url: &str| command(plain.path()).env("DATABASE_URL", url);

    let down = doctor(with("postgres://someone:hunter2@127.0.0.1:1/x")).await;
    assert_eq!(down.code, 1);
    down.is("database", "fail", "nothing listens");

    let password = doctor(with(&url.replace(PASSWORD, "hunter2"))).await;
    password.is("database", "fail", "refuses the user or password");

    // As Heroku does with a database over the size of its plan, or a follower.
    let read_only = doctor(with(&format!("{url}&options=-c%20default_transaction_read_only%3Don"))).await;
    assert_eq!(read_only.code, 1, "{:#}", read_only.json);
    read_only.is("database", "ok", "PostgreSQL 1");
    read_only.is("database.write", "fail", "read-only");

    let mut admin = PgConnection::connect(&url).await.expect("connects");
    for sql in [
        // Roles are the whole cluster's.
        "CREATE ROLE doctor_narrow LOGIN PASSWORD 'hunter2' CONNECTION LIMIT 5",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    ] {
        sqlx::raw_sql(sql).execute(&mut admin).await.expect(sql);
    }
    let narrow = url.replace(&format!("{USER}:{PASSWORD}"), "doctor_narrow:hunter2");
    let narrow = doctor(with(&narrow)).await;
    narrow.is("database.connections", "warn", "5 allowed");
    narrow.is("database.write", "fail", "may not write to the schema");

    // TLS is there, with a certificate of its own making, as Heroku's.
    let tls = folder("");
    let encrypted = url.replace("?sslmode=disable", "");
    let encrypted = doctor(command(tls.path()).env("DATABASE_URL", encrypted)).await;
    encrypted.is("database.tls", "ok", "TLSv1.");
    let verified = folder("[database]\ntls = \"verify-full\"\n");
    let verified =
        doctor(command(verified.path()).env("DATABASE_URL", url.replace("?sslmode=disable", ""))).await;
    verified.is("database", "fail", "certificate is not trusted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_in_transaction_mode_is_recognised() {
    let url = postgres::database().await;
    let cluster = postgres::cluster().await;
    let pooler =
        PgBouncer::start(cluster.port, "pool_mode = transaction\nserver_tls_sslmode = disable").await;
    let plain = folder("[database]\ntls = \"disable\"\n");
    let through = url.replace(&format!(":{}/", cluster.port), &format!(":{}/", pooler.port));
    let report = doctor(command(plain.path()).env("DATABASE_URL", through)).await;
    assert_eq!(report.code, 1, "{:#}", report.json);
    report.is("database.pooler", "fail", "transaction mode");
    report.is("database.sessions", "skip", "through this pooler");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dyno_without_database_and_token_is_told_what_to_do() {
    let empty = folder("");
    let command = Blacksky::in_folder(empty.path()).arg("doctor").arg("--json").env("DYNO", "web.1");
    let report = doctor(command).await;
    assert_eq!(report.code, 1);
    report.is("database", "fail", "heroku addons:create heroku-postgresql:essential-0");
    report.is("admin_token", "fail", "heroku config:set BLACKSKY_ADMIN_TOKEN=");
    report.is("address", "warn", "HEROKU_APP_URL");
    report.is("disk", "ok", "web.1 is a dyno");
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_addresses_and_targets_that_do_not_answer_are_told_without_their_secrets() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let taken_port = taken.local_addr().expect("bound").port();
    let file = folder(&format!(
        "[bots.main]\nwebhook = \"http://127.0.0.1:1/hunter2\"\n[web]\nport = {taken_port}\n\
         [jobs.look]\ncron = \"@daily\"\nping = \"http://127.0.0.1:{taken_port}/x\"\n"
    ));
    // PORT would win over the file and bind every interface.
    let report = command(file.path())
        .env("PORT", "")
        .env("HEROKU_APP_URL", "http://127.0.0.1:1/")
        .env("BLACKSKY_ALERTS_WEBHOOK", "https://user:hunter2@127.0.0.1:1/hunter2")
        .arg("--link")
        .arg("ws://127.0.0.1:1/ws/chat");
    let report = doctor(report).await;
    assert_eq!(report.code, 1, "{:#}", report.json);
    report.is("port", "fail", "in use by another program");
    report.is("address", "warn", "nothing listens there");
    report.is("alerts.webhook", "warn", "no TCP connection");
    report.is("bots.main.webhook", "warn", "tried again");
    report.is("jobs.look.ping", "ok", "nothing was sent");
    report.is("whatsapp", "warn", "the step TCP");
    report.is("whatsapp", "warn", "not a fault of the configuration");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_configuration_is_the_only_thing_that_is_told() {
    let file = folder("[heroku]\ndyno = \"free\"\n");
    let report = doctor(command(file.path())).await;
    assert_eq!(report.code, 1);
    report.is("config", "fail", "heroku.dyno");
    assert_eq!(report.json["checks"].as_array().map(Vec::len), Some(2), "{:#}", report.json);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hosted_bot_is_looked_at() {
    let hosted =
        "[bots.main]\nkind = \"hosted\"\ncommand = [\"node\", \"index.js\"]\nsession_dir = \"auth\"\n";
    let file = folder(hosted);
    let write = |name: &str, text: &str| {
        let path = file.path().join(name);
        std::fs::create_dir_all(path.parent().expect("in the folder")).expect("made");
        std::fs::write(path, text).expect("written");
    };
    write("package.json", r#"{ "dependencies": { "@whiskeysockets/baileys": "^6.7.18" } }"#);
    let report = doctor(command(file.path())).await;
    assert_eq!(report.code, 1, "{:#}", report.json);
    report.is("bots.main.command", "fail", "index.js is not");
    report.is("bots.main.node", "ok", "Node.js 2");
    report.is("bots.main.baileys", "warn", "@whiskeysockets/baileys ^6.7.18 is wanted and not installed");
    report.is("bots.main.session_dir", "ok", "made at the first start");

    write("index.js", "");
    write("node_modules/@whiskeysockets/baileys/package.json", r#"{ "version": "6.7.18" }"#);
    std::fs::create_dir(file.path().join("auth")).expect("made");
    let report = doctor(command(file.path())).await;
    assert_eq!(report.code, 0, "{:#}", report.json);
    report.is("bots.main.command", "ok", "node can be started");
    report.is("bots.main.baileys", "ok", "6.7.18 is installed");
    report.is("bots.main.session_dir", "ok", "can be written");

    std::fs::write(file.path().join("blacksky.toml"), hosted.replace("\"node\"", "\"./no-such\""))
        .expect("written");
    doctor(command(file.path())).await.is("bots.main.command", "fail", "there is no program ./no-such");
}

#[test]
fn people_get_lines_and_a_count() {
    let file = folder("");
    let (code, out, err) = Blacksky::in_folder(file.path()).arg("doctor").output();
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("ok    config: ") && out.contains("skip  whatsapp: "), "{out}");
    assert!(out.contains("ok    database: the SQLite file blacksky.db is made at the first start"), "{out}");
    assert!(out.trim_end().ends_with("0 failed"), "{out}");
    assert!(!file.path().join("blacksky.db").exists(), "it makes no file");
}
