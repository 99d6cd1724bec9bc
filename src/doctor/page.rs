//! The port, the admin token, and the address under which people reach the page.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use url::Url;

use super::Finding;
use crate::config::{Config, ProcessType};
use crate::post;
use crate::web::{self, BindError, OwnAddress};

/// One answer.
const ANSWER: Duration = Duration::from_secs(8);

/// Whether the port can be bound, or blacksky has it already.
pub(super) async fn port(config: &Config) -> Vec<Finding> {
    const CHECK: &str = "port";
    let port = config.web.port;
    vec![match web::bind(config) {
        Ok(_) if port == 0 => Finding::ok(CHECK, "a free port is taken (port 0)"),
        Ok(_) => Finding::ok(CHECK, format!("port {port} is free")),
        Err(BindError::InUse(_)) => {
            let is_ours = match Url::parse(&format!("http://127.0.0.1:{port}/status")) {
                Ok(url) => version(url).await.is_ok(),
                Err(_) => false,
            };
            if is_ours {
                Finding::ok(CHECK, format!("port {port} is blacksky's own: it is running"))
            } else {
                Finding::fail(
                    CHECK,
                    format!("port {port} is in use by another program"),
                    "stop that program, or choose another port with web.port or PORT (0 takes a free one)",
                )
            }
        }
        Err(error) => Finding::fail(CHECK, error.to_string(), "choose another port with web.port or PORT"),
    }]
}

pub(super) fn admin_token(config: &Config) -> Vec<Finding> {
    const CHECK: &str = "admin_token";
    if config.web.admin_token.is_some() {
        return vec![Finding::ok(CHECK, "BLACKSKY_ADMIN_TOKEN is set")];
    }
    if config.platform.wiped().is_none() {
        return vec![Finding::ok(CHECK, "not set: QR and actions answer only to a browser on this machine")];
    }
    let todo = match config.platform.dyno {
        Some(_) => "heroku config:set BLACKSKY_ADMIN_TOKEN=$(openssl rand -hex 24)",
        None => "set the variable BLACKSKY_ADMIN_TOKEN to what openssl rand -hex 24 prints",
    };
    vec![Finding::fail(CHECK, "not set: here nobody can see the QR or use the page's buttons", todo)]
}

/// Asks the app for its status the way everybody does.
pub(super) async fn address(config: &Config) -> Vec<Finding> {
    const CHECK: &str = "address";
    if config.heroku.process == ProcessType::Worker {
        return vec![Finding::skip(CHECK, "a worker gets no requests, so it has no address")];
    }
    let Some(url) = OwnAddress::of(config).get() else {
        let why = "the public address is not known here (HEROKU_APP_URL)";
        return vec![if config.platform.dyno.is_some() {
            let todo = "heroku config:set HEROKU_APP_URL=… with the Web URL that heroku info shows";
            Finding::warn(CHECK, why, todo)
        } else {
            Finding::skip(CHECK, why)
        }];
    };
    let Ok(status) = url.join("/status") else {
        return vec![Finding::fail(CHECK, "heroku.url cannot have a path", "write scheme and host only")];
    };
    vec![match version(status).await {
        Ok(version) if version == env!("CARGO_PKG_VERSION") => {
            Finding::ok(CHECK, format!("blacksky {version} answers at the public address"))
        }
        Ok(version) => Finding::warn(
            CHECK,
            format!(
                "blacksky {version} answers at the public address, and this is {}",
                env!("CARGO_PKG_VERSION")
            ),
            "deploy again, so that all dynos have one version",
        ),
        Err(problem) => Finding::warn(
            CHECK,
            format!("the public address does not answer as blacksky: {problem}"),
            "before the first deploy that is normal; else compare HEROKU_APP_URL with the Web URL of heroku info, \
             and look at heroku logs (blacksky explain H10)",
        ),
    }]
}

/// The version that a status tells.
async fn version(url: Url) -> Result<String, String> {
    let client = post::client(ANSWER).map_err(|error| error.without_url().to_string())?;
    let answer = client.get(url).header("accept", "application/json").send().await;
    let answer = answer.map_err(|error| post::unreached(error, ANSWER))?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::SERVICE_UNAVAILABLE => return Err("503: no process answers there".to_owned()),
        StatusCode::NOT_FOUND => return Err("404: no app of that name, or not blacksky".to_owned()),
        other => return Err(format!("HTTP {}", other.as_u16())),
    }
    let text = answer.text().await.map_err(|error| post::unreached(error, ANSWER))?;
    let status: Value = serde_json::from_str(&text).map_err(|_| "no status of blacksky".to_owned())?;
    status["version"]
        .as_str()
        .filter(|_| status["bots"].is_object())
        .map(str::to_owned)
        .ok_or_else(|| "no status of blacksky".to_owned())
}
