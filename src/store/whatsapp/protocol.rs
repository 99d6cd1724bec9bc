//! Who has our group keys, LIDs, device lists, contact tokens, sent and pending messages.

use std::collections::HashMap;

use async_trait::async_trait;
use wacore::store::error::Result;
use wacore::store::traits::{
    DeviceListRecord, LidPnMappingEntry, PendingInboundKey, PendingInboundRow, ProtocolStore, TcTokenEntry,
};

use super::{encode, now_secs};
use crate::store::SessionStore;
use crate::store::engine::{Merge, Which};
use crate::store::kind::{Kind, Name};
use crate::store::sealed::{Opened, Unsealed};

fn mapping(row: Opened) -> LidPnMappingEntry {
    LidPnMappingEntry {
        lid: SessionStore::text(&row.name.key),
        phone_number: SessionStore::text(&row.name.sub),
        created_at: row.mark.unwrap_or(row.at),
        updated_at: row.at,
        learning_source: SessionStore::text(&row.value),
    }
}

fn count(rows: u64) -> u32 {
    u32::try_from(rows).unwrap_or(u32::MAX)
}

#[async_trait]
impl ProtocolStore for SessionStore {
    async fn get_sender_key_devices(&self, group_jid: &str) -> Result<Vec<(String, bool)>> {
        let rows = self.list(Kind::SenderKeyDevice, &Which::Key(group_jid.into())).await?;
        Ok(rows.into_iter().map(|row| (Self::text(&row.name.sub), row.mark == Some(1))).collect())
    }

    async fn set_sender_key_status(&self, group_jid: &str, entries: &[(&str, bool)]) -> Result<()> {
        let rows = entries.iter().map(|(device, has_key)| Unsealed {
            name: Name::pair(group_jid, *device),
            value: &[],
            at: 0,
            mark: Some(i64::from(*has_key)),
        });
        Ok(self.write(Kind::SenderKeyDevice, rows, Merge::Replace).await?)
    }

    async fn clear_sender_key_devices(&self, group_jid: &str) -> Result<()> {
        self.delete(Kind::SenderKeyDevice, &Which::Key(group_jid.into())).await?;
        Ok(())
    }

    async fn delete_sender_key_device_rows(&self, device_jids: &[&str]) -> Result<()> {
        if device_jids.is_empty() {
            return Ok(());
        }
        let subs = device_jids.iter().map(|jid| jid.as_bytes().to_vec()).collect();
        self.delete(Kind::SenderKeyDevice, &Which::Subs(subs)).await?;
        Ok(())
    }

    async fn clear_all_sender_key_devices(&self) -> Result<()> {
        self.delete(Kind::SenderKeyDevice, &Which::All).await?;
        Ok(())
    }

    async fn get_lid_mapping(&self, lid: &str) -> Result<Option<LidPnMappingEntry>> {
        let rows = self.list(Kind::LidMapping, &Which::Key(lid.into())).await?;
        Ok(rows.into_iter().next().map(mapping))
    }

    async fn get_pn_mapping(&self, phone: &str) -> Result<Option<LidPnMappingEntry>> {
        let rows = self.list(Kind::LidMapping, &Which::Subs(vec![phone.into()])).await?;
        Ok(rows.into_iter().next().map(mapping))
    }

    async fn put_lid_mapping(&self, entry: &LidPnMappingEntry) -> Result<()> {
        self.put_lid_mappings(std::slice::from_ref(entry)).await
    }

    async fn put_lid_mappings(&self, entries: &[LidPnMappingEntry]) -> Result<()> {
        // A LID has one number: of two in one batch the last counts.
        let by_lid: HashMap<&str, &LidPnMappingEntry> =
            entries.iter().map(|entry| (entry.lid.as_str(), entry)).collect();
        let rows = by_lid.into_values().map(|entry| Unsealed {
            name: Name::pair(entry.lid.as_str(), entry.phone_number.as_str()),
            value: entry.learning_source.as_bytes(),
            at: entry.updated_at,
            mark: Some(entry.created_at),
        });
        Ok(self.write(Kind::LidMapping, rows, Merge::Lid).await?)
    }

    async fn get_all_lid_mappings(&self) -> Result<Vec<LidPnMappingEntry>> {
        let rows = self.list(Kind::LidMapping, &Which::All).await?;
        Ok(rows.into_iter().map(mapping).collect())
    }

    async fn save_base_key(&self, address: &str, message_id: &str, base_key: &[u8]) -> Result<()> {
        let row = Unsealed::plain(Name::pair(address, message_id), base_key);
        Ok(self.write(Kind::BaseKey, [row], Merge::Replace).await?)
    }

    async fn has_same_base_key(
        &self,
        address: &str,
        message_id: &str,
        current_base_key: &[u8],
    ) -> Result<bool> {
        let saved = self.value(Kind::BaseKey, Name::pair(address, message_id)).await?;
        Ok(saved.is_some_and(|saved| saved == current_base_key))
    }

    async fn delete_base_key(&self, address: &str, message_id: &str) -> Result<()> {
        self.delete(Kind::BaseKey, &Which::Named(vec![Name::pair(address, message_id)])).await?;
        Ok(())
    }

    async fn update_device_list(&self, record: DeviceListRecord) -> Result<()> {
        self.update_device_lists(vec![record]).await
    }

    async fn update_device_lists(&self, records: Vec<DeviceListRecord>) -> Result<()> {
        let values = records
            .iter()
            .map(|record| Ok((record.user.as_str(), encode(Kind::DeviceList, record)?)))
            .collect::<Result<Vec<_>>>()?;
        let rows = values.iter().map(|(user, value)| Unsealed::plain(Name::of(*user), value));
        Ok(self.write(Kind::DeviceList, rows, Merge::Replace).await?)
    }

