//! Messages that are being opened while their connection ends: whatsapp-rust keeps their text for the next
//! connection, which must not drop it.
//!
//! `BLACKSKY_ENDS=2000 cargo test --features simulator --test it native_late` looks longer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use blacksky::config::{Backoff, Period};
use blacksky::sim::Action;

use crate::support::native::{Home, NativeBot, Setup};
use crate::support::sim::{PATIENCE, assert_clean, simulator};

const ACCOUNT: &str = "15550001601";
const CONTACTS: [&str; 3] = ["15550002601", "15550002602", "15550002603"];

/// Takes the processors away now and then, as neighbours do: a task is stopped between two of its steps.
struct Neighbours(Arc<AtomicBool>);

impl Neighbours {
    fn move_in() -> Self {
        let stay = Arc::new(AtomicBool::new(true));
        for _ in 0..6 {
            let stay = Arc::clone(&stay);
            std::thread::spawn(move || {
                while stay.load(Ordering::Relaxed) {
                    std::hint::black_box((0..10_000u64).sum::<u64>());
                }
            });
        }
        Self(stay)
    }
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_opened_as_its_connection_ends_is_answered() {
    let ends: u32 = std::env::var_os("BLACKSKY_ENDS")
        .map_or(20, |ends| ends.to_str().and_then(|ends| ends.parse().ok()).expect("a number"));
    let period = |ms| Period(Duration::from_millis(ms));
    let backoff = Backoff {
        initial: period(20),
        factor: 1.0,
        max: period(20),
        jitter: 0.5,
        ..Setup::default().backoff
    };
    let (home, server) = (Home::postgres().await, simulator());
    let handle = server.handle();
    let mut bot = NativeBot::start_with(&server, &home, Setup { backoff, ..Setup::default() }).await;
    bot.pair(&server, ACCOUNT).await;
    let neighbours = Neighbours::move_in();
    let mut rng = StdRng::seed_from_u64(1);
    for end in 0..ends {
        handle.wait_for_login(ACCOUNT, PATIENCE).await.expect("it comes back");
        tokio::time::sleep(Duration::from_millis(rng.random_range(40..200))).await;
        for contact in CONTACTS {
            handle.send_text(contact, ACCOUNT, &format!("!say {end}")).expect("sent");
        }
        tokio::time::sleep(Duration::from_micros(rng.random_range(0..8_000))).await;
        handle.strike(if rng.random_bool(0.5) { Action::stream_error(503) } else { Action::Drop });
        if end % 20 == 19 || end + 1 == ends {
            for end in end.saturating_sub(19)..=end {
                for contact in CONTACTS {
                    let text = format!("you said {end}");
                    let answered = handle.wait_for_text(contact, &text, Duration::from_secs(20)).await;
                    assert!(answered.is_ok(), "message {end} of {contact} was acknowledged and lost");
                }
            }
        }
    }
    drop(neighbours);
    assert_clean(&handle);
    bot.stop().await;
}
