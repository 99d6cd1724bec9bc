//! whatsapp-rust's `Backend`: one suite over our two stores and whatsapp-rust's own two.
//!
//! Where whatsapp-rust's two differ, ours do:
//!
//! | what | in memory | its SQLite | ours |
//! |---|---|---|---|
//! | latest app-state key | stored last | highest id | stored last |
//! | LID of a number that moved on | forgotten, even when another LID had it before | the most recent other | the most recent other |
//! | creation time of a mapping stored again | replaced | kept | kept |
//! | mapping before there is a device | taken | refused | taken |

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use wacore::appstate::hash::HashState;
use wacore::appstate::processor::AppStateMutationMAC;
use wacore::store::device::{CachedNoiseCert, CachedServerCertChain};
use wacore::store::traits::{
    AppStateSyncKey, Backend, DeviceInfo, DeviceListRecord, LidPnMappingEntry, MsgSecretEntry,
    PendingInboundKey, PendingInboundRow, TcTokenEntry,
};
use wacore::store::{Device, InMemoryBackend};

use super::{Bench, lease};

/// Runs each function on all four back-ends.
macro_rules! on_all {
    ($($name:ident),* $(,)?) => {
        mod ours_on_postgres {
            $(#[tokio::test]
            async fn $name() {
                super::ours(super::Bench::postgres().await, super::$name).await;
            })*
        }
        mod ours_on_sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::ours(super::Bench::sqlite().await, super::$name).await;
            })*
        }
        mod theirs_in_memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(std::sync::Arc::new(super::InMemoryBackend::new())).await;
            })*
        }
        mod theirs_on_sqlite {
            $(#[tokio::test]
            async fn $name() {
                let folder = tempfile::tempdir().expect("a folder");
                let path = folder.path().join("theirs.db");
                let path = path.display().to_string();
                let store = whatsapp_rust_sqlite_storage::SqliteStore::new(&path).await.expect("opens");
                super::$name(std::sync::Arc::new(store)).await;
            })*
        }
    };
}

on_all!(
    identities,
    sessions,
    signal_state_of_a_user,
    pre_keys,
    signed_pre_keys,
    sender_keys,
    sync_keys_and_versions,
    mutation_macs,
    devices_with_our_sender_key,
    lid_mappings,
    base_keys,
    device_lists,
    group_metadata,
    contact_tokens,
    stale_contact_tokens,
    sent_messages,
    pending_inbound,
    message_secrets,
    the_device,
    batches_with_nothing_in_them,
    large_batches,
);

async fn ours<F: Future<Output = ()>>(bench: Bench, test: impl FnOnce(Arc<dyn Backend>) -> F) {
    let store = bench.open().await;
    let session = store.session(&lease(&store, "a").await);
    test(Arc::new(session)).await;
    store.close().await;
}

fn arc(text: &str) -> Arc<str> {
    Arc::from(text)
}

async fn identities(backend: Arc<dyn Backend>) {
    assert_eq!(backend.load_identity("1@s").await.unwrap(), None);
    backend.put_identity("1@s", [1; 32]).await.unwrap();
    backend.put_identities_batch(&[(arc("1@s"), [2; 32]), (arc("2@s"), [3; 32])]).await.unwrap();
    assert_eq!(backend.load_identity("1@s").await.unwrap(), Some([2; 32]));
    assert_eq!(backend.load_identity("2@s").await.unwrap(), Some([3; 32]));
    backend.delete_identity("1@s").await.unwrap();
    backend.delete_identity("1@s").await.unwrap();
    assert_eq!(backend.load_identity("1@s").await.unwrap(), None);
}

