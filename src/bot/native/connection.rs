//! One connection: from the dial to its end. Says what happens on it, beats its heart, and tells in the
//! end why it ended.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;
use tokio::time::Instant;
use wacore::iq::keepalive::KeepaliveSpec;
use wacore::types::events::{Event, EventHandler, EventInterest, EventKind};
use whatsapp_rust::Client;

use super::executor::Executor;
use super::late;
use crate::config::Heartbeat;
use crate::link::heartbeat;
use crate::link::policy::Ending;
use crate::link::stanza::{self, Notice};
use crate::link::transport::{CutReason, End, Line};
use crate::runtime::clock;
use crate::runtime::status::Qr;

/// `<success>` is acted upon right after it was seen; a client that takes longer has given up.
const LOGIN_DEADLINE: Duration = Duration::from_secs(2);
/// How long a reason may come after the end.
const GRACE: Duration = Duration::from_millis(20);
/// How often it is asked whether the login is done.
const LOGIN_LOOK: Duration = Duration::from_millis(1);

/// What happens on a connection.
#[derive(Debug)]
pub enum News {
    /// A QR to scan.
    Qr(Qr),
    /// The phone scanned it, and the device is stored.
    Paired,
    /// `<success>` was handled.
    Opened,
    /// The connection ended, or was never made. The last of the news.
    Ended(Ending),
}

/// A connection as its owner sees it.
#[derive(Debug)]
pub struct Connection {
    /// What happens on it.
    pub news: mpsc::UnboundedReceiver<News>,
}

impl Connection {
    /// Dials with a client whose next transport belongs to `line`; everything runs on `executor`.
    pub fn begin(client: Arc<Client>, line: Line, executor: &Executor, config: Heartbeat) -> Self {
        let (sender, news) = mpsc::unbounded_channel();
        executor.run(follow(client, line, executor.clone(), config, sender));
        Self { news }
    }
}

/// What whatsapp-rust told us.
enum Heard {
    Notice(Notice),
    Qr { payload: String, expires_at: DateTime<Utc> },
    QrEnded,
    Paired,
    PairingRefused,
}

/// Listens to one client during one connection.
struct Ear(mpsc::UnboundedSender<Heard>);

impl Ear {
    const INTEREST: [EventKind; 5] = [
        EventKind::RawNode,
        EventKind::PairingQrCode,
        EventKind::PairingQrCodesExhausted,
        EventKind::PairSuccess,
        EventKind::PairError,
    ];
}

impl EventHandler for Ear {
    fn handle_event(&self, event: Arc<Event>) {
        let heard = match &*event {
            // Endings come as raw stanzas: whatsapp-rust has no event for some of them.
            Event::RawNode(node) => stanza::read(node.get()).map(Heard::Notice),
            Event::PairingQrCode(qr) => Some(Heard::Qr {
                payload: qr.code.clone(),
                expires_at: clock::now() + chrono::Duration::from_std(qr.timeout).unwrap_or_default(),
            }),
            Event::PairingQrCodesExhausted(_) => Some(Heard::QrEnded),
            Event::PairSuccess(_) => Some(Heard::Paired),
            Event::PairError(_) => Some(Heard::PairingRefused),
            _ => None,
        };
        if let Some(heard) = heard {
            // Nobody listens when the connection is over.
            let _ = self.0.send(heard);
        }
    }
}

/// What is known about the end so far.
#[derive(Debug, Default)]
struct Clues {
    /// The first thing that ends a link.
    decided: Option<Ending>,
    /// The likely cause, should the transport end.
    hint: Option<Ending>,
    /// `<success>` was handled.
    logged_in: bool,
}

impl Clues {
    fn decide(&mut self, ending: Ending) {
        self.decided.get_or_insert(ending);
    }

    /// Why the connection ended.
    fn conclude(self, line: &Line) -> Ending {
        if let Some(decided) = self.decided {
            return decided;
        }
        if let Some(error) = line.dial_error() {
            return Ending::Dial(error);
        }
        match line.end() {
            Some(end @ End::Cut(_)) => Ending::Transport(end),
            // Closed by whatsapp-rust without a login: the handshake did not verify or timed out.
            Some(End::Local) | None if !self.logged_in => self.hint.unwrap_or(Ending::GivenUp),
            Some(end) => self.hint.unwrap_or(Ending::Transport(end)),
            None => self.hint.unwrap_or(Ending::GivenUp),
        }
    }
}

