//! Every way in which a link can end, with the real binary: what `/status` and the log say of it.

use blacksky::sim::{Action, Fault, Handle, When};
use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::support::eventually::eventually;
use crate::support::linked::{bot, linked};
use crate::support::sim::{PATIENCE, assert_clean, simulator};

const ACCOUNT: &str = "15550001401";
const CONTACT: &str = "15550002401";

/// Quick, and the same each time: no jitter, and a link that was open for 20 ms has proven itself.
const ENV: &[(&str, &str)] = &[
    ("BLACKSKY_BACKOFF_INITIAL", "400ms"),
    ("BLACKSKY_BACKOFF_FACTOR", "1.5"),
    ("BLACKSKY_BACKOFF_MAX", "10s"),
    ("BLACKSKY_BACKOFF_JITTER", "0"),
    ("BLACKSKY_BACKOFF_RESET_AFTER", "20ms"),
    ("BLACKSKY_HEARTBEAT_PERIOD", "400ms"),
    ("BLACKSKY_HEARTBEAT_DEADLINE", "400ms"),
];

/// When a fault strikes.
enum Strike {
    /// At once, on the open link.
    Now(Action),
    /// The link drops, and the next dial gets it.
    Dial(Action),
    /// The link drops, and the next login gets it.
    Login(Action),
}

