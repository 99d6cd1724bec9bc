//! Slows down guessing of the admin token.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Wrong tokens one client may send in a [`WINDOW`].
pub const PER_CLIENT: u32 = 5;
/// Wrong tokens all clients together may send in a [`WINDOW`]; bounds the memory too.
pub const IN_ALL: u32 = 100;
/// How long a wrong token counts.
pub const WINDOW: Duration = Duration::from_secs(60);

/// Counts wrong tokens by client. Signed-in browsers carry a cookie and are not affected.
#[derive(Debug, Default)]
pub struct Limiter(Mutex<Failures>);

#[derive(Debug, Default)]
struct Failures {
    window_began: Option<Instant>,
    in_all: u32,
    by_client: HashMap<IpAddr, u32>,
}

impl Limiter {
    /// Whether this client may try a token now; else how long it has to wait.
    pub fn check(&self, client: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures.roll(now);
        let own = failures.by_client.get(&network(client)).copied().unwrap_or(0);
        if own < PER_CLIENT && failures.in_all < IN_ALL {
            return Ok(());
        }
        let began = failures.window_began.unwrap_or(now);
        Err((began + WINDOW).saturating_duration_since(now))
    }

    /// Notes a wrong token.
    pub fn failed(&self, client: IpAddr, now: Instant) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures.roll(now);
        failures.window_began.get_or_insert(now);
        failures.in_all = failures.in_all.saturating_add(1);
        // Never more than IN_ALL entries: `check` refuses everybody from then on.
        *failures.by_client.entry(network(client)).or_default() += 1;
    }
}

impl Failures {
    fn roll(&mut self, now: Instant) {
        if self.window_began.is_some_and(|began| now.saturating_duration_since(began) >= WINDOW) {
            *self = Self::default();
        }
    }
}

/// An IPv6 client owns a whole /64.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(six) => {
            let [a, b, c, d, ..] = six.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        four => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_stopped_alone_and_let_in_again_after_the_window() {
        let limiter = Limiter::default();
        for _ in 0..PER_CLIENT {
            limiter.check(ip("192.0.2.1"), Instant::now()).unwrap();
            limiter.failed(ip("192.0.2.1"), Instant::now());
        }
        let wait = limiter.check(ip("192.0.2.1"), Instant::now()).unwrap_err();
        assert_eq!(wait, WINDOW);
        limiter.check(ip("192.0.2.2"), Instant::now()).unwrap();

        tokio::time::advance(WINDOW).await;
        limiter.check(ip("192.0.2.1"), Instant::now()).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn one_ipv6_network_is_one_client() {
        let limiter = Limiter::default();
        for last in 0..PER_CLIENT {
            limiter.failed(ip(&format!("2001:db8::{last}")), Instant::now());
        }
        limiter.check(ip("2001:db8::ffff"), Instant::now()).unwrap_err();
        limiter.check(ip("2001:db8:0:1::1"), Instant::now()).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn many_clients_together_are_stopped_and_memory_stays_bounded() {
        let limiter = Limiter::default();
        for n in 0..1000_u32 {
            let client = IpAddr::from(n.to_be_bytes());
            if limiter.check(client, Instant::now()).is_ok() {
                limiter.failed(client, Instant::now());
            }
        }
        assert_eq!(limiter.0.lock().unwrap().by_client.len(), IN_ALL as usize);
        limiter.check(ip("198.51.100.1"), Instant::now()).unwrap_err();
    }
}
