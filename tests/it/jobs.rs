//! Jobs by the clock, once for all dynos, after an absence, by hand, and what becomes of them when blacksky stops.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::Value;
use sqlx::{Connection, PgConnection};

use crate::dyno_life::{PATIENCE, TOKEN};
use crate::support::blacksky::Blacksky;
use crate::support::dyno::{App, Slug};
use crate::support::eventually::eventually;
use crate::support::{http, postgres, sim};

/// A run by the clock comes within a minute.
const A_MINUTE: Duration = Duration::from_secs(75);

/// Some by the clock, one that fails, two that take long, one that is not enabled.
fn file(folder: &std::path::Path) -> String {
    format!(
        r#"
[jobs.tick]
cron = "* * * * *"
run = ["sh", "-c", "umask 0; echo tick $BLACKSKY_JOB >> {folder}/ticks"]

[jobs.missed]
cron = "0 0 1 1 *"
timezone = "Asia/Kolkata"
run = ["sh", "-c", "umask 0; echo missed >> {folder}/ticks"]

[jobs.skips]
cron = "0 0 1 1 *"
catch_up = "skip"
run = ["sh", "-c", "umask 0; echo skips >> {folder}/ticks"]

[jobs.fails]
cron = "@yearly"
enabled = false
run = ["sh", "-c", "echo it is broken; echo token ${{BLACKSKY_ADMIN_TOKEN:-none}}; exit 3"]

[jobs.long]
cron = "@yearly"
enabled = false
run = ["sh", "-c", "umask 0; echo begun >> {folder}/ticks; sleep 300"]

[jobs.cut]
cron = "@yearly"
enabled = false
timeout = "5s"
run = ["sh", "-c", "umask 0; echo cut >> {folder}/ticks; sleep 300"]

[jobs.saved]
cron = "@yearly"
enabled = false
backup = true
"#,
        folder = folder.display()
    )
}

fn ticks(folder: &std::path::Path, word: &str) -> usize {
    let text = std::fs::read_to_string(folder.join("ticks")).unwrap_or_default();
    text.lines().filter(|line| line.starts_with(word)).count()
}

