//! "Reconnect now", "Show a new QR", "Restart the bot", "Try the dead letters again", and "Run now" of a job.
//!
//! For a bot whose link another dyno holds, the request travels there and the answer back. An answer that
//! is not there in time for the first byte follows in the body.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use tokio::sync::oneshot;

use super::access::{Access, Proof, same_origin};
use super::login::foreign_origin;
use super::paths::Paths;
use super::router::{Shared, prefers_html, refuse, to_page};
use crate::bot::handle::{Answer, Request as Ask};
use crate::runtime::status::{BotStatus, Role};

/// The first byte of an answer is sent within a second; this leaves time to send it.
const FIRST_BYTE: Duration = Duration::from_millis(800);

/// `POST /bots/{name}/reconnect`.
pub async fn reconnect(shared: State<Arc<Shared>>, name: Path<String>, request: Request) -> Response {
    act(&shared, &name, request, Ask::ReconnectNow).await
}

/// `POST /bots/{name}/qr`.
pub async fn new_qr(shared: State<Arc<Shared>>, name: Path<String>, request: Request) -> Response {
    act(&shared, &name, request, Ask::ShowNewQr).await
}

/// `POST /bots/{name}/restart`.
pub async fn restart(shared: State<Arc<Shared>>, name: Path<String>, request: Request) -> Response {
    act(&shared, &name, request, Ask::RestartBot).await
}

/// `POST /bots/{name}/webhook`: its dead letters are posted again.
pub async fn retry_webhook(shared: State<Arc<Shared>>, name: Path<String>, request: Request) -> Response {
    act(&shared, &name, request, Ask::RetryWebhook).await
}

/// `POST /jobs/{name}/run`.
pub async fn run_job(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    if let Some(refused) = refused(&shared, &parts) {
        return refused;
    }
    if !shared.snapshot.borrow().jobs.contains_key(&name) {
        let text = "There is no job of this name, or the database is not up yet; /status lists them.\n";
        return (StatusCode::NOT_FOUND, text).into_response();
    }
    match shared.jobs.as_ref().map(|jobs| jobs.try_send(name)) {
        Some(Ok(())) => done(&shared.paths, &parts.headers, "The job begins.\n".to_owned()),
        Some(Err(_)) | None => busy("The clock of the jobs"),
    }
}

/// The answer to whoever may not act.
fn refused(shared: &Shared, parts: &Parts) -> Option<Response> {
    match shared.gate.access(parts) {
        Access::Public(denial) => Some(refuse(denial)),
        Access::Admin(Proof::Bearer) => None,
        Access::Admin(Proof::Cookie | Proof::ThisMachine) if same_origin(parts) => None,
        Access::Admin(_) => Some(foreign_origin()),
    }
}

async fn act(shared: &Shared, name: &str, request: Request, ask: Ask) -> Response {
    let (parts, _) = request.into_parts();
    if let Some(refused) = refused(shared, &parts) {
        return refused;
    }
    let Some(handle) = shared.handles.get(name) else {
        return (StatusCode::NOT_FOUND, "There is no enabled bot of this name; /status lists them.\n")
            .into_response();
    };
    let is_hosted = |bot: &BotStatus| bot.shown().hosted.is_some();
    if ask == Ask::RestartBot && !shared.snapshot.borrow().bots.get(name).is_some_and(is_hosted) {
        return (StatusCode::CONFLICT, "There is no program to restart: this bot is not a hosted one.\n")
            .into_response();
    }
    let has_webhook = |bot: &BotStatus| bot.shown().webhook.is_some();
    if ask == Ask::RetryWebhook && !shared.snapshot.borrow().bots.get(name).is_some_and(has_webhook) {
        return (StatusCode::CONFLICT, "There is nothing to post again: this bot has no webhook.\n")
            .into_response();
    }
    let elsewhere = {
        let snapshot = shared.snapshot.borrow();
        let bot = snapshot.bots.get(name).filter(|bot| bot.role() == Role::Standby);
        bot.map(|bot| bot.kept_by().and_then(|holder| holder.dyno.clone()))
    };
    if let Some(holder) = elsewhere {
        let holder = holder.unwrap_or_else(|| "the process that keeps the bot".to_owned());
        let Some(answer) = handle.ask_holder(ask) else {
            let text =
                "Another process keeps this bot, and there is no way to ask it from here; use its page.\n";
            return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
        };
        return answered(&shared.paths, holder, answer, &parts.headers).await;
    }
    if !handle.ask(ask) {
        return busy("The bot");
    }
    done(&shared.paths, &parts.headers, "The bot took the request.\n".to_owned())
}

/// A form of the page goes back to the page; a program, the page's script among them, gets 202.
fn done(paths: &Paths, headers: &HeaderMap, text: String) -> Response {
    if prefers_html(headers) {
        return to_page(paths);
    }
    (StatusCode::ACCEPTED, text).into_response()
}

fn busy(who: &str) -> Response {
    let text = format!("{who} is busy or ending and did not take the request; try again in a moment.\n");
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "2")], text).into_response()
}

/// What the holder answers; when it takes longer than the first byte may, 202 and the answer as the last
/// line of the body.
async fn answered(
    paths: &Paths,
    holder: String,
    mut answer: oneshot::Receiver<Answer>,
    headers: &HeaderMap,
) -> Response {
    if let Ok(answer) = tokio::time::timeout(FIRST_BYTE, &mut answer).await {
        return match answer.unwrap_or(Answer::NotSent) {
            Answer::Took => done(paths, headers, words(&holder, Answer::Took)),
            Answer::Busy => busy(&holder),
            answer @ (Answer::Silent | Answer::NotSent) => {
                let retry = [(header::RETRY_AFTER, "5")];
                (StatusCode::SERVICE_UNAVAILABLE, retry, words(&holder, answer)).into_response()
            }
        };
    }
    let first = format!("Asked {holder}, which keeps the bot; waiting for its answer.\n");
    let first = stream::once(async move { first });
    let last = stream::once(async move { words(&holder, answer.await.unwrap_or(Answer::NotSent)) });
    let body = Body::from_stream(first.chain(last).map(|line| Ok::<_, Infallible>(Bytes::from(line))));
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (StatusCode::ACCEPTED, headers, body).into_response()
}

/// One line.
fn words(holder: &str, answer: Answer) -> String {
    match answer {
        Answer::Took => format!("{holder} took the request.\n"),
        Answer::Busy => {
            format!("{holder} is busy or ending and did not take the request; try again in a moment.\n")
        }
        Answer::Silent => format!(
            "{holder} did not answer within 10 s. If it comes back within a minute it still does it; \
             otherwise try again.\n"
        ),
        Answer::NotSent => {
            format!("The request could not be left for {holder}: the database does not answer; try again.\n")
        }
    }
}
