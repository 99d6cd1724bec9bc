//! `/metrics` of the real binary, read by the strict reference parser; request ids; lines of log.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use blacksky::sim::{Action, Fault, When};
use serde_json::Value;

use crate::support::blacksky::{Blacksky, Process};
use crate::support::eventually::eventually;
use crate::support::http::client;
use crate::support::linked::linked;
use crate::support::listener::{Answer, Listener};
use crate::support::openmetrics::Scrape;
use crate::support::sim::{PATIENCE, simulator};
use crate::support::{node, postgres};

const PHONE: &str = "4915100000001";
const ADA: &str = "4915100000002";
const TOKEN: &str = "a-token-of-the-metrics-test";
const SESSION: &str = "session-that-nobody-sees";
/// A request id in Heroku's form.
const ID: &str = "0f5e6a1c-1fc4-4b8e-8e09-2a1ff3f8a1c5";

async fn scrape(process: &Process) -> Scrape {
    Scrape::of(&process.url("/metrics"), TOKEN).await
}

/// Scrapes until it is as wanted.
async fn until(process: &Process, what: &str, wanted: impl Fn(&Scrape) -> bool) -> Scrape {
    let mut last = None;
    eventually(&format!("{what}; log:\n{}", process.log()), PATIENCE, async || {
        let scrape = scrape(process).await;
        let done = wanted(&scrape);
        last = Some(scrape);
        done
    })
    .await;
    last.expect("just seen")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_to_a_bot_is_counted_and_the_strict_parser_takes_it() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let listener = Listener::start(|_| Answer::Take);
    let file = format!(
        "[bots.main]\nprefix = \"!\"\nwebhook = \"{}\"\n[bots.main.commands]\nping = \"pong\"\n\
         [jobs.look]\ncron = \"0 0 1 1 *\"\nrun = [\"true\"]\n\
         [heartbeat]\nperiod = \"1s\"\ndeadline = \"5s\"\n[lease]\nttl = \"3s\"\nrenew = \"1s\"\n",
        listener.url()
    );
    std::fs::write(folder.path().join("blacksky.toml"), file).expect("written");
    let bot = Blacksky::in_folder(folder.path())
        .env("BLACKSKY_ADMIN_TOKEN", TOKEN)
        .env("SESSION_ID", SESSION)
        .env("BLACKSKY_DATABASE_TLS", "disable")
        .env("DATABASE_URL", postgres::database().await);
    let process = bot.run(&sim.url());
    let mut qr = None;
    let page = process.url("/");
    eventually("a QR for the admin", PATIENCE, async || {
        let asked = client().get(&page).bearer_auth(TOKEN).send().await.expect("it answers");
        qr = crate::support::qr::on_page(&asked.text().await.expect("a page"));
        qr.is_some()
    })
    .await;
    // Everything is there before the link is.
    let before = scrape(&process).await;
    assert_eq!(before.sum("blacksky_link_open", &[("bot", "main")]), 0.0);
    assert!(
        before.text.contains("blacksky_job_runs_total{job=\"look\",outcome=\"ok\"} 0"),
        "{}",
        before.text
    );
    assert_eq!(before.sum("blacksky_link_state", &[("state", "pairing")]), 1.0);
    sim.handle().scan(&qr.expect("just seen"), PHONE).expect("scanned");
    process.until("open", PATIENCE).await;

    sim.handle().send_text(ADA, PHONE, "!ping").expect("sent");
    sim.handle().wait_for_text(ADA, "pong", PATIENCE).await.expect("answered");
    // One that cannot be read, and can when it comes again.
    sim.handle().inject(Fault::new(Action::Garble, When::Message));
    sim.handle().send_text(ADA, PHONE, "!ping again").expect("sent");
    let run = client().post(process.url("/jobs/look/run")).bearer_auth(TOKEN).send().await.expect("answers");
    assert_eq!(run.status(), 202);
    let bot = [("bot", "main")];
    let seen = until(&process, "everything is counted", |scrape| {
        scrape.sum("blacksky_heartbeat_round_trip_seconds_count", &[]) >= 1.0
            && scrape.sum("blacksky_lease_renewals_total", &[("outcome", "ok")]) >= 2.0
            && scrape.sum("blacksky_job_runs_total", &[("job", "look"), ("outcome", "ok")]) == 1.0
            && scrape.sum("blacksky_webhook_delivered_total", &bot) == 2.0
    })
    .await;
    for (sample, labels, wanted) in [
        ("blacksky_link_open", &bot[..], 1.0),
        ("blacksky_link_holder", &bot, 1.0),
        ("blacksky_link_state", &[("state", "open")], 1.0),
        ("blacksky_link_state", &[], 1.0),
        ("blacksky_link_dials_total", &[("outcome", "paired")], 1.0),
        ("blacksky_link_dials_total", &[("outcome", "opened")], 1.0),
        ("blacksky_link_dial_duration_seconds_count", &[], 1.0),
        ("blacksky_messages_received_total", &bot, 2.0),
        ("blacksky_messages_undecryptable_total", &bot, 1.0),
        ("wa_retry_receipt_total", &[], 1.0),
        ("blacksky_webhook_posts_total", &[("outcome", "taken")], 2.0),
        ("blacksky_webhook_post_duration_seconds_count", &[], 2.0),
        ("blacksky_job_duration_seconds_count", &[("job", "look")], 1.0),
        ("blacksky_lease_wins_total", &bot, 1.0),
        ("blacksky_database_up", &[], 1.0),
        ("blacksky_database_errors_total", &[], 0.0),
        ("blacksky_build_info", &[("simulator", "true")], 1.0),
        ("blacksky_http_requests_total", &[("route", "/jobs/{name}/run"), ("status", "202")], 1.0),
    ] {
        assert_eq!(seen.sum(sample, labels), wanted, "{sample} {labels:?}\n{}", seen.text);
    }
    let epoch = seen.sum("blacksky_lease_epoch", &bot);
    assert!(epoch > 1.7e15, "{epoch}");
    for (sample, least) in [
        ("blacksky_database_statement_duration_seconds_count", 10.0),
        ("process_resident_memory_bytes", 1e6),
        ("blacksky_uptime_seconds", 0.1),
        ("blacksky_messages_sent_total", 1.0),
        ("wa_recv_total", 1.0),
        ("wa_iq_total", 1.0),
        ("wa_send_total", 1.0),
    ] {
        assert!(seen.sum(sample, &[]) >= least, "{sample}\n{}", seen.text);
    }
    assert_eq!(seen.sum("blacksky_database_connections", &[("pool", "lease"), ("state", "most")]), 1.0);

    sim.handle().strike(Action::Drop);
    let after = until(&process, "the end of the link and the reconnect", |scrape| {
        scrape.sum("blacksky_link_reconnects_total", &bot) == 1.0
    })
    .await;
    assert_eq!(after.sum("blacksky_link_disconnects_total", &[("reason", "eof")]), 1.0);
    assert_eq!(after.sum("blacksky_link_dials_total", &[("outcome", "opened")]), 2.0);

    // Counters never go back, and say what they are.
    for name in after.names() {
        let family = after.family(name);
        assert_ne!(family["help"], "", "{name}");
        for unit in ["seconds", "bytes"] {
            assert_eq!(name.ends_with(&format!("_{unit}")), family["unit"] == unit, "{name}");
        }
        if family["type"] == "counter" {
            let sample = format!("{name}_total");
            assert!(after.sum(&sample, &[]) >= seen.sum(&sample, &[]), "{sample} went back");
        }
    }
    for hidden in [SESSION, PHONE, ADA, TOKEN, "pong", "127.0.0.1"] {
        assert!(!after.text.contains(hidden), "{hidden} is in\n{}", after.text);
    }
    let lines = after.text.lines().count();
    println!("{} families, {lines} lines, {} bytes", after.names().len(), after.text.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_admin_reads_them() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    std::fs::write(folder.path().join("blacksky.toml"), "[bots.main.commands]\nping = \"pong\"\n")
        .expect("written");
    let start = |token: Option<&str>, dyno: Option<&str>| {
        let mut bot = Blacksky::in_folder(folder.path()).env("BLACKSKY_DATABASE_ALLOW_EPHEMERAL", "true");
        for (name, value) in [("BLACKSKY_ADMIN_TOKEN", token), ("DYNO", dyno)] {
            if let Some(value) = value {
                bot = bot.env(name, value);
            }
        }
        bot.run(&sim.url())
    };
    let ask = async |process: &Process, header: Option<&str>| {
        let mut request = client().get(process.url("/metrics"));
        if let Some(header) = header {
            request = request.header("authorization", header);
        }
        let answer = request.send().await.expect("it answers");
        (answer.status().as_u16(), answer.text().await.expect("a text"))
    };
    let process = start(Some(TOKEN), None);
    assert_eq!(ask(&process, None).await.0, 403);
    assert_eq!(ask(&process, Some("Bearer wrong")).await.0, 403);
    assert_eq!(ask(&process, Some(&format!("Bearer {TOKEN}"))).await.0, 200);
    drop(process);
    // Without a token this machine may, and a dyno nobody.
    assert_eq!(ask(&start(None, None), None).await.0, 200);
    let process = start(None, Some("web.1"));
    let (status, text) = ask(&process, None).await;
    assert_eq!(status, 403);
    assert!(text.contains("heroku config:set BLACKSKY_ADMIN_TOKEN="), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_and_its_lines_of_log_carry_the_request_id() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let bot = crate::support::linked::bot(
        folder.path(),
        &[("BLACKSKY_LOG_FORMAT", "json"), ("DEBUG", "true"), ("SESSION_ID", SESSION)],
    );
    let process = linked(&sim, bot, &sim.url(), PHONE).await;
    for path in ["/", "/status", "/healthz", "/readyz", "/metrics", "/nothing", "/bots/main/qr"] {
        let answer =
            client().get(process.url(path)).header("x-request-id", ID).send().await.expect("answers");
        assert_eq!(answer.headers()["x-request-id"], ID, "{path}");
    }
    let answer = client().get(process.url("/")).header("x-request-id", "x\tx").send().await.expect("answers");
    let new = answer.headers()["x-request-id"].to_str().expect("text").to_owned();
    assert_eq!(new.len(), 36, "{new}");
    let of = |id: &str| -> Vec<Value> {
        let log = process.log();
        // The last one may be read in part.
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["request_id"] == id).collect()
    };
    eventually("the answers are in the log", PATIENCE, async || of(ID).len() >= 7 && of(&new).len() == 1)
        .await;
    let line = of(ID).into_iter().find(|line| line["route"] == "/nothing" || line["route"] == "(none)");
    let line = line.expect("a line of the path that is not there");
    assert_eq!(
        (&line["status"], &line["method"], &line["message"]),
        (&404.into(), &"GET".into(), &"answered".into())
    );
    assert_eq!((&line["level"], &line["target"]), (&"DEBUG".into(), &"blacksky::web::requests".into()));
    let log = process.log();
    assert!(!log.contains(SESSION), "{log}");
    let won = log.lines().find(|line| line.contains("the lease was won")).expect("the lease was won");
    assert_eq!(serde_json::from_str::<Value>(won).expect("JSON")["bot"], "main");
}

/// What a hosted bot writes is the wildest that gets into the log.
#[tokio::test(flavor = "multi_thread")]
async fn no_line_of_log_is_longer_than_heroku_takes_whatever_is_said() {
    let wild = r#"awk 'BEGIN { for (i = 0; i < 100000; i++) printf "\"\001\\ä" }'; printf '\nover\n'; exec sleep 600"#;
    for format in ["json", "text"] {
        let folder = tempfile::tempdir().expect("a folder");
        let file = format!(
            "[bots.main]\nkind = \"hosted\"\ncommand = [\"sh\", \"-c\", '''{wild}''']\n[log]\nformat = \"{format}\"\n"
        );
        std::fs::write(folder.path().join("blacksky.toml"), file).expect("written");
        let process = Blacksky::in_folder(folder.path())
            .env("DYNO", "web.1")
            .env("BLACKSKY_DATABASE_ALLOW_EPHEMERAL", "true");
        let mut process = process.run("ws://127.0.0.1:9/");
        eventually("it is read to its end", PATIENCE, async || process.log().contains("over")).await;
        process.term();
        process.ended(Duration::from_secs(30)).await;
        let log = process.log();
        let longest = log.lines().map(str::len).max().unwrap_or_default();
        assert!((5_000..10_000).contains(&longest), "{longest}");
        for line in log.lines() {
            assert!(!line.chars().any(char::is_control), "{line}");
            if format == "json" {
                let json: Value =
                    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
                assert_eq!(json["dyno"], "web.1", "{line}");
                for key in ["timestamp", "level", "message", "target"] {
                    assert!(json[key].is_string(), "{key}: {line}");
                }
            }
        }
        println!("{format}: the longest of {} lines has {longest} bytes", log.lines().count());
    }
}

/// Whether each is PromQL, by Prometheus' own grammar.
fn judged(queries: &[String]) -> Output {
    node::install();
    let mut child = Command::new("node")
        .arg(node::folder().join("promql.mjs"))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("node starts");
    let input = serde_json::to_vec(queries).expect("JSON");
    child.stdin.take().expect("piped").write_all(&input).expect("node reads");
    child.wait_with_output().expect("it ends")
}

#[test]
fn every_query_of_the_dashboard_is_promql() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/grafana/blacksky.json");
    let dashboard: Value = serde_json::from_slice(&std::fs::read(file).expect("reads")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let mut queries: Vec<String> = targets
        .map(|target| target["expr"].as_str().expect("a query"))
        .map(|query| query.replace("$__rate_interval", "2m").replace("$bot", ".*").replace("$dyno", ".*"))
        .collect();
    assert!(queries.len() > 50 && queries.iter().all(|query| !query.contains('$')), "{queries:?}");
    let judged_all = judged(&queries);
    assert!(judged_all.status.success(), "{}", String::from_utf8_lossy(&judged_all.stderr));
    queries.push("sum by (bot (rate(x[5m]))".to_owned());
    assert!(!judged(&queries).status.success(), "what is none is found");
    println!("{} queries", queries.len() - 1);
}
