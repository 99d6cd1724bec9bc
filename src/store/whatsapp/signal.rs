//! Ratchets, identities and pre-keys.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use wacore::store::error::Result;
use wacore::store::traits::SignalStore;

use super::array;
use crate::store::SessionStore;
use crate::store::engine::{Last, Merge, Which};
use crate::store::kind::{Kind, Name};
use crate::store::sealed::Unsealed;

impl SessionStore {
    async fn put_one(&self, kind: Kind, name: Name, value: &[u8]) -> Result<()> {
        Ok(self.write(kind, [Unsealed::plain(name, value)], Merge::Replace).await?)
    }

    async fn delete_one(&self, kind: Kind, name: Name) -> Result<()> {
        self.delete(kind, &Which::Named(vec![name])).await?;
        Ok(())
    }
}

fn address(address: &str) -> Name {
    Name::of(address)
}

fn number(name: &Name) -> Option<u32> {
    name.key.as_slice().try_into().ok().map(u32::from_be_bytes)
}

#[async_trait]
impl SignalStore for SessionStore {
    async fn put_identity(&self, peer: &str, key: [u8; 32]) -> Result<()> {
        self.put_one(Kind::Identity, address(peer), &key).await
    }

    async fn put_identities_batch(&self, identities: &[(Arc<str>, [u8; 32])]) -> Result<()> {
        let rows = identities.iter().map(|(peer, key)| Unsealed::plain(address(peer), key));
        Ok(self.write(Kind::Identity, rows, Merge::Replace).await?)
    }

    async fn load_identity(&self, peer: &str) -> Result<Option<[u8; 32]>> {
        let Some(row) = self.read(Kind::Identity, address(peer)).await? else { return Ok(None) };
        match array(&row) {
            Some(key) => Ok(Some(key)),
            None => Ok(self.undecodable(Kind::Identity, row.name).await.map(|()| None)?),
        }
    }

    async fn delete_identity(&self, peer: &str) -> Result<()> {
        self.delete_one(Kind::Identity, address(peer)).await
    }

    async fn get_session(&self, peer: &str) -> Result<Option<Bytes>> {
        Ok(self.value(Kind::Session, address(peer)).await?.map(Bytes::from))
    }

    async fn put_session(&self, peer: &str, session: &[u8]) -> Result<()> {
        self.put_one(Kind::Session, address(peer), session).await
    }

    async fn put_sessions_batch(&self, sessions: &[(Arc<str>, Bytes)]) -> Result<()> {
        let rows = sessions.iter().map(|(peer, session)| Unsealed::plain(address(peer), session));
        Ok(self.write(Kind::Session, rows, Merge::Replace).await?)
    }

    async fn delete_session(&self, peer: &str) -> Result<()> {
        self.delete_one(Kind::Session, address(peer)).await
    }

    async fn has_signal_state_for_user(&self, user: &str) -> Result<bool> {
        // Addresses are `user@server` or `user:device@server`; the byte after '@' is 'A', after ':' is ';'.
        let range = |low: char, high: char| {
            (format!("{user}{low}").into_bytes(), format!("{user}{high}").into_bytes())
        };
        let ranges = [range('@', 'A'), range(':', ';')];
        let kinds = [Kind::Session, Kind::Identity];
        let found = self.engine.any_between(self.bond.generation, &kinds, &ranges).await;
        Ok(self.noting(found)?)
    }

    async fn store_prekey(&self, id: u32, record: &[u8], uploaded: bool) -> Result<()> {
        let mark = Some(i64::from(uploaded));
        let row = Unsealed { name: Name::number(id), value: record, at: 0, mark };
        Ok(self.write(Kind::PreKey, [row], Merge::Replace).await?)
    }

    async fn store_prekeys_batch(&self, keys: &[(u32, Bytes)], uploaded: bool) -> Result<()> {
        let mark = Some(i64::from(uploaded));
        let rows =
            keys.iter().map(|(id, record)| Unsealed { name: Name::number(*id), value: record, at: 0, mark });
        Ok(self.write(Kind::PreKey, rows, Merge::Replace).await?)
    }

    async fn load_prekey(&self, id: u32) -> Result<Option<Bytes>> {
        Ok(self.value(Kind::PreKey, Name::number(id)).await?.map(Bytes::from))
    }

    async fn load_prekeys_batch(&self, ids: &[u32]) -> Result<Vec<(u32, Bytes)>> {
        let names: Vec<Name> = ids.iter().map(|id| Name::number(*id)).collect();
        let rows = self.read_many(Kind::PreKey, &names).await?;
        Ok(rows.into_iter().filter_map(|row| Some((number(&row.name)?, Bytes::from(row.value)))).collect())
    }

    async fn mark_prekeys_uploaded(&self, ids: &[u32]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        self.sound()?;
        let names: Vec<Name> = ids.iter().map(|id| Name::number(*id)).collect();
        Ok(self.noting(self.engine.mark(&self.bond, Kind::PreKey, &names, 1).await)?)
    }

    async fn remove_prekey(&self, id: u32) -> Result<()> {
        self.delete_one(Kind::PreKey, Name::number(id)).await
    }

    async fn get_max_prekey_id(&self) -> Result<u32> {
        Ok(self.last(Kind::PreKey, Last::Key).await?.and_then(|name| number(&name)).unwrap_or(0))
    }

    async fn store_signed_prekey(&self, id: u32, record: &[u8]) -> Result<()> {
        self.put_one(Kind::SignedPreKey, Name::number(id), record).await
    }

    async fn load_signed_prekey(&self, id: u32) -> Result<Option<Vec<u8>>> {
        Ok(self.value(Kind::SignedPreKey, Name::number(id)).await?)
    }

    async fn load_all_signed_prekeys(&self) -> Result<Vec<(u32, Vec<u8>)>> {
        let rows = self.list(Kind::SignedPreKey, &Which::All).await?;
        Ok(rows.into_iter().filter_map(|row| Some((number(&row.name)?, row.value))).collect())
    }

    async fn remove_signed_prekey(&self, id: u32) -> Result<()> {
        self.delete_one(Kind::SignedPreKey, Name::number(id)).await
    }

    async fn put_sender_key(&self, name: &str, record: &[u8]) -> Result<()> {
        self.put_one(Kind::SenderKey, address(name), record).await
    }

    async fn put_sender_keys_batch(&self, sender_keys: &[(Arc<str>, Bytes)]) -> Result<()> {
        let rows = sender_keys.iter().map(|(name, record)| Unsealed::plain(address(name), record));
        Ok(self.write(Kind::SenderKey, rows, Merge::Replace).await?)
    }

    async fn get_sender_key(&self, name: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.value(Kind::SenderKey, address(name)).await?)
    }

    async fn delete_sender_key(&self, name: &str) -> Result<()> {
        self.delete_one(Kind::SenderKey, address(name)).await
    }
}