    async fn get_devices(&self, user: &str) -> Result<Option<DeviceListRecord>> {
        Ok(self.read_json(Kind::DeviceList, Name::of(user)).await?)
    }

    async fn delete_devices(&self, user: &str) -> Result<()> {
        self.delete(Kind::DeviceList, &Which::Named(vec![Name::of(user)])).await?;
        Ok(())
    }

    async fn get_group_metadata(&self, group_jid: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.value(Kind::GroupMetadata, Name::of(group_jid)).await?)
    }

    async fn put_group_metadata(&self, group_jid: &str, blob: &[u8]) -> Result<()> {
        let row = Unsealed::plain(Name::of(group_jid), blob);
        Ok(self.write(Kind::GroupMetadata, [row], Merge::Replace).await?)
    }

    async fn delete_group_metadata(&self, group_jid: &str) -> Result<()> {
        self.delete(Kind::GroupMetadata, &Which::Named(vec![Name::of(group_jid)])).await?;
        Ok(())
    }

    async fn get_tc_token(&self, jid: &str) -> Result<Option<TcTokenEntry>> {
        let row = self.read(Kind::TcToken, Name::of(jid)).await?;
        Ok(row.map(|row| TcTokenEntry {
            token: row.value,
            token_timestamp: row.at,
            sender_timestamp: row.mark,
        }))
    }

    async fn put_tc_token(&self, jid: &str, entry: &TcTokenEntry) -> Result<()> {
        let row = Unsealed {
            name: Name::of(jid),
            value: &entry.token,
            at: entry.token_timestamp,
            mark: entry.sender_timestamp,
        };
        Ok(self.write(Kind::TcToken, [row], Merge::Replace).await?)
    }

    async fn delete_tc_token(&self, jid: &str) -> Result<()> {
        self.delete(Kind::TcToken, &Which::Named(vec![Name::of(jid)])).await?;
        Ok(())
    }

    async fn get_all_tc_token_jids(&self) -> Result<Vec<String>> {
        let rows = self.list(Kind::TcToken, &Which::All).await?;
        Ok(rows.into_iter().map(|row| Self::text(&row.name.key)).collect())
    }

    async fn delete_expired_tc_tokens(&self, token_cutoff: i64, sender_cutoff: i64) -> Result<u32> {
        let stale = Which::StaleTc { token: token_cutoff, sender: sender_cutoff };
        Ok(count(self.delete(Kind::TcToken, &stale).await?))
    }

    async fn touch_tc_token_sender_timestamp(&self, jid: &str, sender_timestamp: i64) -> Result<()> {
        let row =
            Unsealed { name: Name::of(jid), value: &[], at: sender_timestamp, mark: Some(sender_timestamp) };
        Ok(self.write(Kind::TcToken, [row], Merge::TcSender).await?)
    }

    async fn store_received_tc_token(&self, jid: &str, token: &[u8], token_timestamp: i64) -> Result<()> {
        let row = Unsealed { name: Name::of(jid), value: token, at: token_timestamp, mark: None };
        Ok(self.write(Kind::TcToken, [row], Merge::TcReceived).await?)
    }

    async fn store_sent_message(&self, chat_jid: &str, message_id: &str, payload: &[u8]) -> Result<()> {
        let row =
            Unsealed { name: Name::pair(chat_jid, message_id), value: payload, at: now_secs(), mark: None };
        Ok(self.write(Kind::SentMessage, [row], Merge::Replace).await?)
    }

    async fn take_sent_message(&self, chat_jid: &str, message_id: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.take(Kind::SentMessage, &Name::pair(chat_jid, message_id)).await?)
    }

    async fn delete_expired_sent_messages(&self, cutoff_timestamp: i64) -> Result<u32> {
        Ok(count(self.delete(Kind::SentMessage, &Which::Before(cutoff_timestamp)).await?))
    }

    async fn store_pending_inbound(&self, chat: &str, sender: &str, id: &str, message: &[u8]) -> Result<()> {
        self.store_pending_inbound_batch(&[PendingInboundRow { chat, sender, id, message }]).await
    }

    async fn get_pending_inbound(&self, chat: &str, sender: &str, id: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.value(Kind::PendingInbound, Name::triple(chat, sender, id)).await?)
    }

    async fn delete_pending_inbound(&self, chat: &str, sender: &str, id: &str) -> Result<()> {
        self.delete_pending_inbound_batch(&[PendingInboundKey { chat, sender, id }]).await
    }

    async fn delete_expired_pending_inbound(&self, cutoff_timestamp: i64) -> Result<u32> {
        Ok(count(self.delete(Kind::PendingInbound, &Which::Before(cutoff_timestamp)).await?))
    }

    async fn store_pending_inbound_batch(&self, rows: &[PendingInboundRow<'_>]) -> Result<()> {
        let at = now_secs();
        let rows = rows.iter().map(|row| Unsealed {
            name: Name::triple(row.chat, row.sender, row.id),
            value: row.message,
            at,
            mark: None,
        });
        Ok(self.write(Kind::PendingInbound, rows, Merge::Replace).await?)
    }

    async fn delete_pending_inbound_batch(&self, keys: &[PendingInboundKey<'_>]) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let names = keys.iter().map(|key| Name::triple(key.chat, key.sender, key.id)).collect();
        self.delete(Kind::PendingInbound, &Which::Named(names)).await?;
        Ok(())
    }
}
