//! The places of the connections, and who gives way when all are taken.
//!
//! Whoever comes is let in. When there is no place left, the connection that has said nothing for longest goes: it
//! waits for its next request, or sends a head byte by byte. With none of these left, the one that has been sending a
//! body to the page for longest. What is being answered, streams and WebSockets stay: they have limits of their own,
//! which leave places free.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// How long a place is kept for the one who took it: a visitor's head may come a moment after the connection. It also
/// bounds how quickly many who say nothing can push each other out; the others wait in the system's queue meanwhile.
const KEPT: Duration = Duration::from_millis(50);

/// All places.
#[derive(Debug)]
pub struct Seats {
    number: usize,
    taken: Mutex<Taken>,
    /// A place may be had.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    count: usize,
    next: u64,
    /// By the time since which they wait.
    silent: BTreeMap<u64, (Instant, CancellationToken)>,
    asking: BTreeMap<u64, CancellationToken>,
}

/// What a connection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    /// Has not sent all of a request's head.
    Silence(u64),
    /// Sends the body of a request that the page has not answered yet.
    Asks(u64),
    /// Is answered, or carries on as something else than HTTP.
    Served,
    /// Had to give way.
    Gone,
}

/// The place of one connection; free again when dropped.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Seats>,
    does: Mutex<Does>,
    gone: CancellationToken,
    silent: AtomicBool,
    /// Some request was answered.
    known: AtomicBool,
    /// The last request had a body, of which the client may still be sending.
    sends: AtomicBool,
    /// Carries no HTTP any more.
    upgraded: AtomicBool,
}

impl Seats {
    /// So many of them.
    pub fn new(number: usize) -> Arc<Self> {
        Arc::new(Self { number: number.max(1), taken: Mutex::default(), freed: Notify::new() })
    }

    /// A place for somebody who has just come. Waits only while every other connection is being answered.
    pub async fn take(self: &Arc<Self>) -> Arc<Seat> {
        loop {
            // Before the look, so that no change is missed.
            let freed = self.freed.notified();
            match self.try_take() {
                Ok(seat) => return seat,
                Err(Some(later)) => tokio::select! {
                    () = freed => {}
                    () = sleep_until(later) => {}
                },
                Err(None) => freed.await,
            }
        }
    }

    /// A place, or when it is worth another try, if that is known.
    fn try_take(self: &Arc<Self>) -> Result<Arc<Seat>, Option<Instant>> {
        let mut taken = self.taken();
        if taken.count >= self.number {
            let later = taken.silent.first_key_value().map(|(_, (since, _))| *since + KEPT);
            if later.is_some_and(|later| Instant::now() < later) || !taken.make_way() {
                return Err(later);
            }
        }
        taken.count += 1;
        let gone = CancellationToken::new();
        let since = taken.number();
        taken.silent.insert(since, (Instant::now(), gone.clone()));
        Ok(Arc::new(Seat {
            seats: Arc::clone(self),
            does: Mutex::new(Does::Silence(since)),
            gone,
            silent: AtomicBool::new(true),
            known: AtomicBool::new(false),
            sends: AtomicBool::new(false),
            upgraded: AtomicBool::new(false),
        }))
    }

