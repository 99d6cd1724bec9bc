//! Tells a live link from a dead one.
//!
//! A probe that must be answered (`<iq xmlns="w:p">`) is sent `period` after the last frame was heard.
//! Any frame is life. The link is dead when the first probe without an answer is older than `deadline`,
//! so at most `period + deadline` after the last frame. Other sends do not count: WhatsApp does not
//! answer every receipt and presence, and a quiet chat is not a dead link.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Heartbeat;
use crate::measure;

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing to do before this.
    Wait(Instant),
    /// Send a probe.
    Probe,
    /// Nothing was heard since a probe that is older than the deadline.
    Dead,
}

/// Decides.
///
/// `heard` is when the last frame came in, `probed` when the first probe after that went out.
pub fn next(now: Instant, heard: Instant, probed: Option<Instant>, config: &Heartbeat) -> Verdict {
    match probed {
        // An answer, or anything else, came in since.
        Some(probed) if heard > probed => next(now, heard, None, config),
        Some(probed) => {
            let dead = probed + config.deadline.get();
            if now >= dead { Verdict::Dead } else { Verdict::Wait(dead) }
        }
        None => {
            let due = heard + config.period.get();
            if now >= due { Verdict::Probe } else { Verdict::Wait(due) }
        }
    }
}

/// When frames passed on one connection. Written by the transport, read by [`watch`].
#[derive(Debug)]
pub struct Pulse {
    origin: Instant,
    /// Microseconds after `origin`.
    heard: AtomicU64,
    spoke: AtomicU64,
    /// Frames that came in.
    frames: AtomicU64,
    probes: AtomicU64,
    /// When the probe went out that nothing has followed yet, in microseconds after `origin` and one; 0 when there
    /// is none.
    probed: AtomicU64,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            heard: AtomicU64::new(0),
            spoke: AtomicU64::new(0),
            frames: AtomicU64::new(0),
            probes: AtomicU64::new(0),
            probed: AtomicU64::new(0),
        }
    }
}

impl Pulse {
    /// A frame came in.
    pub fn heard(&self) {
        let now = self.elapsed();
        self.heard.store(now, Ordering::Release);
        self.frames.fetch_add(1, Ordering::Release);
        if self.probed.load(Ordering::Relaxed) != 0 {
            let probed = self.probed.swap(0, Ordering::Relaxed);
            if probed != 0 {
                measure::heartbeat(Duration::from_micros((now + 1).saturating_sub(probed)));
            }
        }
    }

    /// A probe goes out.
    fn probe(&self) {
        self.probes.fetch_add(1, Ordering::Relaxed);
        self.probed.store(self.elapsed() + 1, Ordering::Relaxed);
    }

    /// A frame went out.
    pub fn spoke(&self) {
        self.spoke.store(self.elapsed(), Ordering::Release);
    }

    /// When a frame came in last; the beginning of the connection when none has.
    pub fn last_heard(&self) -> Instant {
        self.origin + Duration::from_micros(self.heard.load(Ordering::Acquire))
    }

    /// When a frame went out last; the beginning of the connection when none has.
    pub fn last_spoke(&self) -> Instant {
        self.origin + Duration::from_micros(self.spoke.load(Ordering::Acquire))
    }

    /// How many frames came in.
    pub fn frames(&self) -> u64 {
        self.frames.load(Ordering::Acquire)
    }

