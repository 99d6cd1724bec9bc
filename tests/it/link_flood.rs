//! A server that drops every link after 50 ms must not be flooded with dials.
//!
//! `BLACKSKY_FLOOD=600 cargo test --features simulator --test it link_flood -- --nocapture` watches the default
//! settings for ten real minutes; without it a scaled-down back-off is watched for a few seconds.

use std::time::Duration;

use blacksky::sim::{Action, What};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::support::linked::{bot, linked};
use crate::support::sim::simulator;

const ACCOUNT: &str = "15550001402";

#[tokio::test(flavor = "multi_thread")]
async fn dials_are_few_when_every_link_is_dropped_after_50_ms() {
    let seconds = std::env::var_os("BLACKSKY_FLOOD").and_then(|value| value.to_str()?.parse::<u64>().ok());
    // A hundredth of the default settings for a hundredth of the time.
    let (watch, env): (Duration, &[(&str, &str)]) = match seconds {
        Some(seconds) => (Duration::from_secs(seconds), &[]),
        None => (
            Duration::from_secs(6),
            &[
                ("BLACKSKY_BACKOFF_INITIAL", "20ms"),
                ("BLACKSKY_BACKOFF_MAX", "3s"),
                ("BLACKSKY_BACKOFF_RESET_AFTER", "300ms"),
            ],
        ),
    };
    let (server, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let phone = server.handle();
    let process = linked(&server, bot(folder.path(), env), &server.url(), ACCOUNT).await;
    // The default takes 30 s to call a link stable.
    while process.bot().await["attempt"] != 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let dropping = phone.clone();
    let mut seq = phone.last_event();
    let _server = AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            for event in dropping.events(seq, Duration::from_secs(3600)).await {
                seq = event.seq;
                if matches!(event.what, What::Dialled { .. }) {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    dropping.strike(Action::Drop);
                }
            }
        }
    }));
    let (before, began) = (phone.counters(), Instant::now());
    phone.strike(Action::Drop);
    tokio::time::sleep(watch).await;
    let after = phone.counters();
    let (dials, logins) = (after.dials - before.dials, after.logins - before.logins);
    let took = began.elapsed();
    println!("{dials} dials in {took:?}, {logins} of them logged in; registrations {}", after.registrations);
    assert!((4..=14).contains(&dials), "{dials} dials; log:\n{}", process.log());
    assert_eq!(after.registrations, 1);
    let bot = process.bot().await;
    assert_eq!(bot["warnings"][0]["kind"], "reconnect_loop", "{bot:#}");
    server.shutdown().await.expect("stops");
}
