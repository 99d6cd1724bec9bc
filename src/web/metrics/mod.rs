//! `/metrics`: what the process counts and times, and the status snapshot, in OpenMetrics 1.0.
//!
//! The snapshot is of this process: a dyno that stands by says so, and counts what it did itself. On Heroku each
//! sample carries the dyno's name, since the router asks one of them at random. All names are always there, with or
//! without samples.

mod bots;
mod process;
mod writer;

use std::fmt;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;

use super::access::Access;
use super::router::{Shared, refuse};
use crate::measure;
use crate::runtime::clock;
use crate::runtime::status::Snapshot;
use writer::Writer;

/// The media type of the text format.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `GET /metrics`, for admins.
pub async fn metrics(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    if let Access::Public(denial) = shared.gate.access(&parts) {
        return refuse(denial);
    }
    let snapshot = shared.snapshot.borrow().clone();
    match exposition(snapshot, clock::now()) {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(fmt::Error) => {
            let text = "The metrics could not be written, which is a bug in blacksky.\n";
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        }
    }
}

/// Everything in the text format.
pub fn exposition(snapshot: Snapshot, now: DateTime<Utc>) -> Result<String, fmt::Error> {
    let labels = snapshot.dyno.iter().map(|dyno| ("dyno".into(), dyno.clone().into()));
    let mut registry = Registry::with_labels(labels);
    for (name, bot) in &snapshot.bots {
        measure::expect_bot(name, bot.hosted.is_none(), bot.webhook.is_some());
    }
    snapshot.jobs.keys().for_each(|name| measure::expect_job(name));
    measure::register(&mut registry);
    registry.register_collector(Box::new(OfSnapshot { snapshot, now }));
    let mut exposition = String::new();
    text::encode(&mut exposition, &registry)?;
    Ok(exposition)
}

/// The families that come from a snapshot.
#[derive(Debug)]
struct OfSnapshot {
    snapshot: Snapshot,
    now: DateTime<Utc>,
}

impl Collector for OfSnapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer(encoder);
        process::write(&mut writer, &self.snapshot, self.now)?;
        bots::write(&mut writer, &self.snapshot, self.now)
    }
}

#[cfg(test)]
mod dashboard;
#[cfg(test)]
mod tests;
