//! Posts alerts one after another, each until it is taken.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::Alert;
use super::message::{self, Sender};
use crate::config::{AlertFormat, Config, Secret};
use crate::post::{self, signature};
use crate::runtime::clock;
use crate::runtime::status::Board;

/// For one post, connecting included.
const DEADLINE: Duration = Duration::from_secs(10);
/// Waits before the second try and those after it.
const RETRIES: [Duration; 4] =
    [Duration::from_secs(2), Duration::from_secs(10), Duration::from_secs(30), Duration::from_secs(120)];
/// Longest wait that a `Retry-After` is given.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// Alerts that wait for a webhook that does not answer.
const QUEUE: usize = 50;
/// What is still to be told at the end is tried once, within this.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A webhook that alerts are posted to.
#[derive(Debug, Clone)]
pub struct Hook {
    url: Secret,
    secret: Option<Secret>,
    format: AlertFormat,
    sender: Sender,
    client: reqwest::Client,
}

/// Why a post was not taken. Never holds the address.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The receiver answered with this status.
    #[error("the webhook answered {status}{}", explained(*status))]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// There was no answer.
    #[error("the webhook was not reached: {0}")]
    Unreached(String),
}

fn explained(status: u16) -> &'static str {
    match status {
        301..=308 => {
            ": it points elsewhere, and redirects are not followed; set alerts.webhook to that address"
        }
        400 => ": it does not understand the message; look at alerts.format",
        401 | 403 | 404 | 410 => {
            ": it is gone or not allowed; make a new one and set BLACKSKY_ALERTS_WEBHOOK"
        }
        _ => "",
    }
}

impl DeliveryError {
    /// Another try may help.
    fn may_pass(&self) -> bool {
        match self {
            Self::Refused { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
            Self::Unreached(_) => true,
        }
    }
}

impl Hook {
    /// The webhook of a config; `None` when there is none, or no client to be had.
    pub fn of(config: &Config) -> Option<Self> {
        let url = config.alerts.webhook.clone()?;
        let parsed = Url::parse(url.expose()).ok()?;
        let format = match config.alerts.format {
            AlertFormat::Auto => message::format_for(&parsed),
            given @ (AlertFormat::Json | AlertFormat::Slack | AlertFormat::Discord) => given,
        };
        let client = post::client(DEADLINE)
            .inspect_err(|error| tracing::error!(%error, "the HTTP client of the alerts cannot be set up"))
            .ok()?;
        let sender = Sender {
            app: config.app.name.clone(),
            dyno: config.platform.dyno.clone(),
            page: config.heroku.url.clone(),
        };
        Some(Self { url, secret: config.alerts.secret.clone(), format, sender, client })
    }

    /// Posts an alert once.
    pub async fn post(&self, alert: &Alert, id: &str) -> Result<u16, DeliveryError> {
        let body = message::body(alert, id, &self.sender, self.format).to_string();
        let timestamp = clock::now().timestamp();
        let mut request = self
            .client
            .post(self.url.expose())
            .header("content-type", "application/json")
            .header("x-blacksky-event", message::word(alert))
            .header("x-blacksky-delivery", id)
            .header("x-blacksky-timestamp", timestamp);
        if let Some(secret) = &self.secret {
            request = request.header("x-blacksky-signature", signature(secret, timestamp, body.as_bytes()));
        }
        let answer = request.body(body).send().await;
        let answer = answer.map_err(|error| DeliveryError::Unreached(post::unreached(error, DEADLINE)))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(status.as_u16());
        }
        let retry_after = post::retry_after(answer.headers(), clock::now());
        Err(DeliveryError::Refused { status: status.as_u16(), retry_after })
    }

    /// Posts an alert until it is taken, refused for good, or out of tries; `Err` says why it was not taken.
    async fn insist(&self, alert: &Alert, stop: &CancellationToken) -> Result<(), String> {
        // The same for each try, so that a receiver knows a repeated one.
        let id = format!("{:016x}", rand::random::<u64>());
        let mut waits = RETRIES.into_iter();
        loop {
            let error = match self.post(alert, &id).await {
                Ok(status) => {
                    tracing::info!(event = message::word(alert), bot = ?alert.bot, status, "alert sent");
                    return Ok(());
                }
                Err(error) => error,
            };
            let wait = waits.next().filter(|_| error.may_pass() && !stop.is_cancelled());
            let Some(wait) = wait else {
                tracing::error!(event = message::word(alert), bot = ?alert.bot, "alert not sent: {error}");
                return Err(error.to_string());
            };
            let asked = match &error {
                DeliveryError::Refused { retry_after, .. } => retry_after.unwrap_or_default(),
                DeliveryError::Unreached(_) => Duration::ZERO,
            };
            let wait = wait.max(asked).min(LONGEST_WAIT);
            tracing::warn!(event = message::word(alert), retry_in_s = wait.as_secs(), "alert: {error}");
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}

/// Where alerts are put to be delivered.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: mpsc::Sender<(u64, Alert)>,
    board: Board,
}

impl Outbox {
    /// Queues the alert that has this number on the board; when the queue is full it is left out and logged.
    pub(super) fn put(&self, number: u64, alert: Alert) {
        if let Err(error) = self.queue.try_send((number, alert)) {
            let (mpsc::error::TrySendError::Full((_, alert)) | mpsc::error::TrySendError::Closed((_, alert))) =
                error;
            let problem = format!("{QUEUE} alerts wait already");
            tracing::error!(event = message::word(&alert), bot = ?alert.bot, "alert left out: {problem}");
            self.board.update(|snapshot| snapshot.alerts.ended(number, Err(problem)));
        }
    }
}

/// A queue and the work that empties it and notes on the board how each ended; the work ends soon after `stop`.
pub(super) fn outbox(
    hook: Hook,
    board: Board,
    stop: CancellationToken,
) -> (Outbox, impl Future<Output = ()>) {
    let (sender, mut queue) = mpsc::channel::<(u64, Alert)>(QUEUE);
    let outbox = Outbox { queue: sender, board: board.clone() };
    let work = async move {
        loop {
            let alert = tokio::select! {
                biased;
                alert = queue.recv() => alert,
                () = stop.cancelled() => None,
            };
            let Some((number, alert)) = alert else { return };
            let telling = hook.insist(&alert, &stop);
            let last = async {
                stop.cancelled().await;
                tokio::time::sleep(LAST_WORDS).await;
            };
            let outcome = tokio::select! {
                outcome = telling => outcome,
                () = last => {
                    tracing::warn!(event = message::word(&alert), "alert not sent: the process ends");
                    return;
                }
            };
            board.update(|snapshot| snapshot.alerts.ended(number, outcome.map(|()| clock::now())));
        }
    };
    (outbox, work)
}
