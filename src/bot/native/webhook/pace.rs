//! When a message that was not taken is posted again, and when it is given up. Pure.

use std::time::Duration;

use rand::{Rng, RngExt};

/// The first wait; each is twice the one before.
const INITIAL: Duration = Duration::from_millis(200);
/// The longest wait.
const MAX: Duration = Duration::from_secs(300);
/// The longest wait that a `Retry-After` is given.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);
/// A message is tried at least as often, however old it is.
const LEAST_ATTEMPTS: u64 = 6;

/// The wait before the next attempt, or `None` when this was the last. `attempts` includes the one that has
/// just failed.
pub fn next(
    attempts: u64,
    age: Duration,
    give_up: Duration,
    asked: Option<Duration>,
    rng: &mut (impl Rng + ?Sized),
) -> Option<Duration> {
    if attempts >= LEAST_ATTEMPTS && age >= give_up {
        return None;
    }
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(20);
    let wait = INITIAL.saturating_mul(1 << doublings).min(MAX);
    // Many chats that failed together do not come back together.
    let wait = wait.mul_f64(rng.random_range(0.5..=1.0));
    Some(wait.max(asked.unwrap_or_default().min(LONGEST_ASKED)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    proptest! {
        #[test]
        fn waits_grow_to_the_longest_and_obey_the_receiver(
            attempts in 1u64..1000, age in 0u64..86_399, asked in proptest::option::of(0u64..10_000), seed: u64,
        ) {
            let mut rng = StdRng::seed_from_u64(seed);
            let asked = asked.map(Duration::from_secs);
            let wait = next(attempts, Duration::from_secs(age), DAY, asked, &mut rng).expect("not yet");
            prop_assert!(wait >= INITIAL / 2);
            prop_assert!(wait >= asked.unwrap_or_default().min(LONGEST_ASKED));
            prop_assert!(wait <= MAX.max(asked.unwrap_or_default().min(LONGEST_ASKED)));
        }
    }

    #[test]
    fn given_up_only_when_old_and_tried_often() {
        let mut rng = StdRng::seed_from_u64(1);
        assert!(next(LEAST_ATTEMPTS - 1, DAY * 9, DAY, None, &mut rng).is_some());
        assert!(next(LEAST_ATTEMPTS, DAY - Duration::from_secs(1), DAY, None, &mut rng).is_some());
        assert!(next(LEAST_ATTEMPTS, DAY, DAY, None, &mut rng).is_none());
    }
}
