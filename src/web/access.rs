//! Who may see the QR and use the actions.
//!
//! With an admin token set: whoever shows it, as `Authorization: Bearer` or as the cookie that
//! `login` gave. Without one: only a browser on this very machine, see [`from_this_machine`].

use std::net::{IpAddr, SocketAddr};

use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use super::limit::Limiter;
use crate::config::Secret;
use crate::runtime::clock;

/// Name of the cookie of a signed-in browser.
pub const COOKIE: &str = "blacksky";
/// How long a browser stays signed in.
pub const COOKIE_DAYS: i64 = 30;

/// The other end of the connection, put into the request by the accept loop.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// What a request may see and do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everything.
    Admin(Proof),
    /// All but the QR and the actions.
    Public(Denial),
}

/// How an admin is known to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The request comes from this machine and no token is set.
    ThisMachine,
    /// The cookie that `login` gave.
    Cookie,
    /// The token itself. No browser adds it by itself, so no foreign page can use it.
    Bearer,
}

/// Why a request is not an admin's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// No token is set and the request may come from elsewhere.
    NoTokenSet,
    /// A token is set and the request shows none.
    TokenNeeded,
    /// The token is wrong.
    WrongToken,
    /// Too many wrong tokens; seconds to wait.
    TooManyTries(u64),
}

impl Access {
    /// Whether the QR and the actions are shown.
    pub fn is_admin(self) -> bool {
        matches!(self, Self::Admin(_))
    }
}

/// The rules and what they need.
#[derive(Debug)]
pub struct Gate {
    token: Option<Secret>,
    dyno: bool,
    limiter: Limiter,
}

impl Gate {
    /// A gate; a blank token counts as none.
    pub fn new(token: Option<Secret>, dyno: bool) -> Self {
        let token = token.filter(|token| !token.expose().trim().is_empty());
        Self { token, dyno, limiter: Limiter::default() }
    }

    /// Decides about one request.
    pub fn access(&self, parts: &Parts) -> Access {
        let peer = parts.extensions.get::<Peer>().map(|peer| peer.0);
        let Some(token) = &self.token else {
            return match peer {
                Some(peer) if !self.dyno && from_this_machine(peer, parts) => {
                    Access::Admin(Proof::ThisMachine)
                }
                _ => Access::Public(Denial::NoTokenSet),
            };
        };
        if let Some(given) = bearer(&parts.headers) {
            return match self.try_token(given, parts) {
                Ok(()) => Access::Admin(Proof::Bearer),
                Err(denial) => Access::Public(denial),
            };
        }
        if cookies(&parts.headers).any(|value| cookie_is_good(token, value, clock::now())) {
            return Access::Admin(Proof::Cookie);
        }
        Access::Public(Denial::TokenNeeded)
    }

    /// Compares a token, slowing down whoever guesses.
    pub fn try_token(&self, given: &str, parts: &Parts) -> Result<(), Denial> {
        let Some(token) = &self.token else { return Err(Denial::NoTokenSet) };
        let client = self.client(parts);
        let now = Instant::now();
        if let Err(wait) = self.limiter.check(client, now) {
            return Err(Denial::TooManyTries(wait.as_secs() + 1));
        }
        if same(token.expose(), given) {
            return Ok(());
        }
        self.limiter.failed(client, now);
        Err(Denial::WrongToken)
    }

    /// The request shows the admin token itself. For keeping it from others, not for letting somebody in.
    pub fn is_token(&self, headers: &HeaderMap) -> bool {
        let given = headers.get_all(header::AUTHORIZATION);
        self.token
            .as_ref()
            .is_some_and(|token| given.iter().filter_map(bearer_of).any(|given| same(token.expose(), given)))
    }

    /// Requests come through Heroku's router.
    pub fn is_routed(&self) -> bool {
        self.dyno
    }

