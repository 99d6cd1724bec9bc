//! When a hosted bot may dial. Pure: bots dial when they like, some of them without any delay.

use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

use crate::config::Backoff;
use crate::link::backoff;
use crate::link::policy::RATE_LIMIT_STEPS;

/// Another client uses the session: the wait before it is challenged again. Baileys calls it 440.
const CONFLICT: Duration = Duration::from_secs(30);
/// Conflicts within this time make the wait longer.
const CONFLICT_WINDOW: Duration = Duration::from_secs(600);
/// WhatsApp refuses the client's version or the account: dialling again soon changes nothing.
const REFUSED: Duration = Duration::from_secs(300);

/// How a connection, or a dial, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was there and ended.
    Connection,
    /// It was not made.
    Dial,
    /// WhatsApp asked to slow down (HTTP 429).
    RateLimited,
}

/// Spaces the dials of one bot.
#[derive(Debug)]
pub struct Pacing {
    config: Backoff,
    failures: u32,
    /// Since when WhatsApp has taken the present connection for good, as far as that is known.
    open_since: Option<Instant>,
    not_before: Option<Instant>,
    /// The last end was counted as a failure, so that a report that comes later can take that back.
    counted: bool,
    /// The end that is to come belongs to pairing.
    free: bool,
    conflicts: Vec<Instant>,
}

impl Pacing {
    pub fn new(config: Backoff) -> Self {
        Self {
            config,
            failures: 0,
            open_since: None,
            not_before: None,
            counted: false,
            free: false,
            conflicts: Vec::new(),
        }
    }

    /// How long the next dial has to wait.
    pub fn wait(&self, now: Instant) -> Duration {
        self.not_before.map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }

    /// A dial goes on.
    pub fn began(&mut self) {
        (self.counted, self.free) = (false, false);
    }

    /// WhatsApp let the bot in.
    pub fn opened(&mut self, now: Instant) {
        self.open_since.get_or_insert(now);
    }

    /// A connection or a dial ended.
    pub fn ended(&mut self, now: Instant, how: Ended, rng: &mut (impl Rng + ?Sized)) {
        if self.open_since.take().is_some_and(|since| now >= since + self.config.reset_after.get()) {
            self.failures = 0;
        }
        if std::mem::take(&mut self.free) {
            return;
        }
        if how == Ended::RateLimited {
            self.failures = self.failures.saturating_add(RATE_LIMIT_STEPS);
        }
        self.not_later(now + backoff::delay(&self.config, self.failures, rng));
        self.failures = self.failures.saturating_add(1);
        self.counted = true;
    }

    /// The bot said with which code its link ended: a little before or after the connection did.
    pub fn closed(&mut self, now: Instant, code: u16) {
        match code {
            // The restart that belongs to pairing.
            515 => {
                if std::mem::take(&mut self.counted) {
                    self.failures = self.failures.saturating_sub(1);
                } else {
                    self.free = true;
                }
                self.not_before = None;
            }
            440 => {
                self.conflicts.retain(|at| *at + CONFLICT_WINDOW > now);
                self.conflicts.push(now);
                let times = u32::try_from(self.conflicts.len()).unwrap_or(u32::MAX).min(8);
                let wait = CONFLICT * 2_u32.saturating_pow(times - 1);
                self.not_later(now + wait.min(self.config.max.get().max(CONFLICT)));
            }
            403 | 405 | 406 => self.not_later(now + REFUSED),
            _ => {}
        }
    }

    /// A person wants the bot to dial now.
    pub fn at_once(&mut self) {
        self.not_before = None;
    }

    /// The later of the two counts.
    fn not_later(&mut self, at: Instant) {
        self.not_before = Some(self.not_before.map_or(at, |before| before.max(at)));
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::link::backoff::tests::defaults;

    struct Scene(Pacing, StdRng);

    impl Scene {
        fn new() -> Self {
            Self(Pacing::new(defaults()), StdRng::seed_from_u64(1))
        }

        fn ended(&mut self, now: Instant, how: Ended) -> Duration {
            self.0.ended(now, how, &mut self.1);
            self.0.wait(now)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_bot_that_dials_in_a_loop_is_slowed_down_to_the_longest_wait() {
        let (mut scene, mut now, start) = (Scene::new(), Instant::now(), Instant::now());
        let mut dials = 0;
        while now < start + Duration::from_secs(600) {
            dials += 1;
            now += Duration::from_millis(50);
            now += scene.ended(now, Ended::Connection);
        }
        assert!((7..=12).contains(&dials), "{dials} dials in ten minutes");
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_link_that_was_open_for_long_resets_the_wait() {
        let (mut scene, now) = (Scene::new(), Instant::now());
        for _ in 0..6 {
            scene.ended(now, Ended::Dial);
        }
        let later = now + Duration::from_secs(1000);
        scene.0.opened(later);
        assert!(scene.ended(later + Duration::from_secs(5), Ended::Connection) > Duration::from_secs(30));
        let later = later + Duration::from_secs(1000);
        scene.0.opened(later);
        assert!(scene.ended(later + Duration::from_secs(30), Ended::Connection) <= Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn the_restart_after_pairing_is_free_whoever_speaks_first() {
        let (mut scene, now) = (Scene::new(), Instant::now());
        assert!(!scene.ended(now, Ended::Connection).is_zero());
        scene.0.closed(now, 515);
        assert_eq!(scene.0.wait(now), Duration::ZERO);
        assert_eq!(scene.0.failures, 0);
        scene.0.began();
        // The bot is quicker than the socket.
        scene.0.closed(now, 515);
        assert_eq!(scene.ended(now, Ended::Connection), Duration::ZERO);
        assert_eq!(scene.0.failures, 0);
        // Once: the next end counts again.
        scene.0.began();
        assert!(!scene.ended(now, Ended::Connection).is_zero());
        assert_eq!(scene.0.failures, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_conflict_is_not_answered_at_once_and_each_further_one_later() {
        let (mut scene, mut now) = (Scene::new(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..3 {
            scene.0.closed(now, 440);
            scene.ended(now, Ended::Connection);
            waits.push(scene.0.wait(now).as_secs());
            now += scene.0.wait(now);
        }
        assert_eq!(waits, [30, 60, 120]);
        assert!(scene.0.wait(now).is_zero());
        scene.0.closed(now, 405);
        assert_eq!(scene.0.wait(now), REFUSED);
        scene.0.at_once();
        assert_eq!(scene.0.wait(now), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn being_told_to_slow_down_counts_for_several_failures() {
        let (mut scene, now) = (Scene::new(), Instant::now());
        assert!(scene.ended(now, Ended::RateLimited) >= Duration::from_secs(16));
    }
}
