//! `/api/v1`: what programs ask of native bots.
//!
//! A message that is accepted (202) is in the database: it survives kill -9 and is sent by whichever dyno holds the
//! link, under one id. Answers that are no success are problem documents (RFC 9457).

mod calls;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
mod intake;
mod media;
mod openapi;
mod received;
mod stream;
mod types;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::access::{Access, Denial, Proof, same_origin};
use super::paths::Paths;
use super::router::{SET_TOKEN, Shared};
use crate::bot::outgoing::{self, Content};
use crate::media::FETCH_DEADLINE;
use crate::runtime::clock;
use crate::store::{Accepted, MOST_QUEUED, NewOutgoing, Store, StoreError};
use types::{Bot, BotList, ChatList, NewMessage, Sent};

/// Longest body of a request, in bytes.
const BODY_LIMIT: usize = 256 * 1024;
/// The database answers within this, or the asker is told to try again.
const DEADLINE: Duration = Duration::from_secs(4);
/// Most chats that are listed.
const MOST_CHATS: u32 = 1000;
/// The header that makes a request safe to repeat.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Longest value of it.
const LONGEST_KEY: usize = 128;
/// The type of a problem document.
const PROBLEM: &str = "application/problem+json";

/// A native bot that the API knows.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its session.
    pub session: String,
}

/// The routes below `/api/v1`.
pub fn routes(shared: &Arc<Shared>) -> Router<Arc<Shared>> {
    let guarded = Router::new()
        .route("/bots", get(bots))
        .route("/bots/{bot}", get(bot))
        .route("/bots/{bot}/messages", post(send))
        .route("/bots/{bot}/messages/{id}", get(message))
        .route("/bots/{bot}/typing", post(calls::typing))
        .route("/bots/{bot}/read", post(calls::read_messages))
        .route("/bots/{bot}/chats", get(chats))
        .route("/bots/{bot}/groups", get(calls::groups))
        .route("/bots/{bot}/contacts", post(calls::contacts))
        .route("/bots/{bot}/pairing", get(calls::pairing).post(calls::new_round))
        .route("/bots/{bot}/pairing/code", post(calls::pairing_code))
        .route("/bots/{bot}/events", get(stream::events))
        .route("/bots/{bot}/media", post(media::upload))
        .route("/bots/{bot}/received/{token}", get(received::file))
        .layer(middleware::from_fn_with_state(Arc::clone(shared), guard));
    Router::new()
        .route(
            "/openapi.json",
            get(async |State(shared): State<Arc<Shared>>| Json(openapi::document(&bot_names(&shared)))),
        )
        .route(
            "/docs",
            get(async |State(shared): State<Arc<Shared>>| Html(openapi::page(&bot_names(&shared)))),
        )
        .merge(guarded)
        .fallback(async || nothing())
        .method_not_allowed_fallback(async || {
            problem(StatusCode::METHOD_NOT_ALLOWED, "this path has other methods; see /api/v1/docs")
        })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
}

/// Longest body of a request, in bytes; `None` for a file, which is read piece by piece and has a limit of its own.
pub fn body_limit(request: &Request) -> Option<u64> {
    (asks(request) != Some("media")).then_some(BODY_LIMIT as u64)
}

/// What is asked of a bot: the path after its name.
fn asks(request: &Request) -> Option<&str> {
    let (_, path) = request.uri().path().split_once("/api/v1/bots/")?;
    Some(path.split_once('/')?.1)
}

/// How long an answer may take that waits for files, of whoever asks or of somebody else's server; `None` for others.
pub fn deadline(request: &Request) -> Option<Duration> {
    match asks(request)? {
        "media" => Some(media::UPLOAD_DEADLINE + DEADLINE + DEADLINE),
        path if path.starts_with("received/") => Some(received::ANSWER_DEADLINE),
        "messages" => Some(FETCH_DEADLINE + DEADLINE + DEADLINE),
        _ => None,
    }
}

/// The native bots, which /status names too.
fn bot_names(shared: &Shared) -> Vec<&str> {
    shared.targets.keys().map(String::as_str).collect()
}

