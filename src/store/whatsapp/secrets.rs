//! Message secrets: what opens votes, reactions and edits of an earlier message.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use async_trait::async_trait;
use wacore::store::error::Result;
use wacore::store::traits::{
    MsgSecretEntry, MsgSecretStore, merge_msg_secret_expiry, merge_msg_secret_message_ts,
};

use crate::store::SessionStore;
use crate::store::engine::{Merge, Which};
use crate::store::kind::{Kind, Name};
use crate::store::sealed::Unsealed;

#[async_trait]
impl MsgSecretStore for SessionStore {
    async fn put_msg_secrets(&self, entries: Vec<MsgSecretEntry>) -> Result<usize> {
        let stored = entries.len();
        // Two of one name in a batch merge as a stored one and a new one do.
        let mut merged: HashMap<Name, MsgSecretEntry> = HashMap::with_capacity(stored);
        for entry in entries {
            match merged.entry(Name::triple(&entry.chat, &entry.sender, &entry.msg_id)) {
                Entry::Vacant(vacant) => {
                    vacant.insert(entry);
                }
                Entry::Occupied(mut occupied) => {
                    let before = occupied.get_mut();
                    before.secret = entry.secret;
                    before.expires_at = merge_msg_secret_expiry(before.expires_at, entry.expires_at);
                    before.message_ts = merge_msg_secret_message_ts(before.message_ts, entry.message_ts);
                }
            }
        }
        let rows = merged.iter().map(|(name, entry)| Unsealed {
            name: name.clone(),
            value: &entry.secret,
            at: entry.expires_at,
            mark: Some(entry.message_ts),
        });
        self.write(Kind::MsgSecret, rows, Merge::MsgSecret).await?;
        Ok(stored)
    }

    async fn get_msg_secret(&self, chat: &str, sender: &str, msg_id: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.value(Kind::MsgSecret, Name::triple(chat, sender, msg_id)).await?)
    }

    async fn get_msg_secret_with_ts(
        &self,
        chat: &str,
        sender: &str,
        msg_id: &str,
    ) -> Result<Option<(Vec<u8>, i64)>> {
        let row = self.read(Kind::MsgSecret, Name::triple(chat, sender, msg_id)).await?;
        Ok(row.map(|row| (row.value, row.mark.unwrap_or(0))))
    }

    async fn delete_expired_msg_secrets(&self, cutoff_timestamp: i64) -> Result<u32> {
        let gone = self.delete(Kind::MsgSecret, &Which::Expired(cutoff_timestamp)).await?;
        Ok(u32::try_from(gone).unwrap_or(u32::MAX))
    }
}
