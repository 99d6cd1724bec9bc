//! Tells a bot that hears from one that is deaf: connected, and unable to decrypt what arrives.
//!
//! A failing decrypt is not a dead link. The senders are asked to send again, and most failures heal by that
//! within seconds; a message that was read in the end counts as heard. What does not heal (a session that was
//! rolled back, a second writer, a protocol that changed) is not mended by a new connection either, so this
//! only warns.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// What is looked back upon, and how long it must be bad.
pub const WINDOW: Duration = Duration::from_secs(600);
/// Fewer messages than this in the window say nothing; once deaf, half of it is enough to stay so.
const ENOUGH: usize = 10;
/// A busy bot is judged by its newest messages.
const MOST: usize = 1_000;

/// What arrived of late.
#[derive(Debug, Default)]
pub struct Hearing {
    /// When each message arrived first and its key, oldest first.
    arrived: VecDeque<(Instant, u64)>,
    /// Keys of those among them that were not read so far.
    missed: HashSet<u64>,
    /// Since when at least half of what is looked back upon was not read.
    bad_since: Option<Instant>,
    deaf: bool,
}

/// How the bot hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// For the whole window at least half of the messages, and of no less than ten at first, could not be read.
    pub deaf: bool,
    /// Messages in the window.
    pub arrived: usize,
    /// Those of them that could not be read.
    pub missed: usize,
    /// When the verdict can change although nothing arrives.
    pub again: Option<Instant>,
}

impl Hearing {
    /// A message was read; `key` names it.
    pub fn heard(&mut self, now: Instant, key: u64) {
        if !self.missed.remove(&key) {
            self.note(now, key);
        }
        self.judge(now);
    }

    /// A message could not be read.
    pub fn missed(&mut self, now: Instant, key: u64) {
        if self.missed.insert(key) {
            self.note(now, key);
        }
        self.judge(now);
    }

    /// The verdict at this instant.
    pub fn verdict(&mut self, now: Instant) -> Verdict {
        self.judge(now);
        let (arrived, missed) = (self.arrived.len(), self.missed.len());
        let long_enough = self.bad_since.map(|since| since + WINDOW);
        let enough = if self.deaf { ENOUGH / 2 } else { ENOUGH };
        let deaf = arrived >= enough && long_enough.is_some_and(|at| now >= at);
        self.deaf = deaf;
        let expires = self.arrived.front().map(|(at, _)| *at + WINDOW);
        let again = [expires, long_enough].into_iter().flatten().filter(|at| *at > now).min();
        Verdict { deaf, arrived, missed, again }
    }

    fn note(&mut self, now: Instant, key: u64) {
        self.arrived.push_back((now, key));
        if self.arrived.len() > MOST {
            self.forget_oldest();
        }
    }

