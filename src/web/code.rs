//! `/bots/{name}/code`: a pairing code for a phone number, in place of the QR.
//!
//! A page of its own: the live one replaces its parts while somebody would be typing.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, FromRequest, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;

use super::access::{Access, Proof, same_origin};
use super::login::foreign_origin;
use super::page;
use super::router::{Shared, refuse};
use crate::bot::call::{Call, Refusal};
use crate::config::ChatAddress;
use crate::link::LinkState;
use crate::runtime::status::Role;

#[derive(Deserialize)]
struct Number {
    phone: String,
}

#[derive(Template)]
#[template(path = "code.html")]
struct CodePage<'a> {
    style: &'static str,
    base: &'a str,
    bot: &'a str,
    phone: &'a str,
    /// In two halves, as the phone asks for it.
    code: Option<(&'a str, &'a str)>,
    problem: Option<&'a str>,
}

/// `GET`: asks for the number.
pub async fn form(State(shared): State<Arc<Shared>>, Path(name): Path<String>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    match shared.gate.access(&parts) {
        Access::Public(denial) => refuse(denial),
        Access::Admin(_) if !shared.targets.contains_key(&name) => no_bot(),
        Access::Admin(_) => show(&shared, &name, "", None, None, StatusCode::OK),
    }
}

/// `POST`: a form with `phone`; gets the code from WhatsApp.
pub async fn get(State(shared): State<Arc<Shared>>, Path(name): Path<String>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    match shared.gate.access(&parts) {
        Access::Public(denial) => return refuse(denial),
        Access::Admin(Proof::Bearer) => {}
        Access::Admin(Proof::Cookie | Proof::ThisMachine) if same_origin(&parts) => {}
        Access::Admin(_) => return foreign_origin(),
    }
    let form: Result<Form<Number>, FormRejection> =
        Form::from_request(Request::from_parts(parts, body), &()).await;
    let Form(Number { phone }) = match form {
        Ok(form) => form,
        Err(problem) => return problem.into_response(),
    };
    let (true, Some(handle)) = (shared.targets.contains_key(&name), shared.handles.get(&name)) else {
        return no_bot();
    };
    let phone = phone.trim();
    let Some(digits) = ChatAddress::digits_of(phone).filter(|_| phone.len() <= 64) else {
        let problem = "Write the number with its country code, for example +49 151 12345678.";
        return show(&shared, &name, phone, None, Some(problem), StatusCode::UNPROCESSABLE_ENTITY);
    };
    let state = shared.snapshot.borrow().bots.get(&name).map(|bot| (bot.role(), bot.state));
    let call = Call::PairingCode { phone: digits };
    let reply = match state {
        Some((Role::Standby, _)) => handle.call_holder(call).await,
        Some((_, LinkState::Pairing)) => handle.calls.make(call).await,
        _ => Err(Refusal::NotPairing),
    };
    match reply {
        Ok(answer) => {
            let code = answer["code"].as_str().unwrap_or_default();
            let halves = code.split_at_checked(4).unwrap_or((code, ""));
            show(&shared, &name, phone, Some(halves), None, StatusCode::OK)
        }
        Err(refusal) => {
            let problem = match &refusal {
                Refusal::NotPairing => "The bot does not wait to be linked now.".to_owned(),
                Refusal::Refused(_) => {
                    "WhatsApp gives no code for this number now. Is it right? After several codes it lets \
                     nobody ask for a while; the QR still works."
                        .to_owned()
                }
                other => format!("There is no code: {other}."),
            };
            show(&shared, &name, phone, None, Some(&problem), StatusCode::CONFLICT)
        }
    }
}

fn no_bot() -> Response {
    (StatusCode::NOT_FOUND, "There is no enabled native bot of this name; /status lists the bots.\n")
        .into_response()
}

fn show(
    shared: &Shared,
    bot: &str,
    phone: &str,
    code: Option<(&str, &str)>,
    problem: Option<&str>,
    status: StatusCode,
) -> Response {
    let page = CodePage { style: page::STYLE, base: &shared.paths.base, bot, phone, code, problem };
    (status, [(header::CACHE_CONTROL, "no-store")], Html(page::rendered(&page))).into_response()
}
