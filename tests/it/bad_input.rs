//! Bad input to the real program: each ends with its exit code and clear words, shows no secret and
//! never panics; with a database that is wrong, `run` keeps its page up and says what to do.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::store::Bench;
use crate::support::blacksky::{Blacksky, Process};
use crate::support::eventually::eventually;
use crate::support::http;
use crate::support::postgres::{self, PASSWORD, cluster};

/// A link nobody listens at: no test here comes so far.
const LINK: &str = "ws://127.0.0.1:9/ws/chat";

const PATIENCE: Duration = Duration::from_secs(20);

/// What must never be printed.
const SECRETS: [&str; 6] = ["hunter2", PASSWORD, "tester:", "@127.0.0.1", "nowhere.invalid", "KnightBot"];

fn folder(config: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("blacksky.toml"), config).expect("written");
    folder
}

fn assert_clean(text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} is shown:\n{text}");
    }
    for bug in ["panicked", "RUST_BACKTRACE", "unwrap"] {
        assert!(!text.contains(bug), "{bug}:\n{text}");
    }
}

/// Runs a command that must fail with `code` and say all of `words` on stderr.
async fn fails(command: Blacksky, code: i32, words: &[&str]) -> String {
    let (found, out, err) = tokio::task::spawn_blocking(move || command.output()).await.expect("runs");
    assert_clean(&out);
    assert_clean(&err);
    assert_eq!(found, code, "{out}{err}");
    for word in words {
        assert!(err.contains(word), "{word:?} is missing:\n{err}");
    }
    err
}

#[tokio::test]
async fn a_missing_file() {
    let empty = tempfile::tempdir().expect("a folder");
    for command in ["run", "check", "config", "migrate"] {
        let words = ["the file does not exist", "blacksky.toml", "[bots.main.commands]"];
        fails(Blacksky::in_folder(empty.path()).arg(command), 78, &words).await;
    }
    let other = Blacksky::in_folder(empty.path()).arg("check").arg("--config").arg("elsewhere/bot.toml");
    fails(other, 78, &["the file does not exist", "elsewhere/bot.toml"]).await;
    let a_folder = Blacksky::in_folder(empty.path()).arg("check").arg("--config").arg(".");
    fails(a_folder, 78, &["the file cannot be read", "--config FILE"]).await;
}

#[tokio::test]
async fn a_wrong_file_stops_every_command_that_reads_it() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config");
    let empty = tempfile::tempdir().expect("a folder");
    for name in ["worst", "encoding_utf16", "encoding_binary", "syntax_secret", "credential_knight"] {
        let file = fixtures.join(format!("{name}.toml")).display().to_string();
        for command in ["run", "check", "config", "migrate"] {
            let command = Blacksky::in_folder(empty.path()).arg(command).arg("--config").arg(&file);
            fails(command, 78, &["problem", "help: "]).await;
        }
        let command = Blacksky::in_folder(empty.path()).arg("check").arg("--json").arg("--config").arg(&file);
        let (code, out, err) = tokio::task::spawn_blocking(move || command.output()).await.expect("runs");
        assert_clean(&out);
        assert_eq!((code, err.as_str()), (78, ""), "{name}");
        let answer: Value = serde_json::from_str(&out).expect("JSON");
        assert_eq!(answer["ok"], false);
        assert!(answer["problems"].as_array().is_some_and(|list| !list.is_empty()), "{out}");
    }
    let written: Vec<_> = std::fs::read_dir(empty.path()).expect("readable").collect();
    assert!(written.is_empty(), "a refused config leaves nothing behind: {written:?}");
}

