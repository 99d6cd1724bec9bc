//! What to do next: a pure state machine over everything that can happen to a bot's link.
//!
//! [`Machine::step`] takes an event and gives the actions; it reads no clock and starts nothing. Its
//! owner runs the actions one after another, each to its end, and feeds back what happened.

use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

use super::backoff;
use super::policy::Reaction;
use super::state::{LinkState, Parked};
use super::transport::CutReason;
use crate::config::Backoff;

/// Three conflicts within this park the link.
pub const CONFLICT_WINDOW: Duration = Duration::from_secs(600);
const CONFLICTS_TO_PARK: usize = 3;
/// The wait after a conflict: the other client gets time to settle, and so does the lease.
pub const CONFLICT_RETRY: Duration = Duration::from_secs(30);
/// More than three restarts (515) within this mean that pairing is broken.
pub const RESTART_WINDOW: Duration = Duration::from_secs(60);
const RESTARTS_ALLOWED: usize = 3;
/// How often a refused version is tried again.
pub const OUTDATED_PROBE: Duration = Duration::from_secs(3600);
/// The wait before a lease that was given to another dyno is asked for again, should that one not take it.
pub const GIVEN_AWAY: Duration = Duration::from_secs(2);
/// A ban that claims to be longer is looked at again after this.
const LONGEST_BAN: Duration = Duration::from_secs(30 * 24 * 3600);

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The bot begins.
    Start,
    /// The lease was won.
    Acquired,
    /// Another owner holds the lease; worth asking again after this.
    Held { ask_again: Duration },
    /// The database does not answer, or a write failed twice.
    DatabaseDown,
    /// The lease is lost.
    LeaseLost,
    /// The stored session cannot be read.
    Unreadable,
    /// A QR is shown.
    QrShown,
    /// `<success>` was handled.
    Opened,
    /// The connection, or the attempt to make one, ended.
    Ended(Reaction),
    /// The session was archived.
    Archived,
    /// The time of the last [`Action::WakeAt`] has come.
    Woke,
    /// A person wants a dial now.
    ReconnectNow,
    /// A person wants a new round of QR codes.
    ShowNewQr,
    /// The process stops: an open link is first handed over.
    Stop,
    /// The process stops at once.
    StopNow,
    /// Another dyno is ready to go on.
    SuccessorReady,
    /// The lease that another owner held may be free.
    LeaseFree,
    /// Another dyno should have the session, since it holds fewer.
    Spared,
    /// A person or a job wants a new client.
    Restart,
}

/// Something to do. Run in order, each to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Ask for the lease; answered by `Acquired`, `Held` or `DatabaseDown`.
    Acquire,
    /// Ask the database at once whether the lease is still ours; answered by `LeaseLost` when it is not.
    Confirm,
    /// Open one connection; answered by `Ended` in all cases, or `Unreadable` or `DatabaseDown` when
    /// there is no client to be had.
    Dial,
    /// Cut the socket at once, drop the client without a flush, give the lease up.
    Discard(CutReason),
    /// Cut the socket, drop the client, move the session to its archive, give the lease up; answered by
    /// `Archived` or `DatabaseDown`.
    Archive,
    /// Send `Woke` at this time, in place of any earlier one.
    WakeAt(Instant),
    /// Close the link in order, flush, give the lease up.
    Close,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    /// Waiting for the answer to `Acquire`, or for the time to ask again.
    Unleased {
        shown: LinkState,
    },
    /// A dial was started and has not ended. `pairing` once a QR was shown.
    Dialling {
        pairing: bool,
    },
    Open {
        since: Instant,
    },
    BackingOff {
        until: Instant,
    },
    Parked {
        why: Parked,
        until: Option<Instant>,
    },
    Archiving,
    /// Stopping, with the link open until a successor is ready or the time has come.
    HandingOver {
        until: Instant,
    },
    Stopped,
}

/// The state machine of one bot.
#[derive(Debug, Clone)]
pub struct Machine {
    backoff: Backoff,
    /// How often the lease may be asked for when the database does not answer.
    ask_database: Duration,
    /// How long an open link waits for a successor when the process stops.
    handover_wait: Duration,
    phase: Phase,
    /// Steps of the back-off.
    failures: u32,
    /// Dials since the link was last open for `reset_after`.
    attempt: u32,
    /// Answers missed by the database in a row.
    database_failures: u32,
    /// Attempts in a row that led to no stable link.
    failed: u32,
    conflicts: Vec<Instant>,
    /// When the stream restarted.
    restarts: Vec<Instant>,
    /// A QR was shown, and no link has been open since.
    pairing: bool,
}

