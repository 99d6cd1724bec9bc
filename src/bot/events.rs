//! What happens at a bot, for whoever listens right now. Who was not listening has the webhook.

use std::sync::Arc;

use tokio::sync::broadcast;

/// Events that a slow listener may be behind before it misses some.
const BEHIND: usize = 256;

/// The events of one bot, each as JSON in one line; cheap to clone.
#[derive(Debug, Clone)]
pub struct Events(broadcast::Sender<Arc<[u8]>>);

impl Default for Events {
    fn default() -> Self {
        Self(broadcast::Sender::new(BEHIND))
    }
}

impl Events {
    /// Whether anybody listens.
    pub fn wanted(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// Tells all who listen.
    pub fn tell(&self, event: Vec<u8>) {
        // Nobody needs to.
        let _ = self.0.send(event.into());
    }

    /// What happens from now on.
    pub fn listen(&self) -> broadcast::Receiver<Arc<[u8]>> {
        self.0.subscribe()
    }
}
