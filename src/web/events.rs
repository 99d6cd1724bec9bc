//! `/events`: the snapshot as it changes, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderName, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::access::Access;
use super::router::Shared;
use super::{page, report};
use crate::runtime::clock;

/// Shortest time between two events of a stream; changes in between are seen together.
const PACE: Duration = Duration::from_millis(150);
/// How long a browser waits before it opens a broken stream again.
const RETRY: Duration = Duration::from_secs(2);

/// What a stream carries.
#[derive(Debug, Clone, Copy)]
pub enum View {
    /// Events `status`: the JSON of `/status`.
    Report,
    /// Events `page`: the page's changing part as this visitor may see it, for the page's script.
    Page(Access),
}

/// A stream that begins with the present and ends with the process.
pub fn stream(shared: Arc<Shared>, view: View) -> Response {
    let Ok(permit) = Arc::clone(&shared.streams).try_acquire_owned() else {
        let text = "Too many event streams are open; /status answers still.\n";
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "30")], text).into_response();
    };
    let heartbeat = KeepAlive::new().interval(shared.heartbeat);
    let events = Sse::new(events(shared, view, permit)).keep_alive(heartbeat);
    ([(HeaderName::from_static("x-accel-buffering"), "no")], events).into_response()
}

fn events(
    shared: Arc<Shared>,
    view: View,
    permit: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let mut snapshot = shared.snapshot.clone();
    // The first event is the present, not the next change.
    snapshot.mark_changed();
    stream::unfold((snapshot, permit, None::<Instant>), move |(mut snapshot, permit, sent)| {
        let shared = Arc::clone(&shared);
        async move {
            let change = async {
                if let Some(sent) = sent {
                    tokio::time::sleep_until(sent + PACE).await;
                }
                snapshot.changed().await
            };
            tokio::select! {
                biased;
                () = shared.stop.cancelled() => return None,
                // An error means that nobody is left who could change it.
                changed = change => changed.ok()?,
            }
            let now = clock::now();
            let seen = snapshot.borrow_and_update().clone();
            let event = match view {
                View::Report => Event::default().event("status").json_data(report::report(&seen, now)),
                View::Page(access) => Event::default().event("page").json_data(json!({
                    "build": page::build(),
                    "now": now.timestamp_millis(),
                    "html": page::live(&shared.paths, &seen, access, now),
                })),
            };
            let event = event.unwrap_or_else(|_| Event::default().comment("unreadable")).retry(RETRY);
            Some((Ok(event), (snapshot, permit, Some(Instant::now()))))
        }
    })
}
