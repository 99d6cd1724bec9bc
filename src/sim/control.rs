//! The HTTP control API under `/control`; `docs/simulator.md` describes it.

use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::faults::Fault;
use super::handle::Handle;
use super::media::{MediaKind, Medium};

/// Longest body of a request, in bytes.
const BODY_LIMIT: usize = 64 << 10;
/// Longest body of a message, in bytes: a medium in base64.
const SEND_LIMIT: usize = 32 << 20;
/// Messages that are read at the same time.
static SENDS: Semaphore = Semaphore::const_new(2);
/// For the reading of one.
const SEND_DEADLINE: Duration = Duration::from_secs(60);
/// Longest wait of one request for events.
const MAX_WAIT: u64 = 60;
/// The phone that scans when a request names none.
pub const DEFAULT_PHONE: &str = "15550001000";
/// The contact that writes when a request names none.
pub const DEFAULT_CONTACT: &str = "15550002000";

#[derive(Deserialize)]
struct Scan {
    qr: String,
    phone: Option<String>,
    name: Option<String>,
}

#[derive(Deserialize)]
struct Link {
    code: String,
    phone: String,
}

#[derive(Deserialize)]
struct Send {
    from: Option<String>,
    to: Option<String>,
    #[serde(default)]
    text: String,
    media: Option<SendMedia>,
}

#[derive(Deserialize)]
struct SendMedia {
    kind: MediaKind,
    mimetype: String,
    file_name: Option<String>,
    /// The file, in base64.
    data: String,
}

#[derive(Deserialize)]
struct Remove {
    account: String,
    device: u16,
}

#[derive(Deserialize)]
struct Since {
    #[serde(default)]
    after: u64,
    #[serde(default)]
    wait: u64,
}

/// An answer that says what is wrong with a request.
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

fn unprocessable(error: impl std::fmt::Display) -> Refused {
    Refused(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
}

/// The routes.
pub fn router(handle: Handle) -> Router {
    Router::new()
        .route("/control/status", get(status))
        .route("/control/scan", post(scan))
        .route("/control/link", post(link))
        .route(
            "/control/send",
            post(send).layer(DefaultBodyLimit::max(SEND_LIMIT)).layer(middleware::from_fn(few)),
        )
        .route("/control/sent", get(async |State(h): State<Handle>| Json(h.sent())))
        .route("/control/received", get(async |State(h): State<Handle>| Json(h.received())))
        .route("/control/ratchets", get(async |State(h): State<Handle>| Json(h.ratchets())))
        .route("/control/events", get(events))
        .route("/control/faults", get(faults).post(inject).delete(clear))
        .route("/control/remove", post(remove))
        .fallback(async || Refused(StatusCode::NOT_FOUND, "no such path; see docs/simulator.md".to_owned()))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn(local_only))
        .with_state(handle)
}

/// A web page in a browser on this machine must not drive the simulator through a name
/// that resolves to loopback.
async fn local_only(headers: HeaderMap, request: Request, next: Next) -> Response {
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    let name = name.map_or(host, |(name, _)| name);
    if !["localhost", "127.0.0.1", "[::1]"].contains(&name) || headers.contains_key(header::ORIGIN) {
        let text = "the control API answers only to programs on this machine".to_owned();
        return Refused(StatusCode::FORBIDDEN, text).into_response();
    }
    next.run(request).await
}

/// Large bodies one after the other.
async fn few(request: Request, next: Next) -> Response {
    let answer = tokio::time::timeout(SEND_DEADLINE, async {
        let _turn = SENDS.acquire().await;
        next.run(request).await
    });
    answer.await.unwrap_or_else(|_| {
        Refused(StatusCode::REQUEST_TIMEOUT, "the message did not arrive in time".to_owned()).into_response()
    })
}

async fn status(State(handle): State<Handle>) -> Json<Value> {
    Json(json!({
        "counters": handle.counters(),
        "accounts": handle.accounts(),
        "waiting_for_scan": handle.waiting(),
        "faults": handle.faults(),
        "last_event": handle.last_event(),
    }))
}

async fn scan(State(handle): State<Handle>, Json(scan): Json<Scan>) -> Result<Json<Value>, Refused> {
    let phone = scan.phone.as_deref().unwrap_or(DEFAULT_PHONE);
    match &scan.name {
        Some(name) => handle.scan_as(&scan.qr, phone, name),
        None => handle.scan(&scan.qr, phone),
    }
    .map_err(unprocessable)?;
    Ok(Json(json!({ "account": phone })))
}

async fn link(State(handle): State<Handle>, Json(link): Json<Link>) -> Result<Json<Value>, Refused> {
    handle.link(&link.code, &link.phone).await.map_err(unprocessable)?;
    Ok(Json(json!({ "account": link.phone })))
}

async fn send(State(handle): State<Handle>, Json(send): Json<Send>) -> Result<Json<Value>, Refused> {
    let from = send.from.as_deref().unwrap_or(DEFAULT_CONTACT);
    let to = match send.to {
        Some(to) => to,
        None => {
            let accounts = handle.accounts();
            match &accounts[..] {
                [only] => only.number.clone(),
                [] => return Err(unprocessable("no account is linked yet")),
                _ => return Err(unprocessable("several accounts are linked: say \"to\"")),
            }
        }
    };
    let id = match send.media {
        None if send.text.is_empty() => {
            return Err(unprocessable("nothing to send: say \"text\" or \"media\""));
        }
        None => handle.send_text(from, &to, &send.text),
        Some(SendMedia { kind, mimetype, file_name, data }) => {
            let bytes = STANDARD.decode(data).map_err(|error| unprocessable(format!("data: {error}")))?;
            let caption = Some(send.text).filter(|text| !text.is_empty());
            handle.send_media(from, &to, Medium { kind, mimetype, caption, file_name, bytes })
        }
    }
    .map_err(unprocessable)?;
    Ok(Json(json!({ "id": id, "from": from, "to": to })))
}

async fn events(State(handle): State<Handle>, Query(since): Query<Since>) -> Json<Value> {
    let wait = Duration::from_secs(since.wait.min(MAX_WAIT));
    Json(json!(handle.events(since.after, wait).await))
}

async fn faults(State(handle): State<Handle>) -> Json<Vec<Fault>> {
    Json(handle.faults())
}

async fn inject(State(handle): State<Handle>, Json(fault): Json<Fault>) -> Result<Json<Value>, Refused> {
    if let Some(problem) = fault.problem() {
        return Err(unprocessable(problem));
    }
    handle.inject(fault);
    Ok(Json(json!({ "armed": handle.faults().len() })))
}

async fn clear(State(handle): State<Handle>) -> Json<Value> {
    handle.clear_faults();
    Json(json!({ "armed": 0 }))
}

async fn remove(State(handle): State<Handle>, Json(remove): Json<Remove>) -> Result<Json<Value>, Refused> {
    if !handle.remove_device(&remove.account, remove.device) {
        return Err(unprocessable("there is no such device"));
    }
    Ok(Json(json!({ "removed": remove.device })))
}
