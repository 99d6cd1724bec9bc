//! Signing in with the admin token, and out again.

use std::sync::Arc;

use axum::extract::{Form, FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;

use super::access::{Access, COOKIE, COOKIE_DAYS, Denial, over_https, same_origin};
use super::paths::Paths;
use super::router::{Shared, refuse, to_page};
use crate::runtime::clock;

#[derive(Deserialize)]
struct Token {
    token: String,
}

/// `POST /login`: a form with `token`.
pub async fn login(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if !same_origin(&parts) {
        return foreign_origin();
    }
    let request = Request::from_parts(parts.clone(), body);
    let Form(form) = match Form::<Token>::from_request(request, &()).await {
        Ok(form) => form,
        Err(problem) => return problem.into_response(),
    };
    match shared.gate.try_token(form.token.trim(), &parts) {
        Ok(()) => {
            let value = shared.gate.cookie(clock::now()).unwrap_or_default();
            signed(&shared.paths, &parts.headers, &value, COOKIE_DAYS * 24 * 60 * 60)
        }
        Err(Denial::NoTokenSet) => refuse(Denial::NoTokenSet),
        Err(denial) => {
            let page = shared.page(Access::Public(denial));
            let status = match denial {
                Denial::TooManyTries(_) => StatusCode::TOO_MANY_REQUESTS,
                _ => StatusCode::FORBIDDEN,
            };
            (status, retry_after(denial), Html(page)).into_response()
        }
    }
}

/// `POST /logout`.
pub async fn logout(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    if !same_origin(&parts) {
        return foreign_origin();
    }
    signed(&shared.paths, &parts.headers, "", 0)
}

/// The header that says when a next try makes sense.
pub fn retry_after(denial: Denial) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Denial::TooManyTries(seconds) = denial {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    headers
}

/// The answer to a request that another site's page made.
pub fn foreign_origin() -> Response {
    let text = "Refused: the request does not come from this page (its Origin header is missing or names \
                another site). Programs send `Authorization: Bearer` with the admin token instead.\n";
    (StatusCode::FORBIDDEN, text).into_response()
}

fn signed(paths: &Paths, headers: &HeaderMap, value: &str, max_age: i64) -> Response {
    let secure = if over_https(headers) { "; Secure" } else { "" };
    let base = &paths.base;
    let cookie =
        format!("{COOKIE}={value}; Path={base}; HttpOnly; SameSite=Strict; Max-Age={max_age}{secure}");
    ([(header::SET_COOKIE, cookie)], to_page(paths)).into_response()
}
