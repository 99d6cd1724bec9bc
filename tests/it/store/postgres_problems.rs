//! A database that is not there or refuses: what is wrong and what to do, without URL, host or password.

use std::time::Duration;

use blacksky::config::{Database, DatabaseLocation, Secret, Tls, Wiped};
use blacksky::store::{Store, StoreError};
use sqlx::{Connection, PgConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{Bench, TTL, config, owner};
use crate::support::postgres::{PASSWORD, cluster, database};

/// The message of a failure to open; checked for secrets.
async fn problem(url: &str, tls: Tls) -> String {
    let location = DatabaseLocation::Postgres(Secret::new(url));
    let error = Store::open(&Database { tls, ..config(location) }).await.expect_err("does not open");
    let StoreError::Unavailable { problem } = error else { panic!("{error:?}") };
    for secret in [url, PASSWORD, "hunter2", "127.0.0.1", "nowhere.invalid"] {
        assert!(!problem.contains(secret), "{problem}");
    }
    problem
}

#[tokio::test]
async fn wrong_url_host_port_user_or_database() {
    let cluster = cluster().await;
    let port = cluster.port;
    let closed = TcpListener::bind("127.0.0.1:0").await.and_then(|l| l.local_addr()).expect("a port").port();
    for (url, words) in [
        ("mysql://root@127.0.0.1/x".to_owned(), "not a PostgreSQL URL"),
        ("postgres://u:hunter2@nowhere.invalid/x".to_owned(), "not known to DNS"),
        (format!("postgres://u:hunter2@127.0.0.1:{closed}/x"), "nothing listens"),
        (format!("postgres://tester:hunter2@127.0.0.1:{port}/postgres"), "refuses the user or password"),
        (cluster.url("no_such_database"), "does not exist"),
    ] {
        let problem = problem(&url, Tls::Disable).await;
        assert!(problem.contains(words), "{words}: {problem}");
    }
}

#[tokio::test]
async fn no_connection_left() {
    let cluster = cluster().await;
    let mut admin = PgConnection::connect(&cluster.url("postgres")).await.expect("connects");
    sqlx::raw_sql("CREATE ROLE crowded LOGIN PASSWORD 'hunter2' CONNECTION LIMIT 0")
        .execute(&mut admin)
        .await
        .expect("a role");
    let problem =
        problem(&format!("postgres://crowded:hunter2@127.0.0.1:{}/postgres", cluster.port), Tls::Disable)
            .await;
    assert!(problem.contains("no connection left"), "{problem}");
    assert!(problem.contains("database.max_connections"), "{problem}");
}

#[tokio::test]
async fn a_certificate_of_its_own_making_does_not_verify() {
    let problem = problem(&cluster().await.url("postgres"), Tls::VerifyFull).await;
    assert!(problem.contains("certificate is not trusted"), "{problem}");
    assert!(problem.contains("database.tls = \"require\""), "{problem}");
}

/// A server that answers the first bytes with `answer`, or never.
async fn imposter(answer: Option<&'static [u8]>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut client, _)) = listener.accept().await {
            let mut bytes = [0; 8];
            // The client may be gone already; the next one counts.
            let _ = client.read(&mut bytes).await;
            if let Some(answer) = answer {
                let _ = client.write_all(answer).await;
            }
            open.push(client);
        }
    });
    format!("postgres://u:hunter2@127.0.0.1:{port}/x")
}

#[tokio::test]
async fn a_server_without_tls() {
    let problem = problem(&imposter(Some(b"N")).await, Tls::Require).await;
    assert!(problem.contains("does not offer TLS"), "{problem}");
    assert!(problem.contains("database.tls = \"disable\""), "{problem}");
}

#[tokio::test]
async fn a_server_that_is_no_postgres() {
    let http = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    for tls in [Tls::Require, Tls::Disable] {
        let begun = tokio::time::Instant::now();
        let problem = problem(&imposter(Some(http)).await, tls).await;
        assert!(begun.elapsed() < Duration::from_secs(7));
        assert!(problem.contains("PostgreSQL's protocol") || problem.contains("did not answer"), "{problem}");
    }
}

#[tokio::test]
async fn a_server_that_says_nothing() {
    let problem = problem(&imposter(None).await, Tls::Disable).await;
    assert_eq!(problem, "the database did not answer within 5 s");
}

#[tokio::test]
async fn tables_that_are_not_there() {
    let location = DatabaseLocation::Postgres(Secret::new(database().await));
    let store = Store::open(&config(location)).await.expect("opens");
    let error = store.acquire("main", &owner("a"), TTL).await.expect_err("no tables");
    assert!(error.to_string().contains("run `blacksky migrate`"), "{error}");
}

#[tokio::test]
async fn a_user_who_may_not_make_the_schema() {
    let bench = Bench::postgres().await;
    let url = database().await;
    let mut admin = PgConnection::connect(&bench.url()).await.expect("connects");
    sqlx::raw_sql("CREATE ROLE guest LOGIN PASSWORD 'hunter2'").execute(&mut admin).await.expect("a role");
    let url = url.replace("tester:not-a-secret", "guest:hunter2");
    let store = Store::open(&config(DatabaseLocation::Postgres(Secret::new(url)))).await.expect("opens");
    let error = store.migrate().await.expect_err("may not");
    assert!(error.to_string().contains("grant it CREATE"), "{error}");
}

#[tokio::test]
async fn no_database_on_a_dyno() {
    let error =
        Store::open(&config(DatabaseLocation::Missing(Wiped::EveryDay))).await.expect_err("does not open");
    assert!(error.to_string().contains("heroku addons:create heroku-postgresql:essential-0"), "{error}");
}
