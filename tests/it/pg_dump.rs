//! What `heroku pg:backups` does: the whole database dumped and restored, under a bot that is linked.

use sqlx::Connection as _;

use crate::support::eventually::eventually;
use crate::support::postgres::{self, tool};
use crate::support::sim::PATIENCE;
use crate::support::stage::{Stage, stop};

const KEY: Option<&str> = Some("the secret key of the dump test");

impl Stage {
    fn dump(&self) -> String {
        let file = self.folder.path().join("latest.dump").display().to_string();
        let url = self.url.as_deref().expect("a PostgreSQL");
        tool("pg_dump", &["-Fc", "--no-owner", "--no-acl", "--file", &file, "--dbname", url]);
        file
    }

    fn restore(&self, dump: &str) {
        let url = self.url.as_deref().expect("a PostgreSQL");
        let args =
            ["--clean", "--if-exists", "--no-owner", "--no-acl", "--exit-on-error", "--dbname", url, dump];
        tool("pg_restore", &args);
    }

    async fn epoch(&self) -> i64 {
        let url = self.url.as_deref().expect("a PostgreSQL");
        let mut connection = sqlx::PgConnection::connect(url).await.expect("connects");
        sqlx::query_scalar("SELECT epoch FROM blacksky.session")
            .fetch_one(&mut connection)
            .await
            .expect("is there")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_restored_into_an_empty_database_is_a_working_bot() {
    let old = Stage::postgres().await;
    old.link(KEY).await;
    let dump = old.dump();
    let new = old.beside(Some(postgres::database().await));
    new.restore(&dump);
    let before = new.epoch().await;
    let process = new.start(KEY);
    new.works(&process, "restored").await;
    assert!(new.epoch().await > before);
    stop(process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_of_a_running_bot_restored_over_its_database_issues_no_epoch_twice() {
    let stage = Stage::postgres().await;
    stage.link(KEY).await;
    let process = stage.start(KEY);
    stage.works(&process, "running").await;
    let dump = stage.dump();
    let dumped = stage.epoch().await;
    stop(process).await;
    // The bot lives on after the dump, under a later epoch.
    let process = stage.start(KEY);
    process.until("open", PATIENCE).await;
    let later = stage.epoch().await;
    assert!(later > dumped);
    stop(process).await;
    stage.restore(&dump);
    assert_eq!(stage.epoch().await, dumped, "the dump brings its old epoch back");
    // The lease in the dump is that of a process that is gone: it runs out by itself.
    let process = stage.start(KEY);
    stage.works(&process, "restored").await;
    assert!(stage.epoch().await > later, "an epoch was issued twice");
    stop(process).await;
}

/// The dyno of before goes on with the database of before: no lease stands between the two.
#[tokio::test(flavor = "multi_thread")]
async fn a_dyno_that_was_left_on_the_old_database_is_replaced_and_stays_off() {
    let old = Stage::postgres().await;
    old.link(KEY).await;
    let dump = old.dump();
    let left_behind = old.start(KEY);
    left_behind.until("open", PATIENCE).await;
    let new = old.beside(Some(postgres::database().await));
    new.restore(&dump);
    let process = new.start(KEY);
    new.works(&process, "restored").await;
    eventually("the old dyno to say why it is off", PATIENCE, async || {
        let status = left_behind.status().await.unwrap_or_default();
        let bot = &status["bots"]["main"];
        bot["last_disconnect"]["reason"] == "replaced" && bot["state"] != "open"
    })
    .await;
    // Stopped before it tries again, it does no harm.
    stop(left_behind).await;
    new.works(&process, "alone").await;
    stop(process).await;
}
