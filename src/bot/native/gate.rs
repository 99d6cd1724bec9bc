//! Stands between a client and its stored session: tries a failing call once more, reports trouble, and
//! shuts for good when the client ends.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;
use wacore::appstate::hash::HashState;
use wacore::appstate::processor::AppStateMutationMAC;
use wacore::store::Device;
use wacore::store::error::{Result, StoreError};
use wacore::store::traits::*;

use crate::store;

/// A call that takes longer than this, retry included, has failed; unless others were answered meanwhile, since
/// then the database is only slow.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// However slow it is.
const LONGEST: Duration = Duration::from_secs(10);
/// The pause before the retry.
const PAUSE: Duration = Duration::from_millis(200);

/// What is wrong with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It does not answer or refuses.
    Database,
    /// Another owner has a newer epoch.
    Fenced,
    /// A stored value cannot be read.
    Unreadable,
}

/// Where trouble is reported, and whether the client may still use the store; cheap to clone.
#[derive(Debug, Clone)]
pub struct Valve(Arc<Shared>);

struct Shared {
    shut: AtomicBool,
    trouble: watch::Sender<Option<Trouble>>,
    /// When a call last succeeded.
    answered: Mutex<Option<Instant>>,
    /// Run at the first trouble, before the client hears of it.
    alarm: Box<dyn Fn(Trouble) + Send + Sync>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Valve").field("trouble", &*self.trouble.borrow()).finish_non_exhaustive()
    }
}

impl Valve {
    /// An open valve. `alarm` runs at the first trouble, before the client hears of it: a client whose
    /// store has failed must not tell WhatsApp that it could not read a message.
    pub fn new(alarm: impl Fn(Trouble) + Send + Sync + 'static) -> Self {
        let (shut, trouble) = (AtomicBool::new(false), watch::Sender::new(None));
        Self(Arc::new(Shared { shut, trouble, answered: Mutex::default(), alarm: Box::new(alarm) }))
    }

    /// From now on every call fails, without asking the database.
    pub fn shut(&self) {
        self.0.shut.store(true, Ordering::Release);
    }

