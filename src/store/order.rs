//! Rows of received messages before the ratchets that opened them.
//!
//! whatsapp-rust moves a ratchet in memory when it opens a message, then writes what the message left
//! behind (its secret, a contact token), then its pending row; the ratchet itself is written by a flush
//! that knows nothing of that message. A ratchet that is durable while the row is not makes the
//! redelivered message a duplicate that nobody has: it would be acknowledged and lost. So the write of a
//! ratchet waits until the rows under way are durable. Rows never wait for ratchets.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::kind::Kind;

/// An opened message reaches its next row within this, without waiting for anything but a processor.
const STEP: Duration = Duration::from_millis(2);
/// A ratchet waits no longer than this. Traffic does not get it there: nothing more is opened while it waits.
const LONGEST: Duration = Duration::from_millis(500);

/// Counts rows of received messages that are being written; clones share the count.
#[derive(Debug, Clone)]
pub(super) struct Order(Arc<watch::Sender<usize>>);

/// A row under way.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<watch::Sender<usize>>);

impl Default for Order {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

impl Order {
    /// To be called before every write. A ratchet waits; what is given back is to be held until the commit.
    pub(super) async fn before(&self, kind: Kind) -> Option<UnderWay> {
        match kind {
            Kind::PendingInbound | Kind::MsgSecret | Kind::TcToken | Kind::LidMapping => {
                self.0.send_modify(|count| *count += 1);
                Some(UnderWay(self.0.clone()))
            }
            Kind::Session | Kind::SenderKey => {
                // Too late is no error: the row may come first all the same.
                let _ = tokio::time::timeout(LONGEST, self.settled()).await;
                None
            }
            _ => None,
        }
    }

    /// Waits until nothing has been under way for a step.
    async fn settled(&self) {
        let mut count = self.0.subscribe();
        loop {
            if count.wait_for(|count| *count == 0).await.is_err() {
                return;
            }
            let begun = count.wait_for(|count| *count > 0);
            if tokio::time::timeout(STEP, begun).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_ratchet_waits_for_the_rows_of_an_opened_message() {
        let order = Order::default();
        let began = Instant::now();
        let chain = {
            let order = order.clone();
            async move {
                // Opened just now: it has a secret first and then its pending row.
                tokio::time::sleep(Duration::from_millis(1)).await;
                let secret = order.before(Kind::MsgSecret).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
                drop(secret);
                let row = order.before(Kind::PendingInbound).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
                drop(row);
                began.elapsed()
            }
        };
        let ratchet = async {
            assert!(order.before(Kind::Session).await.is_none());
            began.elapsed()
        };
        let (rows, ratchet) = tokio::join!(chain, ratchet);
        assert!(ratchet >= rows + STEP, "{ratchet:?} after {rows:?}");
        assert!(ratchet < LONGEST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_ratchet_waits_no_longer_than_its_longest() {
        let order = Order::default();
        let _row = order.before(Kind::PendingInbound).await;
        let began = Instant::now();
        assert!(order.before(Kind::Session).await.is_none());
        assert!(began.elapsed() >= LONGEST && began.elapsed() < LONGEST + STEP);
    }

    #[tokio::test(start_paused = true)]
    async fn rows_and_other_writes_never_wait() {
        let order = Order::default();
        let _row = order.before(Kind::PendingInbound).await;
        let began = Instant::now();
        assert!(order.before(Kind::PendingInbound).await.is_some());
        assert!(order.before(Kind::Device).await.is_none());
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
