//! Copies of a session, and sessions from copies.

use blacksky::config::WaVersion;
use blacksky::store::{InboxMessage, SessionCopy, SessionStore, Store, StoreError};
use chrono::DateTime;
use wacore::store::Device;
use wacore::store::traits::{DeviceStore, SignalStore};

use super::{Bench, lease, on_both, owner};

on_both!(
    a_copy_is_of_what_was_there,
    there_is_no_copy_of_nothing,
    an_unchanged_session_has_the_same_digest,
    a_restored_copy_is_the_session,
    a_restored_copy_fences_older_handles,
    received_messages_stay_known_when_an_older_copy_is_restored,
    messages_of_another_account_do_not_come_along,
    a_copy_of_another_session_is_refused,
    a_lost_lease_restores_nothing,
    a_damaged_row_of_a_peer_is_left_out,
    a_session_that_cannot_be_read_is_not_copied,
);

const PEER: &str = "1@s.whatsapp.net";

fn message(id: &str) -> InboxMessage {
    InboxMessage {
        chat: "c".into(),
        sender: "s".into(),
        id: id.into(),
        at: DateTime::from_timestamp(1, 5000).expect("a time"),
        push_name: "Ann".into(),
        text: format!("text {id}"),
    }
}

/// A session as a linked device of `account` leaves it.
async fn fill(session: &SessionStore, account: &str) {
    let device =
        Device { pn: Some(format!("{account}:3@s.whatsapp.net").parse().expect("a jid")), ..Device::new() };
    session.save(&device).await.expect("saves");
    session.put_session(PEER, b"ratchet").await.expect("writes");
    session
        .store_prekeys_batch(&[(1, vec![1; 40].into()), (2, vec![2; 40].into())], true)
        .await
        .expect("writes");
    session.put_wa_version(WaVersion(2, 3000, 17)).await.expect("writes");
    session.put_inbox(&[message("1"), message("2"), message("3")]).await.expect("writes");
    session.mark_handled("c", "s", "1").await.expect("marks");
}

async fn copy(store: &Store) -> SessionCopy {
    store.copy("main").await.expect("copies").expect("there is a session")
}

async fn ids(session: &SessionStore) -> Vec<String> {
    session.unhandled(10).await.expect("reads").into_iter().map(|message| message.id).collect()
}

async fn a_copy_is_of_what_was_there(bench: &Bench) {
    let store = bench.open().await;
    let session = store.session(&lease(&store, "a").await);
    fill(&session, "4915100000001").await;
    // Anyone may copy, without a lease.
    let copy = copy(&bench.open().await).await;
    assert_eq!(copy.header.session, "main");
    assert_eq!(copy.header.wa_version, Some(WaVersion(2, 3000, 17)));
    assert_eq!(copy.rows(), 4 + 2, "device, ratchet, pre-keys; messages not yet handled");
    assert!(copy.is_linked());
    assert_eq!(SessionCopy::decode(&copy.encode()), Ok(copy));
}

async fn there_is_no_copy_of_nothing(bench: &Bench) {
    let store = bench.open().await;
    assert_eq!(store.copy("main").await.expect("reads"), None);
    let held = lease(&store, "a").await;
    let empty = copy(&store).await;
    assert!(empty.is_empty() && !empty.is_linked());
    assert!(matches!(store.restore(&held, &empty).await, Err(StoreError::Refused { .. })));
}

async fn an_unchanged_session_has_the_same_digest(bench: &Bench) {
    let store = bench.open().await;
    let held = lease(&store, "a").await;
    fill(&store.session(&held), "4915100000001").await;
    let first = copy(&store).await;
    // Written anew with the same content: sealed differently, but the same.
    store.session(&held).put_session(PEER, b"ratchet").await.expect("writes");
    let second = copy(&store).await;
    assert_eq!(first.digest(), second.digest());
    store.restore(&held, &second).await.expect("restores");
    assert_eq!(copy(&store).await.digest(), first.digest(), "a restored session is what it was");
    store.session(&held).put_session(PEER, b"moved").await.expect("writes");
    assert_ne!(copy(&store).await.digest(), first.digest());
}

async fn a_restored_copy_is_the_session(bench: &Bench) {
    let store = bench.open().await;
    fill(&store.session(&lease(&store, "a").await), "4915100000001").await;
    let carried = copy(&store).await.encode();

    // To another kind of database, another key, another id.
    for other in [Bench::sqlite().await, Bench::postgres().await] {
        let other = other.open_with_key(Some("fedcba9876543210fedcba9876543210")).await;
        let held = other.acquire("elsewhere", &owner("b"), super::TTL).await.expect("wins");
        let copy = SessionCopy::decode(&carried).expect("decodes").renamed("elsewhere");
        other.restore(&held, &copy).await.expect("restores");
        let session = other.session(&held);
        let device = session.load().await.expect("reads").expect("a device");
        assert_eq!(device.pn.expect("linked").user, "4915100000001");
        assert_eq!(session.get_session(PEER).await.expect("reads").as_deref(), Some(&b"ratchet"[..]));
        assert_eq!(session.get_max_prekey_id().await.expect("reads"), 2);
        assert_eq!(session.wa_version().await.expect("reads"), Some(WaVersion(2, 3000, 17)));
        assert_eq!(ids(&session).await, ["2", "3"]);
        session.put_session(PEER, b"goes on").await.expect("writes");
        assert_eq!(other.copy("elsewhere").await.expect("copies").expect("there").rows(), 6);
    }
}

