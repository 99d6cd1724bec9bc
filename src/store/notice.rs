//! What dynos on one database tell each other: PostgreSQL's NOTIFY, sent in the statement that
//! changes something, heard by LISTEN on a connection of its own.
//!
//! A notice only says where to look, and may be lost: whoever acts on one also looks by itself from
//! time to time. Subscribe first, then look, so that nothing falls between the two.

use std::fmt;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::Store;

/// The channel of NOTIFY. PostgreSQL keeps the channels of its databases apart.
pub(super) const CHANNEL: &str = "blacksky";
/// Notices that a slow subscriber may be behind before they count as missed.
const BACKLOG: usize = 256;
/// Wait before the listener's connection is made again.
const RECONNECT: Duration = Duration::from_secs(1);

/// Something that is worth a look at the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The lease of a session was given up.
    Lease { session: String },
    /// A dyno came, became ready, or leaves.
    Dynos,
    /// The holder of a session published its status.
    Status { session: String },
    /// Somebody asked the holder of a session for something.
    Control,
    /// A run of a job began or ended.
    Jobs,
    /// A message waits to be sent by the holder of a session.
    Outbox { session: String },
    /// Some may have been missed, or the listener has just begun: anything may have changed.
    Missed,
}

/// As the payload of NOTIFY. `Missed` is never sent.
impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lease { session } => write!(f, "lease {session}"),
            Self::Dynos => f.write_str("dynos"),
            Self::Status { session } => write!(f, "status {session}"),
            Self::Control => f.write_str("control"),
            Self::Jobs => f.write_str("jobs"),
            Self::Outbox { session } => write!(f, "outbox {session}"),
            Self::Missed => f.write_str("missed"),
        }
    }
}

impl Notice {
    /// The notice of a payload; `None` for a word of a newer blacksky.
    pub(super) fn read(payload: &str) -> Option<Self> {
        let (word, session) = payload.split_once(' ').unwrap_or((payload, ""));
        let session = session.to_owned();
        match word {
            "lease" => Some(Self::Lease { session }),
            "dynos" => Some(Self::Dynos),
            "status" => Some(Self::Status { session }),
            "control" => Some(Self::Control),
            "jobs" => Some(Self::Jobs),
            "outbox" => Some(Self::Outbox { session }),
            _ => None,
        }
    }
}

/// Hands the notices of this process to all who subscribed; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Bulletin(broadcast::Sender<Notice>);

impl Default for Bulletin {
    fn default() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }
}

impl Bulletin {
    pub(super) fn tell(&self, notice: Notice) {
        // Nobody may have subscribed.
        let _ = self.0.send(notice);
    }
}

/// A subscription to the notices. Those from before it was made are not in it.
#[derive(Debug)]
pub struct Notices(broadcast::Receiver<Notice>);

impl Notices {
    /// The next notice; waits for ever when nobody listens or the store is gone. Safe to drop.
    pub async fn next(&mut self) -> Notice {
        match self.0.recv().await {
            Ok(notice) => notice,
            Err(broadcast::error::RecvError::Lagged(_)) => Notice::Missed,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }

    /// Waits until the lease of this session may be free.
    pub async fn lease(&mut self, session: &str) {
        loop {
            match self.next().await {
                Notice::Missed => return,
                Notice::Lease { session: free } if free == session => return,
                Notice::Lease { .. }
                | Notice::Dynos
                | Notice::Status { .. }
                | Notice::Control
                | Notice::Jobs
                | Notice::Outbox { .. } => {}
            }
        }
    }

    /// Waits until a message may wait to be sent for this session.
    pub async fn outbox(&mut self, session: &str) {
        loop {
            match self.next().await {
                Notice::Missed => return,
                Notice::Outbox { session: with_one } if with_one == session => return,
                _ => {}
            }
        }
    }

    /// Waits until a run of a job may have begun or ended.
    pub async fn jobs(&mut self) {
        while !matches!(self.next().await, Notice::Jobs | Notice::Missed) {}
    }

    /// Waits until the list of dynos may have changed.
    pub async fn dynos(&mut self) {
        while !matches!(self.next().await, Notice::Dynos | Notice::Missed) {}
    }
}

impl Store {
    /// Subscribes to what other dynos, and this one, tell. Fires only while somebody runs
    /// [`listen`](Self::listen), and never on SQLite.
    pub fn notices(&self) -> Notices {
        Notices(self.bulletin.0.subscribe())
    }

    /// Listens until `stop`, on a connection of its own that is made again when it is lost. Each time it
    /// begins, subscribers get [`Notice::Missed`]. Does nothing on SQLite, nor on PostgreSQL with
    /// `database.max_connections` below 3, where there is no connection for it.
    pub async fn listen(&self, stop: CancellationToken) {
        let mut told = false;
        let listening = async {
            loop {
                let began = tokio::time::Instant::now();
                if let Err(error) = self.engine.listen(&self.bulletin).await {
                    // One line an outage: an attempt that failed at once says nothing new.
                    if !told || began.elapsed() > RECONNECT * 2 {
                        tracing::warn!(%error, "notices of other dynos are not heard: asking the database from time to time");
                    }
                    told = true;
                }
                tokio::time::sleep(RECONNECT).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = listening => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Bulletin, Notice, Notices};

    #[test]
    fn every_notice_reads_back_and_other_words_are_let_pass() {
        let session = "main.bot-1_x".to_owned();
        for notice in [
            Notice::Lease { session: session.clone() },
            Notice::Dynos,
            Notice::Status { session: session.clone() },
            Notice::Outbox { session },
            Notice::Control,
            Notice::Jobs,
        ] {
            assert_eq!(Notice::read(&notice.to_string()), Some(notice));
        }
        assert_eq!(Notice::read(&Notice::Missed.to_string()), None);
        assert_eq!(Notice::read("weather sunny"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_subscriber_hears_what_concerns_it() {
        let bulletin = Bulletin::default();
        let mut notices = Notices(bulletin.0.subscribe());
        bulletin.tell(Notice::Control);
        bulletin.tell(Notice::Lease { session: "other".into() });
        let waits = tokio::time::timeout(std::time::Duration::from_secs(60), notices.lease("mine"));
        assert!(waits.await.is_err(), "nothing for it");
        bulletin.tell(Notice::Lease { session: "mine".into() });
        notices.lease("mine").await;
        bulletin.tell(Notice::Dynos);
        notices.dynos().await;
    }

    #[tokio::test]
    async fn whoever_is_too_slow_looks_at_everything() {
        let bulletin = Bulletin::default();
        let mut notices = Notices(bulletin.0.subscribe());
        for _ in 0..=super::BACKLOG {
            bulletin.tell(Notice::Control);
        }
        assert_eq!(notices.next().await, Notice::Missed);
        assert_eq!(notices.next().await, Notice::Control);
    }
}