    /// Forgets what is too old, and notes whether it is bad now.
    fn judge(&mut self, now: Instant) {
        while self.arrived.front().is_some_and(|(at, _)| *at + WINDOW <= now) {
            self.forget_oldest();
        }
        let bad = !self.missed.is_empty() && self.missed.len() * 2 >= self.arrived.len();
        self.bad_since = if bad { self.bad_since.or(Some(now)) } else { None };
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.arrived.pop_front() {
            self.missed.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A bot with its clock.
    struct Bench {
        hearing: Hearing,
        now: Instant,
        next: u64,
    }

    impl Bench {
        fn new() -> Self {
            Self { hearing: Hearing::default(), now: Instant::now(), next: 0 }
        }

        fn pass(&mut self, seconds: u64) -> &mut Self {
            self.now += Duration::from_secs(seconds);
            self
        }

        fn hear(&mut self, count: u64) -> &mut Self {
            for _ in 0..count {
                self.next += 1;
                self.hearing.heard(self.now, self.next);
            }
            self
        }

        fn miss(&mut self, count: u64) -> &mut Self {
            for _ in 0..count {
                self.next += 1;
                self.hearing.missed(self.now, self.next);
            }
            self
        }

        fn verdict(&mut self) -> Verdict {
            self.hearing.verdict(self.now)
        }
    }

    #[test]
    fn ten_minutes_of_failures_are_deafness_and_hearing_ends_it() {
        let mut bench = Bench::new();
        for minute in 0..10 {
            bench.miss(2).hear(1);
            assert!(!bench.verdict().deaf, "after {minute} minutes");
            bench.pass(60);
        }
        let verdict = bench.miss(1).verdict();
        assert!(verdict.deaf, "{verdict:?}");
        // The window holds 9 minutes of three each and the last failure.
        assert_eq!((verdict.arrived, verdict.missed), (28, 19));
        assert!(!bench.hear(20).verdict().deaf);
        // From there it takes ten minutes again.
        bench.pass(1).miss(100);
        assert!(!bench.verdict().deaf);
        bench.pass(599).miss(50);
        assert!(!bench.verdict().deaf);
        bench.pass(1);
        assert!(bench.verdict().deaf);
    }

    #[test]
    fn a_burst_that_stops_is_no_deafness() {
        let mut bench = Bench::new();
        bench.miss(50);
        let again = bench.verdict().again.expect("a time to look again");
        assert_eq!(again, bench.now + WINDOW);
        bench.pass(600);
        assert_eq!(bench.verdict(), Verdict { deaf: false, arrived: 0, missed: 0, again: None });
    }

    #[test]
    fn few_messages_say_nothing() {
        let mut bench = Bench::new();
        for _ in 0..30 {
            bench.miss(1).pass(67);
        }
        let verdict = bench.verdict();
        assert!(!verdict.deaf && verdict.arrived < ENOUGH, "{verdict:?}");
    }

    #[test]
    fn less_than_half_is_not_deaf() {
        let mut bench = Bench::new();
        for _ in 0..40 {
            bench.hear(3).miss(2).pass(60);
            assert!(!bench.verdict().deaf);
        }
    }

    #[test]
    fn a_message_that_is_read_when_it_comes_again_was_heard() {
        let mut bench = Bench::new();
        for _ in 0..40 {
            bench.miss(3);
            let last = bench.next;
            bench.pass(2);
            for key in last - 2..=last {
                bench.hearing.heard(bench.now, key);
            }
            bench.pass(28);
            let verdict = bench.verdict();
            assert!(!verdict.deaf && verdict.missed == 0, "{verdict:?}");
        }
        // The same failure told twice is one.
        bench.hearing.missed(bench.now, 7_000);
        let before = bench.verdict();
        bench.hearing.missed(bench.now, 7_000);
        assert_eq!(bench.verdict(), before);
    }

    #[test]
    fn a_silent_bot_is_not_called_deaf_for_ever() {
        let mut bench = Bench::new();
        for _ in 0..12 {
            bench.miss(2).pass(60);
        }
        assert!(bench.verdict().deaf);
        bench.pass(600);
        assert!(!bench.verdict().deaf, "it clears without a message");
    }

    proptest! {
        /// Whatever happens: never deaf before ten minutes have passed since the last good moment, never by
        /// fewer than ten messages, and what is kept stays small.
        #[test]
        fn never_deaf_without_cause(steps in proptest::collection::vec((0u64..90, 0u64..4, 0u64..4), 1..80)) {
            let mut bench = Bench::new();
            let mut good_at = bench.now;
            for (pass, hear, miss) in steps {
                bench.pass(pass).hear(hear).miss(miss);
                let verdict = bench.verdict();
                if verdict.missed * 2 < verdict.arrived || verdict.missed == 0 {
                    good_at = bench.now;
                    prop_assert!(!verdict.deaf);
                }
                if verdict.deaf {
                    prop_assert!(bench.now - good_at >= WINDOW && verdict.arrived >= ENOUGH / 2);
                }
                prop_assert!(verdict.again.is_none_or(|at| at > bench.now));
                prop_assert!(bench.hearing.missed.len() <= bench.hearing.arrived.len());
                prop_assert!(bench.hearing.arrived.len() <= MOST);
            }
        }
    }
}
