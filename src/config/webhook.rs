//! The webhook of a native bot.

use url::Url;

use super::bots::Client;
use super::problem::{Place, Problem};
use super::reader::Reader;
use super::values::{Period, Secret};
use super::{Config, Source};

/// Where a bot's messages are posted.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Its address, which is a secret: whoever has it can post there.
    pub url: Secret,
    /// Signs what is posted.
    pub secret: Option<Secret>,
    /// A message that is not taken for so long becomes a dead letter.
    pub give_up: Period,
}

/// How long a message is tried when nothing else is set.
pub(super) const GIVE_UP: Period = Period::seconds(86_400);

/// Refuses webhooks that lead to blacksky itself.
pub(super) fn refuse_ourselves(config: &Config, reader: &mut Reader<'_>) {
    for (name, bot) in &config.bots {
        let Client::Native(native) = &bot.client else { continue };
        let Some(webhook) = &native.webhook else { continue };
        let Ok(url) = Url::parse(webhook.url.expose()) else { continue };
        if !is_ours(&url, config) {
            continue;
        }
        let key = format!("bots.{name}.webhook");
        let place = match reader.sources.get(&key) {
            Some(Source::File { line, column }) => Place::Position { line: *line, column: *column },
            Some(Source::Env { variable }) => Place::Variable(variable.clone()),
            Some(Source::Default) | None => Place::File,
        };
        let what = format!("{key} leads to blacksky itself (its value is not shown)");
        let help = "write the address of the program that takes the messages; on this machine it needs a port of its own";
        reader.push(Problem::error(place, key, what, Some(help.to_owned())));
    }
}

fn is_ours(url: &Url, config: &Config) -> bool {
    let Some(host) = url.host_str() else { return false };
    let port = url.port_or_known_default();
    if is_loopback(url) {
        return config.web.port != 0 && port == Some(config.web.port);
    }
    let public = config.heroku.url.as_ref().and_then(Url::host_str);
    [public, config.platform.domain()].into_iter().flatten().any(|own| own.eq_ignore_ascii_case(host))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback() || ip.is_unspecified(),
        Some(url::Host::Ipv6(ip)) => ip.to_canonical().is_loopback() || ip.is_unspecified(),
        Some(url::Host::Domain(name)) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_by_all_its_names() {
        for own in
            ["http://127.0.0.1/", "http://[::1]:3000/", "http://0.0.0.0", "http://LOCALHOST.", "http://127.1"]
        {
            assert!(is_loopback(&Url::parse(own).expect("a URL")), "{own}");
        }
        for other in ["http://example.com", "http://10.0.0.1", "http://localhost.example.com"] {
            assert!(!is_loopback(&Url::parse(other).expect("a URL")), "{other}");
        }
    }
}
