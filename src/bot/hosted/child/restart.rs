//! When a bot that ended is started again. Apart from the back-off of its link.

use std::time::Duration;

use rand::Rng;

use crate::config::{Backoff, Period};
use crate::link::backoff;

/// A run this short is a crash.
const CRASH: Duration = Duration::from_secs(10);
/// Crashes in a row that end in no more starts.
const CRASHES: u32 = 5;
/// A run this long is sound: the next wait is the first again.
const SOUND: Duration = Duration::from_secs(60);
/// The waits between two starts.
const WAITS: Backoff = Backoff {
    initial: Period(Duration::from_secs(1)),
    factor: 2.0,
    max: Period(Duration::from_secs(60)),
    jitter: 0.2,
    reset_after: Period(SOUND),
};

/// What follows the end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    After(Duration),
    /// It ends at once, again and again.
    Park,
}

/// Remembers how the last runs went.
#[derive(Debug, Default)]
pub struct Restarts {
    failures: u32,
    crashes: u32,
}

impl Restarts {
    /// A run ended by itself after `ran_for`. One that `dialled` did start: it ended for the sake of its link,
    /// as bots do that leave reconnecting to their supervisor, and is never parked.
    pub fn after(&mut self, ran_for: Duration, dialled: bool, rng: &mut (impl Rng + ?Sized)) -> Restart {
        if ran_for >= SOUND {
            self.failures = 0;
        }
        self.crashes = if ran_for < CRASH && !dialled { self.crashes + 1 } else { 0 };
        if self.crashes >= CRASHES {
            *self = Self::default();
            return Restart::Park;
        }
        let wait = backoff::delay(&WAITS, self.failures, rng);
        self.failures = self.failures.saturating_add(1);
        Restart::After(wait)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn waits(runs: &[(u64, bool)]) -> Vec<Option<u32>> {
        let (mut restarts, mut rng) = (Restarts::default(), StdRng::seed_from_u64(1));
        runs.iter()
            .map(|(seconds, dialled)| {
                match restarts.after(Duration::from_secs(*seconds), *dialled, &mut rng) {
                    // Without the jitter, which takes at most a fifth.
                    Restart::After(wait) => {
                        let seconds = wait.as_secs_f64();
                        [1, 2, 4, 8, 16, 32, 60].into_iter().find(|full| seconds <= f64::from(*full))
                    }
                    Restart::Park => None,
                }
            })
            .collect()
    }

    #[test]
    fn a_crash_loop_ends_and_begins_anew_when_asked() {
        let crash = (0, false);
        let seen = waits(&[crash; 10]);
        assert_eq!(
            seen,
            [Some(1), Some(2), Some(4), Some(8), None, Some(1), Some(2), Some(4), Some(8), None]
        );
    }

    #[test]
    fn a_sound_run_forgets_the_waits_and_a_middling_one_the_crashes() {
        assert_eq!(
            waits(&[(1, false), (1, false), (61, false), (1, false)]),
            [Some(1), Some(2), Some(1), Some(2)]
        );
        let seen =
            waits(&[(1, false), (1, false), (1, false), (1, false), (20, false), (1, false), (1, false)]);
        assert!(seen.iter().all(Option::is_some), "{seen:?}");
    }

    #[test]
    fn a_bot_that_leaves_reconnecting_to_its_supervisor_is_never_parked() {
        let seen = waits(&[(2, true); 100]);
        assert!(seen.iter().all(|wait| wait.is_some_and(|wait| wait <= 60)), "{seen:?}");
        assert!(seen[90].is_some_and(|wait| wait >= 48));
    }
}
