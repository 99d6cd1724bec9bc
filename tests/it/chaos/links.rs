//! Watches the roads to WhatsApp: one dyno at a time has a link, and nobody dials in a storm.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::fault::BACKOFF;
use crate::support::proxy::{Proxy, Traffic};

/// How often the roads are looked at.
const LOOK: Duration = Duration::from_millis(20);
/// So long two dynos may seem to have a link: an end is seen by the proxy's task a little later than by the
/// kernel, later still on a busy machine.
const TOLERANCE: Duration = Duration::from_millis(400);
/// A process that was stopped gets this long to notice that its link belongs to another.
const WAKING: Duration = Duration::from_millis(1_500);
/// Window and number of dials of one process in it. Waits of 0.1, 0.2, 0.4, 0.8, 1 s … allow seven in it;
/// stream restarts, leases lost and links that stay open in between allow some more.
const STORM: (Duration, usize) = (Duration::from_secs(5), 18);

/// The roads of all dynos; cheap to clone.
#[derive(Clone)]
pub struct Links(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    roads: Vec<Watched>,
    /// When more than one road began to be in use.
    shared_since: Option<Instant>,
    violations: Vec<String>,
    seen: Seen,
}

/// What was seen in all.
#[derive(Debug, Default, Clone, Copy)]
pub struct Seen {
    /// Dials of all dynos.
    pub dials: usize,
    /// Most dials of one process within [`STORM`]'s window.
    pub most: usize,
    /// Dials that came sooner after the one before than the back-off's floor.
    pub quick: usize,
    /// Longest time that two processes that ran had a link.
    pub longest_shared: Duration,
    /// Longest delay of this watch itself: how busy the machine was.
    pub late: Duration,
}

struct Watched {
    name: String,
    proxy: Weak<Proxy>,
    pause: Arc<Pause>,
    counted: usize,
}

#[derive(Default)]
struct Pause {
    now: AtomicBool,
    ended: Mutex<Option<Instant>>,
}

/// Tells the watch about one dyno.
pub struct Road(Arc<Pause>);

impl Road {
    /// A process that is stopped cannot close its link.
    pub fn paused(&self, paused: bool) {
        if !paused {
            *self.0.ended.lock().expect("not poisoned") = Some(Instant::now());
        }
        self.0.now.store(paused, Ordering::Release);
    }
}

impl Pause {
    /// Whether the process runs and has had the time to look around.
    fn over(&self, now: Instant) -> bool {
        let ended = *self.ended.lock().expect("not poisoned");
        !self.now.load(Ordering::Acquire) && ended.is_none_or(|ended| now > ended + WAKING)
    }
}

impl Links {
    /// Watches until the handle is dropped.
    pub fn start() -> (Self, AbortOnDropHandle<()>) {
        let links = Self(Arc::default());
        let watching = links.clone();
        let watch = tokio::spawn(async move {
            let mut before = Instant::now();
            loop {
                tokio::time::sleep(LOOK).await;
                let now = Instant::now();
                watching.look(now, (now - before).saturating_sub(LOOK));
                before = now;
            }
        });
        (links, AbortOnDropHandle::new(watch))
    }

    /// Watches the road of one more dyno, for as long as it lives.
    pub fn watch(&self, name: &str, proxy: Arc<Proxy>) -> Road {
        let pause = Arc::new(Pause::default());
        self.state().roads.push(Watched {
            name: name.to_owned(),
            proxy: Arc::downgrade(&proxy),
            pause: Arc::clone(&pause),
            counted: 0,
        });
        Road(pause)
    }

    /// What was violated since the last call.
    pub fn violations(&self) -> Vec<String> {
        std::mem::take(&mut self.state().violations)
    }

    /// What was seen so far.
    pub fn seen(&self) -> Seen {
        self.state().seen
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("not poisoned")
    }

    fn look(&self, now: Instant, late: Duration) {
        let mut state = self.state();
        let state = &mut *state;
        state.seen.late = state.seen.late.max(late);
        state.roads.retain(|road| road.proxy.strong_count() > 0);
        let mut in_use = Vec::new();
        for road in &mut state.roads {
            let Some(proxy) = road.proxy.upgrade() else { continue };
            let known = proxy.traffic() != Traffic::Hold;
            if known && proxy.open() > 0 && road.pause.over(now) {
                in_use.push(road.name.clone());
            }
            let dials = proxy.accepted();
            for (place, dial) in dials.iter().enumerate().skip(road.counted) {
                state.seen.dials += 1;
                let quick = BACKOFF.0.mul_f64(1.0 - BACKOFF.2);
                if place > 0 && *dial < dials[place - 1] + quick {
                    state.seen.quick += 1;
                }
                let window = dials[..=place].iter().filter(|earlier| **earlier + STORM.0 > *dial).count();
                state.seen.most = state.seen.most.max(window);
                if window == STORM.1 + 1 {
                    state.violations.push(format!("{} dialled {window} times in {:?}", road.name, STORM.0));
                }
            }
            road.counted = dials.len();
        }
        if in_use.len() < 2 {
            state.shared_since = None;
            return;
        }
        let since = *state.shared_since.get_or_insert(now);
        let before = state.seen.longest_shared;
        state.seen.longest_shared = before.max(now - since);
        if now - since > TOLERANCE + late && before <= TOLERANCE {
            state.violations.push(format!("two links at a time, for {:?}: {in_use:?}", now - since));
        }
    }
}
