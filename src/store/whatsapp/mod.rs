//! whatsapp-rust's `Backend` on [`SessionStore`]: one file a trait. The behaviour is that of
//! whatsapp-rust's own two back-ends, as far as the two agree (`tests/it/store/backend.rs`).

mod app_sync;
mod device;
mod protocol;
mod secrets;
mod signal;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wacore::store::error::StoreError as BackendError;

use super::kind::{Kind, Name};
use super::seal::OpenError;
use super::sealed::{Opened, unreadable};
use super::{SessionStore, StoreError};

/// First byte of a structured value: JSON, first shape.
const JSON_1: u8 = 1;

impl From<StoreError> for BackendError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unreadable { .. } => Self::Serialization(Box::new(error)),
            error => Self::Database(Box::new(error)),
        }
    }
}

/// The bytes of a structured value.
fn encode(kind: Kind, value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    let mut out = vec![JSON_1];
    serde_json::to_writer(&mut out, value).map_err(|_| unreadable(kind, OpenError::Damaged))?;
    Ok(out)
}

/// The structured value of the bytes.
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    match bytes.split_first() {
        Some((&JSON_1, json)) => serde_json::from_slice(json).ok(),
        _ => None,
    }
}

impl SessionStore {
    /// Reads a structured value.
    async fn read_json<T: DeserializeOwned>(&self, kind: Kind, name: Name) -> Result<Option<T>, StoreError> {
        let Some(row) = self.read(kind, name).await? else { return Ok(None) };
        match decode(&row.value) {
            Some(value) => Ok(Some(value)),
            None => self.undecodable(kind, row.name).await.map(|()| None),
        }
    }

    /// The opened value of a row.
    async fn value(&self, kind: Kind, name: Name) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.read(kind, name).await?.map(|row| row.value))
    }

    /// A half of a row's name as text; names that peers chose as text are stored as its bytes.
    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }
}

/// The device of its stored value.
pub(super) fn device_of(value: &[u8]) -> Option<wacore::store::Device> {
    decode(value)
}

/// Seconds since 1970.
fn now_secs() -> i64 {
    crate::runtime::clock::now().timestamp()
}

/// The value of a row of fixed length.
fn array<const N: usize>(row: &Opened) -> Option<[u8; N]> {
    row.value.as_slice().try_into().ok()
}