    /// Resolves with the first trouble that makes the client useless.
    pub async fn trouble(&self) -> Trouble {
        let mut receiver = self.0.trouble.subscribe();
        loop {
            if let Some(trouble) = *receiver.borrow_and_update() {
                return trouble;
            }
            if receiver.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn report(&self, trouble: Trouble) {
        let first = self.0.trouble.send_if_modified(|known| {
            let first = known.is_none();
            if first {
                *known = Some(trouble);
            }
            first
        });
        if first {
            (self.0.alarm)(trouble);
        }
    }

    fn is_shut(&self) -> bool {
        self.0.shut.load(Ordering::Acquire)
    }

    fn answered(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when a call that begins now has waited long enough.
    async fn silence(&self) {
        let began = Instant::now();
        loop {
            let from = self.answered().map_or(began, |answered| answered.max(began));
            let until = (from + PATIENCE).min(began + LONGEST);
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }

    /// Runs a call of the store; once more if it fails for want of a database; then reports.
    pub async fn call<T, E, F>(&self, mut call: impl FnMut() -> F) -> std::result::Result<T, E>
    where
        E: Ailing,
        F: Future<Output = std::result::Result<T, E>>,
    {
        if self.is_shut() {
            return Err(E::shut());
        }
        let attempts = async {
            match call().await {
                Err(error) if error.trouble() == Some(Trouble::Database) => {
                    tokio::time::sleep(PAUSE).await;
                    call().await
                }
                outcome => outcome,
            }
        };
        let outcome = tokio::select! {
            biased;
            outcome = attempts => outcome,
            () = self.silence() => Err(E::slow()),
        };
        match &outcome {
            Ok(_) => *self.answered() = Some(Instant::now()),
            // A single record that does not decode is the caller's to renegotiate.
            Err(error) if error.trouble() != Some(Trouble::Unreadable) => {
                if let Some(trouble) = error.trouble() {
                    self.report(trouble);
                }
            }
            _ => {}
        }
        outcome
    }
}

/// An error that knows what is wrong with the store.
pub trait Ailing {
    /// `None` when the store is well and the caller asked for something wrong.
    fn trouble(&self) -> Option<Trouble>;
    /// The call took too long.
    fn slow() -> Self;
    /// The client has ended.
    fn shut() -> Self;
}

impl Ailing for store::StoreError {
    fn trouble(&self) -> Option<Trouble> {
        Some(match self {
            Self::Fenced | Self::Held { .. } => Trouble::Fenced,
            Self::Unavailable { .. } | Self::NewerSchema { .. } => Trouble::Database,
            Self::Unreadable { .. } => Trouble::Unreadable,
            Self::Refused { .. } => return None,
        })
    }

    fn slow() -> Self {
        Self::Unavailable { problem: format!("the database did not answer within {} s", PATIENCE.as_secs()) }
    }

    fn shut() -> Self {
        Self::Fenced
    }
}

impl Ailing for StoreError {
    fn trouble(&self) -> Option<Trouble> {
        let mut layer: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = layer {
            if let Some(ours) = error.downcast_ref::<store::StoreError>() {
                return ours.trouble();
            }
            layer = error.source();
        }
        match self {
            Self::Io(_)
            | Self::Connection(_)
            | Self::Database(_)
            | Self::RetriesExhausted { .. }
            | Self::Migration(_) => Some(Trouble::Database),
            Self::Serialization(_) | Self::Validation(_) => Some(Trouble::Unreadable),
            // InvalidConfig, DeviceNotFound and what a later release adds.
            _ => None,
        }
    }

    fn slow() -> Self {
        Self::Connection(Box::new(<store::StoreError as Ailing>::slow()))
    }

    fn shut() -> Self {
        Self::Connection(Box::new(<store::StoreError as Ailing>::shut()))
    }
}

/// A `Backend` behind a [`Valve`].
#[derive(Clone)]
pub struct Gate {
    inner: Arc<dyn Backend>,
    valve: Valve,
    /// `exists` said that there is a device.
    promised: Arc<AtomicBool>,
    /// A linked device was saved; held during a save.
    linked: Arc<tokio::sync::Mutex<bool>>,
}

impl Gate {
    /// Puts a valve in front of a back-end.
    pub fn new(inner: Arc<dyn Backend>, valve: Valve) -> Self {
        Self { inner, valve, promised: Arc::default(), linked: Arc::default() }
    }
}

/// Passes whole traits through the valve.
macro_rules! pass {
    ($($trait:ident { $(fn $name:ident($($arg:ident: $type:ty),*) -> $ok:ty;)* })*) => { $(
        #[async_trait]
        #[allow(clippy::clone_on_copy, reason = "some arguments are owned and a retry needs them again")]
        impl $trait for Gate {
            $(async fn $name(&self $(, $arg: $type)*) -> Result<$ok> {
                self.valve.call(|| self.inner.$name($(Clone::clone(&$arg)),*)).await
            })*
        }
    )* };
}

pass! {
    SignalStore {
        fn put_identity(address: &str, key: [u8; 32]) -> ();
        fn put_identities_batch(identities: &[(Arc<str>, [u8; 32])]) -> ();
        fn load_identity(address: &str) -> Option<[u8; 32]>;
        fn delete_identity(address: &str) -> ();
        fn get_session(address: &str) -> Option<Bytes>;
        fn put_session(address: &str, session: &[u8]) -> ();
        fn put_sessions_batch(sessions: &[(Arc<str>, Bytes)]) -> ();
        fn delete_session(address: &str) -> ();
        fn has_session(address: &str) -> bool;
        fn has_signal_state_for_user(user: &str) -> bool;
        fn store_prekey(id: u32, record: &[u8], uploaded: bool) -> ();
        fn store_prekeys_batch(keys: &[(u32, Bytes)], uploaded: bool) -> ();
        fn load_prekey(id: u32) -> Option<Bytes>;
        fn load_prekeys_batch(ids: &[u32]) -> Vec<(u32, Bytes)>;
        fn mark_prekeys_uploaded(ids: &[u32]) -> ();
        fn remove_prekey(id: u32) -> ();
        fn get_max_prekey_id() -> u32;
        fn store_signed_prekey(id: u32, record: &[u8]) -> ();
        fn load_signed_prekey(id: u32) -> Option<Vec<u8>>;
        fn load_all_signed_prekeys() -> Vec<(u32, Vec<u8>)>;
        fn remove_signed_prekey(id: u32) -> ();
        fn put_sender_key(address: &str, record: &[u8]) -> ();
        fn put_sender_keys_batch(sender_keys: &[(Arc<str>, Bytes)]) -> ();
        fn get_sender_key(address: &str) -> Option<Vec<u8>>;
        fn delete_sender_key(address: &str) -> ();
    }
    AppSyncStore {
        fn get_sync_key(key_id: &[u8]) -> Option<AppStateSyncKey>;
        fn set_sync_key(key_id: &[u8], key: AppStateSyncKey) -> ();
        fn get_version(name: &str) -> HashState;
        fn set_version(name: &str, state: HashState) -> ();
        fn put_mutation_macs(name: &str, version: u64, mutations: &[AppStateMutationMAC]) -> ();
        fn get_mutation_mac(name: &str, index_mac: &[u8]) -> Option<Vec<u8>>;
        fn get_mutation_macs(name: &str, index_macs: &[[u8; 32]]) -> HashMap<[u8; 32], Vec<u8>>;
        fn delete_mutation_macs(name: &str, index_macs: &[Vec<u8>]) -> ();
        fn clear_mutation_macs(name: &str) -> ();
        fn get_latest_sync_key_id() -> Option<Vec<u8>>;
    }
    ProtocolStore {
        fn get_sender_key_devices(group_jid: &str) -> Vec<(String, bool)>;
        fn set_sender_key_status(group_jid: &str, entries: &[(&str, bool)]) -> ();
        fn clear_sender_key_devices(group_jid: &str) -> ();
        fn delete_sender_key_device_rows(device_jids: &[&str]) -> ();
        fn clear_all_sender_key_devices() -> ();
        fn get_lid_mapping(lid: &str) -> Option<LidPnMappingEntry>;
        fn get_pn_mapping(phone: &str) -> Option<LidPnMappingEntry>;
        fn put_lid_mapping(entry: &LidPnMappingEntry) -> ();
        fn put_lid_mappings(entries: &[LidPnMappingEntry]) -> ();
        fn get_all_lid_mappings() -> Vec<LidPnMappingEntry>;
        fn save_base_key(address: &str, message_id: &str, base_key: &[u8]) -> ();
        fn has_same_base_key(address: &str, message_id: &str, current_base_key: &[u8]) -> bool;
        fn delete_base_key(address: &str, message_id: &str) -> ();
        fn update_device_list(record: DeviceListRecord) -> ();
        fn update_device_lists(records: Vec<DeviceListRecord>) -> ();
        fn get_devices(user: &str) -> Option<DeviceListRecord>;
        fn delete_devices(user: &str) -> ();
        fn get_group_metadata(group_jid: &str) -> Option<Vec<u8>>;
        fn put_group_metadata(group_jid: &str, blob: &[u8]) -> ();
        fn delete_group_metadata(group_jid: &str) -> ();
        fn get_tc_token(jid: &str) -> Option<TcTokenEntry>;
        fn put_tc_token(jid: &str, entry: &TcTokenEntry) -> ();
        fn delete_tc_token(jid: &str) -> ();
        fn get_all_tc_token_jids() -> Vec<String>;
        fn delete_expired_tc_tokens(token_cutoff: i64, sender_cutoff: i64) -> u32;
        fn touch_tc_token_sender_timestamp(jid: &str, sender_timestamp: i64) -> ();
        fn store_received_tc_token(jid: &str, token: &[u8], token_timestamp: i64) -> ();
        fn store_sent_message(chat_jid: &str, message_id: &str, payload: &[u8]) -> ();
        fn take_sent_message(chat_jid: &str, message_id: &str) -> Option<Vec<u8>>;
        fn delete_expired_sent_messages(cutoff_timestamp: i64) -> u32;
        fn store_pending_inbound(chat: &str, sender: &str, id: &str, message: &[u8]) -> ();
        fn get_pending_inbound(chat: &str, sender: &str, id: &str) -> Option<Vec<u8>>;
        fn delete_pending_inbound(chat: &str, sender: &str, id: &str) -> ();
        fn delete_expired_pending_inbound(cutoff_timestamp: i64) -> u32;
        fn store_pending_inbound_batch(rows: &[PendingInboundRow<'_>]) -> ();
        fn delete_pending_inbound_batch(keys: &[PendingInboundKey<'_>]) -> ();
    }
    MsgSecretStore {
        fn put_msg_secret(chat: &str, sender: &str, msg_id: &str, secret: &[u8; 32]) -> ();
        fn put_msg_secrets(entries: Vec<MsgSecretEntry>) -> usize;
        fn get_msg_secret(chat: &str, sender: &str, msg_id: &str) -> Option<Vec<u8>>;
        fn get_msg_secret_with_ts(chat: &str, sender: &str, msg_id: &str) -> Option<(Vec<u8>, i64)>;
        fn delete_expired_msg_secrets(cutoff_timestamp: i64) -> u32;
    }
}

#[async_trait]
impl DeviceStore for Gate {
    async fn save(&self, device: &Device) -> Result<()> {
        // whatsapp-rust's background saver and its flushes run at once, so an older copy of the device
        // could be committed after a newer one: one at a time, and never back to an unlinked device.
        let mut linked = self.linked.lock().await;
        if *linked && device.pn.is_none() {
            return Ok(());
        }
        self.valve.call(|| self.inner.save(device)).await?;
        *linked = device.pn.is_some();
        Ok(())
    }

    async fn load(&self) -> Result<Option<Device>> {
        let device = self.valve.call(|| self.inner.load()).await?;
        if device.is_none() && self.promised.load(Ordering::Acquire) {
            // whatsapp-rust would go on with a fresh identity and save it over the row.
            return Err(StoreError::Validation("the device row is there but has no content".to_owned()));
        }
        Ok(device)
    }

    async fn exists(&self) -> Result<bool> {
        let exists = self.valve.call(|| self.inner.exists()).await?;
        self.promised.store(exists, Ordering::Release);
        Ok(exists)
    }

    async fn create(&self) -> Result<i32> {
        self.valve.call(|| self.inner.create()).await
    }

    async fn snapshot_db(&self, name: &str, extra: Option<&[u8]>) -> Result<()> {
        self.valve.call(|| self.inner.snapshot_db(name, extra)).await
    }

    async fn resource_report(&self) -> wacore::stats::StorageResourceReport {
        self.inner.resource_report().await
    }
}

#[cfg(test)]
mod tests;