async fn follow(
    client: Arc<Client>,
    line: Line,
    executor: Executor,
    config: Heartbeat,
    news: mpsc::UnboundedSender<News>,
) {
    if !late::commit(&client).await {
        // To dial would drop them. Trouble with the store was reported where it was met.
        let _ = news.send(News::Ended(Ending::GivenUp));
        return;
    }
    let (sender, mut heard) = mpsc::unbounded_channel();
    let ear = client.subscribe(EventInterest::of(&Ear::INTEREST), Arc::new(Ear(sender)));
    let raw = client.acquire_raw_node_forwarding();
    let (finished, mut run) = tokio::sync::oneshot::channel();
    let running = client.clone();
    executor.run(async move {
        running.run().await;
        let _ = finished.send(());
    });
    let beat = async {
        line.opened().await;
        heartbeat::watch(line.pulse(), config, || probe(&client, &line, &executor, config)).await;
    };
    tokio::pin!(beat);

    let mut clues = Clues::default();
    let mut beating = true;
    loop {
        tokio::select! {
            biased;
            Some(heard) = heard.recv() => take(heard, &client, &line, &mut clues, &news).await,
            _ = &mut run => break,
            () = &mut beat, if beating => {
                beating = false;
                line.cut(CutReason::Silence);
            }
        }
    }
    // Stanzas that whatsapp-rust hands to a task of their own may be seen after its loop has ended.
    let grace = if clues.decided.is_none() && line.end().is_some() { GRACE } else { Duration::ZERO };
    while let Ok(Some(late)) = tokio::time::timeout(grace, heard.recv()).await {
        take(late, &client, &line, &mut clues, &news).await;
    }
    drop((ear, raw));
    // What is still left is tried again before the next dial.
    late::settle(&client).await;
    // What the next dial, or the next client, reads.
    if let Err(error) = client.persistence_manager().flush().await {
        tracing::warn!(%error, "the device was not stored at the end of a connection");
    }
    let _ = news.send(News::Ended(clues.conclude(&line)));
}

async fn take(
    heard: Heard,
    client: &Arc<Client>,
    line: &Line,
    clues: &mut Clues,
    news: &mpsc::UnboundedSender<News>,
) {
    match heard {
        Heard::Notice(Notice::Success) => {
            if !clues.logged_in && handled(client, line).await {
                clues.logged_in = true;
                let _ = news.send(News::Opened);
            }
        }
        Heard::Notice(Notice::Ends { ending, cut }) => {
            clues.decide(ending);
            if cut {
                line.cut(CutReason::ServerError);
            }
        }
        Heard::Notice(Notice::Hint(ending)) => clues.hint = Some(ending),
        Heard::Qr { payload, expires_at } => {
            let _ = news.send(News::Qr(Qr { payload, expires_at }));
        }
        Heard::QrEnded => clues.decide(Ending::QrEnded),
        Heard::Paired => {
            clues.decide(Ending::Paired);
            // From here on no crash may ask for another QR.
            match client.persistence_manager().flush().await {
                Ok(()) => {
                    let _ = news.send(News::Paired);
                }
                Err(error) => tracing::error!(%error, "the new device was not stored"),
            }
        }
        Heard::PairingRefused => clues.decide(Ending::PairingRefused),
    }
}

/// Waits until the client has acted upon `<success>`. The stanza is seen just before.
async fn handled(client: &Arc<Client>, line: &Line) -> bool {
    let deadline = Instant::now() + LOGIN_DEADLINE;
    while !client.is_logged_in() {
        if line.end().is_some() || Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(LOGIN_LOOK).await;
    }
    true
}

/// Sends a probe; its answer is heard as a frame.
fn probe(client: &Arc<Client>, line: &Line, executor: &Executor, config: Heartbeat) {
    let (client, line) = (client.clone(), line.clone());
    executor.run(async move {
        let asking = client.execute(KeepaliveSpec::with_timeout(config.deadline.get()));
        tokio::select! {
            _ = asking => {}
            () = line.ended() => {}
        }
    });
}