async fn sessions(backend: Arc<dyn Backend>) {
    assert!(!backend.has_session("1@s").await.unwrap());
    backend.put_session("1@s", b"one").await.unwrap();
    let batch = [(arc("1@s"), Bytes::from_static(b"one again")), (arc("2:3@s"), Bytes::from_static(b"two"))];
    backend.put_sessions_batch(&batch).await.unwrap();
    assert_eq!(backend.get_session("1@s").await.unwrap(), Some(Bytes::from_static(b"one again")));
    assert_eq!(backend.get_session("2:3@s").await.unwrap(), Some(Bytes::from_static(b"two")));
    assert!(backend.has_session("2:3@s").await.unwrap());
    // Of two of one name in a batch the last counts.
    let twice = [(arc("1@s"), Bytes::from_static(b"x")), (arc("1@s"), Bytes::from_static(b"y"))];
    backend.put_sessions_batch(&twice).await.unwrap();
    assert_eq!(backend.get_session("1@s").await.unwrap(), Some(Bytes::from_static(b"y")));
    backend.delete_session("1@s").await.unwrap();
    assert_eq!(backend.get_session("1@s").await.unwrap(), None);
    backend.put_session("3@s", b"").await.unwrap();
    assert_eq!(backend.get_session("3@s").await.unwrap(), Some(Bytes::new()));
}

async fn signal_state_of_a_user(backend: Arc<dyn Backend>) {
    backend.put_session("1555:3@s.whatsapp.net", b"s").await.unwrap();
    backend.put_identity("1777@lid", [1; 32]).await.unwrap();
    for (user, known) in [("1555", true), ("1777", true), ("155", false), ("15555", false), ("", false)] {
        assert_eq!(backend.has_signal_state_for_user(user).await.unwrap(), known, "{user}");
    }
    backend.delete_session("1555:3@s.whatsapp.net").await.unwrap();
    assert!(!backend.has_signal_state_for_user("1555").await.unwrap());
}

async fn pre_keys(backend: Arc<dyn Backend>) {
    assert_eq!(backend.get_max_prekey_id().await.unwrap(), 0);
    backend.store_prekey(7, b"seven", false).await.unwrap();
    let batch: Vec<(u32, Bytes)> = (250..260).map(|id| (id, Bytes::from(vec![id as u8; 3]))).collect();
    backend.store_prekeys_batch(&batch, false).await.unwrap();
    assert_eq!(backend.get_max_prekey_id().await.unwrap(), 259);
    assert_eq!(backend.load_prekey(7).await.unwrap(), Some(Bytes::from_static(b"seven")));
    let found = backend.load_prekeys_batch(&[7, 8, 255]).await.unwrap();
    let found: BTreeSet<(u32, Bytes)> = found.into_iter().collect();
    assert_eq!(found, BTreeSet::from([(7, Bytes::from_static(b"seven")), (255, Bytes::from(vec![255; 3]))]));
    backend.remove_prekey(7).await.unwrap();
    // A key that was used meanwhile stays used.
    backend.mark_prekeys_uploaded(&[7, 255]).await.unwrap();
    assert_eq!(backend.load_prekey(7).await.unwrap(), None);
    assert_eq!(backend.load_prekey(255).await.unwrap(), Some(Bytes::from(vec![255; 3])));
    backend.store_prekey(255, b"other", true).await.unwrap();
    assert_eq!(backend.load_prekey(255).await.unwrap(), Some(Bytes::from_static(b"other")));
}

async fn signed_pre_keys(backend: Arc<dyn Backend>) {
    backend.store_signed_prekey(1, b"a").await.unwrap();
    backend.store_signed_prekey(2, b"b").await.unwrap();
    backend.store_signed_prekey(1, b"c").await.unwrap();
    let all: BTreeSet<(u32, Vec<u8>)> =
        backend.load_all_signed_prekeys().await.unwrap().into_iter().collect();
    assert_eq!(all, BTreeSet::from([(1, b"c".to_vec()), (2, b"b".to_vec())]));
    backend.remove_signed_prekey(1).await.unwrap();
    assert_eq!(backend.load_signed_prekey(1).await.unwrap(), None);
    assert_eq!(backend.load_signed_prekey(2).await.unwrap(), Some(b"b".to_vec()));
}

