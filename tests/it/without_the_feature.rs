//! A build without the feature `simulator` checks WhatsApp's certificate chain, so the simulator is refused.

use std::time::Duration;

use crate::support::blacksky::Blacksky;
use crate::support::eventually::eventually;
use crate::support::sim;

#[tokio::test(flavor = "multi_thread")]
async fn the_simulators_certificate_is_refused() {
    let sim = sim::simulator();
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("blacksky.toml"), "").expect("written");
    // What the client library says of a failed attempt is in the log at this level only.
    let process = Blacksky::in_folder(folder.path()).env("DEBUG", "true").run(&sim.url());
    let phone = sim.handle();
    phone
        .wait_for_counters("a dial", Duration::from_secs(20), |counters| counters.dials > 0)
        .await
        .expect("the binary dials");
    process.until("backing_off", Duration::from_secs(20)).await;
    eventually("the log names the certificate", Duration::from_secs(20), async || {
        process.log().to_lowercase().contains("certificate")
    })
    .await;
    let counters = phone.counters();
    assert_eq!((counters.registrations, counters.logins), (0, 0), "{}", process.log());
    assert_eq!(process.status().await.unwrap_or_default()["simulator"], serde_json::Value::Null);
}
