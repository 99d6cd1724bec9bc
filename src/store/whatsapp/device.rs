//! The device: who we are to WhatsApp. Corrupt is not missing: a row that does not read is an error.

use std::sync::Arc;

use async_trait::async_trait;
use wacore::client_profile::ClientProfile;
use wacore::stats::StorageResourceReport;
use wacore::store::Device;
use wacore::store::device::DEVICE_PROPS;
use wacore::store::error::Result;
use wacore::store::traits::DeviceStore;

use super::encode;
use crate::store::SessionStore;
use crate::store::engine::Merge;
use crate::store::kind::{Kind, Name};
use crate::store::sealed::Unsealed;

/// A session has one device.
const ID: i32 = 1;

fn name() -> Name {
    Name::of("")
}

#[async_trait]
impl DeviceStore for SessionStore {
    async fn save(&self, device: &Device) -> Result<()> {
        let value = encode(Kind::Device, device)?;
        Ok(self.write(Kind::Device, [Unsealed::plain(name(), &value)], Merge::Replace).await?)
    }

    async fn load(&self) -> Result<Option<Device>> {
        let device: Option<Device> = self.read_json(Kind::Device, name()).await?;
        Ok(device.map(|device| Device {
            // Not part of what is stored: every start sets them anew.
            device_props: Arc::new(DEVICE_PROPS.clone()),
            client_profile: ClientProfile::web(),
            ..device
        }))
    }

    async fn exists(&self) -> Result<bool> {
        // Opened too, so that a row that does not read stops whatsapp-rust before it makes a new device.
        Ok(self.read_json::<Device>(Kind::Device, name()).await?.is_some())
    }

    async fn create(&self) -> Result<i32> {
        let value = encode(Kind::Device, &Device::new())?;
        self.write(Kind::Device, [Unsealed::plain(name(), &value)], Merge::Keep).await?;
        Ok(ID)
    }

    async fn resource_report(&self) -> StorageResourceReport {
        StorageResourceReport { memory_bytes: Some(0), ..StorageResourceReport::default() }
    }
}
