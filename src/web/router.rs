//! Paths, and the headers of every answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::HttpBody;
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Json, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::access::{Access, Denial, Gate};
use super::events::Streams;
use super::login::retry_after;
use super::paths::{HEALTHZ, Paths, STATUS};
use super::room::Room;
use super::{
    OwnAddress, Site, Target, actions, api, code, events, login, metrics, page, proxy, report, requests,
};
use crate::bot::handle::BotHandle;
use crate::measure;
use crate::runtime::clock;
use crate::runtime::status::Snapshot;
use crate::store::Store;

/// Longest body of a request, in bytes: a login form.
const BODY_LIMIT: usize = 4 * 1024;
/// How long a request may take until its answer begins; only a slow sender of a body takes long.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// What every handler may use.
#[derive(Debug)]
pub struct Shared {
    /// The app's name.
    pub name: String,
    /// What there is to show.
    pub snapshot: watch::Receiver<Snapshot>,
    /// Whom actions go to.
    pub handles: BTreeMap<String, BotHandle>,
    /// Who may do what.
    pub gate: Gate,
    /// Takes the names of jobs that are to be done now.
    pub jobs: Option<mpsc::Sender<String>>,
    /// The database, once it is up.
    pub store: Option<watch::Receiver<Option<Store>>>,
    /// The native bots.
    pub targets: BTreeMap<String, Target>,
    /// Learned from requests, on a dyno.
    pub own: Option<OwnAddress>,
    /// Which paths are ours.
    pub paths: Paths,
    /// Time between two comments of a silent stream.
    pub heartbeat: Duration,
    /// Ends the streams.
    pub stop: CancellationToken,
    /// The open event streams.
    pub streams: Streams,
    /// One permit a request that is with the bot.
    pub passing: Arc<Semaphore>,
}

impl Shared {
    /// The page as this visitor may see it.
    pub fn page(&self, access: Access) -> String {
        page::page(&self.name, &self.paths, &self.snapshot.borrow().clone(), access, clock::now())
    }

    /// An answer of ours, with the headers that all of ours have.
    pub fn guarded(&self, mut response: Response) -> Response {
        guard(response.headers_mut());
        response
    }
}

/// The router of a site; event streams end with `stop`.
pub fn router(site: Site, room: Room, stop: CancellationToken) -> Router {
    measure::start();
    let streams = Streams::new(room, site.snapshot.clone());
    let shared = Arc::new(Shared {
        name: site.name,
        snapshot: site.snapshot,
        handles: site.handles,
        jobs: site.jobs,
        store: site.store,
        targets: site.targets,
        own: site.own.filter(|_| site.dyno),
        gate: Gate::new(site.admin_token, site.dyno),
        paths: site.paths,
        heartbeat: site.heartbeat,
        stop,
        streams,
        passing: Arc::new(Semaphore::new(room.passing)),
    });
    let paths = &shared.paths;
    let mut ours = Router::new()
        .route(&paths.base, get(home))
        .route(STATUS, get(status))
        .route(HEALTHZ, get(healthz))
        .route(&paths.below("readyz"), get(readyz))
        .route(&paths.below("events"), get(stream))
        .route(&paths.below("metrics"), get(metrics::metrics))
        .route(&paths.below("login"), post(login::login))
        .route(&paths.below("logout"), post(login::logout))
        .route(&paths.below("bots/{name}/reconnect"), post(actions::reconnect))
        .route(&paths.below("bots/{name}/qr"), post(actions::new_qr))
        .route(&paths.below("bots/{name}/code"), get(code::form).post(code::get))
        .route(&paths.below("bots/{name}/restart"), post(actions::restart))
        .route(&paths.below("bots/{name}/webhook"), post(actions::retry_webhook))
        .route(&paths.below("jobs/{name}/run"), post(actions::run_job));
    if let Some(path) = paths.without_slash() {
        let base = paths.base.clone();
        ours = ours.route(path, get(async move || Redirect::permanent(&base)));
    }
    ours.layer(DefaultBodyLimit::max(BODY_LIMIT))
        // With a limit of its own.
        .nest(&paths.below("api/v1"), api::routes(&shared))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), finish))
        // Behind the layers: their limits and headers are not the bot's.
        .fallback(proxy::pass)
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), learn))
        .layer(middleware::from_fn(requests::follow))
        .with_state(shared)
}

/// Any request may tell under which name the app is reached.
async fn learn(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    if let Some(own) = &shared.own {
        own.learn(request.headers());
    }
    next.run(request).await
}

async fn home(State(shared): State<Arc<Shared>>, request: Request) -> Html<String> {
    let (parts, _) = request.into_parts();
    Html(shared.page(shared.gate.access(&parts)))
}

