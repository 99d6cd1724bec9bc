//! `[web]`: the page.

use schemars::JsonSchema;

use super::listing::Listing;
use super::reader::{Setting, Table};
use super::values::Secret;
use super::values::number::Whole;
use super::values::text::SecretText;

/// `[web]`.
#[derive(Debug, Clone)]
pub struct Web {
    /// PORT; 0 takes a free one.
    pub port: u16,
    /// BLACKSKY_ADMIN_TOKEN.
    pub admin_token: Option<Secret>,
}

/// The page with the state of the bots and the QR.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Web")]
pub(super) struct WebLayer {
    /// Port of the page; 0 takes a free one. On Heroku PORT wins.
    port: Setting<Whole<0, 65_535>>,
    /// Who has it may see the QR and act on the page. Without one only this machine may. At least 8
    /// characters; `openssl rand -hex 32` makes one.
    admin_token: Setting<SecretText<8>>,
}

impl WebLayer {
    pub(super) fn read(mut table: Table<'_, '_>) -> Self {
        let layer = Self { port: table.key("port"), admin_token: table.key("admin_token") };
        table.finish();
        layer
    }

    pub(super) fn resolve(self) -> Web {
        Web {
            port: self.port.value().and_then(|number| u16::try_from(number.0).ok()).unwrap_or(3000),
            admin_token: self.admin_token.value().map(|secret| secret.0),
        }
    }
}

impl Web {
    pub(super) fn list(&self, to: &mut Listing) {
        to.add("web", "port", self.port);
        to.add_secret("web", "admin_token", self.admin_token.is_some());
    }
}
