//! Messages that were being opened when their connection ended.
//!
//! At the end of a connection whatsapp-rust writes every ratchet, then makes ready for the offline queue of the
//! next one. A message that was opened before that write and reaches its next step after it is put with the
//! offline queue, where the next connection drops it: "the server will redeliver". It does, but the ratchet
//! is stored and the row is not, so that the redelivered message is a duplicate that nobody has, and is
//! acknowledged. A processor that is taken away at the wrong moment is enough. So what waits there is
//! committed before anything else happens to the client.

use std::time::Duration;

use whatsapp_rust::Client;

/// An opened message has got to its next step after this, but on the busiest of machines.
const STEP: Duration = Duration::from_millis(20);
/// The store has given up long before.
const PATIENCE: Duration = Duration::from_secs(5);

/// Commits what was opened so far: its rows, its ratchets, the inbox. Says whether nothing is left.
pub async fn commit(client: &Client) -> bool {
    // Between connections this takes the way of the offline queue; with nothing there it costs nothing.
    match tokio::time::timeout(PATIENCE, client.flush_pending_signal_state()).await {
        Ok(Ok(())) => true,
        // The error itself could name peers.
        Ok(Err(_)) | Err(_) => {
            tracing::warn!("messages that came as the connection ended could not be stored");
            false
        }
    }
}

/// The same once a connection has ended, for the messages under way then.
pub async fn settle(client: &Client) -> bool {
    tokio::time::sleep(STEP).await;
    commit(client).await
}
