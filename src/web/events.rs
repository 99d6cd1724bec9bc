//! `/events`: the snapshot as it changes, as server-sent events.
//!
//! Each event is made once and sent to all streams that are to have it.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::room::Room;
use super::router::Shared;
use super::{page, report};
use crate::runtime::clock;
use crate::runtime::status::Snapshot;

/// Shortest time between two events of a stream; changes in between are seen together.
const PACE: Duration = Duration::from_millis(150);
/// Added for each stream that is open, so that many of them do not use up the processor: 2 s at 10,000.
const PACE_OF_EACH: Duration = Duration::from_micros(200);
/// How long a browser waits before it opens a broken stream again.
const RETRY: Duration = Duration::from_secs(2);
/// Streams of visitors while memory is nearly used up.
const WHEN_TIGHT: usize = 64;

/// What a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Events `status`: the JSON of `/status`.
    Report,
    /// Events `page`: the page's changing part, for the page's script.
    Page {
        /// Its visitor sees QR and actions.
        admin: bool,
    },
}

/// A place among the open streams.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

/// The open streams, and what was sent to them last.
#[derive(Debug)]
pub struct Streams {
    room: Room,
    /// Places of visitors.
    open: Arc<Semaphore>,
    /// Places of whoever has the admin token: visitors cannot take them.
    own: Arc<Semaphore>,
    sent: Mutex<Sent>,
}

#[derive(Debug)]
struct Sent {
    snapshot: watch::Receiver<Snapshot>,
    events: Vec<(View, Instant, Bytes)>,
}

impl Streams {
    /// None are open.
    pub fn new(room: Room, snapshot: watch::Receiver<Snapshot>) -> Self {
        Self {
            room,
            open: Arc::new(Semaphore::new(room.streams)),
            own: Arc::new(Semaphore::new(room.own_streams)),
            sent: Mutex::new(Sent { snapshot, events: Vec::new() }),
        }
    }

    /// A place, if there is one; `own` for whoever has the admin token.
    pub fn enter(&self, own: bool) -> Option<Place> {
        if own && let Ok(permit) = Arc::clone(&self.own).try_acquire_owned() {
            return Some(Place { _permit: permit });
        }
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let tight = sent.snapshot.borrow().memory.is_some_and(|memory| memory.tight);
        drop(sent);
        if tight && self.number() >= WHEN_TIGHT {
            return None;
        }
        let permit = Arc::clone(&self.open).try_acquire_owned().ok()?;
        Some(Place { _permit: permit })
    }

    fn number(&self) -> usize {
        self.room.streams.saturating_sub(self.open.available_permits())
    }

    /// Between two events of a stream.
    fn pace(&self) -> Duration {
        PACE + PACE_OF_EACH * u32::try_from(self.number()).unwrap_or(u32::MAX)
    }

    /// The present, as an event.
    fn event(&self, shared: &Shared, view: View) -> Bytes {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever was woken by a change gets it: here it is seen at the same time or earlier.
        if sent.snapshot.has_changed().unwrap_or_default() {
            sent.snapshot.mark_unchanged();
            sent.events.clear();
        }
        // It also says what time it is.
        sent.events.retain(|(_, made, _)| made.elapsed() < PACE);
        if let Some((_, _, event)) = sent.events.iter().find(|(of, _, _)| *of == view) {
            return event.clone();
        }
        let seen = sent.snapshot.borrow().clone();
        let event = made(shared, &seen, view);
        sent.events.push((view, Instant::now(), event.clone()));
        event
    }
}

fn made(shared: &Shared, snapshot: &Snapshot, view: View) -> Bytes {
    let now = clock::now();
    let (name, data) = match view {
        View::Report => ("status", serde_json::to_string(&report::report(snapshot, now)).unwrap_or_default()),
        View::Page { admin } => {
            let html = page::live(&shared.paths, snapshot, admin, now);
            let page = json!({ "build": page::build(), "now": now.timestamp_millis(), "html": html });
            ("page", page.to_string())
        }
    };
    // JSON has no line breaks.
    Bytes::from(format!("event: {name}\ndata: {data}\nretry: {}\n\n", RETRY.as_millis()))
}

/// A stream that begins with the present and ends with the process.
pub fn stream(shared: Arc<Shared>, view: View) -> Response {
    let own = matches!(view, View::Page { admin: true });
    let Some(place) = shared.streams.enter(own) else {
        let text = "Too many event streams are open; /status answers still.\n";
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "30")], text).into_response();
    };
    let headers =
        [(header::CONTENT_TYPE, "text/event-stream"), (HeaderName::from_static("x-accel-buffering"), "no")];
    (headers, Body::from_stream(events(shared, view, place))).into_response()
}

fn events(shared: Arc<Shared>, view: View, place: Place) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let mut snapshot = shared.snapshot.clone();
    // The first event is the present, not the next change.
    snapshot.mark_changed();
    stream::unfold((snapshot, place, None::<Instant>), move |(mut snapshot, place, mut sent)| {
        let shared = Arc::clone(&shared);
        async move {
            let change = async {
                if let Some(sent) = sent {
                    sleep_until(sent + shared.streams.pace()).await;
                }
                snapshot.changed().await
            };
            let event = tokio::select! {
                biased;
                () = shared.stop.cancelled() => return None,
                // An error means that nobody is left who could change it.
                changed = change => {
                    changed.ok()?;
                    sent = Some(Instant::now());
                    shared.streams.event(&shared, view)
                }
                () = sleep(shared.heartbeat) => Bytes::from_static(b":\n\n"),
            };
            Some((Ok(event), (snapshot, place, sent)))
        }
    })
}
