//! Where blacksky posts to. The connection is made and nothing is sent, so nobody is alarmed by a check.

use std::time::Duration;

use futures_util::future::join_all;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::Finding;
use crate::config::{Client, Config, JobAction, Secret};
use crate::link::tls;

/// One target.
const PATIENCE: Duration = Duration::from_secs(8);

pub(super) async fn look(config: &Config) -> Vec<Finding> {
    let mut targets: Vec<(String, Url)> = Vec::new();
    let secret = |url: &Secret| Url::parse(url.expose()).ok();
    if let Some(url) = config.alerts.webhook.as_ref().and_then(secret) {
        targets.push(("alerts.webhook".to_owned(), url));
    }
    for (name, bot) in config.bots.iter().filter(|(_, bot)| bot.enabled) {
        if let Client::Native(native) = &bot.client
            && let Some(url) = native.webhook.as_ref().and_then(|webhook| secret(&webhook.url))
        {
            targets.push((format!("bots.{name}.webhook"), url));
        }
    }
    for (name, job) in config.jobs.iter().filter(|(_, job)| job.enabled) {
        if let JobAction::Ping(url, _) = &job.action {
            targets.push((format!("jobs.{name}.ping"), url.clone()));
        }
    }
    join_all(targets.into_iter().map(|(key, url)| target(key, url))).await
}

async fn target(key: String, url: Url) -> Finding {
    let outcome = tokio::time::timeout(PATIENCE, connect(&url)).await;
    let problem = match outcome {
        Ok(Ok(())) => {
            return Finding::ok(key, "its server takes connections; nothing was sent");
        }
        Ok(Err(problem)) => problem,
        Err(_) => format!("no connection within {} s", PATIENCE.as_secs()),
    };
    Finding::warn(
        key,
        format!("its server cannot be reached from here: {problem}"),
        "is the address right, and does the program behind it run? What is posted meanwhile is tried again",
    )
}

async fn connect(url: &Url) -> Result<(), String> {
    let host = url.host().ok_or_else(|| "the address has no host".to_owned())?;
    let port = url.port_or_known_default().unwrap_or(443);
    let name = match &host {
        Host::Domain(name) => (*name).to_owned(),
        Host::Ipv4(ip) => ip.to_string(),
        Host::Ipv6(ip) => ip.to_string(),
    };
    let unknown = || "its name is not known".to_owned();
    let found: Vec<_> =
        tokio::net::lookup_host((name.as_str(), port)).await.map_err(|_| unknown())?.collect();
    let mut problem = unknown();
    for address in found {
        match TcpStream::connect(address).await {
            Ok(_) if url.scheme() != "https" => return Ok(()),
            Ok(tcp) => {
                let server =
                    ServerName::try_from(name).map_err(|_| "its name is no name of a host".to_owned())?;
                let made = TlsConnector::from(tls::config()).connect(server, tcp).await;
                return made.map(drop).map_err(|error| format!("TLS failed ({error})"));
            }
            Err(error) => problem = format!("no TCP connection ({})", error.kind()),
        }
    }
    Err(problem)
}
