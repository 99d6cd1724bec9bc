//! What others may ask of a bot, wherever its link is held.

use tokio::sync::{mpsc, oneshot};

use super::call::{Call, Calls, Refusal, Reply};
use super::events::Events;

/// A request from the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Dial now instead of waiting for the back-off.
    ReconnectNow,
    /// Open a new round of QR codes after one ended.
    ShowNewQr,
    /// Stop the program of a hosted bot, if it runs, and start it again at once; close the link of a native one and
    /// begin anew.
    RestartBot,
    /// Post the dead letters of the bot's webhook again.
    RetryWebhook,
}

impl Request {
    const ALL: [Self; 4] = [Self::ReconnectNow, Self::ShowNewQr, Self::RestartBot, Self::RetryWebhook];

    /// Its stable word, as it travels between dynos.
    pub fn word(self) -> &'static str {
        match self {
            Self::ReconnectNow => "reconnect",
            Self::ShowNewQr => "qr",
            Self::RestartBot => "restart",
            Self::RetryWebhook => "webhook",
        }
    }

    /// The request of a word; `None` for one that this version does not know.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|request| request.word() == word)
    }
}

/// A request on its way to the dyno that holds the bot's link.
#[derive(Debug)]
pub struct Errand {
    /// The bot.
    pub bot: String,
    /// What is asked, and where the answer goes.
    pub ask: Ask,
}

/// What an errand asks.
#[derive(Debug)]
pub enum Ask {
    /// To be taken.
    Request(Request, oneshot::Sender<Answer>),
    /// To be answered.
    Call(Call, oneshot::Sender<Reply>),
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The holder's bot took the request.
    Took,
    /// The holder's bot was busy or ending.
    Busy,
    /// Nobody answered in time.
    Silent,
    /// The request could not be left in the database.
    NotSent,
}

/// The sending side of a bot's request queue; cheap to clone.
#[derive(Debug, Clone)]
pub struct BotHandle {
    own: mpsc::Sender<Request>,
    elsewhere: Option<(String, mpsc::Sender<Errand>)>,
    /// Calls to the link of this process.
    pub calls: Calls,
    /// What happens at the bot of this process.
    pub events: Events,
}

impl BotHandle {
    /// A handle and the queue its bot reads.
    pub fn new() -> (Self, mpsc::Receiver<Request>) {
        let (own, receiver) = mpsc::channel(8);
        let (calls, events) = (Calls::default(), Events::default());
        (Self { own, elsewhere: None, calls, events }, receiver)
    }

    /// The same handle, with a way to other dynos for the bot of this name.
    pub fn with_errands(self, name: impl Into<String>, errands: mpsc::Sender<Errand>) -> Self {
        Self { elsewhere: Some((name.into(), errands)), ..self }
    }

    /// Queues a request for the bot of this process; `false` when it has ended or its queue is full.
    pub fn ask(&self, request: Request) -> bool {
        self.own.try_send(request).is_ok()
    }

    /// Sends a request to the dyno that holds the link; the answer comes within about ten seconds. `None`
    /// when there is no way to another dyno, or too many requests are under way.
    pub fn ask_holder(&self, request: Request) -> Option<oneshot::Receiver<Answer>> {
        let (bot, errands) = self.elsewhere.as_ref()?;
        let (answer, receiver) = oneshot::channel();
        errands.try_send(Errand { bot: bot.clone(), ask: Ask::Request(request, answer) }).ok()?;
        Some(receiver)
    }

    /// Makes a call to the link that another dyno holds; answered within about ten seconds.
    pub async fn call_holder(&self, call: Call) -> Reply {
        let (bot, errands) = self.elsewhere.as_ref().ok_or(Refusal::NoWay)?;
        let (reply, answer) = oneshot::channel();
        let errand = Errand { bot: bot.clone(), ask: Ask::Call(call, reply) };
        errands.try_send(errand).map_err(|_| Refusal::Busy)?;
        answer.await.unwrap_or(Err(Refusal::NoWay))
    }
}

#[cfg(test)]
mod tests {
    use super::Request;

    #[test]
    fn words_read_back() {
        for request in Request::ALL {
            assert_eq!(Request::of_word(request.word()), Some(request));
        }
        assert_eq!(Request::of_word("dance"), None);
    }
}