impl Machine {
    /// A machine at its start. `ask_database` caps the wait between two attempts to reach the database.
    pub fn new(backoff: Backoff, ask_database: Duration) -> Self {
        Self {
            backoff,
            ask_database,
            handover_wait: Duration::ZERO,
            phase: Phase::Starting,
            failures: 0,
            attempt: 0,
            database_failures: 0,
            failed: 0,
            conflicts: Vec::new(),
            restarts: Vec::new(),
            pairing: false,
        }
    }

    /// On `Stop` an open link waits this long for a successor.
    #[must_use]
    pub fn handing_over_within(self, handover_wait: Duration) -> Self {
        Self { handover_wait, ..self }
    }

    /// The state as the page shows it.
    pub fn state(&self) -> LinkState {
        match self.phase {
            Phase::Starting => LinkState::Starting,
            // The lease was given up; another dyno may have it.
            Phase::Stopped => LinkState::Standby,
            Phase::Unleased { shown } => shown,
            Phase::Dialling { pairing: true } => LinkState::Pairing,
            Phase::Dialling { pairing: false } => LinkState::Connecting,
            Phase::Open { .. } | Phase::HandingOver { .. } => LinkState::Open,
            Phase::BackingOff { .. } => LinkState::BackingOff,
            Phase::Parked { why, .. } => LinkState::Parked(why),
            Phase::Archiving => LinkState::LoggedOut,
        }
    }

    /// Whether the link is kept open only until a successor is ready.
    pub fn hands_over(&self) -> bool {
        matches!(self.phase, Phase::HandingOver { .. })
    }

    /// Whether all is done that [`Event::Stop`] asked for.
    pub fn stopped(&self) -> bool {
        self.phase == Phase::Stopped
    }

    /// Dials since the link was last open for `reset_after`.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Attempts in a row that led to no stable link, the ending that brought this state included; 0 once a
    /// link was open for `reset_after`, and when nothing is attempted any more.
    pub fn failed(&self) -> u32 {
        self.failed
    }

    /// When the next dial is due, if one is planned.
    pub fn next_dial(&self) -> Option<Instant> {
        match self.phase {
            Phase::BackingOff { until } => Some(until),
            Phase::Parked { until, .. } => until,
            Phase::Starting
            | Phase::Unleased { .. }
            | Phase::Dialling { .. }
            | Phase::Open { .. }
            | Phase::Archiving
            | Phase::HandingOver { .. }
            | Phase::Stopped => None,
        }
    }

