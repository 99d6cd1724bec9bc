//! `[alerts]`: who is told when a bot needs somebody.

use schemars::JsonSchema;

use super::listing::Listing;
use super::reader::{Setting, Table};
use super::values::choice::choice;
use super::values::list::List;
use super::values::period::PeriodIn;
use super::values::text::SecretText;
use super::values::web_url::SecretUrl;
use super::values::{Period, Secret};

/// `[alerts]`.
#[derive(Debug, Clone)]
pub struct Alerts {
    /// Where alerts are posted; whoever has the address can post there, so it is a secret.
    pub webhook: Option<Secret>,
    /// Signs what is posted.
    pub secret: Option<Secret>,
    pub format: AlertFormat,
    /// What is told.
    pub on: Vec<AlertKind>,
    /// How long a link may be down before that is told.
    pub down_after: Period,
    /// Shortest time between two alerts of one kind about one bot.
    pub repeat_after: Period,
}

choice! {
    /// How an alert is written. `auto` goes by the webhook's host.
    pub enum AlertFormat { Auto = "auto", Json = "json", Slack = "slack", Discord = "discord" }
}

choice! {
    /// Something a person may want to be told.
    #[derive(Hash, PartialOrd, Ord)]
    pub enum AlertKind {
        /// A QR waits to be scanned.
        Pairing = "pairing",
        /// The phone removed this device.
        LoggedOut = "logged_out",
        /// The link stopped until a person acts.
        Parked = "parked",
        /// The link has been down for `down_after`.
        Down = "down",
        /// The link is open again after an alert.
        Up = "up",
        /// Every fifth failed attempt in a row.
        ReconnectLoop = "reconnect_loop",
        /// Most of what arrives cannot be decrypted.
        Deaf = "deaf",
        /// The database does not answer.
        Database = "database",
        /// The memory of the dyno is nearly used up.
        Memory = "memory",
        /// No backup of a session could be taken.
        Backup = "backup",
        /// A hosted bot removed its own session; the last good one is kept.
        SessionRemoved = "session_removed",
        /// A bot's webhook did not take messages until they were given up.
        DeadLetters = "dead_letters",
    }
}

/// Messages to a webhook when a bot needs somebody. `blacksky alerts test` sends one.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Alerts")]
pub(super) struct AlertsLayer {
    /// Address that alerts are posted to: an incoming webhook of Slack or Discord, or a program of your own.
    webhook: Setting<SecretUrl>,
    /// Signs each alert: the header `X-Blacksky-Signature` is `sha256=` and the HMAC-SHA256, in hex, of
    /// the header `X-Blacksky-Timestamp`, a full stop and the body. At least 16 characters.
    secret: Setting<SecretText<16>>,
    /// How an alert is written. `auto` writes for Slack or Discord when the address is theirs, else JSON.
    format: Setting<AlertFormat>,
    /// Which alerts are sent; all of them when it is not set.
    on: Setting<List<AlertKind, 1>>,
    /// How long a link may be down before that is an alert.
    down_after: Setting<PeriodIn<1_000, 86_400_000>>,
    /// The same alert about the same bot is sent again after this at the earliest; what was left out is
    /// counted in the next one.
    repeat_after: Setting<PeriodIn<0, 604_800_000>>,
}

impl AlertsLayer {
    pub(super) fn read(mut table: Table<'_, '_>) -> Self {
        let layer = Self {
            webhook: table.key("webhook"),
            secret: table.key("secret"),
            format: table.key("format"),
            on: table.key("on"),
            down_after: table.key("down_after"),
            repeat_after: table.key("repeat_after"),
        };
        table.finish();
        layer
    }

    pub(super) fn resolve(self) -> Alerts {
        Alerts {
            webhook: self.webhook.value().map(|url| url.0),
            secret: self.secret.value().map(|secret| secret.0),
            format: self.format.value().unwrap_or(AlertFormat::Auto),
            on: self.on.value().map_or_else(|| AlertKind::ALL.to_vec(), |list| list.0),
            down_after: self.down_after.value().map_or(Period::seconds(300), |period| period.0),
            repeat_after: self.repeat_after.value().map_or(Period::seconds(900), |period| period.0),
        }
    }
}

impl Alerts {
    pub(super) fn list(&self, to: &mut Listing) {
        to.add_secret("alerts", "webhook", self.webhook.is_some());
        to.add_secret("alerts", "secret", self.secret.is_some());
        to.add("alerts", "format", self.format.as_str());
        to.add("alerts", "on", self.on.iter().map(|kind| kind.as_str()).collect::<Vec<_>>());
        to.add("alerts", "down_after", self.down_after.to_string());
        to.add("alerts", "repeat_after", self.repeat_after.to_string());
    }
}