async fn sender_keys(backend: Arc<dyn Backend>) {
    backend.put_sender_key("g::1", b"a").await.unwrap();
    let batch = [(arc("g::1"), Bytes::from_static(b"b")), (arc("g::2"), Bytes::from_static(b"c"))];
    backend.put_sender_keys_batch(&batch).await.unwrap();
    assert_eq!(backend.get_sender_key("g::1").await.unwrap(), Some(b"b".to_vec()));
    backend.delete_sender_key("g::1").await.unwrap();
    assert_eq!(backend.get_sender_key("g::1").await.unwrap(), None);
    assert_eq!(backend.get_sender_key("g::2").await.unwrap(), Some(b"c".to_vec()));
}

async fn sync_keys_and_versions(backend: Arc<dyn Backend>) {
    assert_eq!(backend.get_latest_sync_key_id().await.unwrap(), None);
    let key = |byte: u8| AppStateSyncKey {
        key_data: vec![byte; 32],
        fingerprint: vec![byte, 0, 255],
        timestamp: i64::from(byte),
    };
    backend.set_sync_key(&[0, 1], key(1)).await.unwrap();
    backend.set_sync_key(&[0, 2], key(2)).await.unwrap();
    let got = backend.get_sync_key(&[0, 1]).await.unwrap().expect("is there");
    assert_eq!((got.key_data, got.fingerprint, got.timestamp), (vec![1; 32], vec![1, 0, 255], 1));
    assert!(backend.get_sync_key(&[9]).await.unwrap().is_none());
    assert_eq!(backend.get_latest_sync_key_id().await.unwrap(), Some(vec![0, 2]));

    let none = backend.get_version("regular").await.unwrap();
    assert_eq!((none.version, none.hash), (0, [0; 128]));
    let mut state = HashState { version: u64::from(u32::MAX) + 1, hash: [7; 128], ..HashState::default() };
    state.index_value_map.insert("i".into(), vec![1, 2]);
    state.mac_mismatch_fatal = true;
    backend.set_version("regular", state).await.unwrap();
    let got = backend.get_version("regular").await.unwrap();
    assert_eq!((got.version, got.hash), (u64::from(u32::MAX) + 1, [7; 128]));
    assert_eq!(got.index_value_map.get("i"), Some(&vec![1, 2]));
    assert!(got.mac_mismatch_fatal);
}

async fn mutation_macs(backend: Arc<dyn Backend>) {
    let mac =
        |index: u8, value: u8| AppStateMutationMAC { index_mac: vec![index; 32], value_mac: vec![value; 32] };
    backend.put_mutation_macs("regular", 1, &[mac(1, 10), mac(2, 20)]).await.unwrap();
    backend.put_mutation_macs("critical", 1, &[mac(1, 11)]).await.unwrap();
    backend.put_mutation_macs("regular", 2, &[mac(2, 21)]).await.unwrap();
    assert_eq!(backend.get_mutation_mac("regular", &[2; 32]).await.unwrap(), Some(vec![21; 32]));
    let found = backend.get_mutation_macs("regular", &[[1; 32], [2; 32], [3; 32]]).await.unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found.get(&[1; 32]), Some(&vec![10; 32]));
    backend.delete_mutation_macs("regular", &[vec![1; 32], vec![9; 32]]).await.unwrap();
    assert_eq!(backend.get_mutation_mac("regular", &[1; 32]).await.unwrap(), None);
    assert_eq!(backend.get_mutation_mac("critical", &[1; 32]).await.unwrap(), Some(vec![11; 32]));
    backend.clear_mutation_macs("regular").await.unwrap();
    assert_eq!(backend.get_mutation_mac("regular", &[2; 32]).await.unwrap(), None);
    assert_eq!(backend.get_mutation_mac("critical", &[1; 32]).await.unwrap(), Some(vec![11; 32]));
}