    /// How often a sign of life was asked for.
    pub fn probes(&self) -> u64 {
        self.probes.load(Ordering::Relaxed)
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// Watches one connection until it is dead. `probe` sends the probe and does not wait for the answer.
///
/// Belongs to the connection: drop the future when that ends.
pub async fn watch(pulse: &Pulse, config: Heartbeat, mut probe: impl FnMut()) {
    // When the probe went out, and how many frames had come in by then. They are counted, since an answer may
    // carry the same time as the probe.
    let mut probed: Option<(Instant, u64)> = None;
    loop {
        let frames = pulse.frames();
        probed = probed.filter(|(_, before)| *before == frames);
        match next(Instant::now(), pulse.last_heard(), probed.map(|(at, _)| at), &config) {
            Verdict::Dead => {
                // A process that stood still for a while: what came in meanwhile is read first.
                tokio::task::yield_now().await;
                if pulse.frames() == frames {
                    return;
                }
            }
            Verdict::Probe => {
                // Counted from the decision, not from the write: a socket that takes no bytes is as dead
                // as one that gives none.
                probed = Some((Instant::now(), frames));
                pulse.probe();
                probe();
            }
            // Frames that come in meanwhile only move the time; it is looked at again when it is due.
            Verdict::Wait(until) => tokio::time::sleep_until(until).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use proptest::prelude::*;

    use super::*;
    use crate::config::Period;

    fn config(period: u64, deadline: u64) -> Heartbeat {
        Heartbeat {
            period: Period(Duration::from_millis(period)),
            deadline: Period(Duration::from_millis(deadline)),
        }
    }

    const DEFAULT: (u64, u64) = (25_000, 10_000);

    #[tokio::test(start_paused = true)]
    async fn silence_kills_after_period_and_deadline() {
        let pulse = Pulse::default();
        let began = Instant::now();
        let probes = AtomicUsize::new(0);
        watch(&pulse, config(DEFAULT.0, DEFAULT.1), || {
            probes.fetch_add(1, Ordering::Relaxed);
        })
        .await;
        assert_eq!(probes.into_inner(), 1, "one probe decides");
        let took = began.elapsed();
        assert!((Duration::from_secs(35)..Duration::from_millis(35_010)).contains(&took), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answered_probe_keeps_a_quiet_link_for_ever() {
        let pulse = Arc::new(Pulse::default());
        let answering = pulse.clone();
        let watched = tokio::time::timeout(
            Duration::from_secs(24 * 3600),
            watch(&pulse, config(DEFAULT.0, DEFAULT.1), move || {
                let answering = answering.clone();
                // The answer takes almost as long as it may.
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(9_990)).await;
                    answering.heard();
                });
            }),
        );
        assert!(watched.await.is_err(), "a link that answers must not be killed");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_within_the_same_instant_is_an_answer() {
        let pulse = Pulse::default();
        let watched = tokio::time::timeout(
            Duration::from_secs(3600),
            watch(&pulse, config(DEFAULT.0, DEFAULT.1), || pulse.heard()),
        );
        assert!(watched.await.is_err(), "a link that answers must not be killed");
    }

    #[tokio::test(start_paused = true)]
    async fn sends_of_others_do_not_hide_a_dead_link() {
        let pulse = Arc::new(Pulse::default());
        let sending = pulse.clone();
        let chatter = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                sending.spoke();
            }
        });
        let began = Instant::now();
        watch(&pulse, config(DEFAULT.0, DEFAULT.1), || {}).await;
        chatter.abort();
        assert!(began.elapsed() < Duration::from_millis(35_010), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_link_is_not_probed() {
        let pulse = Arc::new(Pulse::default());
        let receiving = pulse.clone();
        let traffic = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(5)).await;
                receiving.heard();
            }
        });
        let watched = tokio::time::timeout(
            Duration::from_secs(3600),
            watch(&pulse, config(DEFAULT.0, DEFAULT.1), || panic!("probed a busy link")),
        );
        assert!(watched.await.is_err());
        traffic.abort();
    }

    proptest! {
        /// Whatever came in and whenever it is asked: dead never before the deadline of a probe, and at
        /// the latest period + deadline after the last frame.
        #[test]
        fn dead_within_period_plus_deadline(
            period in 1u64..100_000, deadline in 1u64..100_000, heard in 0u64..1_000_000, step in 1u64..5_000,
        ) {
            let origin = Instant::now();
            let config = config(period, deadline);
            let heard = origin + Duration::from_millis(heard);
            let (mut now, mut probed) = (heard, None);
            let died = loop {
                match next(now, heard, probed, &config) {
                    Verdict::Dead => break now,
                    Verdict::Probe => { prop_assert!(probed.is_none()); probed = Some(now); }
                    Verdict::Wait(until) => { prop_assert!(until > now); now = until + Duration::from_micros(step); }
                }
            };
            let probed = probed.expect("nothing dies without a probe");
            prop_assert!(died >= probed + config.deadline.get());
            let slack = Duration::from_micros(2 * step);
            prop_assert!(died <= heard + config.period.get() + config.deadline.get() + slack);
        }
    }
}
