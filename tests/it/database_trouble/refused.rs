//! A server that is there and refuses: password, number of connections, read-only.

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{Connection, PgConnection};
use tokio::time::Instant;

use super::scene::{Scene, report};
use crate::support::postgres::{PASSWORD, USER, database};

/// A user of its own with a database of its own, as Heroku gives them, and an administrator's connection.
struct Customer {
    name: String,
    url: String,
    admin: PgConnection,
}

impl Customer {
    async fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("customer_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let url = database().await;
        let mut admin = PgConnection::connect(&url).await.expect("connects");
        let own = url.rsplit_once('/').expect("a path").1.split('?').next().expect("a name").to_owned();
        run(&mut admin, &format!("CREATE ROLE {name} LOGIN PASSWORD 'hunter2'")).await;
        run(&mut admin, &format!("ALTER DATABASE {own} OWNER TO {name}")).await;
        let url = url.replace(&format!("{USER}:{PASSWORD}"), &format!("{name}:hunter2"));
        Self { name, url, admin }
    }

    async fn run(&mut self, sql: &str) {
        run(&mut self.admin, &sql.replace("{}", &self.name)).await;
    }

    /// Ends the connections of the bot.
    async fn cut(&mut self) {
        self.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE usename = '{}' AND application_name = 'blacksky'",
        )
        .await;
    }
}

async fn run(admin: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(admin).await.expect(sql);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_is_said_and_the_new_url_is_all_it_takes() {
    let mut customer = Customer::new().await;
    let mut scene = Scene::linked(customer.url.clone()).await;
    customer.run("ALTER ROLE {} PASSWORD 'hunter3'").await;
    customer.cut().await;
    scene.talk(2);
    scene.until("waiting_for_database").await;
    let said =
        scene.until_said(&["refuses the user or password in DATABASE_URL", "the new DATABASE_URL"]).await;
    scene.talk(2);
    let begun = Instant::now();
    scene.url = customer.url.replace("hunter2", "hunter3");
    scene.restart().await;
    scene.until("open").await;
    report("password changed, restarted with the new URL", &said, begun.elapsed());
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_connection_left_while_open_and_at_the_start() {
    let mut customer = Customer::new().await;
    let mut scene = Scene::linked(customer.url.clone()).await;
    // Others take all there are the moment the bot's are gone.
    customer.run("ALTER ROLE {} CONNECTION LIMIT 3").await;
    customer.cut().await;
    let mut others = Vec::new();
    while others.len() < 3 {
        match PgConnection::connect(&customer.url).await {
            Ok(other) => others.push(other),
            // The bot was quicker with one of them.
            Err(_) => customer.cut().await,
        }
    }
    scene.talk(2);
    scene.until("waiting_for_database").await;
    let words = ["no connection left", "20 for heroku-postgresql:essential-0", "database.max_connections"];
    let said = scene.until_said(&words).await;
    scene.restart().await;
    let at_start = scene.until_said(&words).await;
    scene.until("waiting_for_database").await;
    scene.talk(2);
    drop(others);
    let back = scene.until("open").await;
    report("no connection left while open", &said, back);
    report("no connection left at the start", &at_start, back);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_database_closes_the_link_until_it_takes_writes_again() {
    let mut customer = Customer::new().await;
    let mut scene = Scene::linked(customer.url.clone()).await;
    customer.run("ALTER ROLE {} SET default_transaction_read_only = on").await;
    customer.cut().await;
    scene.talk(2);
    scene.until("waiting_for_database").await;
    let said = scene.until_said(&["the database is read-only", "follower", "heroku pg:info"]).await;
    scene.talk(2);
    // The sessions that exist stay as they began.
    customer.run("ALTER ROLE {} RESET default_transaction_read_only").await;
    let back = scene.until("open").await;
    report("read-only", &said, back);
    scene.end().await;
}

/// What Heroku does to a database that is over the size of its plan.
#[tokio::test(flavor = "multi_thread")]
async fn rights_taken_away_close_the_link_until_they_come_back() {
    let mut customer = Customer::new().await;
    let mut scene = Scene::linked(customer.url.clone()).await;
    customer.run("REVOKE INSERT, UPDATE ON ALL TABLES IN SCHEMA blacksky FROM {}").await;
    scene.talk(2);
    scene.until("waiting_for_database").await;
    let said = scene.until_said(&["may not write", "over the size of its plan", "heroku pg:info"]).await;
    scene.talk(2);
    customer.run("GRANT INSERT, UPDATE ON ALL TABLES IN SCHEMA blacksky TO {}").await;
    let back = scene.until("open").await;
    report("rights taken away", &said, back);
    scene.end().await;
}