async fn status(state: State<Arc<Shared>>, request: Request) -> Response {
    let mut response = if prefers_html(request.headers()) {
        home(state, request).await.into_response()
    } else {
        let report = report::report(&state.snapshot.borrow(), clock::now());
        Json(report).into_response()
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let snapshot = shared.snapshot.borrow();
    let reasons = report::not_ready(&snapshot);
    let code = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({ "ready": reasons.is_empty(), "reasons": reasons }))).into_response()
}

#[derive(Deserialize)]
struct StreamQuery {
    view: Option<String>,
}

async fn stream(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<StreamQuery>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let view = match query.view.as_deref() {
        None => events::View::Report,
        Some("page") => events::View::Page { admin: shared.gate.access(&parts).is_admin() },
        Some(_) => return (StatusCode::BAD_REQUEST, "The only view is view=page.\n").into_response(),
    };
    events::stream(shared, view)
}

/// The answer to a path that nobody has.
pub fn nothing_here(paths: &Paths) -> Response {
    let base = &paths.base;
    let text = format!(
        "Nothing here. There are: {base}, {STATUS}, {HEALTHZ}, {base}readyz, {base}events and {base}metrics.\n"
    );
    (StatusCode::NOT_FOUND, text).into_response()
}

/// The answer to a visitor without the right.
pub fn refuse(denial: Denial) -> Response {
    let status = match denial {
        Denial::TooManyTries(_) => StatusCode::TOO_MANY_REQUESTS,
        Denial::NoTokenSet | Denial::TokenNeeded | Denial::WrongToken => StatusCode::FORBIDDEN,
    };
    (status, retry_after(denial), format!("{}\n", explain(denial))).into_response()
}

/// The command that sets an admin token.
pub const SET_TOKEN: &str = "heroku config:set BLACKSKY_ADMIN_TOKEN=$(openssl rand -hex 24)";

/// Why a visitor does not have the right, and what to do.
pub fn explain(denial: Denial) -> String {
    match denial {
        Denial::NoTokenSet => format!(
            "The QR and the actions need an admin token, and none is set. Set one, then sign in with it:\n\n    \
             {SET_TOKEN}\n\nElsewhere than on Heroku set the variable BLACKSKY_ADMIN_TOKEN; on the machine \
             itself http://localhost works without one."
        ),
        Denial::TokenNeeded | Denial::WrongToken => {
            let what = if denial == Denial::WrongToken { "This is not" } else { "This needs" };
            format!(
                "{what} the admin token. Sign in on the page, or send `Authorization: Bearer` with it. See it \
                 with\n\n    heroku config:get BLACKSKY_ADMIN_TOKEN\n\nor set another one with\n\n    {SET_TOKEN}"
            )
        }
        Denial::TooManyTries(seconds) => {
            format!("Too many wrong tokens. Try again in {seconds} s.")
        }
    }
}

/// Back to the page, after a form.
pub fn to_page(paths: &Paths) -> Response {
    Redirect::to(&paths.base).into_response()
}

/// Whether the client would rather have HTML than JSON: browsers name text/html, programs do not.
pub fn prefers_html(headers: &HeaderMap) -> bool {
    let (mut html, mut json) = (0.0_f32, 0.0_f32);
    for range in headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|v| v.split(','))
    {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let quality = parts
            .find_map(|parameter| parameter.strip_prefix("q="))
            .map_or(1.0, |q| q.parse().ok().filter(|q| (0.0..=1.0).contains(q)).unwrap_or(0.0));
        if media.eq_ignore_ascii_case("text/html") {
            html = html.max(quality);
        } else if media.eq_ignore_ascii_case("application/json") || media == "*/*" {
            json = json.max(quality);
        }
    }
    html > json
}

/// Deadline and headers of every answer.
async fn finish(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let deadline = api::deadline(&request).unwrap_or(ANSWER_DEADLINE);
    let of_api = api::is_asked(&shared.paths, request.uri());
    let limit = if of_api { api::body_limit(&request) } else { Some(BODY_LIMIT as u64) };
    let length = request.body().size_hint().exact();
    let answer = async {
        // Not all handlers read the body; whoever says that it is too long need not send it.
        if let (Some(limit), Some(length)) = (limit, length)
            && length > limit
        {
            let text = format!("The body of the request is longer than {limit} bytes.\n");
            return (StatusCode::PAYLOAD_TOO_LARGE, text).into_response();
        }
        next.run(request).await
    };
    let mut response = match tokio::time::timeout(deadline, answer).await {
        Ok(response) => response,
        Err(_) => {
            let text = "The request took too long to arrive.\n";
            (StatusCode::REQUEST_TIMEOUT, [(header::CONNECTION, "close")], text).into_response()
        }
    };
    if of_api {
        response = api::as_problem(response).await;
    }
    guard(response.headers_mut());
    response
}

fn guard(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // Not no-referrer: browsers would then send `Origin: null` with our own forms.
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-robots-tag"), "noindex"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, page::content_security_policy());
}

#[cfg(test)]
#[path = "router_tests.rs"]
mod tests;
