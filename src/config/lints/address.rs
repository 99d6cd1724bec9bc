//! Addresses of the app: HEROKU_APP_URL and where app.json sends a person.

use url::{Host, Url};

use super::Lints;
use crate::config::values::web_url;
use crate::config::{Client, Loaded, ProcessType};

/// Where apps are.
const APPS: &str = ".herokuapp.com";

impl Lints {
    /// Pings of `[anti_idle]`, `blacksky status` and links of alerts go to this address.
    pub(super) fn app_url(&mut self, loaded: &Loaded) {
        let Some(url) = &loaded.config.heroku.url else { return };
        let key = "heroku.url";
        let as_shown = "write the address that `heroku info` shows as Web URL, such as \
                        https://my-app-1234567890ab.herokuapp.com";
        let host = match url.host() {
            Some(Host::Domain(host)) => host.trim_end_matches('.'),
            Some(Host::Ipv4(_) | Host::Ipv6(_)) | None => {
                let what = format!("{key}: an IP address is no address of an app on Heroku");
                return self.warn(loaded, key, what, as_shown);
            }
        };
        if host == "localhost" || !host.contains('.') {
            let what = format!("{key}: {} is this machine and not the app on Heroku", shown(url, host));
            self.warn(loaded, key, what, as_shown);
        } else if let Some(name) = host.strip_suffix(APPS) {
            self.app_name(loaded, url, name, as_shown);
        } else if ["heroku.com", "herokuapp.com", "heroku.app", "herokuapps.com"]
            .iter()
            .any(|wrong| host == *wrong || host.strip_suffix(wrong).is_some_and(|rest| rest.ends_with('.')))
        {
            let what = format!("{key}: {} is no address of an app", shown(url, host));
            self.warn(loaded, key, what, as_shown);
        }
        if url.scheme() == "http" {
            let what = format!("{key}: over http the admin token and the QR travel in the clear");
            self.warn(loaded, key, what, "write it with https, which every app on Heroku has");
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() {
            let what = format!("{key}: only scheme and host of the app are wanted, without a path");
            self.warn(loaded, key, what, "end it after the host");
        }
    }

    fn app_name(&mut self, loaded: &Loaded, url: &Url, name: &str, as_shown: &str) {
        let key = "heroku.url";
        match loaded.config.platform.default_domain.as_deref() {
            Some(own) if own.eq_ignore_ascii_case(&format!("{name}{APPS}")) => {}
            Some(own) => {
                let what = format!(
                    "{key}: {} is another app's address, or none; Heroku says that this app is {own}",
                    shown(url, name)
                );
                let help = format!("heroku config:set HEROKU_APP_URL=https://{own}");
                self.warn(loaded, key, what, &help);
            }
            None if has_suffix(name) => {}
            None => {
                let what = format!(
                    "{key}: {} has no random suffix, and apps that were made since June 2023 have one; pings to a \
                     wrong address keep nothing awake",
                    shown(url, name)
                );
                self.warn(loaded, key, what, as_shown);
            }
        }
    }

    /// Heroku sends a person there after the deploy by the button.
    pub(super) fn success_url(&mut self, loaded: &Loaded) {
        let config = &loaded.config;
        let (key, written) = ("app.success_url", config.app.success_url.as_str());
        let is_set = loaded.sources.contains_key(key);
        if config.heroku.process == ProcessType::Worker {
            if is_set {
                let what = format!("{key}: a worker gets no requests, so it is left out of app.json");
                self.warn(loaded, key, what, "remove it, or write process = \"web\" below [heroku]");
            }
            return;
        }
        if let Ok(url) = Url::parse(written) {
            if url.scheme() == "http" {
                let what = format!("{key}: the person who deploys would sign in over http, in the clear");
                self.warn(loaded, key, what, "write a path, such as \"/\", or an https address");
            } else if url.host_str().is_some_and(|host| host.ends_with(APPS)) {
                let what =
                    format!("{key}: it names one app, and everybody who deploys by the button has another");
                self.warn(loaded, key, what, "write only the path, such as \"/\"");
            }
            return;
        }
        // A hosted bot may answer any path.
        let hosted = config.bots.values().any(|bot| matches!(bot.client, Client::Hosted(_)));
        let path = written.split(['?', '#']).next().unwrap_or(written);
        let base = config.web.base.as_str();
        if !hosted
            && path != base
            && !matches!(path, "/status" | "/healthz")
            && Some(path) != base.strip_suffix('/')
        {
            let what = format!("{key}: nothing answers there, since the page is at {base}");
            self.warn(loaded, key, what, &format!("write \"{base}\", or leave it out"));
        }
    }
}

/// An app's name with the 12 hexadecimal digits that Heroku appends since June 2023.
fn has_suffix(name: &str) -> bool {
    name.rsplit_once('-').is_some_and(|(app, suffix)| {
        !app.is_empty() && suffix.len() == 12 && suffix.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// The host, unless the address may hold a secret.
fn shown<'t>(url: &Url, text: &'t str) -> &'t str {
    if web_url::is_secret(url) { "***" } else { text }
}
