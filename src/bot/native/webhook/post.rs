//! One post to a bot's webhook.

use std::time::Duration;

use url::Url;

use super::body;
use crate::config::{Secret, Webhook};
use crate::post;
use crate::runtime::clock;

/// For one post, connecting and the receiver's work included.
const DEADLINE: Duration = Duration::from_secs(15);

/// Posts to one webhook.
#[derive(Debug, Clone)]
pub struct Poster {
    url: Url,
    secret: Option<Secret>,
    bot: String,
    /// Where our own page listens.
    own_port: u16,
    client: reqwest::Client,
}

/// Why a post was not taken. Never holds the address.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
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
    /// It is ourselves.
    #[error("the webhook leads to blacksky's own port; set it to the address of your program")]
    Ourselves,
}

impl NotTaken {
    /// How long the receiver wants to be left alone.
    pub fn asked(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            Self::Unreached(_) | Self::Ourselves => None,
        }
    }
}

fn explained(status: u16) -> &'static str {
    match status {
        301..=308 => ": it points elsewhere, and redirects are not followed; set webhook to that address",
        401 | 403 => ": it does not let us in; look at webhook_secret and at what it asks for",
        404 | 410 => ": there is nothing at this path; look at the end of webhook",
        413 => ": the message is too large for it",
        _ => "",
    }
}

impl Poster {
    /// `None` when there is no client to be had, which is logged.
    pub fn new(bot: &str, webhook: &Webhook, own_port: u16) -> Option<Self> {
        let url = Url::parse(webhook.url.expose()).ok()?;
        let client = post::client(DEADLINE)
            .inspect_err(
                |error| tracing::error!(bot, %error, "the HTTP client of the webhook cannot be set up"),
            )
            .ok()?;
        Some(Self { url, secret: webhook.secret.clone(), bot: bot.to_owned(), own_port, client })
    }

    /// Posts once; `attempt` counts from 1.
    pub async fn post(&self, body: Vec<u8>, attempt: u64) -> Result<(), NotTaken> {
        if self.is_ourselves().await {
            return Err(NotTaken::Ourselves);
        }
        let now = clock::now();
        let timestamp = now.timestamp();
        let mut request = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header("x-blacksky-event", "message")
            .header("x-blacksky-bot", self.bot.as_str())
            .header("x-blacksky-delivery", body::id_of(&body))
            .header("x-blacksky-attempt", attempt)
            .header("x-blacksky-timestamp", timestamp);
        if let Some(secret) = &self.secret {
            request = request.header("x-blacksky-signature", post::signature(secret, timestamp, &body));
        }
        let answer = request.body(body).send().await;
        let answer = answer.map_err(|error| NotTaken::Unreached(post::unreached(error, DEADLINE)))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let retry_after = post::retry_after(answer.headers(), now);
        Err(NotTaken::Refused { status: status.as_u16(), retry_after })
    }

    /// A name may lead to this machine although it does not look like it.
    async fn is_ourselves(&self) -> bool {
        let port = self.url.port_or_known_default();
        let (Some(host), true) = (self.url.host_str(), port == Some(self.own_port)) else { return false };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        match tokio::net::lookup_host((host, self.own_port)).await {
            Ok(mut found) => found.any(|at| at.ip().to_canonical().is_loopback() || at.ip().is_unspecified()),
            Err(_) => false,
        }
    }
}
