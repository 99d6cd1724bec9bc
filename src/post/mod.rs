//! What alerts and the webhooks of bots share when they post to somebody's URL.

mod sign;

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::HeaderMap;

pub use sign::signature;

use crate::link::tls;

/// What we call ourselves.
pub const USER_AGENT: &str = concat!("blacksky/", env!("CARGO_PKG_VERSION"));

/// A client that waits this long for a whole answer and follows no redirect.
pub fn client(deadline: Duration) -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls::config().as_ref().clone())
        .timeout(deadline)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(USER_AGENT)
        .build()
}

/// Why there was no answer, without the address.
pub fn unreached(error: reqwest::Error, deadline: Duration) -> String {
    let error = error.without_url();
    if error.is_timeout() {
        format!("no answer within {} s", deadline.as_secs())
    } else if error.is_connect() {
        "nothing listens there, or its name or certificate is wrong".to_owned()
    } else {
        error.to_string()
    }
}

/// The wait that `Retry-After` asks for, in seconds or as a date.
pub fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let value = headers.get("retry-after")?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTime::parse_from_rfc2822(value).ok()?;
    Some((at.with_timezone(&Utc) - now).to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = DateTime::from_timestamp(784_111_767, 0).expect("a time");
        let asked = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", value.parse().expect("a value"));
            retry_after(&headers, now)
        };
        assert_eq!(asked("120"), Some(Duration::from_secs(120)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(10)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(asked("-1"), None);
        assert_eq!(asked("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
