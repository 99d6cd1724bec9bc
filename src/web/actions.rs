//! "Reconnect now" and "Show a new QR".

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::access::{Access, Proof, same_origin};
use super::login::foreign_origin;
use super::router::{Shared, prefers_html, refuse, to_page};
use crate::bot::handle::Request as Ask;

/// `POST /bots/{name}/reconnect`.
pub async fn reconnect(shared: State<Arc<Shared>>, name: Path<String>, request: Request) -> Response {
    act(&shared, &name, request, Ask::ReconnectNow)
}

/// `POST /bots/{name}/qr`.
pub async fn new_qr(shared: State<Arc<Shared>>, name: Path<String>, request: Request) -> Response {
    act(&shared, &name, request, Ask::ShowNewQr)
}

fn act(shared: &Shared, name: &str, request: Request, ask: Ask) -> Response {
    let (parts, _) = request.into_parts();
    match shared.gate.access(&parts) {
        Access::Public(denial) => return refuse(denial),
        Access::Admin(Proof::Bearer) => {}
        Access::Admin(Proof::Cookie | Proof::ThisMachine) if same_origin(&parts) => {}
        Access::Admin(_) => return foreign_origin(),
    }
    let Some(handle) = shared.handles.get(name) else {
        return (StatusCode::NOT_FOUND, "There is no enabled bot of this name; /status lists them.\n")
            .into_response();
    };
    if !handle.ask(ask) {
        let text = "The bot is busy or ending and did not take the request; try again in a moment.\n";
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "2")], text).into_response();
    }
    done(&parts.headers)
}

/// A form of the page goes back to the page; a program, the page's script among them, gets 202.
fn done(headers: &HeaderMap) -> Response {
    if prefers_html(headers) {
        return to_page();
    }
    (StatusCode::ACCEPTED, "The bot took the request.\n").into_response()
}
