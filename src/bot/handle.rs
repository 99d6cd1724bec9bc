//! What others may ask of a running bot.

use tokio::sync::mpsc;

/// A request from the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Dial now instead of waiting for the back-off.
    ReconnectNow,
    /// Open a new round of QR codes after one ended.
    ShowNewQr,
}

/// The sending side of a bot's request queue; cheap to clone.
#[derive(Debug, Clone)]
pub struct BotHandle(mpsc::Sender<Request>);

impl BotHandle {
    /// A handle and the queue its bot reads.
    pub fn new() -> (Self, mpsc::Receiver<Request>) {
        let (sender, receiver) = mpsc::channel(8);
        (Self(sender), receiver)
    }

    /// Queues a request; `false` when the bot has ended or its queue is full.
    pub fn ask(&self, request: Request) -> bool {
        self.0.try_send(request).is_ok()
    }
}