    /// Takes an event and says what to do. An event that does not fit the state is late and does nothing.
    pub fn step(&mut self, now: Instant, event: Event, rng: &mut impl Rng) -> Vec<Action> {
        match (self.phase, event) {
            // Stop wins everywhere.
            (Phase::Stopped, _) => vec![],
            (Phase::Open { .. }, Event::Stop) if !self.handover_wait.is_zero() => {
                let until = now + self.handover_wait;
                self.phase = Phase::HandingOver { until };
                vec![Action::WakeAt(until)]
            }
            (Phase::HandingOver { until }, event) => self.hand_over(now, until, event),
            (_, Event::Stop | Event::StopNow) => self.stop(Action::Close),

            (Phase::Starting, Event::Start) => self.acquire(LinkState::Starting),
            (Phase::Unleased { .. } | Phase::Archiving, Event::Acquired) => {
                self.database_failures = 0;
                self.dial()
            }
            (Phase::Unleased { .. }, Event::Held { ask_again }) => {
                self.database_failures = 0;
                self.phase = Phase::Unleased { shown: LinkState::Standby };
                vec![Action::WakeAt(now + ask_again)]
            }
            (Phase::Archiving, Event::Archived) => {
                // Still shown as logged out, until the new pairing begins.
                self.acquire(LinkState::LoggedOut)
            }

            (Phase::Unleased { .. }, Event::DatabaseDown) => self.wait_for_database(now, rng),
            (Phase::Starting | Phase::Unleased { .. }, Event::LeaseLost | Event::Unreadable) => vec![],
            (Phase::Starting, Event::DatabaseDown) => vec![],
            // Only an open link: what is being paired, or waits, has its history here.
            (Phase::Open { .. }, Event::Spared) => {
                self.settle();
                self.phase = Phase::Unleased { shown: LinkState::Standby };
                vec![Action::Close, Action::WakeAt(now + GIVEN_AWAY)]
            }
            // Whoever gets the lease then.
            (Phase::Open { .. }, Event::Restart) => {
                self.settle();
                let mut actions = vec![Action::Close];
                actions.extend(self.acquire(LinkState::Starting));
                actions
            }
            (Phase::BackingOff { .. }, Event::Restart) => self.dial(),
            (_, Event::DatabaseDown) => {
                let mut actions = vec![Action::Discard(CutReason::Database)];
                actions.extend(self.database_lost(now, rng));
                actions
            }
            (_, Event::LeaseLost) => {
                // Another dyno's link from here on, and so are its troubles.
                self.failed = 0;
                self.pairing = false;
                self.conflicts.clear();
                let mut actions = vec![Action::Discard(CutReason::Lease)];
                actions.extend(self.acquire(LinkState::Standby));
                actions
            }
            // The lease goes too: a dyno that has the right key may be waiting for it.
            (_, Event::Unreadable) => {
                let mut actions = vec![Action::Discard(CutReason::Stop)];
                actions.extend(self.park(Parked::SessionUnreadable, None));
                actions
            }

            (Phase::Dialling { .. }, Event::QrShown) => {
                self.pairing = true;
                self.phase = Phase::Dialling { pairing: true };
                vec![]
            }
            (Phase::Dialling { .. }, Event::Opened) => {
                self.pairing = false;
                self.phase = Phase::Open { since: now };
                vec![Action::WakeAt(now + self.backoff.reset_after.get())]
            }
            (Phase::Dialling { .. }, Event::Ended(reaction)) => self.ended(now, None, reaction, rng),
            (Phase::Open { since }, Event::Ended(reaction)) => self.ended(now, Some(since), reaction, rng),

            (Phase::Unleased { shown }, Event::Woke) => self.acquire(shown),
            // Only then: a lease that we gave up ourselves for want of a database is no reason to hurry.
            (Phase::Unleased { shown: LinkState::Standby }, Event::LeaseFree) => {
                self.acquire(LinkState::Standby)
            }
            (Phase::Open { since }, Event::Woke) => {
                let stable = since + self.backoff.reset_after.get();
                if now < stable {
                    return vec![Action::WakeAt(stable)];
                }
                self.settle();
                vec![]
            }
            (Phase::BackingOff { until } | Phase::Parked { until: Some(until), .. }, Event::Woke) => {
                if now < until { vec![Action::WakeAt(until)] } else { self.dial() }
            }

            (Phase::Unleased { shown }, Event::ReconnectNow) => self.acquire(shown),
            (Phase::BackingOff { .. }, Event::ReconnectNow) => self.dial(),
            (Phase::Parked { why, .. }, Event::ReconnectNow) => self.unpark(why),
            (
                Phase::Parked { why: why @ (Parked::QrExpired | Parked::PairingBroken), .. },
                Event::ShowNewQr,
            ) => self.unpark(why),

            // Late or out of place.
            (
                Phase::Starting
                | Phase::Unleased { .. }
                | Phase::Dialling { .. }
                | Phase::Open { .. }
                | Phase::BackingOff { .. }
                | Phase::Parked { .. }
                | Phase::Archiving,
                Event::Start
                | Event::Acquired
                | Event::Held { .. }
                | Event::QrShown
                | Event::Opened
                | Event::Ended(_)
                | Event::Archived
                | Event::Woke
                | Event::ReconnectNow
                | Event::ShowNewQr
                | Event::SuccessorReady
                | Event::LeaseFree
                | Event::Spared
                | Event::Restart,
            ) => vec![],
        }
    }

    fn stop(&mut self, last: Action) -> Vec<Action> {
        self.phase = Phase::Stopped;
        vec![last]
    }

    /// Whatever happens now is the last thing, or nothing: there is no dial any more.
    fn hand_over(&mut self, now: Instant, until: Instant, event: Event) -> Vec<Action> {
        match event {
            Event::SuccessorReady | Event::StopNow | Event::Ended(_) | Event::Unreadable => {
                self.stop(Action::Close)
            }
            Event::LeaseLost => self.stop(Action::Discard(CutReason::Lease)),
            Event::DatabaseDown => self.stop(Action::Discard(CutReason::Database)),
            Event::Woke if now < until => vec![Action::WakeAt(until)],
            Event::Woke => self.stop(Action::Close),
            Event::Stop
            | Event::Start
            | Event::Acquired
            | Event::Held { .. }
            | Event::QrShown
            | Event::Opened
            | Event::Archived
            | Event::ReconnectNow
            | Event::ShowNewQr
            | Event::LeaseFree
            | Event::Spared
            | Event::Restart => vec![],
        }
    }

    fn acquire(&mut self, shown: LinkState) -> Vec<Action> {
        self.phase = Phase::Unleased { shown };
        vec![Action::Acquire]
    }

    fn dial(&mut self) -> Vec<Action> {
        self.phase = Phase::Dialling { pairing: false };
        self.attempt = self.attempt.saturating_add(1);
        vec![Action::Dial]
    }

    fn park(&mut self, why: Parked, until: Option<Instant>) -> Vec<Action> {
        self.failed = 0;
        self.phase = Phase::Parked { why, until };
        until.map(Action::WakeAt).into_iter().collect()
    }