    /// Lets at most so many go that say nothing.
    pub fn clear(&self, most: usize) {
        let mut taken = self.taken();
        for _ in 0..most {
            if !taken.make_way() {
                break;
            }
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Whole after each of its changes.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Lets one go; its place is free at once, its socket soon.
    fn make_way(&mut self) -> bool {
        let silent = self.silent.pop_first().map(|(_, (_, gone))| gone);
        let Some(gone) = silent.or_else(|| self.asking.pop_first().map(|(_, gone)| gone)) else {
            return false;
        };
        gone.cancel();
        self.count -= 1;
        true
    }
}

impl Seat {
    /// It waits for the head of a request.
    pub fn waits(&self) {
        self.change(|taken, gone| {
            let since = taken.number();
            taken.silent.insert(since, (Instant::now(), gone));
            Does::Silence(since)
        });
        // Whoever waits for a place may have this one.
        self.seats.freed.notify_one();
    }

    /// The head of a request is there.
    pub fn asks(&self, has_body: bool) {
        self.sends.store(has_body, Ordering::Relaxed);
        if !has_body {
            return self.stays();
        }
        self.change(|taken, gone| {
            let since = taken.number();
            taken.asking.insert(since, gone);
            Does::Asks(since)
        });
        self.seats.freed.notify_one();
    }

    /// All of a request's body is there.
    pub fn has_sent(&self) {
        self.sends.store(false, Ordering::Relaxed);
    }

    /// It does not have to give way from now on.
    pub fn stays(&self) {
        self.known.store(true, Ordering::Relaxed);
        self.change(|_, _| Does::Served);
    }

    /// It carries no HTTP from now on.
    pub fn upgraded(&self) {
        self.upgraded.store(true, Ordering::Relaxed);
        self.stays();
    }

    fn change(&self, to: impl FnOnce(&mut Taken, CancellationToken) -> Does) {
        let mut does = self.does.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = self.seats.taken();
        match *does {
            Does::Silence(since) => match taken.silent.remove(&since) {
                Some(_) => {}
                None => *does = Does::Gone,
            },
            Does::Asks(since) => match taken.asking.remove(&since) {
                Some(_) => {}
                None => *does = Does::Gone,
            },
            Does::Served | Does::Gone => {}
        }
        if *does != Does::Gone {
            *does = to(&mut taken, self.gone.clone());
        }
        self.silent.store(matches!(*does, Does::Silence(_)), Ordering::Relaxed);
    }

    /// Whether a head is due.
    pub fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    /// Whether it was ever answered.
    pub fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    /// Whether its client may still be sending a body that nobody reads any more.
    pub fn may_send(&self) -> bool {
        self.sends.load(Ordering::Relaxed) && !self.upgraded.load(Ordering::Relaxed)
    }

    /// Ends once it has to give way.
    pub async fn gone(&self) {
        self.gone.cancelled().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.change(|taken, _| {
            taken.count -= 1;
            Does::Gone
        });
        self.seats.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    fn is_gone(seat: &Seat) -> bool {
        seat.gone.is_cancelled()
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_silent_one_gives_way_and_who_is_served_does_not() {
        let seats = Seats::new(3);
        let (first, second, third) = (seats.take().await, seats.take().await, seats.take().await);
        first.asks(false);
        let fourth = seats.take().await;
        assert_eq!([&first, &second, &third, &fourth].map(|seat| is_gone(seat)), [false, true, false, false]);
        // It has waited for longer than the fourth, but not since.
        third.asks(false);
        third.waits();
        let fifth = seats.take().await;
        assert_eq!([&third, &fourth, &fifth].map(|seat| is_gone(seat)), [false, true, false]);
        // One that had to go takes nothing with it.
        drop((second, fourth));
        assert_eq!(seats.taken().count, 3);
        drop((first, third, fifth));
        assert_eq!(seats.taken().count, 0);
        assert!(seats.taken().silent.is_empty() && seats.taken().asking.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_kept_for_a_moment() {
        let seats = Seats::new(1);
        let first = seats.take().await;
        let begun = Instant::now();
        let second = seats.take().await;
        assert!(is_gone(&first) && begun.elapsed() >= KEPT);
        // Whoever leaves by himself is not waited for.
        drop(first);
        let begun = Instant::now();
        drop(second);
        drop(seats.take().await);
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_gives_way_after_all_silence() {
        let seats = Seats::new(3);
        let (sending, silent, served) = (seats.take().await, seats.take().await, seats.take().await);
        sending.asks(true);
        served.asks(false);
        let fourth = seats.take().await;
        assert!(is_gone(&silent) && !is_gone(&sending));
        fourth.asks(false);
        let fifth = seats.take().await;
        assert!(is_gone(&sending));
        fifth.asks(true);
        // A hosted bot may take its time.
        fifth.stays();
        let full = timeout(Duration::from_secs(60), seats.take()).await;
        assert!(full.is_err(), "everybody is served");
        assert!([&served, &fourth, &fifth].iter().all(|seat| !is_gone(seat)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_to_wait_gets_the_place_that_comes_free() {
        let seats = Seats::new(1);
        let first = seats.take().await;
        first.asks(false);
        let waiting = tokio::spawn({
            let seats = Arc::clone(&seats);
            async move { seats.take().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        first.waits();
        let second = waiting.await.expect("no panic");
        assert!(is_gone(&first));
        second.asks(false);
        let waiting = tokio::spawn({
            let seats = Arc::clone(&seats);
            async move { seats.take().await }
        });
        tokio::task::yield_now().await;
        drop(second);
        drop(waiting.await.expect("no panic"));
        seats.clear(5);
        assert_eq!(seats.taken().count, 0);
    }
}
