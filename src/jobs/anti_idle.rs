//! Pings targets so that an Eco web dyno does not fall asleep, and remembers how each ping went.

use std::time::Duration;

use rand::{Rng, RngExt as _};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::config::{Config, Target};
use crate::link::tls;
use crate::runtime::clock;
use crate::runtime::status::{AntiIdleStatus, Board, Ping, TargetStatus};
use crate::web::OwnAddress;

/// For one ping: Heroku's router gives up after 30 s.
const DEADLINE: Duration = Duration::from_secs(30);
/// The first ping is due soon after the boot, when the page is up.
const FIRST: Duration = Duration::from_secs(20);
/// A target whose address is not known yet is looked at again after this.
const UNKNOWN: Duration = Duration::from_secs(60);

/// The share by which a wait may differ from the interval.
const JITTER: f64 = 0.1;

/// Pings until `stop`; ends at once when anti-idle is off.
pub async fn run(config: Config, own: OwnAddress, board: Board, stop: CancellationToken) {
    if !config.anti_idle.is_active(&config.heroku, config.platform.dyno.is_some()) {
        return stop.cancelled().await;
    }
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls::config().as_ref().clone())
        .timeout(DEADLINE)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("blacksky/", env!("CARGO_PKG_VERSION")))
        .build();
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(%error, "the HTTP client of anti-idle cannot be set up");
            return stop.cancelled().await;
        }
    };
    let targets = config.anti_idle.targets.iter();
    let targets = targets.map(|target| TargetStatus { target: target.name(), ..TargetStatus::default() });
    let status = AntiIdleStatus { targets: targets.collect() };
    board.update(|snapshot| snapshot.anti_idle = Some(status));
    let pings = config.anti_idle.targets.iter().enumerate().map(|(place, target)| {
        let pinger = Pinger { place, target, own: &own, client: &client, board: &board };
        pinger.keep(config.anti_idle.interval.get())
    });
    tokio::select! {
        () = stop.cancelled() => {}
        _ = futures_util::future::join_all(pings) => {}
    }
}

struct Pinger<'a> {
    place: usize,
    target: &'a Target,
    own: &'a OwnAddress,
    client: &'a reqwest::Client,
    board: &'a Board,
}

impl Pinger<'_> {
    async fn keep(self, interval: Duration) {
        let mut next = Instant::now() + FIRST.min(interval);
        loop {
            self.note(|status| status.next_at = Some(at(next)));
            sleep_until(next).await;
            let Some(url) = self.url() else {
                self.note(|status| {
                    let problem = "the app's own address is not known yet: it is learned from the first request, \
                                   or set HEROKU_APP_URL";
                    status.last = Some(Ping { at: clock::now(), status: None, problem: Some(problem.to_owned()) });
                });
                next = Instant::now() + UNKNOWN.min(interval);
                continue;
            };
            let outcome = self.client.get(url).send().await;
            let ping = match outcome {
                Ok(answer) => {
                    Ping { at: clock::now(), status: Some(answer.status().as_u16()), problem: None }
                }
                Err(error) => {
                    let problem = if error.is_timeout() {
                        format!("no answer within {} s", DEADLINE.as_secs())
                    } else if error.is_connect() {
                        "nothing listens there, or its name or certificate is wrong".to_owned()
                    } else {
                        error.without_url().to_string()
                    };
                    Ping { at: clock::now(), status: None, problem: Some(problem) }
                }
            };
            self.told(&ping);
            next = Instant::now() + jittered(interval, &mut rand::rng());
            self.note(|status| status.count(ping));
        }
    }

    /// Where the target is; the own app by a path that costs nothing and that is never a bot's.
    fn url(&self) -> Option<Url> {
        match self.target {
            Target::Own => self.own.get()?.join("/healthz").ok(),
            Target::Other(url) => Some(url.clone()),
        }
    }

    /// A failure is said once.
    fn told(&self, ping: &Ping) {
        let snapshot = self.board.subscribe();
        let snapshot = snapshot.borrow();
        let before = snapshot.anti_idle.as_ref().and_then(|all| all.targets.get(self.place)?.last.as_ref());
        let target = self.target.name();
        match (&ping.problem, before.is_some_and(|last| last.problem.is_some())) {
            (Some(problem), false) => tracing::warn!(target = %target, "anti-idle: {problem}"),
            (None, true) => tracing::info!(target = %target, status = ping.status, "anti-idle: it answers"),
            _ => {}
        }
    }

    fn note(&self, change: impl FnOnce(&mut TargetStatus)) {
        self.board.update(|snapshot| {
            if let Some(status) = snapshot.anti_idle.as_mut().and_then(|all| all.targets.get_mut(self.place))
            {
                change(status);
            }
        });
    }
}

fn jittered(interval: Duration, rng: &mut (impl Rng + ?Sized)) -> Duration {
    interval.mul_f64(1.0 + rng.random_range(-JITTER..=JITTER))
}

fn at(instant: Instant) -> chrono::DateTime<chrono::Utc> {
    let wait = instant.saturating_duration_since(Instant::now());
    clock::now() + chrono::TimeDelta::from_std(wait).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_interval_with_its_jitter_is_below_the_half_hour_of_heroku() {
        let longest = Duration::from_millis(1_500_000);
        let mut rng = rand::rng();
        for _ in 0..1000 {
            let wait = jittered(longest, &mut rng);
            assert!(wait < Duration::from_secs(29 * 60) && wait >= longest.mul_f64(0.9), "{wait:?}");
        }
    }
}
