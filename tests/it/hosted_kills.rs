//! A hosted bot whose machine is gone at any moment while messages flow.
//!
//! `BLACKSKY_HOSTED_KILLS=100 cargo test --features simulator --test it hosted_kills -- --nocapture` runs the long
//! one and prints its figures; `BLACKSKY_SEED` repeats one.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::dyno_life::{FRIEND, PATIENCE, PHONE, TOKEN, pair};
use crate::hosted_dyno::WEBSITE;
use crate::support::dyno::App;
use crate::support::eventually::eventually;
use crate::support::{node, postgres, sim};

/// Between two messages of the friend.
const PACE: Duration = Duration::from_millis(150);

fn number(name: &str) -> Option<u64> {
    let set = std::env::var_os(name).and_then(|text| text.into_string().ok());
    set.map(|text| text.parse().expect("a number"))
}

/// Bytes that the bot's dyno has written to the vault.
async fn stored(app: &App) -> Option<u64> {
    app.status().await?["bots"]["main"]["hosted"]["vault"]["written_bytes"].as_u64()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_gone_while_messages_flow_costs_no_login() {
    let kills = number("BLACKSKY_HOSTED_KILLS").unwrap_or(3);
    let seed = number("BLACKSKY_SEED").unwrap_or_else(rand::random);
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    node::install();
    let sim = sim::simulator();
    let phone = sim.handle();
    let slug = WEBSITE
        .slug(&sim.url())
        .database(&postgres::database().await)
        .env("BLACKSKY_ADMIN_TOKEN", TOKEN)
        .env("BLACKSKY_LEASE_TTL", "2s")
        .rules(|rules| rules.cool_off = Some(Duration::ZERO));
    let app = App::start(slug, 1).await;
    pair(&app, &sim).await;

    let stop = CancellationToken::new();
    let friend = async {
        let mut sent = 0_u64;
        while !stop.is_cancelled() {
            sent += 1;
            phone.send_text(FRIEND, PHONE, &format!("!ping {sent}")).expect("sent");
            sleep(PACE).await;
        }
        sent
    };
    let answers = || phone.received().iter().filter(|message| message.to == FRIEND).count();
    let disaster = async {
        let (mut exchanges, mut written) = (0, 0);
        for kill in 0..kills {
            // It answers again, and is amidst an exchange.
            let (before, logins) = (answers(), phone.counters().logins);
            eventually(&format!("it answers before kill {kill}"), 3 * PATIENCE, async || answers() > before)
                .await;
            let (first, so_far) = (answers(), stored(&app).await);
            sleep(Duration::from_millis(random.random_range(0..1500))).await;
            if let (Some(so_far), Some(now)) = (so_far, stored(&app).await) {
                written += now - so_far;
                exchanges += answers() - first;
            }
            let crashes = app.crashes();
            app.dyno("web.1").kill();
            eventually("the kill is seen", PATIENCE, async || app.crashes() > crashes).await;
            let back = phone.wait_for_counters("a login", 3 * PATIENCE, |all| all.logins > logins).await;
            assert!(back.is_ok(), "no link after kill {kill}: {:?} {}", phone.counters(), app.logs());
        }
        stop.cancel();
        (exchanges, written)
    };
    let begun = Instant::now();
    let (sent, (exchanges, written)) = tokio::join!(friend, disaster);
    app.until("open", 2 * PATIENCE).await;
    phone.send_text(FRIEND, PHONE, "!ping at last").expect("sent");
    let last = phone.wait_for_text(FRIEND, "pong at last", 2 * PATIENCE).await;
    assert!(last.is_ok(), "{:?} {}", phone.counters(), app.logs());

    let (counters, keys) = (phone.counters(), phone.ratchets());
    println!(
        "{kills} kills in {:.0?}: QR again {}, {sent} messages sent all the while, {} answered, decrypt failures {}, \
         retry receipts {}, message keys {} of which used twice {}; {exchanges} exchanges wrote {written} bytes",
        begun.elapsed(),
        counters.registrations - 1,
        answers(),
        counters.decrypt_failures,
        counters.retry_receipts,
        keys.message_keys,
        keys.reused.len(),
    );
    assert_eq!(counters.registrations, 1, "a new QR was shown: {}", app.logs());
    assert_eq!(counters.replaced, 0, "two links were open at once: {}", app.logs());
    assert!(app.shut_down().await.iter().all(|end| end.status.success()));
}
