//! The dyno of the tests does what Heroku does.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::dyno::{App, Code, Dyno, Limits, Slug, State};
use crate::support::eventually::eventually;

const PATIENCE: Duration = Duration::from_secs(15);
const SHORT: Duration = Duration::from_millis(400);

/// Answers one request after the other with what `cat` prints after `$1` seconds; a web process.
const WEB: &str = r#"import http.server, os, sys, time
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/late": time.sleep(3)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(("".join(f"{k.lower()}: {v}\n" for k, v in self.headers.items())).encode())
        self.wfile.flush()
        if self.path == "/silent": time.sleep(3)
        self.wfile.write((os.environ["DYNO"] + " " + str(os.getpid())).encode())
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer((sys.argv[1], int(os.environ["PORT"])), Page).serve_forever()
"#;

fn python(address: &str) -> Slug {
    let mut slug = Slug::script("").file("web.py", WEB);
    slug.command = ["python3", "web.py", address].map(str::to_owned).to_vec();
    slug.process = "web".to_owned();
    slug
}

async fn get(url: String) -> (u16, String) {
    let answer = crate::support::http::client().get(url).send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_reaches_every_process_and_is_no_crash() {
    let dyno = Dyno::start(
        &Slug::script("(trap 'echo child heard; exit' TERM; sleep 60 & wait) & trap 'wait; exit 0' TERM; echo here $DYNO $(ls); sleep 60 & wait")
            .file("blacksky.toml", ""),
        "worker.1",
    );
    eventually("it runs", PATIENCE, async || dyno.log().contains("here worker.1 blacksky.toml")).await;
    dyno.term();
    let end = dyno.ended(PATIENCE).await;
    assert!(end.asked && end.status.success(), "{end:?}");
    assert!(dyno.log().contains("child heard"), "{}", dyno.log());
    assert_eq!(dyno.codes(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_ignores_sigterm_is_killed_with_r12() {
    let slug = Slug::script(
        "trap 'echo again' TERM; (trap '' TERM; sleep 60) & echo here; while :; do sleep 0.05; done",
    )
    .rules(|rules| (rules.grace, rules.term_again) = (SHORT, Some(SHORT / 2)));
    let dyno = Dyno::start(&slug, "worker.1");
    eventually("it runs", PATIENCE, async || dyno.log().contains("here")).await;
    dyno.term();
    let end = dyno.ended(PATIENCE).await;
    assert_eq!(dyno.codes(), [Code::R12]);
    assert!(end.took.is_some_and(|took| took >= SHORT), "{end:?}");
    assert_eq!(dyno.log().matches("again").count(), 2, "it was asked twice: {}", dyno.log());
    assert_eq!(dyno.memory().0, 0, "nothing of it lives");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_dyno_does_nothing_until_it_goes_on() {
    let dyno = Dyno::start(&Slug::script("while :; do echo tick; sleep 0.02; done"), "worker.1");
    eventually("it runs", PATIENCE, async || dyno.log().contains("tick")).await;
    dyno.pause();
    let mut before = usize::MAX;
    eventually("it is still", PATIENCE, async || {
        tokio::time::sleep(Duration::from_millis(100)).await;
        std::mem::replace(&mut before, dyno.log().len()) == dyno.log().len()
    })
    .await;
    dyno.resume();
    eventually("it goes on", PATIENCE, async || dyno.log().len() > before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_no_router_reaches_is_r10_and_a_crash() {
    let slug = python("127.0.0.1").rules(|rules| (rules.boot, rules.cool_off) = (SHORT * 3, None));
    let app = App::start(slug, 1).await;
    let dyno = app.dyno("web.1");
    let end = dyno.ended(PATIENCE).await;
    assert!(!end.asked);
    assert_eq!(dyno.codes(), [Code::R10]);
    eventually("the router knows", PATIENCE, async || {
        get(app.router().url("/")).await.0 == 503 && app.router().count("H10") > 0
    })
    .await;
    assert_eq!(app.crashes(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_over_the_quota_is_noted_and_over_twice_kills() {
    // dd holds one block of the given size.
    let slug = Slug::script("dd if=/dev/zero of=/dev/null bs=80M count=400 2>/dev/null; dd if=/dev/zero of=/dev/null bs=300M count=9999")
        .rules(|rules| (rules.memory, rules.look) = (64 << 20, Duration::from_millis(20)));
    let dyno = Dyno::start(&slug, "worker.1");
    let end = dyno.ended(PATIENCE).await;
    assert!(!end.asked);
    assert_eq!(dyno.codes().last(), Some(&Code::R15), "{:?} {}", dyno.codes(), dyno.memory().1);
    assert!(dyno.codes().contains(&Code::R14));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_restarts_at_once_then_after_a_wait_in_an_empty_folder() {
    let slug = Slug::script("ls; touch left-behind; exit 3").rules(|rules| rules.cool_off = Some(SHORT));
    let began = Instant::now();
    let app = App::start(slug, 1).await;
    eventually("three crashes", PATIENCE, async || app.crashes() == 3).await;
    assert!(began.elapsed() >= SHORT, "only the first restart is at once");
    let last = app.dyno("worker.1");
    last.ended(PATIENCE).await;
    assert_eq!(last.log(), "", "the folder was empty");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_starts_the_successor_before_the_old_one_is_gone() {
    let slug = Slug::script("trap 'sleep 0.3; exit 0' TERM; echo here; while :; do sleep 0.02; done");
    let app = App::start(slug, 2).await;
    for dyno in app.dynos() {
        eventually("it runs", PATIENCE, async || dyno.log().contains("here")).await;
    }
    let old = app.restart();
    assert_eq!(app.leaving().len(), 2);
    for (old, new) in old.iter().zip(app.dynos()) {
        assert_eq!(old.name, new.name);
        let end = old.ended(PATIENCE).await;
        assert!(end.asked && new.started.elapsed() >= end.took.expect("it was asked"), "{end:?}");
        assert_eq!(new.state(), State::Up);
    }
    app.scale(1);
    assert_eq!(app.dynos().len(), 1);
    assert!(app.shut_down().await.iter().all(|end| end.status.success()));
    assert_eq!(app.crashes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_router_picks_any_dyno_marks_requests_and_cuts_late_answers() {
    let limits = Limits { first_byte: SHORT * 2, idle: SHORT * 2, ..Limits::default() };
    let app = App::start_with(python("0.0.0.0"), 2, limits).await;
    // It waits for the first one that boots.
    let (code, text) = get(app.router().url("/")).await;
    assert_eq!(code, 200, "{text}");
    for header in ["x-forwarded-for: 127.0.0.1", "x-forwarded-proto: https", "via: ", "x-request-start: "] {
        assert!(text.contains(header), "no {header} in {text}");
    }
    app.until_up().await;
    let mut seen = std::collections::BTreeSet::new();
    eventually("both answer", PATIENCE, async || {
        let (_, text) = get(app.router().url("/")).await;
        seen.insert(text.lines().last().unwrap_or_default().split(' ').next().unwrap_or_default().to_owned());
        seen.len() == 2
    })
    .await;
    assert_eq!(app.router().errors(), 0);

    assert_eq!(get(app.router().url("/late")).await.0, 503);
    assert_eq!(app.router().count("H12"), 1);
    let (code, text) = get(app.router().url("/silent")).await;
    assert_eq!((code, text.contains("web.")), (200, false), "cut in the middle");
    eventually("it is counted", PATIENCE, async || app.router().count("H15") == 1).await;

    // A request that comes during a restart waits for the successor.
    let old = app.restart();
    let pid = old[0].pid().to_string();
    let (code, text) = get(app.router().url("/")).await;
    assert!(code == 200 && !text.ends_with(&pid), "{text}");
    app.scale(0);
    assert_eq!(get(app.router().url("/")).await.0, 503);
    assert_eq!(app.router().count("H14"), 1);
}
