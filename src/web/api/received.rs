//! The files of messages that came, fetched from WhatsApp when they are asked for.
//!
//! The webhook gives the path with each message. In it is where the file is and what opens it, sealed: nothing has to
//! be kept for that, and any dyno can fetch it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{Shared, problem, target};
use crate::link::http::Http;
use crate::media::{Lost, Reference};

/// Files of this kind in memory.
static SEATS: Semaphore = Semaphore::const_new(2);
/// How long one waits for a place.
const SEAT_DEADLINE: Duration = Duration::from_secs(10);
/// For the fetching.
const DEADLINE: Duration = Duration::from_secs(60);
/// For all of it.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(75);

/// `GET /bots/{bot}/received/{token}`.
pub async fn file(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Response {
    let Ok(Path((name, token))) = path else { return unknown() };
    let (session, store) = match target(&shared, &name) {
        Ok(found) => found,
        Err(answer) => return *answer,
    };
    let Some(reference) = store.open_reference(&session, &token).and_then(|text| Reference::read(&text))
    else {
        return unknown();
    };
    let Ok(_seat) = timeout(SEAT_DEADLINE, SEATS.acquire()).await else {
        let mut answer = problem(StatusCode::SERVICE_UNAVAILABLE, "too many files are fetched at once");
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
        return answer;
    };
    let lost = match timeout(DEADLINE, reference.fetch(&Http::new())).await {
        Ok(Ok(file)) => {
            // Somebody else made it: a browser must not show it as ours.
            let headers = [
                (header::CONTENT_TYPE, "application/octet-stream"),
                (header::CONTENT_DISPOSITION, "attachment"),
            ];
            return (headers, file).into_response();
        }
        Ok(Err(lost)) => lost,
        Err(_) => {
            let detail = format!("WhatsApp did not give the file within {} s", DEADLINE.as_secs());
            return problem(StatusCode::GATEWAY_TIMEOUT, &detail);
        }
    };
    let status = match lost {
        Lost::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Lost::Gone => StatusCode::GONE,
        Lost::Unreached | Lost::Forged => StatusCode::BAD_GATEWAY,
    };
    problem(status, &lost.to_string())
}

fn unknown() -> Response {
    let detail =
        "this is no path that the webhook of this bot gave, or BLACKSKY_SECRET_KEY was another one then";
    problem(StatusCode::NOT_FOUND, detail)
}
