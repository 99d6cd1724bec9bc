//! What was broken in the kit that blacksky replaces, and the tests that would catch it here.
//!
//! [`DEFECTS`] is the table. Most of the tests stand beside the code they test; those that no other file
//! needed are below.

use std::time::Duration;

use blacksky::bot::handle::Request;
use blacksky::config::{Backoff, Period};
use blacksky::link::LinkState;
use blacksky::sim::{Action, Fault, Handle, What, When};
use tokio::time::Instant;

use crate::dyno_life::{PATIENCE, PHONE, TOKEN, answers, links_at_once, pair, pair_with, slug};
use crate::support::dyno::App;
use crate::support::eventually::eventually;
use crate::support::native::{Home, NativeBot, Setup};
use crate::support::proxy::{Proxy, Traffic};
use crate::support::{postgres, sim};

/// One defect and the tests that would fail with it.
struct Defect {
    what: &'static str,
    tests: &'static [&'static str],
}

/// In the order in which they were found.
const DEFECTS: &[Defect] = &[
    Defect {
        what: "an upsert without a unique constraint stores nothing and reports success",
        tests: &["identities", "sessions", "pre_keys", "the_device", "large_batches"],
    },
    Defect {
        what: "two schemas under one table name",
        tests: &[
            "migrating_twice_changes_nothing",
            "a_newer_schema_is_refused",
            "both_back_ends_are_at_the_same_version",
        ],
    },
    Defect {
        what: "the credentials themselves are left out of the copy in the database",
        tests: &["a_restart_on_an_empty_disk_keeps_the_login_and_no_visitor_sees_an_error"],
    },
    Defect {
        what: "the process that answers HTTP and saves the session is not the one with the link",
        tests: &["a_restart_on_an_empty_disk_keeps_the_login_and_no_visitor_sees_an_error"],
    },
    Defect {
        what: "the client starts before the session has been restored, and makes a new one",
        tests: &[
            "a_session_that_cannot_be_read_is_not_replaced",
            "the_database_answers_late_and_no_qr_is_shown",
        ],
    },
    Defect {
        what: "the oldest of several copies is restored; apps on one database mix their credentials",
        tests: &["sessions_do_not_see_each_other", "two_apps_on_one_database_keep_their_logins_apart"],
    },
    Defect {
        what: "deleted keys come back, and used ratchets with them",
        tests: &[
            "pre_keys",
            "another_epoch_fences_the_writer",
            "restarts_lose_neither_login_nor_messages_nor_keys",
        ],
    },
    Defect {
        what: "minutes of keys are lost, files are torn, an aborted transaction counts as success",
        tests: &[
            "restarts_lose_neither_login_nor_messages_nor_keys",
            "a_message_killed_before_its_row_is_stored_is_answered_after_the_restart",
            "a_bot_killed_right_after_a_reply_reads_what_is_said_to_it",
            "a_database_that_takes_no_writes_closes_the_link_and_loses_nothing",
        ],
    },
    Defect {
        what: "768 dials in 53 seconds, since nothing waits between two of them",
        tests: &[
            "a_server_that_drops_every_link_is_dialled_after_growing_waits",
            "doubles_up_to_the_cap_without_jitter",
        ],
    },
    Defect {
        what: "two dynos push each other out for ever; a logged-out session is put back and used again",
        tests: &[
            "stream_errors_follow_the_design",
            "only_a_logout_ends_a_session",
            "preboot_runs_two_dynos_and_never_two_links",
            "a_removed_device_is_archived_and_pairs_anew",
        ],
    },
    Defect {
        what: "a healthy link is taken for closed and ended every three minutes; pings do nothing",
        tests: &[
            "an_answered_probe_keeps_a_quiet_link_for_ever",
            "silence_is_noticed_within_period_and_deadline",
        ],
    },
    Defect {
        what: "a reconnect that failed is reported as done; several run at the same time",
        tests: &["comes_back_after_every_passing_ending", "many_wishes_to_reconnect_are_one_dial_at_a_time"],
    },
    Defect {
        what: "a quiet chat counts as a dead link",
        tests: &["an_answered_probe_keeps_a_quiet_link_for_ever"],
    },
    Defect {
        what: "dials again after SIGTERM; several handlers race to the exit; panics are swallowed",
        tests: &[
            "after_sigterm_nothing_is_dialled_and_foreign_files_are_left_alone",
            "stops_in_time_in_every_state",
            "a_second_sigterm_ends_it_at_once",
            "a_panic_is_reported_with_the_name",
        ],
    },
    Defect {
        what: "logging out does nothing; the user's profile text is overwritten",
        // The simulator counts what it does not know, a change of the profile among it.
        tests: &[
            "a_removed_device_is_archived_and_pairs_anew",
            "pairs_answers_and_comes_back_without_a_qr_on_postgres",
        ],
    },
    Defect {
        what: "one file overwrites a global that another one calls: cleaning the memory always fails",
        // There is no such global, and no cleaning: memory is bounded by what is kept.
        tests: &["a_restart_on_an_empty_disk_keeps_the_login_and_no_visitor_sees_an_error"],
    },
    Defect {
        what: "deletes foreign files in the temporary folder",
        tests: &["after_sigterm_nothing_is_dialled_and_foreign_files_are_left_alone"],
    },
    Defect {
        what: "another port than PORT is bound when that is taken",
        tests: &[
            "a_port_in_use",
            "a_port_in_use_is_named_with_a_way_out",
            "a_restart_on_an_empty_disk_keeps_the_login_and_no_visitor_sees_an_error",
        ],
    },
    Defect {
        what: "anybody may drop the link; the name of the user is public",
        tests: &[
            "on_a_dyno_or_with_a_token_this_machine_is_nothing_special",
            "strangers_cannot_drop_the_link_of_a_dyno",
            "the_keys_of_status_are_those_of_its_document",
        ],
    },
    Defect {
        what: "files are read and written on the thread that should answer",
        tests: &["the_page_answers_within_a_second_while_the_database_hangs"],
    },
    Defect {
        what: "credentials in the repository; the session in plain text in the database",
        tests: &[
            "no_secret_and_no_phone_number_is_written",
            "only_an_unsealed_postgres_is_warned_of",
            "nothing_secret_is_readable_in_the_database",
        ],
    },
    Defect {
        what: "code and the protocol version are fetched at the start, which fails without the network",
        tests: &["a_failing_look_up_changes_nothing", "the_order_is_pinned_current_last_good_compiled_in"],
    },
];