#[tokio::test]
async fn wrong_config_vars() {
    let folder = folder("");
    let check = || Blacksky::in_folder(folder.path()).arg("check");
    for (name, value, words) in [
        ("PORT", "http", "web.port: \"http\" is not a whole number"),
        ("PORT", "70000", "web.port: \"70000\" is out of range"),
        ("DATABASE_URL", "mysql://root:hunter2@db.example/x", "is not a PostgreSQL or SQLite URL"),
        ("DATABASE_URL", "postgres://u:hunter2@db.example:port/x", "is not a valid URL"),
        ("SESSION_ID", "KnightBot!H4sIAAAAAAAAA5VU", "is a credential, not a name"),
        ("BLACKSKY_SECRET_KEY", "hunter2", "is shorter than 16 characters"),
        ("HEROKU_APP_URL", "my-bot.herokuapp.com", "is not an http or https URL"),
        ("BLACKSKY_LEASE_TTL", "forever", "lease.ttl: \"forever\" is not a duration"),
        ("BLACKSKY_BOTS_MAIN_ENABLED", "perhaps", "is not true or false"),
    ] {
        fails(check().env(name, value), 78, &[words, &format!("Config Var {name}"), "help: "]).await;
    }
}

/// A config for a PostgreSQL without TLS.
const CLEAR: &str = "[database]\ntls = \"disable\"\n";

/// `migrate` and `run` with this database: both say `words`; the page of `run` is up meanwhile.
async fn database_is_refused(config: &str, url: &str, code: i32, words: &[&str]) {
    let folder = folder(config);
    let blacksky = || Blacksky::in_folder(folder.path()).env("DATABASE_URL", url);
    fails(blacksky().arg("migrate"), code, words).await;

    let mut process = start(blacksky()).await;
    let mut problem = String::new();
    eventually("it waits for the database", PATIENCE, async || {
        let status = process.status().await.unwrap_or_default();
        problem = status["database"]["problem"].as_str().unwrap_or_default().to_owned();
        status["bots"]["main"]["state"] == "waiting_for_database" && !problem.is_empty()
    })
    .await;
    for word in words {
        assert!(problem.contains(word), "{word:?} is missing on the page: {problem}");
        // The log comes through a pipe, perhaps after the page.
        eventually(&format!("{word:?} in the log"), PATIENCE, async || process.log().contains(word)).await;
    }
    for path in ["/", "/status", "/healthz", "/readyz"] {
        let answer = http::client().get(process.url(path)).send().await.expect("the page is up");
        assert_eq!(answer.status().as_u16(), if path == "/readyz" { 503 } else { 200 }, "{path}");
        assert_clean(&answer.text().await.expect("text"));
    }
    process.term();
    let status = process.ended(PATIENCE).await;
    assert_eq!(status.code(), Some(0), "{}", process.log());
    assert_clean(&process.log());
}

