//! Gives every request an id, which its answer and its log lines carry, and measures it.

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;
use tracing::Instrument;

use crate::measure::{self, OTHER};

/// Heroku's router sends its own, which is in its log lines too.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The route of what a hosted bot answers.
pub const OF_BOT: &str = "(bot)";
/// The route of what nobody answers.
const NONE: &str = "(none)";

/// Put into an answer whose route is no path of ours.
#[derive(Debug, Clone, Copy)]
pub struct Route(pub &'static str);

/// Around everything that is answered. An id that a hosted bot puts into its answer stays.
pub async fn follow(mut request: Request, next: Next) -> Response {
    let id = id_of(request.headers());
    // A hosted bot gets the same.
    request.headers_mut().insert(REQUEST_ID, id.clone());
    // Below a nested router a path that nobody has matches a name of axum's own.
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .filter(|path| !path.as_str().contains("__private"))
        .cloned();
    let method = method_of(request.method());
    // At the highest level, so that no `log.level` takes the id out of the lines.
    let span = tracing::error_span!("request", request_id = id.to_str().unwrap_or_default());
    let began = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let took = began.elapsed();
    let named = response.extensions().get::<Route>().map(|route| route.0);
    let route = path.as_ref().map_or(named.unwrap_or(NONE), MatchedPath::as_str);
    let status = response.status().as_u16();
    span.in_scope(|| tracing::debug!(method, route, status, ms = took.as_millis(), "answered"));
    measure::answered(route, method, status, took);
    response.headers_mut().entry(REQUEST_ID).or_insert(id);
    response
}

/// The id that came with the request, when it is one: 20 to 200 letters, digits and dashes. Else a new one.
fn id_of(headers: &HeaderMap) -> HeaderValue {
    let mut given = headers.get_all(REQUEST_ID).iter();
    if let (Some(given), None) = (given.next(), given.next())
        && (20..=200).contains(&given.len())
        && given.as_bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
    {
        return given.clone();
    }
    // In the form of Heroku's, a UUID of version 4.
    let random = rand::random::<u128>() & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{random:032x}");
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    HeaderValue::try_from(parts.join("-")).unwrap_or_else(|_| HeaderValue::from_static("00000000-0000"))
}

/// A client may make up methods.
fn method_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(values: &[&str]) -> String {
        let values = values.iter().map(|value| (REQUEST_ID, value.parse().expect("a value")));
        id_of(&values.collect()).to_str().expect("text").to_owned()
    }

    #[test]
    fn a_well_formed_id_is_kept_and_another_is_replaced() {
        let heroku = "30f14c6c-1fc4-4b8e-8e09-2a1ff3f8a1c5";
        assert_eq!(id(&[heroku]), heroku);
        let (long, too_long) = ("a".repeat(200), "a".repeat(201));
        assert_eq!(id(&[&long]), long);
        for bad in ["", "short", "a b c d e f g h i j k l m", "<script>alert(1)</script>", &too_long] {
            let new = id(&[bad]);
            assert_ne!(new, bad);
            assert_eq!((new.len(), &new[14..15]), (36, "4"), "{new}");
            assert!(["8", "9", "a", "b"].contains(&&new[19..20]), "{new}");
        }
        assert_ne!(id(&[heroku, "another-one-of-20-letters"]), heroku, "two are none");
        assert_ne!(id(&[]), id(&[]));
    }
}