/// What must follow.
#[derive(Clone, Copy)]
enum Then {
    /// Waits this many milliseconds and dials.
    BackOff(u64),
    /// Waits long, as the holder of a session that somebody else uses.
    Conflict,
    /// Parked for this reason; with the milliseconds until it is tried again, if it is.
    Parked(&'static str, Option<u64>),
    /// Dialled again at once.
    AtOnce,
}

fn rows() -> Vec<(Strike, &'static str, Then)> {
    use Strike::{Dial, Login, Now};
    use Then::{AtOnce, BackOff, Conflict, Parked};
    let kept = Action::StreamError { code: Some(503), conflict: None, child: None, close: false };
    let ban = Action::Failure { reason: 402, code: Some(101), expire: Some(2) };
    let http = |status| Action::Http { status };
    vec![
        (Now(Action::Drop), "eof", BackOff(400)),
        (Now(Action::Reset), "io_error", BackOff(400)),
        (Now(Action::StreamEnd), "stream_end", BackOff(400)),
        (Now(Action::stream_error(500)), "stream_error_500", BackOff(400)),
        (Now(Action::stream_error(503)), "stream_error_503", BackOff(400)),
        // The server leaves the socket open.
        (Now(kept), "stream_error_503", BackOff(400)),
        // Five steps further: 0.4 s · 1.5⁵
        (Now(Action::stream_error(429)), "stream_error_429", BackOff(3037)),
        (Now(Action::stream_error(515)), "stream_error_515", AtOnce),
        (Now(Action::Silence), "silence", BackOff(400)),
        (Now(Action::Swallow), "silence", BackOff(400)),
        (Now(Action::Slow { ms: 60_000 }), "silence", BackOff(400)),
        // The drop before has used up the first step.
        (Dial(http(503)), "http_503", BackOff(600)),
        (Dial(http(429)), "http_429", BackOff(4556)),
        (Dial(Action::Reset), "dial_failed", BackOff(600)),
        (Login(Action::failure(500)), "failure_500", BackOff(600)),
        (Login(Action::failure(503)), "failure_503", BackOff(600)),
        (Login(Action::failure(403)), "failure_403", Parked("refused", None)),
        (Login(Action::failure(406)), "failure_406", Parked("refused", None)),
        (Login(Action::failure(409)), "failure_409", Parked("refused", None)),
        (Login(Action::failure(405)), "failure_405", Parked("client_outdated", Some(3_600_000))),
        (Now(Action::stream_error(516)), "stream_error_516", Parked("refused", None)),
        (Now(Action::stream_error(411)), "stream_error_411", Parked("refused", None)),
        (Now(Action::Downgrade), "downgraded", Parked("refused", None)),
        (Login(ban), "failure_402", Parked("temporary_ban", Some(2_000))),
        (Now(Action::conflict("replaced", None)), "replaced", Conflict),
        (Now(Action::stream_error(440)), "stream_error_440", Conflict),
        (Now(Action::stream_error(409)), "stream_error_409", Parked("conflict", None)),
    ]
}

fn strike(phone: &Handle, strike: Strike) {
    match strike {
        Strike::Now(action) => return phone.strike(action),
        Strike::Dial(action) => phone.inject(Fault::new(action, When::Dial)),
        Strike::Login(action) => phone.inject(Fault::new(action, When::Login)),
    }
    phone.strike(Action::Drop);
}

fn count(bot: &Value, reason: &str) -> u64 {
    bot["disconnects"][reason].as_u64().unwrap_or_default()
}

/// Whether the next attempt is due so many milliseconds after the last disconnect.
fn due_after(bot: &Value, ms: u64) -> bool {
    let time = |value: &Value| value.as_str()?.parse::<DateTime<Utc>>().ok();
    let wait =
        || Some((time(&bot["next_attempt_at"])? - time(&bot["last_disconnect"]["at"])?).num_milliseconds());
    let ms = i64::try_from(ms).expect("small");
    // The disconnect is noted a moment before the wait begins.
    wait().is_some_and(|wait| (ms - 5..=ms + 250).contains(&wait))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_ending_has_its_state_reason_count_and_next_attempt() {
    let (server, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let phone = server.handle();
    let process = linked(&server, bot(folder.path(), ENV), &server.url(), ACCOUNT).await;
    for (fault, reason, then) in rows() {
        let stable = |bot: &Value| bot["state"] == "open" && bot["attempt"] == 0;
        let before = process.until_bot("stable link", stable).await;
        let counted = count(&before, reason) + 1;
        strike(&phone, fault);
        let bot = process.until_bot(reason, |bot| count(bot, reason) == counted).await;
        match then {
            Then::BackOff(ms) => {
                assert!(bot["state"] == "backing_off" && due_after(&bot, ms), "{reason}, {ms} ms: {bot:#}");
                assert_eq!(bot["advice"], Value::Null, "{reason}");
            }
            Then::Conflict => {
                assert!(bot["state"] == "backing_off" && due_after(&bot, 30_000), "{reason}: {bot:#}");
                process.reconnect().await;
            }
            Then::Parked(why, again) => {
                assert!(bot["state"] == "parked" && bot["reason"] == why, "{bot:#}");
                assert!(bot["advice"].as_str().is_some_and(|advice| advice.len() > 40), "{bot:#}");
                match again {
                    Some(ms) => assert!(due_after(&bot, ms), "{reason}: {bot:#}"),
                    None => assert_eq!(bot["next_attempt_at"], Value::Null, "{reason}"),
                }
                if why != "temporary_ban" {
                    process.reconnect().await;
                }
            }
            Then::AtOnce => {
                let last = |bot: &Value| bot["last_disconnect"]["at"].clone();
                assert_eq!(last(&bot), last(&before), "a restart is not worth a word");
                assert_ne!(bot["state"], "backing_off");
            }
        }
        if !matches!(then, Then::AtOnce) {
            assert_eq!(bot["last_disconnect"]["reason"], reason, "{bot:#}");
        }
        phone.clear_faults();
        let line = format!("reason=\"{reason}\" count={counted}");
        // What it logged before it told may still be on its way through the pipe.
        eventually(&line, PATIENCE, async || process.log().contains(&line)).await;
    }
    process.until("open", PATIENCE).await;
    // All that with one session, which still works.
    phone.send_text(CONTACT, ACCOUNT, "!ping all").expect("sent");
    phone.wait_for_text(CONTACT, "pong all", PATIENCE).await.expect("answered");
    assert_eq!(phone.counters().registrations, 1, "nothing of that ends a session");
    assert_clean(&phone);
    assert!(!process.log().contains("Will retry"), "the library speaks beside us:\n{}", process.log());

    // What does: a new QR, and the session goes to the archive.
    let device = phone.wait_for_login(ACCOUNT, PATIENCE).await.expect("it is open");
    assert!(phone.remove_device(ACCOUNT, device));
    let bot = process.until_bot("a new pairing", |bot| bot["state"] == "pairing").await;
    assert_eq!(count(&bot, "device_removed"), 1);
    assert_eq!(bot["last_disconnect"]["reason"], "device_removed");
    server.shutdown().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_of_failed_attempts_is_a_warning_at_every_fifth() {
    let (server, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let phone = server.handle();
    let env = [
        ("BLACKSKY_BACKOFF_INITIAL", "50ms"),
        ("BLACKSKY_BACKOFF_MAX", "50ms"),
        ("BLACKSKY_BACKOFF_RESET_AFTER", "1s"),
    ];
    let process = linked(&server, bot(folder.path(), &env), &server.url(), ACCOUNT).await;
    process.until_bot("stable link", |bot| bot["attempt"] == 0).await;
    phone.inject(Fault::new(Action::Http { status: 503 }, When::Dial).lasting());
    phone.strike(Action::Drop);
    let third = |bot: &Value| bot["warnings"][0]["raised"].as_u64() >= Some(3);
    let bot = process.until_bot("three warnings", third).await;
    let warning = &bot["warnings"][0];
    assert_eq!(warning["kind"], "reconnect_loop");
    assert!(warning["text"].as_str().is_some_and(|text| text.contains("HTTP 503")), "{warning}");
    assert!(count(&bot, "http_503") >= 15, "{bot:#}");
    phone.clear_faults();
    let quiet = |bot: &Value| bot["state"] == "open" && bot["warnings"].as_array().is_some_and(Vec::is_empty);
    process.until_bot("end of the warning", quiet).await;
    server.shutdown().await.expect("stops");
}