async fn job(app: &App, name: &str) -> Value {
    app.status().await.unwrap_or_default()["jobs"][name].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_dynos_do_a_job_once_and_make_up_for_what_was_missed() {
    let folder = tempfile::tempdir().expect("a folder");
    // Each dyno has a user of its own.
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).expect("opened");
    let sim = sim::simulator();
    let database = postgres::database().await;
    let slug = Slug::blacksky(&file(folder.path()), &sim.url())
        .database(&database)
        .env("BLACKSKY_ADMIN_TOKEN", TOKEN)
        .env("BLACKSKY_LEASE_TTL", "2s");
    let app = App::start(slug, 1).await;
    app.until_up().await;
    eventually("the jobs are known", PATIENCE, async || job(&app, "tick").await["next_at"].is_string()).await;
    let kolkata = job(&app, "missed").await;
    assert!(kolkata["next_at"].as_str().is_some_and(|at| at.contains("-12-31T18:30")), "{kolkata}");
    assert_eq!(kolkata["runs"], Value::Array(Vec::new()), "a new job has missed nothing");
    assert_eq!(job(&app, "fails").await["next_at"], Value::Null);

    // By hand, from the page: only with the token, and only from our own page.
    let url = app.router().url("/jobs/fails/run");
    let refused = http::client().post(&url).send().await.expect("an answer");
    assert_eq!(refused.status(), 403);
    let missing = http::client().post(app.router().url("/jobs/none/run")).bearer_auth(TOKEN).send().await;
    assert_eq!(missing.expect("an answer").status(), 404);
    let taken = http::client().post(&url).bearer_auth(TOKEN).send().await.expect("an answer");
    assert_eq!(taken.status(), 202);
    eventually("it has failed", PATIENCE, async || {
        job(&app, "fails").await["runs"][0]["outcome"] == "failed"
    })
    .await;
    let failed = job(&app, "fails").await;
    let run = &failed["runs"][0];
    assert_eq!(
        (&run["detail"], &run["asked"]),
        (&Value::from("exit code 3"), &Value::from(true)),
        "{failed}"
    );
    assert!(!failed.to_string().contains("broken"), "what it wrote is for admins: {failed}");
    let page = http::client().get(app.router().url("/")).bearer_auth(TOKEN).send().await.expect("an answer");
    let page = page.text().await.expect("a text");
    assert!(page.contains("it is broken\ntoken none") && page.contains("Run now"), "{page}");
    let public = http::client().get(app.router().url("/")).send().await.expect("an answer");
    let public = public.text().await.expect("a text");
    assert!(
        public.contains("exit code 3") && !public.contains("it is broken") && !public.contains("Run now")
    );

    // As after an absence of years: both are known since long, were never done, and were due since.
    let mut connection = PgConnection::connect(&database).await.expect("connects");
    sqlx::query(
        "INSERT INTO blacksky.job_run (app, job, due_at, asked, owner, started_at, ended_at, outcome)
         SELECT app, 'skips', 1000000, false, '', 1000000, 1000000, 'known'
         FROM blacksky.job_run WHERE job = 'missed'",
    )
    .execute(&mut connection)
    .await
    .expect("writes");
    let known = sqlx::query("UPDATE blacksky.job_run SET due_at = 1000000 WHERE job = 'missed'")
        .execute(&mut connection)
        .await
        .expect("writes");
    assert_eq!(known.rows_affected(), 1, "the job was written down when it was first seen");
    // The machine goes in the middle of a run.
    let taken = http::client().post(app.router().url("/jobs/cut/run")).bearer_auth(TOKEN).send().await;
    assert_eq!(taken.expect("an answer").status(), 202);
    eventually("it has begun", PATIENCE, async || ticks(folder.path(), "cut") == 1).await;
    let killed = app.dyno("web.1");
    killed.kill();
    killed.ended(PATIENCE).await;
    app.scale(2);
    eventually("it is made up for", PATIENCE, async || {
        job(&app, "missed").await["runs"][0]["outcome"] == "ok"
    })
    .await;
    eventually("every dyno says so", PATIENCE, async || {
        let mut told = Vec::new();
        for dyno in app.dynos() {
            let status = dyno.status().await.unwrap_or_default();
            told.push(status["jobs"]["missed"]["runs"][0]["due_at"].as_str().unwrap_or_default().to_owned());
        }
        told.len() == 2 && told.iter().all(|due| due.contains("-12-31T18:30"))
    })
    .await;
    assert_eq!((ticks(folder.path(), "missed"), ticks(folder.path(), "skips")), (1, 0));

    // By the clock, with two dynos.
    let before = ticks(folder.path(), "tick");
    eventually("the clock", A_MINUTE * 2, async || ticks(folder.path(), "tick tick") >= before + 2).await;
    let done = job(&app, "tick").await;
    let runs = done["runs"].as_array().cloned().unwrap_or_default();
    assert!(runs.iter().all(|run| run["asked"] == false), "{done}");
    // Two dynos woke for each of them.
    let rows: Vec<(i64, Option<String>, String)> = sqlx::query_as(
        "SELECT due_at, outcome, detail FROM blacksky.job_run WHERE job = 'tick' AND outcome <> 'known'
         ORDER BY due_at",
    )
    .fetch_all(&mut connection)
    .await
    .expect("reads");
    assert_eq!(rows.len(), ticks(folder.path(), "tick"), "each due time once: {rows:?}");

    // What was cut off is told, and not done again.
    eventually("it was interrupted", A_MINUTE * 2, async || {
        let cut = job(&app, "cut").await;
        cut["runs"][0]["outcome"] == "interrupted" && cut["runs"][0]["detail"] == "its process was killed"
    })
    .await;
    assert_eq!(ticks(folder.path(), "cut"), 1);

    // One that runs when blacksky stops is ended with it.
    let taken = http::client().post(app.router().url("/jobs/long/run")).bearer_auth(TOKEN).send().await;
    assert_eq!(taken.expect("an answer").status(), 202);
    eventually("it has begun", PATIENCE, async || ticks(folder.path(), "begun") == 1).await;
    assert!(app.shut_down().await.iter().all(|end| end.status.success()));
    let outcome: Option<String> =
        sqlx::query_scalar("SELECT outcome FROM blacksky.job_run WHERE job = 'long'")
            .fetch_one(&mut connection)
            .await
            .expect("reads");
    assert_eq!(outcome.as_deref(), Some("interrupted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_done_from_the_command_line() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("blacksky.toml"), file(folder.path())).expect("written");
    let run = |arguments: &[&str]| {
        let command = Blacksky::in_folder(folder.path());
        arguments.iter().fold(command, |command, argument| command.arg(*argument)).output()
    };
    let (code, out, err) = run(&["job", "list"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("tick") && out.contains("Asia/Kolkata") && out.contains("never"), "{out}");
    let (code, out, err) = run(&["job", "run", "tick"]);
    assert_eq!((code, out.trim()), (0, "tick: ok (exit code 0)"), "{err}");
    assert_eq!(ticks(folder.path(), "tick tick"), 1);
    let (code, out, _) = run(&["job", "run", "fails"]);
    assert_eq!(code, 1);
    assert!(out.contains("it is broken") && out.contains("fails: failed (exit code 3)"), "{out}");
    let (code, out, err) = run(&["job", "run", "saved"]);
    assert_eq!(code, 0, "{out} {err}");
    let (code, out, _) = run(&["job", "list", "--json"]);
    let jobs: Value = serde_json::from_str(&out).expect("JSON");
    let of =
        |name: &str| jobs.as_array().and_then(|jobs| jobs.iter().find(|job| job["name"] == name).cloned());
    assert_eq!(code, 0);
    assert_eq!(of("fails").expect("listed")["last_outcome"], "failed");
    assert_eq!(of("missed").expect("listed")["last_outcome"], Value::Null);
    let (code, _, err) = run(&["job", "run", "tock"]);
    assert_eq!(code, 64);
    assert!(err.contains("there is no job \"tock\"") && err.contains("tick"), "{err}");
}