async fn start(blacksky: Blacksky) -> Process {
    tokio::task::spawn_blocking(move || blacksky.run(LINK)).await.expect("starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_not_there() {
    let url = "postgres://u:hunter2@nowhere.invalid/x";
    database_is_refused(CLEAR, url, 69, &["the host in DATABASE_URL is not known to DNS"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_nobody_listens_at() {
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let url = format!("postgres://u:hunter2@127.0.0.1:{closed}/x");
    database_is_refused(CLEAR, &url, 69, &["nothing listens at the host and port of DATABASE_URL"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password() {
    let url = cluster().await.url("postgres").replace(PASSWORD, "hunter2");
    database_is_refused(CLEAR, &url, 69, &["refuses the user or password in DATABASE_URL"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_exist() {
    let url = cluster().await.url("no_such_database");
    database_is_refused(CLEAR, &url, 69, &["the database named in DATABASE_URL does not exist"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_trusted() {
    let url = cluster().await.url("postgres").replace("?sslmode=disable", "");
    let words = ["certificate is not trusted", "database.tls = \"require\""];
    database_is_refused("[database]\ntls = \"verify-full\"\n", &url, 69, &words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_tls() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut client, _)) = listener.accept().await {
            let mut request = [0; 8];
            if client.read_exact(&mut request).await.is_ok() {
                // PostgreSQL's "no TLS here". The client may be gone already.
                let _ = client.write_all(b"N").await;
            }
            open.push(client);
        }
    });
    let url = format!("postgres://u:hunter2@127.0.0.1:{port}/x");
    database_is_refused("", &url, 69, &["does not offer TLS", "database.tls = \"disable\""]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_newer_than_the_program() {
    let bench = Bench::postgres().await;
    bench.meddle("UPDATE {}migration SET version = 7000 WHERE version = 1").await;
    database_is_refused(CLEAR, &bench.url(), 1, &["version 7000", "deploy a newer blacksky"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_file_that_is_none_and_one_that_cannot_be_made() {
    let folder = folder("");
    std::fs::write(folder.path().join("poem.db"), "A rose is a rose is a rose.\n".repeat(100)).unwrap();
    let url = format!("sqlite:{}", folder.path().join("poem.db").display());
    database_is_refused("", &url, 69, &["SQLite"]).await;
    let poem = std::fs::read_to_string(folder.path().join("poem.db")).unwrap();
    assert!(poem.starts_with("A rose") && poem.len() == 2800, "a foreign file is left alone");
    database_is_refused("", "sqlite:blacksky.toml/x.db", 69, &["SQLite"]).await;
}

#[tokio::test]
async fn a_port_in_use() {
    let taken = TcpListener::bind("0.0.0.0:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let folder = folder("");
    let run = Blacksky::in_folder(folder.path()).arg("run").arg("--link").arg(LINK).env("PORT", &port);
    let err = fails(run, 69, &[&port, "in use"]).await;
    assert!(err.contains("web.port") || err.contains("PORT"), "what to change is named: {err}");
}

#[tokio::test]
async fn a_wrong_command_line() {
    let folder = folder("");
    let blacksky = || Blacksky::in_folder(folder.path());
    fails(blacksky(), 64, &["Usage: blacksky"]).await;
    fails(blacksky().arg("rum"), 64, &["unrecognized subcommand 'rum'", "'run'"]).await;
    fails(blacksky().arg("check").arg("--jsn"), 64, &["unexpected argument '--jsn'", "'--json'"]).await;
    fails(blacksky().arg("run").arg("--link").arg("not a url"), 64, &["--link"]).await;
    fails(blacksky().arg("run").arg("--link").arg("ftp://127.0.0.1"), 64, &["ws"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_to_the_page() {
    let folder = folder("");
    let database = postgres::database().await;
    let blacksky = Blacksky::in_folder(folder.path())
        .env("DATABASE_URL", database)
        .env("BLACKSKY_DATABASE_TLS", "disable")
        .env("BLACKSKY_SECRET_KEY", "a secret key for this test");
    let mut process = start(blacksky).await;
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(200_000));
    let header = format!("GET / HTTP/1.1\r\nHost: localhost\r\nCookie: {}\r\n\r\n", "b".repeat(500_000));
    let garbage: [&[u8]; 9] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00\xff\x00\xff\r\n\r\n",
        b"hello\r\n\r\n",
        b"GET /status?%ff%fe=%00 HTTP/1.1\r\nHost: localhost\r\nAccept: \xff\xfe\r\nConnection: close\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nConnection: close\r\n\r\n%ff=%\x00\xff&&",
        long.as_bytes(),
        header.as_bytes(),
    ];
    for bytes in garbage {
        let mut socket = TcpStream::connect(("127.0.0.1", process.port)).await.expect("it listens");
        // It may hang up before it has read all of it.
        let _ = socket.write_all(bytes).await;
        let _ = socket.shutdown().await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer)).await.unwrap_or_else(|_| {
            panic!("not answered or dropped: {:?}", String::from_utf8_lossy(&bytes[..20.min(bytes.len())]))
        });
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.contains("root:"), "{answer}");
        assert_clean(&answer);
        let health = http::client().get(process.url("/healthz")).send().await.expect("others are served");
        assert_eq!(health.status().as_u16(), 200);
    }
    process.term();
    assert_eq!(process.ended(PATIENCE).await.code(), Some(0), "{}", process.log());
    assert_clean(&process.log());
}