    /// A person wants to go on.
    fn unpark(&mut self, why: Parked) -> Vec<Action> {
        match why {
            // A dial during a ban can only make it longer.
            Parked::TemporaryBan => vec![],
            // Read again from the database, by a new client.
            Parked::SessionUnreadable => self.acquire(LinkState::Starting),
            Parked::Conflict
            | Parked::ClientOutdated
            | Parked::Refused
            | Parked::QrExpired
            | Parked::PairingBroken
            // Of hosted bots, which this machine does not drive.
            | Parked::BotCrashes
            | Parked::BotNotStarted => {
                self.conflicts.clear();
                self.restarts.clear();
                self.dial()
            }
        }
    }

    fn wait_for_database(&mut self, now: Instant, rng: &mut impl Rng) -> Vec<Action> {
        let wait = backoff::delay(&self.backoff, self.database_failures, rng).min(self.ask_database);
        self.database_failures = self.database_failures.saturating_add(1);
        self.phase = Phase::Unleased { shown: LinkState::WaitingForDatabase };
        vec![Action::WakeAt(now + wait)]
    }

    /// It let us in and failed then. Some databases do so every time, such as one whose disk is full: that
    /// counts as a link that fails, or WhatsApp would be dialled every few seconds.
    fn database_lost(&mut self, now: Instant, rng: &mut impl Rng) -> Vec<Action> {
        if let Phase::Open { since } = self.phase
            && now >= since + self.backoff.reset_after.get()
        {
            self.settle();
        }
        let wait = backoff::delay(&self.backoff, self.failures, rng);
        self.failures = self.failures.saturating_add(1);
        self.phase = Phase::Unleased { shown: LinkState::WaitingForDatabase };
        vec![Action::WakeAt(now + wait)]
    }

    /// The link has proven itself.
    fn settle(&mut self) {
        self.failures = 0;
        self.attempt = 0;
        self.failed = 0;
    }

    fn back_off(&mut self, now: Instant, extra: u32, rng: &mut impl Rng) -> Vec<Action> {
        self.failures = self.failures.saturating_add(extra);
        let until = now + backoff::delay(&self.backoff, self.failures, rng);
        self.failures = self.failures.saturating_add(1);
        self.phase = Phase::BackingOff { until };
        vec![Action::WakeAt(until)]
    }

    fn ended(
        &mut self,
        now: Instant,
        open_since: Option<Instant>,
        reaction: Reaction,
        rng: &mut impl Rng,
    ) -> Vec<Action> {
        if open_since.is_some_and(|since| now >= since + self.backoff.reset_after.get()) {
            self.settle();
        }
        if self.attempt > 0 && reaction != Reaction::Restart {
            self.failed = self.failed.saturating_add(1);
        }
        match reaction {
            Reaction::Restart => self.restart(now, rng),
            Reaction::Conflict => {
                self.conflicts.retain(|at| *at + CONFLICT_WINDOW > now);
                self.conflicts.push(now);
                // The other client may be the dyno that has taken over, and the news of it on its way: hence
                // the `Confirm`.
                if self.conflicts.len() >= CONFLICTS_TO_PARK {
                    self.park(Parked::Conflict, None);
                    return vec![Action::Confirm];
                }
                let until = now + CONFLICT_RETRY;
                self.phase = Phase::BackingOff { until };
                vec![Action::WakeAt(until), Action::Confirm]
            }
            Reaction::LoggedOut => {
                self.settle();
                self.conflicts.clear();
                self.restarts.clear();
                self.phase = Phase::Archiving;
                vec![Action::Archive]
            }
            Reaction::BanFor(ban) => self.park(Parked::TemporaryBan, Some(now + ban.min(LONGEST_BAN))),
            Reaction::Park(Parked::ClientOutdated) => {
                self.park(Parked::ClientOutdated, Some(now + OUTDATED_PROBE))
            }
            Reaction::Park(why) => self.park(why, None),
            Reaction::BackOff { extra } => self.back_off(now, extra, rng),
            // Whoever cut the link has sent the event that says why; should it be missing, go on.
            Reaction::Ours => self.back_off(now, 0, rng),
        }
    }

    fn restart(&mut self, now: Instant, rng: &mut impl Rng) -> Vec<Action> {
        self.restarts.retain(|at| *at + RESTART_WINDOW > now);
        self.restarts.push(now);
        if self.restarts.len() <= RESTARTS_ALLOWED {
            return self.dial();
        }
        if !self.pairing {
            // A server that restarts the links of a paired bot again and again, some before it let them in.
            self.failed = self.failed.saturating_add(1);
            return self.back_off(now, 0, rng);
        }
        self.restarts.clear();
        self.park(Parked::PairingBroken, None)
    }
}

#[cfg(test)]
mod tests;
