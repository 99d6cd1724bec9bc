//! schemathesis holds the API against its own document: whatever the document allows is taken, whatever it does not is
//! refused, and every answer has the shape it says.
//!
//! `BLACKSKY_SCHEMA_EXAMPLES=200 cargo test --features simulator --test it api_schema -- --nocapture` asks more.

use std::process::{Command, Stdio};

use crate::api::{TOKEN, start};
use crate::support::python;
use crate::support::sim::simulator;

#[tokio::test(flavor = "multi_thread")]
async fn the_api_is_as_its_document_says() {
    let (sim, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let process = start(&sim, folder.path()).await;
    let asked = std::env::var_os("BLACKSKY_SCHEMA_EXAMPLES").and_then(|value| value.into_string().ok());
    let examples = asked.unwrap_or_else(|| "12".to_owned());
    // What a file must be, and whether an address has one, no schema can say: of sending, only that it refuses what it
    // must, and the shapes.
    let send = "/bots/{bot}/messages";
    let passes: [(&[&str], &str); 2] = [
        (&["--exclude-path", send, "--exclude-checks", "ignored_auth"], "13"),
        (&["--include-path", send, "--exclude-checks", "ignored_auth,positive_data_acceptance"], "1"),
    ];
    for (which, count) in passes {
        let url = process.url("/api/v1/openapi.json");
        let mut command = Command::new(python::interpreter());
        command
            .args(["-m", "schemathesis.cli", "run", &url, "-H", &format!("Authorization: Bearer {TOKEN}")])
            // Wrong tokens slow the right one down, as they should; the stream is no plain request. Both have
            // tests of their own.
            .args(["--exclude-path", "/bots/{bot}/events"])
            .args(which)
            .args(["--phases", "examples,coverage,fuzzing", "--max-examples", &examples, "--seed", "1"])
            .args(["--request-timeout", "40", "--continue-on-failure", "--generation-database", "none"])
            .current_dir(folder.path())
            .stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output().expect("Python starts")).await;
        let output = output.expect("no panic");
        let said = String::from_utf8_lossy(&output.stdout);
        println!("{said}");
        assert!(
            output.status.success(),
            "{said}\n{}\n{}",
            String::from_utf8_lossy(&output.stderr),
            process.log()
        );
        assert!(said.contains(&format!("Tested: {count}")), "it asked less than all:\n{said}");
    }
    // Nothing of it brought the bot down.
    assert_eq!(process.state().await, "open", "{}", process.log());
}