fn sources(folder: &std::path::Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(path).expect("a source"));
        }
    }
}

#[test]
fn every_defect_of_the_original_kit_has_its_tests() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    for folder in ["src", "tests"] {
        sources(&root.join(folder), &mut text);
    }
    for defect in DEFECTS {
        assert!(!defect.tests.is_empty(), "{}", defect.what);
        for test in defect.tests {
            assert!(text.contains(&format!("fn {test}(")), "{}: there is no test {test}", defect.what);
        }
    }
}

/// Waits between the end of a link and the next dial, in the order of the dials.
async fn waits(phone: &Handle) -> Vec<i64> {
    let mut closed = None;
    let mut waits = Vec::new();
    for event in phone.events(0, Duration::from_secs(1)).await {
        match event.what {
            What::Closed { .. } => closed = Some(event.at),
            What::Dialled { .. } => waits.extend(closed.map(|closed| event.at - closed)),
            _ => {}
        }
    }
    waits
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_drops_every_link_is_dialled_after_growing_waits() {
    let (home, server) = (Home::sqlite(), sim::simulator());
    let period = |ms| Period(Duration::from_millis(ms));
    let backoff = Backoff {
        initial: period(400),
        factor: 2.0,
        max: period(60_000),
        jitter: 0.0,
        reset_after: period(30_000),
    };
    let mut bot = NativeBot::start_with(&server, &home, Setup { backoff, ..Setup::default() }).await;
    bot.pair(&server, PHONE).await;
    let phone = server.handle();
    let before = waits(&phone).await.len();
    phone.inject(Fault::new(Action::Drop, When::Open).lasting());
    phone.strike(Action::Drop);
    let dials = phone.counters().dials;
    phone
        .wait_for_counters("four more dials", PATIENCE, |now| now.dials >= dials + 4)
        .await
        .expect("it goes on");
    let waits = &waits(&phone).await[before..];
    for (attempt, wait) in waits.iter().take(4).enumerate() {
        let least = 400 << attempt;
        assert!(*wait >= least, "dial {attempt} came {wait} ms after the end, not {least}: {waits:?}");
    }
    bot.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_wishes_to_reconnect_are_one_dial_at_a_time() {
    let (home, server) = (Home::sqlite(), sim::simulator());
    let phone = server.handle();
    let mut bot = NativeBot::start(&server, &home).await;
    bot.pair(&server, PHONE).await;
    // Dials get no answer: each wish meets one that is under way.
    phone.inject(Fault::new(Action::Silence, When::Hello).lasting());
    phone.strike(Action::Drop);
    let dials = phone.counters().dials;
    phone.wait_for_counters("a dial", PATIENCE, |now| now.dials > dials).await.expect("it dials");
    for _ in 0..8 {
        bot.ask(Request::ReconnectNow);
        tokio::task::yield_now().await;
    }
    phone.clear_faults();
    bot.until_state(LinkState::Open).await;
    assert_eq!(links_at_once(&phone).await, 1);
    assert_eq!(phone.counters().replaced, 0);
    bot.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_sigterm_nothing_is_dialled_and_foreign_files_are_left_alone() {
    let sim = sim::simulator();
    let phone = sim.handle();
    let app = App::start(slug(&sim).await, 1).await;
    let dyno = app.dyno("web.1");
    let foreign = dyno.temporary().join("of-another-program");
    std::fs::write(&foreign, "kept").expect("written");
    let long_ago = std::fs::metadata(&foreign).and_then(|data| data.modified()).expect("a time")
        - Duration::from_secs(864_000);
    std::fs::File::options()
        .write(true)
        .open(&foreign)
        .and_then(|file| file.set_modified(long_ago))
        .expect("set");
    pair(&app, &sim).await;

    let before = phone.last_event();
    assert!(app.shut_down().await[0].status.success());
    let dialled = |event: &blacksky::sim::Event| matches!(event.what, What::Dialled { .. });
    assert!(!phone.events(before, Duration::from_millis(100)).await.iter().any(dialled), "{}", dyno.log());
    assert!(foreign.exists());

    // The same while it waits for its next attempt.
    phone.inject(Fault::new(Action::Http { status: 503 }, When::Dial).lasting());
    app.scale(1);
    app.until("backing_off", PATIENCE).await;
    let before = phone.last_event();
    assert!(app.shut_down().await[0].status.success());
    assert!(!phone.events(before, Duration::from_millis(100)).await.iter().any(dialled));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_apps_on_one_database_keep_their_logins_apart() {
    const OTHER: &str = "4915100000003";
    let sim = sim::simulator();
    let phone = sim.handle();
    let slug = slug(&sim).await;
    let (one, other) = (
        App::start(slug.clone().env("SESSION_ID", "one"), 1).await,
        App::start(slug.env("SESSION_ID", "other"), 1).await,
    );
    pair_with(&one, &sim, PHONE).await;
    pair_with(&other, &sim, OTHER).await;
    for app in [&one, &other] {
        for old in app.restart() {
            old.ended(PATIENCE).await;
        }
        app.until("open", PATIENCE).await;
    }
    let counters = phone.counters();
    assert_eq!((counters.registrations, counters.pairings, counters.replaced), (2, 2, 0));
    let accounts = phone.accounts();
    assert!(
        accounts.iter().all(|account| account.devices.len() == 1 && account.devices[0].connected),
        "{accounts:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_answers_late_and_no_qr_is_shown() {
    let sim = sim::simulator();
    let phone = sim.handle();
    let database = postgres::database().await;
    let port = postgres::cluster().await.port;
    let proxy = Proxy::start(([127, 0, 0, 1], port).into()).await;
    let through = database.replace(&format!(":{port}/"), &format!(":{}/", proxy.port()));
    let app = App::start(slug(&sim).await.database(&through), 1).await;
    pair(&app, &sim).await;
    for old in app.shut_down().await {
        assert!(old.status.success());
    }

    proxy.set(Traffic::Refuse);
    app.scale(1);
    app.until("waiting_for_database", PATIENCE).await;
    assert_eq!(app.qr(TOKEN).await, None);
    proxy.set(Traffic::Pass);
    app.until("open", PATIENCE).await;
    answers(&phone, "late").await;
    assert_eq!(phone.counters().registrations, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_answers_within_a_second_while_the_database_hangs() {
    let sim = sim::simulator();
    let database = postgres::database().await;
    let port = postgres::cluster().await.port;
    let proxy = Proxy::start(([127, 0, 0, 1], port).into()).await;
    let through = database.replace(&format!(":{port}/"), &format!(":{}/", proxy.port()));
    let app = App::start(slug(&sim).await.database(&through), 1).await;
    pair(&app, &sim).await;
    proxy.set(Traffic::Swallow);
    let client = crate::support::http::client();
    let began = Instant::now();
    // Longer than the lease: the loss of the link is among what it must not wait for.
    while began.elapsed() < Duration::from_secs(4) {
        for path in ["/", "/status", "/healthz", "/readyz"] {
            let asked = Instant::now();
            client.get(app.router().url(path)).send().await.expect("an answer");
            assert!(asked.elapsed() < Duration::from_secs(1), "{path} took {:?}", asked.elapsed());
        }
    }
    assert_ne!(app.link().await, "open");
    // Connections that got no answer are not used again.
    proxy.set(Traffic::Pass);
    app.until("open", PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_cannot_drop_the_link_of_a_dyno() {
    let sim = sim::simulator();
    let app = App::start(slug(&sim).await, 1).await;
    pair(&app, &sim).await;
    let logins = sim.handle().counters().logins;
    let url = app.router().url("/bots/main/reconnect");
    let client = crate::support::http::client();
    for request in [client.post(&url), client.post(&url).bearer_auth("guessed"), client.get(&url)] {
        let answer = request.send().await.expect("an answer");
        assert!(!answer.status().is_success(), "{answer:?}");
    }
    eventually("it stays open", PATIENCE, async || app.link().await == "open").await;
    assert_eq!(sim.handle().counters().logins, logins);
    let page =
        client.get(app.router().url("/status")).send().await.expect("an answer").text().await.expect("text");
    assert!(!page.contains(PHONE), "the account's number is public: {page}");
}
