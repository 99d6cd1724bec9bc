//! The secret key is changed, set later, lost and found again, with the real program.

use std::time::Duration;

use crate::support::blacksky::Process;
use crate::support::eventually::eventually;
use crate::support::sim::PATIENCE;
use crate::support::stage::{FRIEND, PHONE, Stage, stop};

const OLD: &str = "the old secret key of this test";
const NEW: &str = "the new secret key of this test";

async fn sealing(
    process: &Process,
    what: &str,
    wanted: impl Fn(&serde_json::Value) -> bool,
) -> serde_json::Value {
    let mut last = serde_json::Value::Null;
    eventually(what, Duration::from_secs(60), async || {
        last = process.status().await.unwrap_or_default()["sealing"].clone();
        wanted(&last)
    })
    .await;
    last
}

/// The first byte and the key's id of each value that is not empty.
fn prefixes(values: &[(String, Vec<u8>)]) -> std::collections::BTreeSet<Vec<u8>> {
    values
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(_, value)| value[..9.min(value.len())].to_vec())
        .collect()
}

async fn a_key_is_changed(stage: Stage) {
    stage.link(Some(OLD)).await;
    let old = prefixes(&stage.values().await);
    assert_eq!(old.len(), 1);

    let process = stage.start(Some(&format!("{NEW}, {OLD}")));
    stage.works(&process, "between").await;
    let said =
        sealing(&process, "the old key to be free", |sealing| sealing["old_keys_removable"] == true).await;
    assert_eq!((&said["left"], &said["unreadable"]), (&0.into(), &0.into()), "{said}");
    let new = prefixes(&stage.values().await);
    assert!(new.len() == 1 && new.is_disjoint(&old), "{new:?} {old:?}");
    assert!(process.log().contains("the old key can be removed"), "{}", process.log());
    let status = process.status().await.expect("a status");
    assert!(
        status["database"]["warning"].as_str().unwrap_or_default().contains("can be removed"),
        "{status}"
    );
    stage.works(&process, "after").await;
    for secret in [OLD, NEW] {
        assert!(!process.log().contains(secret) && !status.to_string().contains(secret));
    }
    stop(process).await;

    let process = stage.start(Some(NEW));
    stage.works(&process, "last").await;
    stop(process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_changed_in_postgresql() {
    a_key_is_changed(Stage::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_changed_in_sqlite() {
    a_key_is_changed(Stage::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_set_later_seals_what_is_there() {
    let stage = Stage::postgres().await;
    stage.link(None).await;
    assert!(prefixes(&stage.values().await).iter().all(|prefix| prefix[0] == 0));
    let process = stage.start(Some(NEW));
    stage.works(&process, "second").await;
    let said = sealing(&process, "all to be sealed", |sealing| sealing["left"] == 0).await;
    assert_eq!(said["old_keys"], serde_json::json!([]));
    let now = prefixes(&stage.values().await);
    assert!(now.len() == 1 && now.iter().all(|prefix| prefix[0] == 1), "{now:?}");
    stop(process).await;
    let process = stage.start(Some(NEW));
    stage.works(&process, "third").await;
    stop(process).await;
}

/// With `wrong` in place of the right key: parked, said, nothing changed; then the right one again.
async fn a_key_is_lost(stage: Stage, wrong: Option<&str>) {
    stage.link(Some(OLD)).await;
    let before = stage.values().await;
    let process = stage.start(wrong);
    process.until("parked", PATIENCE).await;
    let status = process.status().await.expect("a status");
    let bot = &status["bots"]["main"];
    assert_eq!(bot["reason"], "session_unreadable", "{bot}");
    // The id of the key that is wanted is in front of each value.
    let id: String = before[0].1[1..9].iter().map(|byte| format!("{byte:02x}")).collect();
    let advice = bot["advice"].as_str().unwrap_or_default().to_owned();
    let log = process.log();
    for text in [&advice, &log] {
        assert!(text.contains("BLACKSKY_SECRET_KEY") && text.contains(&id), "no {id} in {text}");
        assert!(!text.contains(OLD) && wrong.is_none_or(|wrong| !text.contains(wrong)), "{text}");
    }
    // A message that comes now is WhatsApp's to keep.
    stage.sim.handle().send_text(FRIEND, PHONE, "!ping meanwhile").expect("sent");
    assert_eq!(process.qr().await, None);
    stop(process).await;
    assert!(before == stage.values().await, "something was written");

    let process = stage.start(Some(OLD));
    stage.works(&process, "again").await;
    stage.sim.handle().wait_for_text(FRIEND, "pong meanwhile", PATIENCE).await.expect("an answer");
    stop(process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_parks_the_bot_and_changes_nothing() {
    a_key_is_lost(Stage::postgres().await, Some(NEW)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_key_parks_the_bot_and_changes_nothing() {
    a_key_is_lost(Stage::sqlite(), None).await;
}