async fn a_restored_copy_fences_older_handles(bench: &Bench) {
    let store = bench.open().await;
    let held = lease(&store, "a").await;
    let before = store.session(&held);
    fill(&before, "4915100000001").await;
    let copy = copy(&store).await;
    before.put_session(PEER, b"later").await.expect("writes");
    store.restore(&held, &copy).await.expect("restores");
    let error = before.put_session(PEER, b"too late").await.expect_err("is fenced");
    assert!(matches!(StoreError::within(&error), Some(StoreError::Fenced)), "{error:?}");
    let after = store.session(&held);
    assert_eq!(after.get_session(PEER).await.expect("reads").as_deref(), Some(&b"ratchet"[..]));
    // The one before is archived, not gone.
    assert_eq!(bench.meddle("UPDATE {}session_row SET at = at WHERE kind = 3").await, 2);
    assert_eq!(
        bench.meddle("UPDATE {}generation SET session = session WHERE archived_at IS NOT NULL").await,
        1
    );
}

async fn received_messages_stay_known_when_an_older_copy_is_restored(bench: &Bench) {
    let store = bench.open().await;
    let held = lease(&store, "a").await;
    let session = store.session(&held);
    fill(&session, "4915100000001").await;
    let copy = copy(&store).await;
    session.mark_handled("c", "s", "2").await.expect("marks");
    session.put_inbox(&[message("4")]).await.expect("writes");
    store.restore(&held, &copy).await.expect("restores");
    let session = store.session(&held);
    assert_eq!(ids(&session).await, ["3", "4"], "2 was answered, 4 came after the copy");
    assert_eq!(session.put_inbox(&[message("1"), message("2")]).await.expect("writes"), 0);
}

async fn messages_of_another_account_do_not_come_along(bench: &Bench) {
    let store = bench.open().await;
    let held = lease(&store, "a").await;
    fill(&store.session(&held), "4915100000001").await;
    let copy = copy(&store).await;
    let session = store.session(&held);
    session.archive().await.expect("archives");
    let session = store.session(&held);
    fill(&session, "4915100000002").await;
    session.put_inbox(&[message("theirs")]).await.expect("writes");
    store.restore(&held, &copy).await.expect("restores");
    assert_eq!(ids(&store.session(&held)).await, ["2", "3"]);
}

async fn a_copy_of_another_session_is_refused(bench: &Bench) {
    let store = bench.open().await;
    let held = lease(&store, "a").await;
    fill(&store.session(&held), "4915100000001").await;
    let copy = copy(&store).await;
    let other = store.acquire("other", &owner("a"), super::TTL).await.expect("wins");
    let error = store.restore(&other, &copy).await.expect_err("is refused");
    assert!(error.to_string().contains("\"main\", not of \"other\""), "{error}");
    assert!(!store.session(&other).exists().await.expect("reads"));
}

async fn a_lost_lease_restores_nothing(bench: &Bench) {
    let store = bench.open().await;
    let held = lease(&store, "a").await;
    fill(&store.session(&held), "4915100000001").await;
    let copy = copy(&store).await;
    bench.meddle("UPDATE {}session SET epoch = epoch + 1").await;
    assert!(matches!(store.restore(&held, &copy).await, Err(StoreError::Fenced)));
    assert_eq!(bench.meddle("UPDATE {}session_row SET at = at WHERE kind = 3").await, 1);
    assert_eq!(bench.meddle("UPDATE {}generation SET session = session").await, 1);
}

async fn a_damaged_row_of_a_peer_is_left_out(bench: &Bench) {
    let store = bench.open().await;
    let held = lease(&store, "a").await;
    fill(&store.session(&held), "4915100000001").await;
    let whole = copy(&store).await;
    bench.meddle("UPDATE {}session_row SET sub = key WHERE kind = 3").await;
    let copy = copy(&store).await;
    assert_eq!(copy.rows(), whole.rows() - 1);
    assert!(copy.is_linked());
}

async fn a_session_that_cannot_be_read_is_not_copied(bench: &Bench) {
    let store = bench.open().await;
    let held = lease(&store, "a").await;
    fill(&store.session(&held), "4915100000001").await;
    let copy = copy(&store).await;
    let lost_key = bench.open_with_key(None).await;
    let error = lost_key.copy("main").await.expect_err("cannot be opened");
    assert!(
        matches!(&error, StoreError::Unreadable { problem, .. } if problem.contains("BLACKSKY_SECRET_KEY"))
    );
    bench.meddle("UPDATE {}session_row SET value = key WHERE kind = 1").await;
    let error = store.copy("main").await.expect_err("the device is damaged");
    assert!(matches!(&error, StoreError::Unreadable { what, .. } if what == "the stored device"), "{error}");
    // What a copy is for.
    store.restore(&held, &copy).await.expect("restores");
    assert!(store.session(&held).exists().await.expect("reads"));
}
