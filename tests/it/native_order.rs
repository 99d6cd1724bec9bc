//! In which order the native bot's writes and frames come, seen by killing it while the database is slow.

use std::time::Duration;

use sqlx::{Connection, Executor, PgConnection};

use crate::support::eventually::eventually;
use crate::support::native::{Home, NativeBot};
use crate::support::sim::{PATIENCE, assert_clean, simulator};
use blacksky::sim::{Handle, Server};

const ACCOUNT: &str = "15550001401";
const CONTACT: &str = "15550002401";
/// How long a slow write takes.
const SLOW: Duration = Duration::from_millis(400);
/// In this time whatsapp-rust has tried to write the ratchet of a message (25 ms) several times over.
const FLUSHED: Duration = Duration::from_millis(150);
/// Numbers of the stored kinds.
const SESSION: i16 = 3;
const PENDING_INBOUND: i16 = 17;

async fn say(handle: &Handle, word: &str) {
    handle.send_text(CONTACT, ACCOUNT, &format!("!say {word}")).expect("sent");
    answered(handle, word).await;
}

async fn answered(handle: &Handle, word: &str) {
    handle.wait_for_text(CONTACT, &format!("you said {word}"), PATIENCE).await.expect(word);
}

/// A bot in the middle of a conversation: each message turns the ratchet, and nothing is left of a login.
async fn talking(server: &Server, home: &Home) -> NativeBot {
    let mut bot = NativeBot::start(server, home).await;
    bot.pair(server, ACCOUNT).await;
    for word in ["one", "two", "three"] {
        say(&server.handle(), word).await;
    }
    bot
}

/// Makes writes of one kind slow until [`quicken`].
async fn slow_down(saboteur: &mut PgConnection, kind: i16) {
    let trigger = format!(
        "CREATE FUNCTION blacksky.slow() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN PERFORM pg_sleep({}); RETURN NEW; END $$;
         CREATE TRIGGER slow BEFORE INSERT OR UPDATE ON blacksky.session_row
           FOR EACH ROW WHEN (NEW.kind = {kind}) EXECUTE FUNCTION blacksky.slow()",
        SLOW.as_secs_f64()
    );
    saboteur.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(trigger))).await.expect("a trigger");
}

async fn quicken(saboteur: &mut PgConnection) {
    saboteur.execute("DROP TRIGGER slow ON blacksky.session_row").await.expect("no trigger");
}

/// Waits until a slow write is under way.
async fn until_writing(saboteur: &mut PgConnection) {
    eventually("a slow write", PATIENCE, async || {
        let sleeping = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event = 'PgSleep'";
        sqlx::query_scalar::<_, i64>(sleeping).fetch_one(&mut *saboteur).await.is_ok_and(|n| n > 0)
    })
    .await;
}

/// The ratchet of a message is not stored while its row is not: redelivered, it would be a duplicate.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_killed_before_its_row_is_stored_is_answered_after_the_restart() {
    let (home, server) = (Home::postgres().await, simulator());
    let handle = server.handle();
    let bot = talking(&server, &home).await;
    let mut saboteur = PgConnection::connect(home.url()).await.expect("a connection");
    slow_down(&mut saboteur, PENDING_INBOUND).await;

    handle.send_text(CONTACT, ACCOUNT, "!say kept").expect("sent");
    until_writing(&mut saboteur).await;
    tokio::time::sleep(FLUSHED).await;
    bot.kill().await;
    quicken(&mut saboteur).await;

    let bot = NativeBot::start(&server, &home).await;
    answered(&handle, "kept").await;
    say(&handle, "after").await;
    assert_clean(&handle);
    bot.stop().await;
}

/// A reply does not leave before the ratchet key it was made with is stored: the other side goes on with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_bot_killed_right_after_a_reply_reads_what_is_said_to_it() {
    let (home, server) = (Home::postgres().await, simulator());
    let handle = server.handle();
    let bot = talking(&server, &home).await;
    let mut saboteur = PgConnection::connect(home.url()).await.expect("a connection");
    slow_down(&mut saboteur, SESSION).await;

    say(&handle, "last").await;
    bot.kill().await;
    quicken(&mut saboteur).await;

    let bot = NativeBot::start(&server, &home).await;
    say(&handle, "after").await;
    assert_clean(&handle);
    bot.stop().await;
}