/// Whether a path is one of the API's.
pub fn is_asked(paths: &Paths, uri: &Uri) -> bool {
    let below = uri.path().strip_prefix(&paths.base).and_then(|path| path.strip_prefix("api/v1"));
    below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// An answer of the API: a refusal that is not ours, such as one of a path that does not decode, becomes a problem
/// document.
pub async fn as_problem(response: Response) -> Response {
    let kind = response.headers().get(header::CONTENT_TYPE);
    if !response.status().is_client_error() || kind.is_some_and(|kind| kind == PROBLEM) {
        return response;
    }
    let (parts, body) = response.into_parts();
    // A sentence of axum's.
    let text = axum::body::to_bytes(body, 4 * 1024).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let text = match text.trim() {
        "" => parts.status.canonical_reason().unwrap_or("the request cannot be answered"),
        text => text,
    };
    let mut answer = problem(parts.status, text);
    for (name, value) in &parts.headers {
        if ![header::CONTENT_TYPE, header::CONTENT_LENGTH].contains(name) {
            answer.headers_mut().append(name, value.clone());
        }
    }
    *answer.extensions_mut() = parts.extensions;
    answer
}

/// Only for whoever has the admin token.
async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let (status, detail) = match shared.gate.access(&parts) {
        Access::Admin(Proof::Bearer) => return next.run(Request::from_parts(parts, body)).await,
        // A page of somebody else must not send by a browser that is signed in here.
        Access::Admin(Proof::Cookie | Proof::ThisMachine)
            if parts.method.is_safe()
                || same_origin(&parts)
                || !parts.headers.contains_key(header::ORIGIN)
                    && !parts.headers.contains_key(header::COOKIE) =>
        {
            return next.run(Request::from_parts(parts, body)).await;
        }
        Access::Admin(_) => (StatusCode::FORBIDDEN, "the request comes from another site".to_owned()),
        Access::Public(Denial::NoTokenSet) => {
            (StatusCode::FORBIDDEN, format!("no admin token is set: {SET_TOKEN}"))
        }
        Access::Public(Denial::TokenNeeded) => (
            StatusCode::UNAUTHORIZED,
            "send the admin token: Authorization: Bearer BLACKSKY_ADMIN_TOKEN".to_owned(),
        ),
        Access::Public(Denial::WrongToken) => {
            (StatusCode::UNAUTHORIZED, "this is not the admin token".to_owned())
        }
        Access::Public(Denial::TooManyTries(seconds)) => {
            let mut answer = problem(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens");
            answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            return answer;
        }
    };
    let mut answer = problem(status, &detail);
    if status == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}

async fn bots(State(shared): State<Arc<Shared>>) -> Json<BotList> {
    let snapshot = shared.snapshot.borrow();
    Json(BotList { bots: snapshot.bots.iter().map(|(name, bot)| Bot::of(name, bot)).collect() })
}

async fn bot(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Response {
    let snapshot = shared.snapshot.borrow();
    match snapshot.bots.get(&name) {
        Some(bot) => Json(Bot::of(&name, bot)).into_response(),
        None => no_bot(),
    }
}

async fn send(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Result<Json<Value>, JsonRejection>,
) -> Response {
    let (target, store) = match target(&shared, &name) {
        Ok(found) => found,
        Err(answer) => return *answer,
    };
    let message: NewMessage = match read(body) {
        Ok(message) => message,
        Err(answer) => return *answer,
    };
    let key = match key(&headers) {
        Ok(key) => key,
        Err(detail) => return problem(StatusCode::BAD_REQUEST, detail),
    };
    let now = clock::now();
    let content = match message.content() {
        Ok(content) => content,
        Err(detail) => return problem(StatusCode::UNPROCESSABLE_ENTITY, &detail),
    };
    let stored = Content::text(&content);
    let id = outgoing::message_id();
    let accepted = match media::ready(&store, &target, &content, &stored, key).await {
        Err(answer) => return *answer,
        Ok(media::Ready::Before(accepted)) => Ok(accepted),
        Ok(media::Ready::Now { file }) => {
            let new = NewOutgoing { id: &id, key, content: &stored, file: file.as_deref(), at: now };
            let accepted = within(store.put_outgoing(&target, new)).await;
            // Of one that may have been accepted the file stays.
            if matches!(accepted, Ok(ref accepted) if *accepted != Accepted::New) {
                media::forget(&store, &target, &content, file.as_deref()).await;
            }
            accepted
        }
    };
    let sent = match accepted {
        Ok(Accepted::New) => Sent::queued(id, now),
        Ok(Accepted::Known { id }) => match within(store.outgoing_status(&target, &id)).await {
            Ok(Some(status)) => Sent::of(id, status),
            Ok(None) => Sent::queued(id, now),
            Err(error) => return away(&error),
        },
        Ok(Accepted::Differs) => {
            let detail = "this Idempotency-Key was used before, for another message";
            return problem(StatusCode::CONFLICT, detail);
        }
        Ok(Accepted::Full) => {
            let detail = format!("{MOST_QUEUED} messages wait to be sent already");
            let mut answer = problem(StatusCode::TOO_MANY_REQUESTS, &detail);
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("30"));
            return answer;
        }
        Ok(Accepted::NoFile) => return media::no_file(),
        Err(error) => return away(&error),
    };
    let location = format!("{}api/v1/bots/{name}/messages/{}", shared.paths.base, sent.id);
    (StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(sent)).into_response()
}

async fn message(State(shared): State<Arc<Shared>>, Path((name, id)): Path<(String, String)>) -> Response {
    let (target, store) = match target(&shared, &name) {
        Ok(found) => found,
        Err(answer) => return *answer,
    };
    match within(store.outgoing_status(&target, &id)).await {
        Ok(Some(status)) => Json(Sent::of(id, status)).into_response(),
        Ok(None) => {
            let detail = "no message of this id was accepted for this bot in the last 7 days";
            problem(StatusCode::NOT_FOUND, detail)
        }
        Err(error) => away(&error),
    }
}

async fn chats(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Response {
    let (target, store) = match target(&shared, &name) {
        Ok(found) => found,
        Err(answer) => return *answer,
    };
    match within(store.chats(&target, MOST_CHATS)).await {
        Ok(chats) => Json(ChatList { chats: chats.into_iter().map(Into::into).collect() }).into_response(),
        Err(error) => away(&error),
    }
}

/// What a body says, which must be an object.
fn read<T: DeserializeOwned>(body: Result<Json<Value>, JsonRejection>) -> Result<T, Box<Response>> {
    let Json(value) = body.map_err(|wrong| Box::new(problem(wrong.status(), &wrong.body_text())))?;
    let wrong =
        |error: serde_json::Error| Box::new(problem(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string()));
    types::only_object(value).map_err(wrong)
}

/// The session of a native bot.
fn native<'s>(shared: &'s Shared, name: &str) -> Result<&'s str, Box<Response>> {
    if let Some(target) = shared.targets.get(name) {
        return Ok(&target.session);
    }
    let known = shared.snapshot.borrow().bots.contains_key(name);
    let detail = "this bot is hosted: its own program sends; the API is for native bots";
    Err(Box::new(if known { problem(StatusCode::CONFLICT, detail) } else { no_bot() }))
}

