//! Tells somebody when a bot needs them: a watcher of the status snapshot and a webhook.
//!
//! ```text
//! snapshot → watch (what is worth telling) → limit (not too often) → the page → deliver (format, sign, retry)
//! ```
//!
//! A dyno tells of the bots whose link it keeps; one that stands by is silent.

mod deliver;
mod limit;
mod message;
mod watch;

use chrono::{DateTime, Utc};
use futures_util::future::OptionFuture;
use tokio_util::sync::CancellationToken;

use crate::config::{AlertKind, Config};
use crate::runtime::clock;
use crate::runtime::status::{AlertsStatus, Board};

pub use crate::post::signature;
pub use deliver::{DeliveryError, Hook};

/// One thing to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// What it is; `None` for the one that `blacksky alerts test` sends.
    pub kind: Option<AlertKind>,
    /// The bot it is about; `None` when it is about the dyno.
    pub bot: Option<String>,
    /// What happened, in a sentence or two, without secrets or personal data.
    pub text: String,
    /// When.
    pub at: DateTime<Utc>,
    /// How many of the same were left out since the last one.
    pub left_out: u32,
}

/// Watches the snapshot and tells, until `stop`: on the page, and to the webhook where there is one.
pub async fn run(config: Config, board: Board, stop: CancellationToken) {
    let (mut outbox, mut delivering) = (None, None);
    if let Some(hook) = Hook::of(&config) {
        let (queue, work) = deliver::outbox(hook, board.clone(), stop.clone());
        (outbox, delivering) = (Some(queue), Some(work));
    }
    board.update(|snapshot| snapshot.alerts = AlertsStatus::new(outbox.is_some()));
    let watching = async {
        let mut snapshot = board.subscribe();
        let mut watcher = watch::Watcher::new(config.alerts.down_after.get());
        let mut limit = limit::Limit::new(config.alerts.repeat_after.get());
        loop {
            let now = tokio::time::Instant::now();
            let (alerts, look_again) = {
                let seen = snapshot.borrow_and_update();
                watcher.look(&seen, now, clock::now())
            };
            for alert in alerts {
                let wanted = alert.kind.is_some_and(|kind| config.alerts.on.contains(&kind));
                if let Some(alert) = limit.pass(alert, now).filter(|_| wanted) {
                    tell(&board, outbox.as_ref(), alert);
                }
            }
            let later = async {
                match look_again {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                changed = snapshot.changed() => if changed.is_err() { return stop.cancelled().await },
                () = later => {}
            }
        }
    };
    tokio::join!(watching, OptionFuture::from(delivering));
}

/// Puts an alert on the page and into the queue to the webhook.
fn tell(board: &Board, outbox: Option<&deliver::Outbox>, alert: Alert) {
    let mut number = 0;
    board.update(|snapshot| {
        let Alert { bot, text, at, left_out, .. } = alert.clone();
        number = snapshot.alerts.note(message::word(&alert), bot, text, left_out, at);
    });
    if let Some(outbox) = outbox {
        outbox.put(number, alert);
    }
}