async fn devices_with_our_sender_key(backend: Arc<dyn Backend>) {
    let get = async |group: &str| -> BTreeSet<(String, bool)> {
        backend.get_sender_key_devices(group).await.unwrap().into_iter().collect()
    };
    let set = |entries: &[(&str, bool)]| -> BTreeSet<(String, bool)> {
        entries.iter().map(|(device, has)| ((*device).to_owned(), *has)).collect()
    };
    backend.set_sender_key_status("g1", &[("a", true), ("b", false)]).await.unwrap();
    backend.set_sender_key_status("g1", &[("b", true)]).await.unwrap();
    backend.set_sender_key_status("g2", &[("a", true), ("c", false)]).await.unwrap();
    assert_eq!(get("g1").await, set(&[("a", true), ("b", true)]));
    backend.delete_sender_key_device_rows(&["a", "zz"]).await.unwrap();
    assert_eq!(get("g1").await, set(&[("b", true)]));
    assert_eq!(get("g2").await, set(&[("c", false)]));
    backend.clear_sender_key_devices("g1").await.unwrap();
    assert_eq!(get("g1").await, set(&[]));
    backend.clear_all_sender_key_devices().await.unwrap();
    assert_eq!(get("g2").await, set(&[]));
}

async fn lid_mappings(backend: Arc<dyn Backend>) {
    let entry = |lid: &str, pn: &str, updated_at: i64| LidPnMappingEntry {
        lid: lid.into(),
        phone_number: pn.into(),
        created_at: 5,
        updated_at,
        learning_source: "usync".into(),
    };
    // whatsapp-rust's SQLite refuses a mapping before there is a device.
    backend.create().await.unwrap();
    assert!(backend.get_lid_mapping("L1").await.unwrap().is_none());
    backend.put_lid_mapping(&entry("L1", "P1", 10)).await.unwrap();
    backend.put_lid_mappings(&[entry("L2", "P2", 10), entry("L3", "P1", 20)]).await.unwrap();
    let got = backend.get_lid_mapping("L1").await.unwrap().expect("is there");
    assert_eq!((got.phone_number.as_str(), got.created_at, got.updated_at), ("P1", 5, 10));
    assert_eq!(got.learning_source, "usync");
    assert_eq!(backend.get_pn_mapping("P1").await.unwrap().expect("is there").lid, "L3", "the most recent");
    // A LID that moves to another number leaves the old one.
    backend.put_lid_mappings(&[entry("L2", "P8", 30), entry("L2", "P9", 40)]).await.unwrap();
    assert!(backend.get_pn_mapping("P2").await.unwrap().is_none());
    assert!(backend.get_pn_mapping("P8").await.unwrap().is_none());
    assert_eq!(backend.get_pn_mapping("P9").await.unwrap().expect("is there").lid, "L2");
    assert_eq!(backend.get_lid_mapping("L2").await.unwrap().expect("is there").phone_number, "P9");
    let all = backend.get_all_lid_mappings().await.unwrap();
    let all: BTreeSet<(String, String)> = all.into_iter().map(|e| (e.lid, e.phone_number)).collect();
    let expected = [("L1", "P1"), ("L2", "P9"), ("L3", "P1")];
    assert_eq!(all, expected.iter().map(|(l, p)| ((*l).to_owned(), (*p).to_owned())).collect());
}

async fn base_keys(backend: Arc<dyn Backend>) {
    backend.save_base_key("a", "m", b"key").await.unwrap();
    assert!(backend.has_same_base_key("a", "m", b"key").await.unwrap());
    assert!(!backend.has_same_base_key("a", "m", b"kez").await.unwrap());
    assert!(!backend.has_same_base_key("a", "n", b"key").await.unwrap());
    backend.save_base_key("a", "m", b"other").await.unwrap();
    assert!(backend.has_same_base_key("a", "m", b"other").await.unwrap());
    backend.delete_base_key("a", "m").await.unwrap();
    assert!(!backend.has_same_base_key("a", "m", b"other").await.unwrap());
}

