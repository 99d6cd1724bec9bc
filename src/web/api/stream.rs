//! `/bots/{bot}/events`: what happens at a bot, as a WebSocket.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role as End, WebSocketConfig};

use super::{native, problem};
use crate::runtime::status::Role;
use crate::web::aside::Aside;
use crate::web::events::Place;
use crate::web::router::Shared;

/// A listener that takes nothing for this long is let go.
const SLOW: Duration = Duration::from_secs(20);
/// Longest message that a listener may send: nothing is expected of it.
const MOST_SENT: usize = 4 * 1024;

/// Upgrades, when the link is held here: only its holder knows at once what comes.
pub async fn events(
    State(shared): State<Arc<Shared>>,
    Path(bot): Path<String>,
    mut request: Request,
) -> Response {
    if let Err(answer) = native(&shared, &bot) {
        return *answer;
    }
    let Some(handle) = shared.handles.get(&bot) else { return super::no_bot() };
    if shared.snapshot.borrow().bots.get(&bot).is_some_and(|bot| bot.role() == Role::Standby) {
        let detail = "another dyno holds this bot's link, and only that one has its events: connect again";
        let mut answer = problem(StatusCode::SERVICE_UNAVAILABLE, detail);
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return answer;
    }
    let Some(place) = shared.streams.enter(true) else {
        let mut answer = problem(StatusCode::SERVICE_UNAVAILABLE, "too many event streams are open");
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("30"));
        return answer;
    };
    let accept = accept(request.method(), request.headers());
    let extensions = request.extensions_mut();
    let (Some(accept), Some(upgrade), Some(aside)) =
        (accept, extensions.remove::<OnUpgrade>(), extensions.remove::<Aside>())
    else {
        let mut answer = problem(StatusCode::UPGRADE_REQUIRED, "this path is a WebSocket (version 13)");
        answer.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        return answer;
    };
    let events = handle.events.listen();
    let telling = Arc::clone(&shared);
    aside.tunnel(async move {
        // A client that goes before it was upgraded.
        let Ok(upgraded) = upgrade.await else { return };
        let limits = WebSocketConfig::default()
            .read_buffer_size(MOST_SENT)
            .write_buffer_size(0)
            .max_message_size(Some(MOST_SENT))
            .max_frame_size(Some(MOST_SENT));
        let socket =
            WebSocketStream::from_raw_socket(TokioIo::new(upgraded), End::Server, Some(limits)).await;
        tell(telling, bot, socket, events, place).await;
    });
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    answer
}

/// The answer to the client's key; `None` when it does not ask for a WebSocket (RFC 6455, 4.2.1).
fn accept(method: &Method, headers: &HeaderMap) -> Option<HeaderValue> {
    let says = |name: header::HeaderName, word: &str| {
        let all = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        all.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(word))
    };
    let asked = method == Method::GET
        && says(header::CONNECTION, "upgrade")
        && says(header::UPGRADE, "websocket")
        && says(header::SEC_WEBSOCKET_VERSION, "13");
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| asked)?;
    HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok()
}

/// Tells one listener until it goes, the process stops or the link moves to another dyno.
async fn tell(
    shared: Arc<Shared>,
    bot: String,
    mut socket: WebSocketStream<TokioIo<Upgraded>>,
    mut events: broadcast::Receiver<Arc<[u8]>>,
    _place: Place,
) {
    let mut snapshot = shared.snapshot.clone();
    snapshot.mark_changed();
    let mut beat = tokio::time::interval(shared.heartbeat);
    beat.reset();
    let mut state = None;
    let (code, reason) = loop {
        let message = tokio::select! {
            biased;
            () = shared.stop.cancelled() => break (CloseCode::Restart, "the process stops"),
            event = events.recv() => match event {
                Ok(event) => match std::str::from_utf8(&event) {
                    Ok(text) => Message::text(text),
                    Err(_) => continue,
                },
                Err(RecvError::Lagged(missed)) => {
                    Message::text(json!({ "type": "missed", "bot": bot, "events": missed }).to_string())
                }
                Err(RecvError::Closed) => break (CloseCode::Away, "the bot has ended"),
            },
            changed = snapshot.changed() => {
                if changed.is_err() {
                    break (CloseCode::Away, "the bot has ended");
                }
                let now = {
                    let snapshot = snapshot.borrow_and_update();
                    snapshot.bots.get(&bot).map(|bot| (bot.role(), bot.state.name(), bot.since))
                };
                let Some((role, name, since)) = now else { break (CloseCode::Away, "the bot has ended") };
                if role == Role::Standby {
                    break (CloseCode::Again, "another dyno holds the link now: connect again");
                }
                if state.replace(name) == Some(name) {
                    continue;
                }
                Message::text(json!({ "type": "link", "bot": bot, "state": name, "since": since }).to_string())
            }
            _ = beat.tick() => Message::Ping(Vec::new().into()),
            said = socket.next() => match said {
                // Nothing is expected of a listener.
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => continue,
            },
        };
        if !matches!(tokio::time::timeout(SLOW, socket.send(message)).await, Ok(Ok(()))) {
            return;
        }
    };
    let close = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
    let _ = tokio::time::timeout(Duration::from_secs(1), socket.send(close)).await;
}
