//! The sequence of faults of a seed: kinds, targets and moments come from it alone.

use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::fault::{Blow, Fault, Refusal, Road, Weather, Whose};

/// So many steps in a row of each hundred strike no dyno: one process lives through them, and its memory
/// can be watched.
const CALM: u32 = 35;
/// Steps between two conflicts: three within 10 minutes park the link until a person acts.
const BETWEEN_CONFLICTS: u32 = 200;

/// One fault and its moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Counts from 1.
    pub number: u32,
    /// Pause before it strikes.
    pub after: Duration,
    pub fault: Fault,
    /// Whether everything must be well again before the next one; otherwise they overlap.
    pub settles: bool,
}

/// The steps of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub seed: u64,
    pub steps: Vec<Step>,
}

impl Plan {
    /// The first `faults` steps of a seed; those of a shorter plan are the same.
    pub fn new(seed: u64, faults: u32, ttl: Duration) -> Self {
        let mut dice = Dice {
            rng: StdRng::seed_from_u64(seed),
            ttl: u64::try_from(ttl.as_millis()).expect("a sane ttl"),
            dynos: 1,
            conflict_at: 0,
        };
        let mut steps: Vec<Step> = (1..=faults).map(|number| dice.step(number)).collect();
        if let Some(last) = steps.last_mut() {
            last.settles = true;
        }
        Self { seed, steps }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let then = if self.settles { "" } else { " (the next one overlaps)" };
        write!(f, "{:4}  +{:3} ms  {}{then}", self.number, self.after.as_millis(), self.fault)
    }
}

struct Dice {
    rng: StdRng,
    ttl: u64,
    /// Dynos there will be when the next step strikes.
    dynos: u32,
    conflict_at: u32,
}

impl Dice {
    fn step(&mut self, number: u32) -> Step {
        let calm = number % 100 >= 100 - CALM;
        let after = Duration::from_millis(self.rng.random_range(0..300));
        let fault = loop {
            let fault = self.fault();
            let conflict = fault == Fault::Link(Blow::Replaced);
            let soon = conflict && number < self.conflict_at + BETWEEN_CONFLICTS;
            if soon || (calm && fault.strikes_dynos()) {
                continue;
            }
            if conflict {
                self.conflict_at = number;
            }
            break fault;
        };
        match fault {
            Fault::ScaleUp => self.dynos = 2,
            Fault::ScaleDown(_) => self.dynos = 1,
            _ => {}
        }
        // A conflict keeps the link down for half a minute, whatever comes next.
        let settles = fault == Fault::Link(Blow::Replaced) || self.rng.random_bool(0.75);
        Step { number, after, fault, settles }
    }

    fn fault(&mut self) -> Fault {
        match self.rng.random_range(0..100) {
            0..22 => self.link(),
            22..36 => self.refused(),
            36..48 => self.network(),
            48..60 => self.database(),
            _ => self.dyno(),
        }
    }

    fn link(&mut self) -> Fault {
        Fault::Link(match self.rng.random_range(0..16) {
            0..3 => Blow::Drop,
            3..6 => Blow::Reset,
            6..8 => Blow::Silence,
            8..10 => Blow::StreamEnd,
            10 => Blow::StreamError(500),
            11 => Blow::StreamError(503),
            12..14 => Blow::StreamError(515),
            14 => Blow::StreamError(429),
            _ => Blow::Replaced,
        })
    }

    fn refused(&mut self) -> Fault {
        let how = match self.rng.random_range(0..11) {
            0 => Refusal::Http(503),
            1 => Refusal::Http(429),
            2 => Refusal::DialReset,
            3 => Refusal::HelloDrop,
            4 => Refusal::HelloReset,
            5 => Refusal::Failure(500),
            6 => Refusal::Failure(503),
            7 => Refusal::LoginDrop,
            8 => Refusal::OpenDrop,
            9 => Refusal::OpenError(503),
            _ => Refusal::OpenError(515),
        };
        Fault::Refused { how, times: self.rng.random_range(1..=2) }
    }

