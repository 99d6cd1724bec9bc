//! What the link is asked and answers at once: typing, read, groups, contacts, pairing.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::types::{
    ContactList, ContactQuery, GroupList, NewRead, NewTyping, Pairing, PairingCode, PairingCodeQuery, Qr,
};
use super::{native, no_bot, problem, read};
use crate::bot::call::{Call, Refusal, Reply};
use crate::bot::handle::{Answer, Request};
use crate::link::LinkState;
use crate::runtime::status::Role;
use crate::web::router::Shared;

type Body = Result<Json<Value>, JsonRejection>;

/// `POST /bots/{bot}/typing`.
pub async fn typing(State(shared): State<Arc<Shared>>, Path(bot): Path<String>, body: Body) -> Response {
    done(call(&shared, &bot, body, NewTyping::call).await)
}

/// `POST /bots/{bot}/read`.
pub async fn read_messages(
    State(shared): State<Arc<Shared>>,
    Path(bot): Path<String>,
    body: Body,
) -> Response {
    done(call(&shared, &bot, body, NewRead::call).await)
}

/// `GET /bots/{bot}/groups`.
pub async fn groups(State(shared): State<Arc<Shared>>, Path(bot): Path<String>) -> Response {
    shown::<_, GroupList>(make(&shared, &bot, Call::Groups).await, |groups| GroupList { groups })
}

/// `POST /bots/{bot}/contacts`.
pub async fn contacts(State(shared): State<Arc<Shared>>, Path(bot): Path<String>, body: Body) -> Response {
    let answer = call(&shared, &bot, body, ContactQuery::call).await;
    shown::<_, ContactList>(answer, |contacts| ContactList { contacts })
}

/// `POST /bots/{bot}/pairing/code`.
pub async fn pairing_code(
    State(shared): State<Arc<Shared>>,
    Path(bot): Path<String>,
    body: Body,
) -> Response {
    let answer = call(&shared, &bot, body, PairingCodeQuery::call).await;
    shown::<PairingCode, PairingCode>(answer, |code| code)
}

/// `GET /bots/{bot}/pairing`.
pub async fn pairing(State(shared): State<Arc<Shared>>, Path(bot): Path<String>) -> Response {
    if let Err(answer) = native(&shared, &bot) {
        return *answer;
    }
    let snapshot = shared.snapshot.borrow();
    let Some(bot) = snapshot.bots.get(&bot) else { return no_bot() };
    let bot = bot.shown();
    let qr = bot.qr.as_ref().map(|qr| Qr { payload: qr.payload.clone(), expires_at: qr.expires_at });
    Json(Pairing { state: bot.state.name(), qr }).into_response()
}

/// `POST /bots/{bot}/pairing`: a new round of QR codes.
pub async fn new_round(State(shared): State<Arc<Shared>>, Path(bot): Path<String>) -> Response {
    if let Err(answer) = native(&shared, &bot) {
        return *answer;
    }
    let Some(handle) = shared.handles.get(&bot) else { return no_bot() };
    let took = match elsewhere(&shared, &bot) {
        false => handle.ask(Request::ShowNewQr),
        true => match handle.ask_holder(Request::ShowNewQr) {
            Some(answer) => matches!(answer.await, Ok(Answer::Took)),
            None => false,
        },
    };
    if took { StatusCode::NO_CONTENT.into_response() } else { again("the bot did not take the request") }
}

/// Reads the body and makes the call that it means.
async fn call<T: DeserializeOwned>(
    shared: &Shared,
    bot: &str,
    body: Body,
    meaning: impl FnOnce(T) -> Result<Call, String>,
) -> Result<Value, Box<Response>> {
    native(shared, bot)?;
    let call = meaning(read(body)?);
    let call = call.map_err(|detail| Box::new(problem(StatusCode::UNPROCESSABLE_ENTITY, &detail)))?;
    make(shared, bot, call).await
}

/// Makes a call to the link, wherever that is.
async fn make(shared: &Shared, bot: &str, call: Call) -> Result<Value, Box<Response>> {
    native(shared, bot)?;
    let handle = shared.handles.get(bot).ok_or_else(|| Box::new(no_bot()))?;
    let reply: Reply = match elsewhere(shared, bot) {
        true => handle.call_holder(call).await,
        // Nobody is asked who cannot answer.
        false if !ready(shared, bot, &call) => Err(match call {
            Call::PairingCode { .. } => Refusal::NotPairing,
            _ => Refusal::NotOpen,
        }),
        false => handle.calls.make(call).await,
    };
    reply.map_err(|refusal| Box::new(refused(&refusal)))
}

/// Whether another dyno holds the link.
fn elsewhere(shared: &Shared, bot: &str) -> bool {
    shared.snapshot.borrow().bots.get(bot).is_some_and(|bot| bot.role() == Role::Standby)
}

fn ready(shared: &Shared, bot: &str, call: &Call) -> bool {
    let wanted = match call {
        Call::PairingCode { .. } => LinkState::Pairing,
        _ => LinkState::Open,
    };
    shared.snapshot.borrow().bots.get(bot).is_some_and(|bot| bot.state == wanted)
}

fn refused(refusal: &Refusal) -> Response {
    let detail = refusal.to_string();
    match refusal {
        Refusal::NotOpen | Refusal::NotPairing | Refusal::Unsealed => problem(StatusCode::CONFLICT, &detail),
        Refusal::Refused(_) => problem(StatusCode::BAD_GATEWAY, &detail),
        Refusal::Busy | Refusal::Late | Refusal::NoWay | Refusal::Unknown => again(&detail),
    }
}

fn again(detail: &str) -> Response {
    let mut answer = problem(StatusCode::SERVICE_UNAVAILABLE, detail);
    answer.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("2"));
    answer
}

fn done(answer: Result<Value, Box<Response>>) -> Response {
    match answer {
        Ok(_) => StatusCode::NO_CONTENT.into_response(),
        Err(answer) => *answer,
    }
}

/// What the link answered, in the shape of the API.
fn shown<A: DeserializeOwned, S: serde::Serialize>(
    answer: Result<Value, Box<Response>>,
    shape: impl FnOnce(A) -> S,
) -> Response {
    match answer.map(serde_json::from_value) {
        Ok(Ok(answer)) => Json(shape(answer)).into_response(),
        Ok(Err(_)) => refused(&Refusal::Unknown),
        Err(answer) => *answer,
    }
}