async fn device_lists(backend: Arc<dyn Backend>) {
    let record = |user: &str, devices: &[u32]| DeviceListRecord {
        user: user.into(),
        devices: devices.iter().map(|id| DeviceInfo::new(*id, Some(id + 1)).with_hosting(*id == 9)).collect(),
        timestamp: 77,
        phash: Some("2:abc".into()),
        raw_id: Some(5),
    };
    assert!(backend.get_devices("u").await.unwrap().is_none());
    backend.update_device_list(record("u", &[0, 9])).await.unwrap();
    backend.update_device_lists(vec![record("u", &[0, 1, 9]), record("v", &[])]).await.unwrap();
    let got = backend.get_devices("u").await.unwrap().expect("is there");
    assert_eq!(
        got.devices.iter().map(|d| (d.device_id, d.key_index)).collect::<Vec<_>>(),
        [(0, Some(1)), (1, Some(2)), (9, Some(10))]
    );
    assert!(got.devices[2].is_hosted);
    assert_eq!((got.timestamp, got.phash.as_deref(), got.raw_id), (77, Some("2:abc"), Some(5)));
    assert!(backend.get_devices("v").await.unwrap().expect("is there").devices.is_empty());
    backend.delete_devices("u").await.unwrap();
    assert!(backend.get_devices("u").await.unwrap().is_none());
}

async fn group_metadata(backend: Arc<dyn Backend>) {
    assert_eq!(backend.get_group_metadata("g").await.unwrap(), None);
    backend.put_group_metadata("g", b"one").await.unwrap();
    backend.put_group_metadata("g", b"two").await.unwrap();
    assert_eq!(backend.get_group_metadata("g").await.unwrap(), Some(b"two".to_vec()));
    backend.delete_group_metadata("g").await.unwrap();
    assert_eq!(backend.get_group_metadata("g").await.unwrap(), None);
}

async fn token(backend: &Arc<dyn Backend>, jid: &str) -> Option<(Vec<u8>, i64, Option<i64>)> {
    let entry = backend.get_tc_token(jid).await.unwrap()?;
    Some((entry.token, entry.token_timestamp, entry.sender_timestamp))
}