    /// A fresh value of the cookie; `None` without a token.
    pub fn cookie(&self, now: DateTime<Utc>) -> Option<String> {
        let token = self.token.as_ref()?;
        let expiry = (now + TimeDelta::days(COOKIE_DAYS)).timestamp();
        Some(format!("{expiry}.{}", cookie_mac(token, expiry)))
    }

    /// Who asks, for counting wrong tokens. Heroku's router appends the true address last.
    fn client(&self, parts: &Parts) -> IpAddr {
        let peer = parts.extensions.get::<Peer>().map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0.ip());
        if !self.dyno {
            return peer;
        }
        parts
            .headers
            .get_all("x-forwarded-for")
            .iter()
            .next_back()
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.rsplit(',').next())
            .and_then(|value| value.trim().parse().ok())
            .unwrap_or(peer)
    }
}

/// Whether nothing but a program of this machine can have sent the request: the peer is loopback, no
/// proxy left its mark, and the name asked for is this machine's (a page elsewhere may point its own
/// name at 127.0.0.1, so the address alone proves nothing).
fn from_this_machine(peer: SocketAddr, parts: &Parts) -> bool {
    let proxied = parts.headers.keys().any(|name| {
        let name = name.as_str();
        name == "forwarded" || name == "via" || name.starts_with("x-forwarded-")
    });
    peer.ip().to_canonical().is_loopback() && !proxied && host(parts).is_some_and(|host| is_local(&host))
}

fn is_local(authority: &Authority) -> bool {
    // `host()` drops the port; userinfo in front is not a host a browser sends.
    !authority.as_str().contains('@')
        && matches!(authority.host().to_ascii_lowercase().as_str(), "localhost" | "127.0.0.1" | "[::1]")
}

/// The authority the client asked for: exactly one Host header, and a full URI must agree with it.
fn host(parts: &Parts) -> Option<Authority> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return None };
    let host: Authority = host.to_str().ok()?.parse().ok()?;
    match parts.uri.authority() {
        Some(other) if *other != host => None,
        _ => Some(host),
    }
}

/// Whether the request was made by our own page: Origin names the host that was asked. Programs that
/// show the token itself need no Origin.
pub fn same_origin(parts: &Parts) -> bool {
    let mut origins = parts.headers.get_all(header::ORIGIN).iter();
    let (Some(origin), None) = (origins.next(), origins.next()) else { return false };
    let Some(host) = host(parts) else { return false };
    let origin = origin.to_str().unwrap_or_default();
    let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host.as_str()))
}

/// Whether the browser's own connection is https.
pub fn over_https(headers: &HeaderMap) -> bool {
    headers.get_all("x-forwarded-proto").iter().any(|value| {
        value.to_str().is_ok_and(|value| value.split(',').any(|one| one.trim().eq_ignore_ascii_case("https")))
    })
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    bearer_of(headers.get(header::AUTHORIZATION)?)
}

fn bearer_of(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value)
}

fn cookie_is_good(token: &Secret, value: &str, now: DateTime<Utc>) -> bool {
    let Some((expiry, mac)) = value.split_once('.') else { return false };
    let Ok(expiry) = expiry.parse::<i64>() else { return false };
    same(&cookie_mac(token, expiry), mac) && now.timestamp() < expiry
}

/// Derived from the token, so it outlives a restart and ends when the token changes.
fn cookie_mac(token: &Secret, expiry: i64) -> String {
    let mut mac = [0; 32];
    Hkdf::<Sha256>::new(Some(b"blacksky web cookie v1"), token.expose().as_bytes())
        .expand(&expiry.to_be_bytes(), &mut mac)
        .expect("32 bytes are within HKDF's 255 blocks");
    BASE64_URL_SAFE_NO_PAD.encode(mac)
}

/// Constant-time equality; the digests hide the lengths too.
fn same(a: &str, b: &str) -> bool {
    Sha256::digest(a).ct_eq(&Sha256::digest(b)).into()
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
