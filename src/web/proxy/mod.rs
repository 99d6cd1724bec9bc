//! Every path that is not ours goes to the hosted bot's own port.
//!
//! Request → `where_to` (which port, or why none) → `headers` → `exchange` (one connection to the bot for each
//! request, bodies streamed both ways, WebSockets) → `headers` → client. What cannot be passed on is answered
//! by `refusal`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Body as _;
use tokio::sync::OwnedSemaphorePermit;

use super::access::Peer;
use super::api;
use super::aside::Aside;
use super::requests::{OF_BOT, Route};
use super::router::{Shared, nothing_here};
use super::seats::Seat;
use crate::link::LinkState;
use crate::runtime::status::{BotStatus, ChildState, Role, Snapshot};

mod exchange;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
mod headers;
mod refusal;

use headers::Arrival;
use refusal::Refusal;

/// Answers what no path of ours is for.
pub async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    if api::is_asked(&shared.paths, request.uri()) {
        return shared.guarded(api::nothing());
    }
    if shared.paths.are_ours(request.uri()) {
        return shared.guarded(nothing_here(&shared.paths));
    }
    let Some(bot) = &shared.paths.bot else { return shared.guarded(nothing_here(&shared.paths)) };
    if request.method() == Method::CONNECT {
        let text = "This is no proxy to other machines.\n";
        return shared.guarded((StatusCode::METHOD_NOT_ALLOWED, text).into_response());
    }
    if request.headers().get_all(header::HOST).iter().count() > 1 {
        return shared
            .guarded((StatusCode::BAD_REQUEST, "The request names several hosts.\n").into_response());
    }
    let as_page = request.method() == Method::GET && super::router::prefers_html(request.headers());
    let mut response = match passed(&shared, bot, request).await {
        Ok(response) => response,
        Err(refusal) => shared.guarded(refusal.response(&shared, bot, as_page)),
    };
    response.extensions_mut().insert(Route(OF_BOT));
    response
}

async fn passed(shared: &Shared, bot: &str, mut request: Request) -> Result<Response, Refusal> {
    let port = where_to(&shared.snapshot.borrow(), bot)?;
    let turn = Arc::clone(&shared.passing).try_acquire_owned().map_err(|_| Refusal::TooMany)?;
    // The accept loop gives every request one.
    let Some(aside) = request.extensions().get::<Aside>().cloned() else { return Err(Refusal::TooMany) };
    if let Some(seat) = request.extensions().get::<Arc<Seat>>() {
        seat.stays();
    }
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
    let websocket = headers::asks_for_websocket(request.headers());
    let client = websocket.then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let arrival = Arrival {
        peer,
        routed: shared.gate.is_routed(),
        shows_token: shared.gate.is_token(&parts.headers),
        length: body.size_hint().exact(),
        websocket,
    };
    let mut onward = axum::http::Request::new(body);
    *onward.method_mut() = parts.method;
    *onward.uri_mut() = parts.uri.path_and_query().cloned().map_or_else(|| Uri::from_static("/"), Uri::from);
    *onward.headers_mut() = headers::to_bot(parts.headers, arrival);
    if let Ok(host) = format!("127.0.0.1:{port}").try_into() {
        // HTTP/1.0 has none.
        onward.headers_mut().entry(header::HOST).or_insert(host);
    }
    let turn = Arc::new(turn);
    let mut answer = exchange::exchange(port, onward, &aside, Arc::clone(&turn)).await?;
    let switched = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    match client {
        Some(client) if switched => {
            let bot = hyper::upgrade::on(&mut answer);
            aside.tunnel(exchange::tunnel(client, bot, turn));
        }
        // The bot speaks of something that nobody asked for.
        None if switched => return Err(Refusal::Ended),
        _ => {}
    }
    let (parts, body) = answer.into_parts();
    let mut response = Response::new(if switched { Body::empty() } else { Body::new(body) });
    *response.status_mut() = parts.status;
    *response.headers_mut() = headers::to_client(parts.headers, switched);
    if let Some(reason) = parts.extensions.get::<hyper::ext::ReasonPhrase>() {
        response.extensions_mut().insert(reason.clone());
    }
    Ok(response)
}

/// The bot's port on this machine.
fn where_to(snapshot: &Snapshot, name: &str) -> Result<u16, Refusal> {
    let Some(bot) = snapshot.bots.get(name) else { return Err(Refusal::NotRunning) };
    if bot.role() == Role::Standby {
        return Err(Refusal::Elsewhere(bot.kept_by().and_then(|holder| holder.dyno.clone())));
    }
    let hosted = bot.hosted.as_ref();
    match hosted.map(|hosted| hosted.child.state) {
        Some(ChildState::Running) => hosted.and_then(|hosted| hosted.port).ok_or(Refusal::NotRunning),
        Some(ChildState::CrashLoop) => Err(Refusal::Crashes),
        Some(ChildState::NotStarted) => Err(Refusal::CannotStart),
        Some(ChildState::Waiting) => Err(Refusal::Restarting),
        Some(ChildState::Stopped) | None => Err(not_running(bot)),
    }
}

fn not_running(bot: &BotStatus) -> Refusal {
    match bot.state {
        LinkState::WaitingForDatabase => Refusal::NoDatabase,
        _ => Refusal::NotRunning,
    }
}

/// A place among the requests that are with the bot.
type Turn = Arc<OwnedSemaphorePermit>;

#[cfg(test)]
#[path = "where_to_tests.rs"]
mod tests;
