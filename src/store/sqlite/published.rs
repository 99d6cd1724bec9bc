//! A file belongs to one process: another one on it only waits for its lock. So nothing is published, and
//! nobody is asked.

use std::time::Duration;

use async_trait::async_trait;

use super::Sqlite;
use crate::store::engine::Publishing;
use crate::store::published::{Asked, FoundStatus, StatusRow};
use crate::store::{Owner, StoreError};

#[async_trait]
impl Publishing for Sqlite {
    fn is_shared(&self) -> bool {
        false
    }

    async fn publish(&self, _owner: &Owner, _rows: &[StatusRow]) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    async fn published(&self, _sessions: &[String]) -> Result<Vec<FoundStatus>, StoreError> {
        Ok(Vec::new())
    }

    async fn ask_holder(&self, _session: &str, _action: &str) -> Result<Option<i64>, StoreError> {
        Ok(None)
    }

    async fn take_asked(&self, _owner: &Owner, _expiry: Duration) -> Result<Vec<Asked>, StoreError> {
        Ok(Vec::new())
    }

    async fn answer(&self, _id: i64, _outcome: &str) -> Result<(), StoreError> {
        Ok(())
    }

    async fn answer_to(&self, _id: i64) -> Result<Option<String>, StoreError> {
        Ok(None)
    }
}
