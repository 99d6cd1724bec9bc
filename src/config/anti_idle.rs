//! `[anti_idle]`: pings that keep an Eco web dyno awake.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use url::Url;

use super::heroku::{Dyno, Heroku, ProcessType};
use super::listing::Listing;
use super::reader::{Setting, Table};
use super::values::list::List;
use super::values::period::PeriodIn;
use super::values::switch::Switch;
use super::values::web_url::{WebUrl, is_secret};
use super::values::{Period, Value, Wrong};

/// `[anti_idle]`.
#[derive(Debug, Clone)]
pub struct AntiIdle {
    pub enabled: Switch,
    /// Time between two pings of one target.
    pub interval: Period,
    pub targets: Vec<Target>,
}

/// What is pinged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The app's own public address.
    Own,
    Other(Url),
}

/// The word for [`Target::Own`].
const OWN: &str = "self";

impl Target {
    /// As it may be shown.
    pub fn name(&self) -> String {
        match self {
            Self::Own => OWN.to_owned(),
            Self::Other(url) if is_secret(url) => url.host_str().unwrap_or_default().to_owned(),
            Self::Other(url) => url.to_string(),
        }
    }
}

impl Value for Target {
    fn expected() -> String {
        "\"self\" or an http or https URL".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        if text == OWN {
            return Ok(Self::Own);
        }
        WebUrl::from_text(text).map(|url| Self::Other(url.0)).map_err(|_| {
            Wrong::value(
                "is neither \"self\" nor an http or https URL",
                "write \"self\" for this app, or a whole address such as \"https://example.com\"",
            )
        })
    }
}

impl JsonSchema for Target {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Target".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let url = WebUrl::json_schema(generator);
        json_schema!({ "anyOf": [{ "const": OWN }, url] })
    }
}

/// Requests to the app itself, so that an `eco` web dyno does not fall asleep after 30 minutes without one, and the
/// bot with it. A dyno that sleeps cannot wake itself: this keeps it awake, and does nothing for one that is down.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "AntiIdle")]
pub(super) struct AntiIdleLayer {
    /// `"auto"` pings only where the dyno would fall asleep: on Heroku, with `dyno = "eco"` and
    /// `process = "web"`.
    enabled: Setting<Switch>,
    /// Time between two pings of a target, a tenth more or less. Below Heroku's 30 minutes.
    interval: Setting<PeriodIn<60_000, 1_500_000>>,
    /// What is pinged: `"self"` is this app by its public address, others are whole URLs.
    targets: Setting<List<Target, 1>>,
}

impl AntiIdleLayer {
    pub(super) fn read(mut table: Table<'_, '_>) -> Self {
        let layer = Self {
            enabled: table.key("enabled"),
            interval: table.key("interval"),
            targets: table.key("targets"),
        };
        table.finish();
        layer
    }

    pub(super) fn resolve(self) -> AntiIdle {
        AntiIdle {
            enabled: self.enabled.value().unwrap_or(Switch::Auto),
            interval: self.interval.value().map_or(Period::seconds(600), |period| period.0),
            targets: self.targets.value().map_or_else(|| vec![Target::Own], |list| list.0),
        }
    }
}

impl AntiIdle {
    /// Whether it pings on such a dyno; `on_heroku` tells whether this is one.
    pub fn is_active(&self, heroku: &Heroku, on_heroku: bool) -> bool {
        match self.enabled {
            Switch::On => true,
            Switch::Off => false,
            Switch::Auto => on_heroku && heroku.dyno == Dyno::Eco && heroku.process == ProcessType::Web,
        }
    }

    pub(super) fn list(&self, to: &mut Listing) {
        to.add("anti_idle", "enabled", self.enabled.to_value());
        to.add("anti_idle", "interval", self.interval.to_string());
        to.add("anti_idle", "targets", self.targets.iter().map(Target::name).collect::<Vec<_>>());
    }
}
