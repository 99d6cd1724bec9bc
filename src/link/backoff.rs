//! The wait before the next dial.

use std::time::Duration;

use rand::{Rng, RngExt};

use crate::config::Backoff;

/// The wait after `failures` failed attempts (0 for the first wait).
///
/// `initial · factor^failures`, capped at `max`; a share `jitter` of it is random. So the result lies in
/// `[(1 - jitter) · full, full]`: never above `max`, never below `initial · (1 - jitter)`.
pub fn delay(config: &Backoff, failures: u32, rng: &mut (impl Rng + ?Sized)) -> Duration {
    let full = ceiling(config, failures);
    let random = full.mul_f64(config.jitter.clamp(0.0, 1.0));
    let floor = full.saturating_sub(random);
    floor + random.mul_f64(rng.random::<f64>())
}

/// The wait without jitter.
fn ceiling(config: &Backoff, failures: u32) -> Duration {
    let initial = config.initial.get().as_secs_f64();
    let max = config.max.get();
    let exponent = i32::try_from(failures).unwrap_or(i32::MAX);
    let seconds = initial * config.factor.max(1.0).powi(exponent);
    // An infinite or absurd product is beyond any cap.
    Duration::try_from_secs_f64(seconds).map_or(max, |full| full.min(max))
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::config::Period;

    /// The documented defaults.
    pub(crate) fn defaults() -> Backoff {
        Backoff {
            initial: Period(Duration::from_secs(2)),
            factor: 2.0,
            max: Period(Duration::from_secs(300)),
            jitter: 0.5,
            reset_after: Period(Duration::from_secs(30)),
        }
    }

    #[test]
    fn doubles_up_to_the_cap_without_jitter() {
        let config = Backoff { jitter: 0.0, ..defaults() };
        let mut rng = StdRng::seed_from_u64(1);
        let waits: Vec<u64> = (0..10).map(|n| delay(&config, n, &mut rng).as_secs()).collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }

    proptest! {
        #[test]
        fn stays_between_floor_and_cap(
            seed: u64,
            failures: u32,
            initial_ms in 1u64..60_000,
            more_ms in 0u64..3_600_000,
            factor in 1.0f64..10.0,
            jitter in 0.0f64..=1.0,
        ) {
            let initial = Duration::from_millis(initial_ms);
            let max = Duration::from_millis(initial_ms + more_ms);
            let config = Backoff { initial: Period(initial), factor, max: Period(max), jitter, ..defaults() };
            let wait = delay(&config, failures, &mut StdRng::seed_from_u64(seed));
            prop_assert!(wait <= max, "{wait:?} is above the cap {max:?}");
            let floor = initial.mul_f64(1.0 - jitter);
            // Rounding of mul_f64 may cost a few nanoseconds.
            prop_assert!(wait + Duration::from_micros(1) >= floor, "{wait:?} is below {floor:?}");
        }

        #[test]
        fn never_shrinks_without_jitter(failures in 0u32..100) {
            let config = Backoff { jitter: 0.0, ..defaults() };
            let mut rng = StdRng::seed_from_u64(0);
            prop_assert!(delay(&config, failures + 1, &mut rng) >= delay(&config, failures, &mut rng));
        }
    }
}
