//! Under which address the app is reached from outside.

use std::sync::Arc;

use axum::http::HeaderMap;
use tokio::sync::watch;
use url::Url;

use crate::config::Config;

/// The app's public address: from the configuration, from the platform, or learned from the first request that came
/// through Heroku's router, which only passes on the names that belong to the app.
#[derive(Debug, Clone)]
pub struct OwnAddress(Arc<watch::Sender<Option<Url>>>);

impl OwnAddress {
    /// As far as it is known at the start.
    pub fn of(config: &Config) -> Self {
        let platform = config.platform.domain();
        let given = config.heroku.url.clone().or_else(|| Url::parse(&format!("https://{}/", platform?)).ok());
        Self(Arc::new(watch::Sender::new(given)))
    }

    /// The address, once it is known.
    pub fn get(&self) -> Option<Url> {
        self.0.borrow().clone()
    }

    /// Takes it from a request, if it is not known yet.
    pub(super) fn learn(&self, headers: &HeaderMap) {
        if self.0.borrow().is_some() {
            return;
        }
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let (Some(host), Some(scheme @ ("http" | "https"))) = (text("host"), text("x-forwarded-proto"))
        else {
            return;
        };
        // Nothing that leads elsewhere than to a name.
        let plain = |letter: char| letter.is_ascii_alphanumeric() || ['.', '-'].contains(&letter);
        if !host.contains('.') || !host.chars().all(plain) || host.parse::<std::net::Ipv4Addr>().is_ok() {
            return;
        }
        if let Ok(url) = Url::parse(&format!("{scheme}://{host}/")) {
            self.0.send_if_modified(|known| {
                let is_new = known.is_none();
                known.get_or_insert(url);
                is_new
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(headers: &[(&'static str, &'static str)]) -> Option<String> {
        let own = OwnAddress(Arc::new(watch::Sender::new(None)));
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
            .collect();
        own.learn(&headers);
        own.get().map(String::from)
    }

    #[test]
    fn it_is_learned_from_what_the_router_passes_on_and_from_nothing_odd() {
        let routed = [("host", "my-bot-1234.herokuapp.com"), ("x-forwarded-proto", "https")];
        assert_eq!(learned(&routed).as_deref(), Some("https://my-bot-1234.herokuapp.com/"));
        assert_eq!(learned(&routed[..1]), None);
        for host in
            ["localhost", "127.0.0.1", "a.example:8080", "a@b.example", "a.example/x", "[::1]", "10.0.0.1"]
        {
            assert_eq!(learned(&[("host", host), ("x-forwarded-proto", "https")]), None, "{host}");
        }
    }

    #[test]
    fn the_first_one_stays() {
        let own = OwnAddress(Arc::new(watch::Sender::new(Url::parse("https://given.example/").ok())));
        let headers = HeaderMap::from_iter([
            ("host".parse().expect("a name"), "other.example".parse().expect("a value")),
            ("x-forwarded-proto".parse().expect("a name"), "https".parse().expect("a value")),
        ]);
        own.learn(&headers);
        assert_eq!(own.get().map(String::from).as_deref(), Some("https://given.example/"));
    }
}