async fn contact_tokens(backend: Arc<dyn Backend>) {
    assert_eq!(token(&backend, "a").await, None);
    backend.touch_tc_token_sender_timestamp("a", 1000).await.unwrap();
    assert_eq!(token(&backend, "a").await, Some((vec![], 1000, Some(1000))), "a placeholder");
    backend.touch_tc_token_sender_timestamp("a", 500).await.unwrap();
    assert_eq!(token(&backend, "a").await, Some((vec![], 1000, Some(1000))), "it only advances");
    // A placeholder never blocks a token, however old.
    backend.store_received_tc_token("a", &[1], 700).await.unwrap();
    assert_eq!(token(&backend, "a").await, Some((vec![1], 700, Some(1000))));
    backend.store_received_tc_token("a", &[2], 600).await.unwrap();
    assert_eq!(token(&backend, "a").await, Some((vec![1], 700, Some(1000))), "an older one loses");
    backend.store_received_tc_token("a", &[3], 700).await.unwrap();
    assert_eq!(token(&backend, "a").await, Some((vec![3], 700, Some(1000))), "an equally old one wins");
    backend.touch_tc_token_sender_timestamp("a", 2000).await.unwrap();
    assert_eq!(token(&backend, "a").await, Some((vec![3], 700, Some(2000))));
    let entry = TcTokenEntry { token: vec![9], token_timestamp: 1, sender_timestamp: None };
    backend.put_tc_token("a", &entry).await.unwrap();
    assert_eq!(token(&backend, "a").await, Some((vec![9], 1, None)), "put replaces all of it");
    backend.touch_tc_token_sender_timestamp("a", 3).await.unwrap();
    assert_eq!(token(&backend, "a").await, Some((vec![9], 1, Some(3))));
    backend.store_received_tc_token("b", &[4], 5).await.unwrap();
    let jids: BTreeSet<String> = backend.get_all_tc_token_jids().await.unwrap().into_iter().collect();
    assert_eq!(jids, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
    backend.delete_tc_token("a").await.unwrap();
    assert_eq!(token(&backend, "a").await, None);
}

async fn stale_contact_tokens(backend: Arc<dyn Backend>) {
    let put = async |jid: &str, token: &[u8], token_timestamp, sender_timestamp| {
        let entry = TcTokenEntry { token: token.to_vec(), token_timestamp, sender_timestamp };
        backend.put_tc_token(jid, &entry).await.unwrap();
    };
    put("live token", &[1], 1000, None).await;
    put("live sender", &[1], 1, Some(2000)).await;
    put("live placeholder", &[], 1, Some(2500)).await;
    put("stale token", &[1], 999, None).await;
    put("stale both", &[1], 999, Some(1999)).await;
    put("fresh but empty", &[], 5000, Some(1999)).await;
    assert_eq!(backend.delete_expired_tc_tokens(1000, 2000).await.unwrap(), 3);
    let left: BTreeSet<String> = backend.get_all_tc_token_jids().await.unwrap().into_iter().collect();
    let expected = ["live placeholder", "live sender", "live token"];
    assert_eq!(left, expected.iter().map(|jid| (*jid).to_owned()).collect());
}

async fn sent_messages(backend: Arc<dyn Backend>) {
    backend.store_sent_message("c", "1", b"payload").await.unwrap();
    backend.store_sent_message("c", "2", b"other").await.unwrap();
    assert_eq!(backend.take_sent_message("d", "1").await.unwrap(), None);
    assert_eq!(backend.take_sent_message("c", "1").await.unwrap(), Some(b"payload".to_vec()));
    assert_eq!(backend.take_sent_message("c", "1").await.unwrap(), None, "taken once");
    let now = wacore::time::now_secs();
    assert_eq!(backend.delete_expired_sent_messages(now - 100).await.unwrap(), 0);
    assert_eq!(backend.delete_expired_sent_messages(now + 100).await.unwrap(), 1);
    assert_eq!(backend.take_sent_message("c", "2").await.unwrap(), None);
}

async fn pending_inbound(backend: Arc<dyn Backend>) {
    let get = async |chat: &str, sender: &str, id: &str| {
        backend.get_pending_inbound(chat, sender, id).await.unwrap()
    };
    backend.store_pending_inbound("c", "s", "1", b"one").await.unwrap();
    backend.store_pending_inbound("c", "s", "1", b"one again").await.unwrap();
    let rows = [
        PendingInboundRow { chat: "c", sender: "t", id: "1", message: b"of another" },
        PendingInboundRow { chat: "d", sender: "s", id: "1", message: b"elsewhere" },
        PendingInboundRow { chat: "c", sender: "s", id: "2", message: b"two" },
    ];
    backend.store_pending_inbound_batch(&rows).await.unwrap();
    assert_eq!(get("c", "s", "1").await, Some(b"one again".to_vec()));
    assert_eq!(get("c", "t", "1").await, Some(b"of another".to_vec()));
    assert_eq!(get("c", "s", "1").await, Some(b"one again".to_vec()), "reading does not take");
    backend.delete_pending_inbound("c", "s", "1").await.unwrap();
    assert_eq!(get("c", "s", "1").await, None);
    let keys = [
        PendingInboundKey { chat: "c", sender: "t", id: "1" },
        PendingInboundKey { chat: "c", sender: "t", id: "nothing" },
    ];
    backend.delete_pending_inbound_batch(&keys).await.unwrap();
    assert_eq!(get("c", "t", "1").await, None);
    assert_eq!(get("d", "s", "1").await, Some(b"elsewhere".to_vec()));
    let now = wacore::time::now_secs();
    assert_eq!(backend.delete_expired_pending_inbound(now - 100).await.unwrap(), 0);
    assert_eq!(backend.delete_expired_pending_inbound(now + 100).await.unwrap(), 2);
}

async fn message_secrets(backend: Arc<dyn Backend>) {
    let entry = |id: &str, byte: u8, expires_at: i64, message_ts: i64| MsgSecretEntry {
        chat: arc("c"),
        sender: arc("s"),
        msg_id: arc(id),
        secret: [byte; 32],
        expires_at,
        message_ts,
    };
    let get = async |id: &str| backend.get_msg_secret_with_ts("c", "s", id).await.unwrap();
    backend.put_msg_secrets(vec![entry("1", 1, 100, 50), entry("2", 2, 200, 0)]).await.unwrap();
    assert_eq!(backend.get_msg_secret("c", "s", "1").await.unwrap(), Some(vec![1; 32]));
    assert_eq!(backend.get_msg_secret("c", "x", "1").await.unwrap(), None);
    // The secret is the last one; the window never shrinks; a known time stays known.
    backend.put_msg_secrets(vec![entry("1", 3, 90, 0)]).await.unwrap();
    assert_eq!(get("1").await, Some((vec![3; 32], 50)));
    assert_eq!(backend.delete_expired_msg_secrets(99).await.unwrap(), 0);
    // 0 is never, from either side.
    backend.put_msg_secrets(vec![entry("2", 4, 0, 9)]).await.unwrap();
    backend.put_msg_secrets(vec![entry("2", 5, 300, 8)]).await.unwrap();
    assert_eq!(backend.delete_expired_msg_secrets(100).await.unwrap(), 1, "at its deadline it goes");
    assert_eq!(get("1").await, None);
    assert_eq!(backend.delete_expired_msg_secrets(i64::MAX).await.unwrap(), 0);
    assert_eq!(get("2").await, Some((vec![5; 32], 9)));
    backend.put_msg_secret("c", "s", "3", &[6; 32]).await.unwrap();
    assert_eq!(get("3").await, Some((vec![6; 32], 0)));
    // Twice in one batch is as one after the other.
    backend.put_msg_secrets(vec![entry("4", 7, 500, 3), entry("4", 8, 400, 0)]).await.unwrap();
    assert_eq!(get("4").await, Some((vec![8; 32], 3)));
    assert_eq!(backend.delete_expired_msg_secrets(499).await.unwrap(), 0);
    assert_eq!(backend.delete_expired_msg_secrets(500).await.unwrap(), 1);
}

async fn the_device(backend: Arc<dyn Backend>) {
    assert!(!backend.exists().await.unwrap());
    assert!(backend.load().await.unwrap().is_none());
    assert_eq!(backend.create().await.unwrap(), 1);
    assert!(backend.exists().await.unwrap());
    let created = backend.load().await.unwrap().expect("is there");
    assert!(created.pn.is_none());

    let chain = CachedServerCertChain {
        intermediate: CachedNoiseCert { key: [1; 32], not_before: 1, not_after: 2 },
        leaf: CachedNoiseCert { key: [2; 32], not_before: 3, not_after: 4 },
    };
    let device = Device {
        pn: Some("15550001:7@s.whatsapp.net".parse().expect("a jid")),
        lid: Some("100000012345678:7@lid".parse().expect("a jid")),
        push_name: "Störche 🐦".into(),
        edge_routing_info: Some(vec![8, 9]),
        props_hash: Some("hash".into()),
        next_pre_key_id: 813,
        first_unupload_pre_key_id: 1,
        server_has_prekeys: true,
        nct_salt: Some(vec![1, 2, 3]),
        server_cert_chain: Some(chain.clone()),
        login_counter: 3,
        lid_migrated: true,
        read_receipts_disabled: true,
        account: Some(Arc::default()),
        ..Device::new()
    };
    backend.save(&device).await.unwrap();
    let loaded = backend.load().await.unwrap().expect("is there");
    assert_eq!((loaded.pn, loaded.lid), (device.pn, device.lid));
    assert_eq!(loaded.registration_id, device.registration_id);
    assert_eq!(loaded.push_name, device.push_name);
    for (loaded, saved) in [
        (&loaded.noise_key, &device.noise_key),
        (&loaded.identity_key, &device.identity_key),
        (&loaded.signed_pre_key, &device.signed_pre_key),
    ] {
        assert_eq!(loaded.public_key.public_key_bytes(), saved.public_key.public_key_bytes());
        assert_eq!(loaded.private_key.serialize(), saved.private_key.serialize());
    }
    assert_eq!(loaded.signed_pre_key_signature, device.signed_pre_key_signature);
    assert_eq!(loaded.adv_secret_key, device.adv_secret_key);
    assert_eq!(loaded.edge_routing_info, device.edge_routing_info);
    assert_eq!(loaded.props_hash, device.props_hash);
    assert_eq!((loaded.next_pre_key_id, loaded.first_unupload_pre_key_id), (813, 1));
    assert!(loaded.server_has_prekeys && loaded.lid_migrated && loaded.read_receipts_disabled);
    assert_eq!(loaded.nct_salt, device.nct_salt);
    assert_eq!(loaded.server_cert_chain, Some(chain));
    assert_eq!(loaded.login_counter, 3);
    assert!(loaded.account.is_some());
    // Not stored, and never empty: WhatsApp reads them at pairing.
    assert_eq!(loaded.device_props.os.as_deref(), Some("rust"));
    assert!(loaded.device_props.history_sync_config.is_set());
    assert_eq!(loaded.client_profile.device, "Desktop");
}

async fn batches_with_nothing_in_them(backend: Arc<dyn Backend>) {
    backend.put_identities_batch(&[]).await.unwrap();
    backend.put_sessions_batch(&[]).await.unwrap();
    backend.put_sender_keys_batch(&[]).await.unwrap();
    backend.store_prekeys_batch(&[], true).await.unwrap();
    assert!(backend.load_prekeys_batch(&[]).await.unwrap().is_empty());
    backend.mark_prekeys_uploaded(&[]).await.unwrap();
    backend.put_mutation_macs("n", 1, &[]).await.unwrap();
    assert!(backend.get_mutation_macs("n", &[]).await.unwrap().is_empty());
    backend.delete_mutation_macs("n", &[]).await.unwrap();
    backend.set_sender_key_status("g", &[]).await.unwrap();
    backend.delete_sender_key_device_rows(&[]).await.unwrap();
    backend.put_lid_mappings(&[]).await.unwrap();
    backend.update_device_lists(Vec::new()).await.unwrap();
    backend.store_pending_inbound_batch(&[]).await.unwrap();
    backend.delete_pending_inbound_batch(&[]).await.unwrap();
    assert_eq!(backend.put_msg_secrets(Vec::new()).await.unwrap(), 0);
}

async fn large_batches(backend: Arc<dyn Backend>) {
    let keys: Vec<(u32, Bytes)> =
        (1..=2000u32).map(|id| (id, Bytes::from(id.to_be_bytes().to_vec()))).collect();
    backend.store_prekeys_batch(&keys, false).await.unwrap();
    let ids: Vec<u32> = (1..=2500).collect();
    assert_eq!(backend.load_prekeys_batch(&ids).await.unwrap().len(), 2000);
    backend.mark_prekeys_uploaded(&ids).await.unwrap();
    let macs: Vec<AppStateMutationMAC> = (0..1500u32)
        .map(|n| {
            let mut index_mac = vec![0; 32];
            index_mac[..4].copy_from_slice(&n.to_be_bytes());
            AppStateMutationMAC { index_mac, value_mac: vec![1; 32] }
        })
        .collect();
    backend.put_mutation_macs("regular", 1, &macs).await.unwrap();
    let indices: Vec<[u8; 32]> =
        macs.iter().map(|mac| mac.index_mac.as_slice().try_into().expect("32 bytes")).collect();
    assert_eq!(backend.get_mutation_macs("regular", &indices).await.unwrap().len(), 1500);
    let gone: Vec<Vec<u8>> = macs.iter().take(1200).map(|mac| mac.index_mac.clone()).collect();
    backend.delete_mutation_macs("regular", &gone).await.unwrap();
    assert_eq!(backend.get_mutation_macs("regular", &indices).await.unwrap().len(), 300);
}
