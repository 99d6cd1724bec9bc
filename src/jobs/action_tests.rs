use axum::Router;
use axum::http::StatusCode;
use axum::response::Redirect;
use axum::routing::get;

use super::*;

const LONG: Duration = Duration::from_secs(20);

/// A site; its address.
async fn site() -> Url {
    let router = Router::new()
        .route("/fine", get(async || StatusCode::NO_CONTENT))
        .route("/broken", get(async || StatusCode::INTERNAL_SERVER_ERROR))
        .route("/away", get(async || Redirect::to("/broken")))
        .route("/silent", get(std::future::pending::<StatusCode>));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}").parse().expect("an address")
}

#[tokio::test]
async fn a_ping_goes_by_the_status() {
    let site = site().await;
    let ping =
        async |path: &str, expected| super::ping(&site.join(path).expect("a path"), expected, LONG).await;
    assert_eq!(ping("/fine", None).await, Done::ok("HTTP 204"));
    assert_eq!(ping("/fine", Some(204)).await, Done::ok("HTTP 204"));
    assert_eq!(ping("/fine", Some(200)).await, Done::failed("HTTP 204, not 200"));
    assert_eq!(ping("/broken", None).await, Done::failed("HTTP 500"));
    assert_eq!(ping("/broken", Some(500)).await, Done::ok("HTTP 500"));
    assert_eq!(ping("/away", None).await, Done::ok("HTTP 303"), "not followed");
}

#[tokio::test]
async fn a_ping_without_an_answer_fails_without_its_address() {
    let url = site().await.join("/silent?token=s3cret").expect("an address");
    let done = ping(&url, None, Duration::from_secs(1)).await;
    assert_eq!(done, Done::failed("no answer within 1 s"));
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = closed.local_addr().expect("an address");
    drop(closed);
    let url = format!("http://{address}/?token=s3cret").parse().expect("an address");
    let done = ping(&url, None, LONG).await;
    assert_eq!(done.outcome, JobOutcome::Failed);
    assert!(!done.detail.contains("s3cret"), "{}", done.detail);
}

/// Runs a line of the shell.
async fn shell(line: &str, timeout: Duration, stop: &CancellationToken) -> Done {
    let folder = tempfile::tempdir().expect("a folder");
    let command = ["sh", "-c", line].map(str::to_owned);
    run("tidy", &command, folder.path(), timeout, stop).await
}

#[tokio::test]
async fn a_program_goes_by_its_exit_code_and_its_output_is_kept() {
    let stop = CancellationToken::new();
    let done = shell("echo out $BLACKSKY_JOB; echo err >&2", LONG, &stop).await;
    assert_eq!((done.outcome, done.detail.as_str()), (JobOutcome::Ok, "exit code 0"));
    assert!(done.output.contains("out tidy\n") && done.output.contains("err\n"), "{}", done.output);
    let done = shell("exit 7", LONG, &stop).await;
    assert_eq!((done.outcome, done.detail.as_str()), (JobOutcome::Failed, "exit code 7"));
    let missing = ["no-such-program".to_owned()];
    let done = run("tidy", &missing, &std::env::temp_dir(), LONG, &stop).await;
    assert!(done.detail.contains("\"no-such-program\" of jobs.tidy.run is not there"), "{}", done.detail);
}

#[tokio::test]
async fn only_the_end_of_a_long_output_is_kept() {
    let stop = CancellationToken::new();
    let line = "i=0; while [ $i -lt 2000 ]; do echo line $i äöü; i=$((i+1)); done";
    let done = shell(line, LONG, &stop).await;
    assert_eq!(done.outcome, JobOutcome::Ok);
    assert!(done.output.len() <= OUTPUT && done.output.len() > OUTPUT - 8, "{}", done.output.len());
    assert!(done.output.ends_with("line 1999 äöü\n"), "{}", done.output);
}

#[tokio::test]
async fn a_program_that_takes_too_long_is_ended_with_what_it_started() {
    let stop = CancellationToken::new();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pid");
    let line = format!("echo begun; sleep 300 & echo $! > {}; wait", file.display());
    let done = shell(&line, Duration::from_secs(1), &stop).await;
    assert_eq!(done, Done { output: "begun\n".into(), ..Done::failed("not done within 1s: it was ended") });
    let pid = std::fs::read_to_string(&file).expect("it has begun");
    let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "{state}");
}

#[tokio::test]
async fn a_stop_ends_a_program() {
    let stop = CancellationToken::new();
    stop.cancel();
    let done = shell("sleep 300", LONG, &stop).await;
    assert_eq!(done.outcome, JobOutcome::Interrupted);
}
