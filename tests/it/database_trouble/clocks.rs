//! Clocks that jump: the lease counts on the database's clock and on one that does not jump, back-off on
//! one that does not jump either.

use std::path::Path;
use std::time::Duration;

use blacksky::runtime::clock;
use tokio::time::Instant;

use super::scene::{PATIENCE, Scene, report};
use crate::store::{Bench, lease};
use crate::support::postgres::database;

/// Debian's libfaketime: it changes the time of day that a process sees while it runs.
const FAKETIME: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];

#[tokio::test(flavor = "multi_thread")]
async fn jumps_of_the_wall_clock_change_nothing() {
    let Some(library) = FAKETIME.iter().find(|library| Path::new(library).exists()) else {
        println!("skipped: libfaketime is not installed (Debian: apt install libfaketime)");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let time = folder.path().join("time");
    let jump = |by: &str| std::fs::write(&time, by).expect("written");
    jump("+0");
    let mut scene = Scene::new(database().await);
    for (name, value) in [
        ("LD_PRELOAD", *library),
        ("FAKETIME_TIMESTAMP_FILE", time.to_str().expect("a UTF-8 path")),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
        ("BLACKSKY_LEASE_TTL", "2s"),
        ("BLACKSKY_LEASE_RENEW", "500ms"),
    ] {
        scene.set(name, value);
    }
    scene.start();
    crate::restarts::pair(&scene.sim, scene.process()).await;
    let standby = scene.blacksky().run(&scene.sim.url());
    standby.until("standby", PATIENCE).await;

    for by in ["+3h", "-2d", "+400d", "-1m", "+0"] {
        jump(by);
        let begun = Instant::now();
        let seen =
            scene.process().status().await.expect("a status")["now"].as_str().expect("a time").to_owned();
        let seen = seen.parse::<chrono::DateTime<chrono::Utc>>().expect("a time");
        let off = (seen - clock::now()).num_minutes().abs();
        assert_eq!(off < 1, by == "+0", "the clock of the process did not jump: {seen}");
        // Longer than the lease: both have renewed it or asked for it at the new time.
        while begun.elapsed() < Duration::from_millis(2_500) {
            scene.talk(1);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        scene.all_answered().await;
        assert_eq!(scene.reconnects().await, 0, "after {by}; log:\n{}", scene.process().log());
        assert_eq!(standby.state().await, "standby", "after {by}; log:\n{}", standby.log());
    }
    // A back-off that began before a jump ends when it should.
    let logins = scene.sim.handle().counters().logins;
    scene.sim.handle().strike(blacksky::sim::Action::Drop);
    jump("-3h");
    let begun = Instant::now();
    scene
        .sim
        .handle()
        .wait_for_counters("a login", PATIENCE, |c| c.logins > logins)
        .await
        .expect("comes back");
    scene.until("open").await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    report("clock jumps of -2 d to +400 d", "nothing; links lost: 0", begun.elapsed());
    scene.end().await;
}

/// A restored dump, or a server whose clock was set back: the epoch is the larger of the two.
#[tokio::test]
async fn epochs_grow_although_the_databases_clock_went_back() {
    for bench in [Bench::postgres().await, Bench::sqlite().await] {
        let store = bench.open().await;
        let before = lease(&store, "a").await;
        store.release(&before).await.expect("released");
        // As if all before had happened a year in the future.
        let year = 365 * 24 * 3600 * 1_000_000_i64;
        bench.meddle(&format!("UPDATE {{}}session SET epoch = epoch + {year}")).await;
        let mut last = before.epoch + year;
        for owner in ["a", "b", "a"] {
            let next = lease(&store, owner).await;
            assert_eq!(next.epoch, last + 1);
            store.release(&next).await.expect("released");
            last = next.epoch;
        }
    }
}
