//! Every key with its resolved value as a person may see it: what `blacksky config` prints and
//! where the reference takes the defaults from.

use serde_json::Value;

use super::Config;

/// What stands for a secret.
pub const HIDDEN: &str = "***";

/// Key and value, in the order of the sections.
#[derive(Debug, Clone, Default)]
pub struct Listing(Vec<(String, Value)>);

impl Listing {
    /// Adds a value that may be seen.
    pub fn add(&mut self, section: &str, key: &str, value: impl Into<Value>) {
        self.0.push((format!("{section}.{key}"), value.into()));
    }

    /// Adds a value that may only be seen to be there.
    pub fn add_secret(&mut self, section: &str, key: &str, is_set: bool) {
        self.add(section, key, if is_set { Value::from(HIDDEN) } else { Value::Null });
    }

    /// Adds a URL, hidden when it carries userinfo or a token.
    pub fn add_url(&mut self, section: &str, key: &str, url: Option<&url::Url>) {
        match url {
            Some(url) if super::values::web_url::is_secret(url) => self.add(section, key, HIDDEN),
            url => self.add(section, key, url.map(url::Url::as_str)),
        }
    }
}

impl IntoIterator for Listing {
    type Item = (String, Value);
    type IntoIter = std::vec::IntoIter<(String, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl Config {
    /// Every key with its value, secrets as `***`, what is not set as null.
    pub fn listing(&self) -> Listing {
        let mut listing = Listing::default();
        self.app.list(&mut listing);
        self.heroku.list(&mut listing);
        self.database.list(&mut listing);
        for (name, bot) in &self.bots {
            bot.list(&format!("bots.{name}"), &mut listing);
        }
        self.backup.list(&mut listing);
        self.backoff.list(&mut listing);
        self.heartbeat.list(&mut listing);
        self.lease.list(&mut listing);
        self.web.list(&mut listing);
        self.anti_idle.list(&mut listing);
        for (name, job) in &self.jobs {
            job.list(&format!("jobs.{name}"), &mut listing);
        }
        self.alerts.list(&mut listing);
        self.retention.list(&mut listing);
        self.log.list(&mut listing);
        listing
    }
}
