//! Writes ratchets before the frames that depend on them.
//!
//! whatsapp-rust writes a ratchet before a message that raises its counter lease, and otherwise up to 25 ms
//! after the message. A fresh sending chain, made when a received message turned the ratchet, is within the
//! lease from its start: a reply may be the first the other side sees of a key that no database has. After a
//! crash the other side encrypts for that key, and nobody can read it. A write just before a send is not
//! enough either, since another message may turn the ratchet between the two. So while something is being
//! sent, each frame waits, encrypted as it is, until everything in memory is durable.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use whatsapp_rust::Client;

use crate::link::transport::BeforeWrite;

/// A frame that waits longer is not written, and the connection ends.
const PATIENCE: Duration = Duration::from_secs(5);

/// The barrier of one client; cheap to clone.
#[derive(Clone, Default)]
pub struct Barrier(Arc<Shared>);

#[derive(Default)]
struct Shared {
    raised: AtomicUsize,
    client: OnceLock<Weak<Client>>,
}

/// Keeps the barrier raised.
pub struct Raised(Arc<Shared>);

impl Barrier {
    /// Says whose ratchets it is about; before that the barrier holds nothing up.
    pub fn guard(&self, client: &Arc<Client>) {
        let _already = self.0.client.set(Arc::downgrade(client));
    }

    /// To be held from before the encryption until the frame is written.
    pub fn raise(&self) -> Raised {
        self.0.raised.fetch_add(1, Ordering::AcqRel);
        Raised(self.0.clone())
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        self.0.raised.fetch_sub(1, Ordering::AcqRel);
    }
}

#[async_trait]
impl BeforeWrite for Barrier {
    async fn ready(&self) -> anyhow::Result<()> {
        if self.0.raised.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        let Some(client) = self.0.client.get().and_then(Weak::upgrade) else { return Ok(()) };
        let flushed = tokio::time::timeout(PATIENCE, client.flush_pending_signal_state()).await;
        // The error names peers.
        match flushed {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => anyhow::bail!("the ratchets were not stored"),
            Err(_) => anyhow::bail!("the ratchets were not stored within {} s", PATIENCE.as_secs()),
        }
    }
}
