//! What programs ask of a live link, to be answered at once.
//!
//! ```text
//! API → `Calls` of the bot's handle → whoever lives on the link, one after the other of its lives → the answer back
//! ```
//!
//! Nothing of it is kept: a call that nobody takes in time is refused.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard, mpsc, oneshot};

/// Longest time from a call to its answer.
pub const DEADLINE: Duration = Duration::from_secs(8);
/// Calls that may wait.
const QUEUE: usize = 32;

/// A call.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// Shows in a chat what the bot is doing.
    Typing { chat: String, state: Typing },
    /// Tells the sender that messages were read; in a group `sender` is who wrote them.
    Read { chat: String, sender: Option<String>, ids: Vec<String> },
    /// The groups that the account is in.
    Groups,
    /// Which of these addresses are on WhatsApp.
    Contacts { addresses: Vec<String> },
    /// A code to be typed into the phone of this number.
    PairingCode { phone: String },
}

/// Only its kind: the rest names people.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Typing { .. } => "Typing",
            Self::Read { .. } => "Read",
            Self::Groups => "Groups",
            Self::Contacts { .. } => "Contacts",
            Self::PairingCode { .. } => "PairingCode",
        })
    }
}

/// What a chat shows of the bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Typing {
    /// It is typing.
    Composing,
    /// It is recording.
    Recording,
    /// Neither.
    Paused,
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    #[error("the bot's link is not open; /api/v1/bots says how it stands")]
    NotOpen,
    #[error("the bot does not wait to be paired now: it is linked already, or its link is not up")]
    NotPairing,
    #[error("too many calls wait already")]
    Busy,
    #[error("nobody answered within {} s", DEADLINE.as_secs())]
    Late,
    #[error(
        "the code would pass through the database in clear: set BLACKSKY_SECRET_KEY, or ask the dyno that holds the link"
    )]
    Unsealed,
    #[error("the database, which the call goes through, does not answer")]
    NoWay,
    #[error("the dyno that holds the link has a version that does not know this call")]
    Unknown,
    /// The kind of WhatsApp's or the client's error.
    #[error("WhatsApp refused it: {0}")]
    Refused(String),
}

/// How a call ended.
pub type Reply = Result<Value, Refusal>;

/// A call that waits.
#[derive(Debug)]
pub struct Waiting {
    pub call: Call,
    /// Closed when nobody waits for the answer any more.
    pub reply: oneshot::Sender<Reply>,
}

/// The calls of one bot; cheap to clone.
#[derive(Debug, Clone)]
pub struct Calls {
    sender: mpsc::Sender<Waiting>,
    queue: Arc<Mutex<mpsc::Receiver<Waiting>>>,
}

impl Default for Calls {
    fn default() -> Self {
        let (sender, queue) = mpsc::channel(QUEUE);
        Self { sender, queue: Arc::new(Mutex::new(queue)) }
    }
}

impl Calls {
    /// Makes a call and waits for its answer, at most [`DEADLINE`].
    pub async fn make(&self, call: Call) -> Reply {
        let (reply, answer) = oneshot::channel();
        self.sender.try_send(Waiting { call, reply }).map_err(|_| Refusal::Busy)?;
        match tokio::time::timeout(DEADLINE, answer).await {
            Ok(Ok(reply)) => reply,
            // Whoever had taken it was ended with its client.
            Ok(Err(_)) => Err(Refusal::NotOpen),
            Err(_) => Err(Refusal::Late),
        }
    }

    /// The waiting calls, for whoever lives on the link now: one at a time.
    pub async fn queue(&self) -> MutexGuard<'_, mpsc::Receiver<Waiting>> {
        self.queue.lock().await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_is_answered_refused_or_late() {
        let calls = Calls::default();
        let answering = async {
            let waiting = calls.queue().await.recv().await.expect("a call");
            assert_eq!(waiting.call, Call::Groups);
            waiting.reply.send(Ok(json!([1]))).expect("somebody waits");
        };
        let (reply, ()) = tokio::join!(calls.make(Call::Groups), answering);
        assert_eq!(reply, Ok(json!([1])));
        let dropping = async { drop(calls.queue().await.recv().await) };
        let (reply, ()) = tokio::join!(calls.make(Call::Groups), dropping);
        assert_eq!(reply, Err(Refusal::NotOpen));
        let begun = tokio::time::Instant::now();
        assert_eq!(calls.make(Call::Groups).await, Err(Refusal::Late));
        assert_eq!(begun.elapsed(), DEADLINE);
    }

    #[tokio::test]
    async fn only_so_many_wait() {
        let calls = Calls::default();
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..QUEUE {
            let calls = calls.clone();
            all.spawn(async move { calls.make(Call::Groups).await });
        }
        while calls.sender.capacity() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(calls.make(Call::Groups).await, Err(Refusal::Busy));
    }

    #[test]
    fn a_call_shows_nobody() {
        let call = Call::PairingCode { phone: "4915550001".into() };
        assert_eq!(format!("{call:?}"), "PairingCode");
    }
}
