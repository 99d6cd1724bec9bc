//! App state: keys, versions, MACs.

use std::collections::HashMap;

use async_trait::async_trait;
use wacore::appstate::hash::HashState;
use wacore::appstate::processor::AppStateMutationMAC;
use wacore::store::error::Result;
use wacore::store::traits::{AppStateSyncKey, AppSyncStore};

use super::encode;
use crate::store::SessionStore;
use crate::store::engine::{Last, Merge, Which};
use crate::store::kind::{Kind, Name};
use crate::store::sealed::Unsealed;

#[async_trait]
impl AppSyncStore for SessionStore {
    async fn get_sync_key(&self, key_id: &[u8]) -> Result<Option<AppStateSyncKey>> {
        Ok(self.read_json(Kind::SyncKey, Name::of(key_id)).await?)
    }

    async fn set_sync_key(&self, key_id: &[u8], key: AppStateSyncKey) -> Result<()> {
        let value = encode(Kind::SyncKey, &key)?;
        let at = crate::runtime::clock::now().timestamp_micros();
        let row = Unsealed { name: Name::of(key_id), value: &value, at, mark: None };
        Ok(self.write(Kind::SyncKey, [row], Merge::Replace).await?)
    }

    async fn get_version(&self, name: &str) -> Result<HashState> {
        Ok(self.read_json(Kind::SyncVersion, Name::of(name)).await?.unwrap_or_default())
    }

    async fn set_version(&self, name: &str, state: HashState) -> Result<()> {
        let value = encode(Kind::SyncVersion, &state)?;
        Ok(self.write(Kind::SyncVersion, [Unsealed::plain(Name::of(name), &value)], Merge::Replace).await?)
    }

    async fn put_mutation_macs(
        &self,
        name: &str,
        version: u64,
        mutations: &[AppStateMutationMAC],
    ) -> Result<()> {
        let mark = i64::try_from(version).ok();
        let rows = mutations.iter().map(|mutation| Unsealed {
            name: Name::pair(name, mutation.index_mac.as_slice()),
            value: &mutation.value_mac,
            at: 0,
            mark,
        });
        Ok(self.write(Kind::MutationMac, rows, Merge::Replace).await?)
    }

    async fn get_mutation_mac(&self, name: &str, index_mac: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.value(Kind::MutationMac, Name::pair(name, index_mac)).await?)
    }

    async fn get_mutation_macs(
        &self,
        name: &str,
        index_macs: &[[u8; 32]],
    ) -> Result<HashMap<[u8; 32], Vec<u8>>> {
        let names: Vec<Name> = index_macs.iter().map(|mac| Name::pair(name, mac.as_slice())).collect();
        let rows = self.read_many(Kind::MutationMac, &names).await?;
        Ok(rows
            .into_iter()
            .filter_map(|row| Some((row.name.sub.as_slice().try_into().ok()?, row.value)))
            .collect())
    }

    async fn delete_mutation_macs(&self, name: &str, index_macs: &[Vec<u8>]) -> Result<()> {
        if index_macs.is_empty() {
            return Ok(());
        }
        let names = index_macs.iter().map(|mac| Name::pair(name, mac.as_slice())).collect();
        self.delete(Kind::MutationMac, &Which::Named(names)).await?;
        Ok(())
    }

    async fn clear_mutation_macs(&self, name: &str) -> Result<()> {
        self.delete(Kind::MutationMac, &Which::Key(name.into())).await?;
        Ok(())
    }

    async fn get_latest_sync_key_id(&self) -> Result<Option<Vec<u8>>> {
        Ok(self.last(Kind::SyncKey, Last::At).await?.map(|name| name.key))
    }
}