    fn network(&mut self) -> Fault {
        let weather = match self.rng.random_range(0..7) {
            0..2 => Weather::Hold,
            2..4 => Weather::Swallow,
            4 => Weather::Slow,
            5 => Weather::Refuse,
            _ => Weather::Reset,
        };
        self.weather(Road::WhatsApp, weather)
    }

    fn database(&mut self) -> Fault {
        let weather = match self.rng.random_range(0..15) {
            0..2 => return Fault::Backends,
            2..4 => return Fault::Postgres { crash: true, ms: self.rng.random_range(0..800) },
            4..6 => return Fault::Postgres { crash: false, ms: self.rng.random_range(0..800) },
            6..8 => Weather::Hold,
            8..10 => Weather::Swallow,
            10 => Weather::Slow,
            11 => Weather::Refuse,
            12..14 => Weather::Reset,
            _ => Weather::Cut,
        };
        self.weather(Road::Database, weather)
    }

    fn weather(&mut self, road: Road, weather: Weather) -> Fault {
        let whose = if self.rng.random_bool(0.5) { Whose::Holder } else { Whose::All };
        let ms = match weather {
            Weather::Reset | Weather::Cut => 0,
            // Short ones pass unnoticed, long ones cost the link or the lease.
            _ if road == Road::Database && whose == Whose::Holder => {
                self.rng.random_range(200..self.ttl + 2_500)
            }
            _ => self.rng.random_range(200..3_500),
        };
        Fault::Network { road, weather, whose, ms }
    }

    fn dyno(&mut self) -> Fault {
        let standby = self.dynos > 1;
        match self.rng.random_range(0..22) {
            0..4 => Fault::Term(self.whose(&[Whose::Holder, Whose::Holder, Whose::Standby])),
            4..6 => Fault::TermTwice { ms: self.rng.random_range(0..400) },
            6 => Fault::TermAlone,
            7..10 => Fault::Kill(self.whose(&[Whose::Holder, Whose::Holder, Whose::Standby, Whose::All])),
            20..22 => {
                Fault::KillSlow { delay: self.rng.random_range(5..80), ms: self.rng.random_range(50..600) }
            }
            10..12 => Fault::Pause {
                whose: self.whose(&[Whose::Holder, Whose::Standby, Whose::All]),
                ms: self.rng.random_range(100..self.ttl * 3 / 4),
                long: false,
            },
            12..14 => Fault::Pause {
                whose: self.whose(&[Whose::Holder, Whose::Holder, Whose::All]),
                ms: self.ttl + self.rng.random_range(500..2_000),
                long: true,
            },
            14..16 => Fault::Preboot { ms: self.rng.random_range(100..1_000) },
            16 => Fault::Restart,
            _ if standby => Fault::ScaleDown(self.whose(&[Whose::Holder, Whose::Standby])),
            _ => Fault::ScaleUp,
        }
    }

    /// One of these; the holder while it is alone.
    fn whose(&mut self, of: &[Whose]) -> Whose {
        let drawn = of[self.rng.random_range(0..of.len())];
        if self.dynos > 1 { drawn } else { Whose::Holder }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const TTL: Duration = Duration::from_secs(2);

    #[test]
    fn a_seed_gives_one_plan() {
        let plan = Plan::new(7, 300, TTL);
        assert_eq!(plan, Plan::new(7, 300, TTL));
        assert_ne!(plan.steps, Plan::new(8, 300, TTL).steps);
        assert_eq!(plan.steps[..98], Plan::new(7, 99, TTL).steps[..98]);
    }

    #[test]
    fn all_kinds_come_up() {
        let plan = Plan::new(1, 1000, TTL);
        let kinds: BTreeSet<String> = plan.steps.iter().map(|step| step.fault.kind()).collect();
        assert!(kinds.len() > 45, "{} kinds: {kinds:#?}", kinds.len());
        let overlapping = plan.steps.iter().filter(|step| !step.settles).count();
        assert!((150..350).contains(&overlapping), "{overlapping}");
    }
}
