//! Writes ratchets before the frames that depend on them.
//!
//! whatsapp-rust writes a ratchet before a message that raises its counter lease, and otherwise up to 25 ms
//! after the message. A fresh sending chain, made when a received message turned the ratchet, is within the
//! lease from its start: a reply may be the first the other side sees of a key that no database has. After a
//! crash the other side encrypts for that key, and nobody can read it. A write just before a send is not
//! enough either, since another message may turn the ratchet between the two. So while something is being
//! sent, each frame waits, encrypted as it is, until everything in memory is durable.
//!
//! A write leaves out a ratchet that is opening a message at that moment, and says nothing of it. To ask about
//! a session waits for its lock, so after that the write has it: the next message of a chat is opened only
//! when the rows of the one before are stored.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use wacore_binary::{Jid, JidExt};
use whatsapp_rust::Client;

use crate::link::transport::BeforeWrite;

/// A frame that waits longer is not written, and the connection ends.
const PATIENCE: Duration = Duration::from_secs(5);
/// To open a message takes far less. Whoever holds a session longer waits for the server, perhaps for an
/// answer to the very frame that is held up here.
const OPENING: Duration = Duration::from_millis(250);

/// The barrier of one client; cheap to clone.
#[derive(Clone, Default)]
pub struct Barrier(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Chats that something is being sent to.
    chats: Mutex<Vec<Jid>>,
    client: OnceLock<Weak<Client>>,
}

impl Shared {
    fn chats(&self) -> MutexGuard<'_, Vec<Jid>> {
        self.chats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the barrier raised.
pub struct Raised(Arc<Shared>, Jid);

impl Barrier {
    /// Says whose ratchets it is about; before that the barrier holds nothing up.
    pub fn guard(&self, client: &Arc<Client>) {
        let _already = self.0.client.set(Arc::downgrade(client));
    }

    /// To be held from before the encryption for `chat` until the frame is written.
    pub fn raise(&self, chat: Jid) -> Raised {
        self.0.chats().push(chat.clone());
        Raised(self.0.clone(), chat)
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        let mut chats = self.0.chats();
        if let Some(place) = chats.iter().position(|chat| *chat == self.1) {
            chats.swap_remove(place);
        }
    }
}

/// Writes every ratchet; the error itself would name peers.
async fn store(client: &Client, chats: &[Jid]) -> anyhow::Result<()> {
    for chat in chats.iter().filter(|chat| !chat.is_group()) {
        // What it says does not matter, only that nobody is at work on that session.
        let _ = tokio::time::timeout(OPENING, client.signal().session_info(chat)).await;
    }
    client.flush_pending_signal_state().await.map_err(|_| anyhow::anyhow!("the ratchets were not stored"))
}

#[async_trait]
impl BeforeWrite for Barrier {
    async fn ready(&self) -> anyhow::Result<()> {
        let chats = self.0.chats().clone();
        let Some(client) = self.0.client.get().and_then(Weak::upgrade) else { return Ok(()) };
        if chats.is_empty() {
            return Ok(());
        }
        match tokio::time::timeout(PATIENCE, store(&client, &chats)).await {
            Ok(stored) => stored,
            Err(_) => anyhow::bail!("the ratchets were not stored within {} s", PATIENCE.as_secs()),
        }
    }
}