/// The session of a native bot, and the database.
fn target(shared: &Shared, name: &str) -> Result<(String, Store), Box<Response>> {
    let session = native(shared, name)?.to_owned();
    match shared.store.as_ref().and_then(|store| store.borrow().clone()) {
        Some(store) => Ok((session, store)),
        None => {
            let mut answer = problem(StatusCode::SERVICE_UNAVAILABLE, "the database is not up yet");
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            Err(Box::new(answer))
        }
    }
}

async fn within<T>(asking: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(DEADLINE, asking).await.unwrap_or_else(|_| {
        let problem = format!("the database did not answer within {} s", DEADLINE.as_secs());
        Err(StoreError::Unavailable { problem })
    })
}

/// The asker cannot know whether a message was accepted: with a key it may simply ask again.
fn away(error: &StoreError) -> Response {
    let mut answer = problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string());
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    answer
}

fn key(headers: &HeaderMap) -> Result<Option<&str>, &'static str> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    match key.to_str().map(str::trim) {
        Ok(key) if (1..=LONGEST_KEY).contains(&key.len()) => Ok(Some(key)),
        _ => Err("Idempotency-Key must have 1 to 128 visible ASCII characters"),
    }
}

/// The answer to a path that nobody has.
pub fn nothing() -> Response {
    problem(StatusCode::NOT_FOUND, "there is nothing here; see /api/v1/docs")
}

fn no_bot() -> Response {
    problem(StatusCode::NOT_FOUND, "there is no enabled bot of this name; /api/v1/bots lists them")
}

/// A problem document.
fn problem(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let body = json!({ "title": title, "status": status.as_u16(), "detail": detail });
    let kind = [(header::CONTENT_TYPE, PROBLEM)];
    (status, kind, body.to_string()).into_response()
}
