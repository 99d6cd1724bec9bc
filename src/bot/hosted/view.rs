//! What the board tells of a hosted bot: the state of its link as far as it is known, and of its parts.
//!
//! Nobody reads inside the bot's encrypted link, so its state is put together from what the preload reports
//! (Baileys' own events), from a QR code in the bot's output, and from the traffic through the relay.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Hosted;
use super::vault::Mirrored;
use crate::link::relay::Flow;
use crate::link::{LinkState, Parked, advice};
use crate::runtime::clock;
use crate::runtime::status::{
    Board, BotStatus, ChildState, Disconnect, HostedStatus, Qr, RelayWay, VaultStatus, WarningKind,
};

/// How long a QR code is shown when nobody says how long it holds: WhatsApp's first lasts a minute.
const QR_HOLDS: chrono::Duration = chrono::Duration::seconds(60);
/// At each multiple of this many dials that led to no open link the warning is raised.
const LOOP_EVERY: u32 = 5;

/// The writing side of one bot's status.
#[derive(Debug, Clone)]
pub struct View {
    board: Board,
    bot: String,
    /// Dials since the link was last open.
    attempt: u32,
    was_open: bool,
}

impl View {
    pub fn new(hosted: &Hosted) -> Self {
        let view = Self::of(hosted.board.clone(), &hosted.name);
        let limit = hosted.memory_limit();
        view.parts(|parts| {
            parts.memory_limit_bytes = Some(limit);
            parts.relay.way = if hosted.bot.relay { RelayWay::Unknown } else { RelayWay::Off };
        });
        view
    }

    /// The view of a bot of this name.
    pub(super) fn of(board: Board, bot: &str) -> Self {
        Self { board, bot: bot.to_owned(), attempt: 0, was_open: false }
    }

    /// The bot's name.
    pub fn bot(&self) -> &str {
        &self.bot
    }

    fn enter(&self, state: LinkState, change: impl FnOnce(&mut BotStatus)) {
        self.board.bot(&self.bot, |status| {
            if status.state != state {
                status.state = state;
                status.since = clock::now();
            }
            status.advice = advice::advice(state).map(str::to_owned);
            if state != LinkState::Pairing {
                status.qr = None;
            }
            if state != LinkState::Open {
                status.open_since = None;
            }
            if state != LinkState::BackingOff {
                status.next_attempt_at = None;
            }
            change(status);
        });
    }

    /// Changes what is known of the bot's parts.
    pub fn parts(&self, change: impl FnOnce(&mut HostedStatus)) {
        self.board.bot(&self.bot, |status| change(status.hosted.get_or_insert_default()));
    }

    fn state(&self) -> Option<LinkState> {
        self.board.subscribe().borrow().bots.get(&self.bot).map(|status| status.state)
    }

    /// Another dyno has the lease.
    pub fn standby(&self, holder: &str) {
        if self.state() != Some(LinkState::Standby) {
            tracing::info!(bot = %self.bot, owner = holder, "another dyno keeps the bot: standing by");
        }
        self.enter(LinkState::Standby, |status| status.advice = Some(advice::standby(holder)));
    }

    /// The database does not answer.
    pub fn waits_for_database(&self, problem: &str) {
        if self.state() != Some(LinkState::WaitingForDatabase) {
            tracing::error!(bot = %self.bot, problem, "the database does not answer: asking again");
        }
        self.enter(LinkState::WaitingForDatabase, |status| {
            status.advice =
                Some(format!("Waiting for the database, which is asked again by itself: {problem}."));
        });
    }

    /// The lease is ours, and the bot is about to start.
    pub fn starting(&self) {
        self.enter(LinkState::Starting, |_| {});
    }

    /// The bot's program runs and has no link yet.
    pub fn running(&self, port: u16) {
        self.enter(LinkState::Connecting, |status| {
            let hosted = status.hosted.get_or_insert_default();
            hosted.child.state = ChildState::Running;
            hosted.child.started_at = Some(clock::now());
            hosted.child.next_start_at = None;
            hosted.port = Some(port);
        });
    }

    /// The bot's program has ended.
    pub fn ended(&self, how: &str) {
        self.board.bot(&self.bot, |status| {
            let hosted = status.hosted.get_or_insert_default();
            hosted.child.state = ChildState::Stopped;
            hosted.child.started_at = None;
            hosted.child.last_exit = Some(how.to_owned());
            hosted.memory_bytes = None;
            hosted.port = None;
        });
    }

    /// It is started again at this time.
    pub fn waits_for_restart(&self, at: DateTime<Utc>) {
        self.enter(LinkState::BackingOff, |status| {
            status.next_attempt_at = Some(at);
            let hosted = status.hosted.get_or_insert_default();
            hosted.child.state = ChildState::Waiting;
            hosted.child.next_start_at = Some(at);
            hosted.child.restarts += 1;
        });
    }

    /// It is not started any more; `detail` says why, beside the advice.
    pub fn parked(&self, why: Parked, state: ChildState, detail: &str) {
        self.enter(LinkState::Parked(why), |status| {
            if let Some(advice) = &mut status.advice
                && !detail.is_empty()
            {
                *advice = format!("{advice} ({detail})");
            }
            status.hosted.get_or_insert_default().child.state = state;
        });
    }

    /// A QR code waits to be scanned.
    pub fn qr(&self, payload: String) {
        if self.state() != Some(LinkState::Pairing) {
            tracing::info!(bot = %self.bot, "a QR code waits to be scanned");
        }
        let qr = Qr { payload, expires_at: clock::now() + QR_HOLDS };
        self.enter(LinkState::Pairing, |status| status.qr = Some(qr));
    }

    /// The bot dials through the relay.
    pub fn dialled(&mut self) {
        self.attempt = self.attempt.saturating_add(1);
        let attempt = self.attempt;
        self.parts(|hosted| {
            hosted.relay.dials += 1;
            hosted.relay.way = RelayWay::Through;
        });
        // A code stays until the bot has another, or is in.
        if self.state() != Some(LinkState::Pairing) {
            self.enter(LinkState::Connecting, |status| status.attempt = attempt);
        }
    }

    /// What has passed.
    pub fn traffic(&self, inbound: Flow, outbound: Flow) {
        self.parts(|hosted| {
            (hosted.relay.frames_in, hosted.relay.frames_out) = (inbound.frames, outbound.frames);
            (hosted.relay.bytes_in, hosted.relay.bytes_out) = (inbound.bytes, outbound.bytes);
        });
    }

    /// So much came from WhatsApp that the bot must be in; while it pairs that proves nothing.
    pub fn open_by_traffic(&mut self) {
        if self.state() == Some(LinkState::Connecting) {
            self.open();
        }
    }

    /// The bot has been running for a while and has not dialled through the relay.
    pub fn goes_around(&self) {
        tracing::warn!(bot = %self.bot, "the bot does not come through the relay: its link is neither watched nor spaced");
        self.parts(|hosted| hosted.relay.way = RelayWay::Around);
    }

    /// What the bot's processes use. Small changes wake nobody.
    pub fn memory(&self, used: u64) {
        let before = self
            .board
            .subscribe()
            .borrow()
            .bots
            .get(&self.bot)
            .and_then(|bot| bot.hosted.as_ref()?.memory_bytes);
        if before.is_none_or(|before| before.abs_diff(used) >= 1 << 20) {
            self.parts(|hosted| hosted.memory_bytes = Some(used));
        }
    }

    /// The bot is in.
    pub fn open(&mut self) {
        if self.state() == Some(LinkState::Open) {
            return;
        }
        tracing::info!(bot = %self.bot, "Connection established");
        self.attempt = 0;
        let again = std::mem::replace(&mut self.was_open, true);
        self.enter(LinkState::Open, |status| {
            status.open_since = Some(clock::now());
            status.attempt = 0;
            status.reconnects += u64::from(again);
            status.clear(WarningKind::ReconnectLoop);
        });
    }

    /// The link ended. `counts` is false for the restart that follows a pairing.
    pub fn disconnected(&mut self, reason: &str, text: &str, counts: bool) {
        let (now, attempt) = (clock::now(), self.attempt);
        tracing::warn!(bot = %self.bot, reason, attempt, "the link ended: {text}");
        self.enter(LinkState::Connecting, |status| {
            *status.disconnects.entry(reason.to_owned()).or_default() += 1;
            if counts {
                status.last_disconnect =
                    Some(Disconnect { at: now, reason: reason.to_owned(), text: text.to_owned() });
                if attempt > 0 && attempt.is_multiple_of(LOOP_EVERY) {
                    status.raise(
                        WarningKind::ReconnectLoop,
                        now,
                        format!(
                            "{attempt} dials of the bot in a row led to no open link; they are spaced out. {text} \
                             If this lasts, check that WhatsApp works on the phone and that no other program \
                             uses this session."
                        ),
                    );
                }
            }
        });
    }

    /// A dial of the bot is made to wait.
    pub fn held(&self, wait: Duration) {
        let until = clock::now() + chrono::Duration::from_std(wait).unwrap_or_default();
        self.enter(LinkState::BackingOff, |status| {
            status.next_attempt_at = Some(until);
            status.hosted.get_or_insert_default().relay.held += 1;
        });
    }

    /// Changes what is known of the vault.
    pub fn vault(&self, change: impl FnOnce(&mut VaultStatus)) {
        self.parts(|hosted| change(&mut hosted.vault));
    }

    /// What was written to the database.
    pub fn mirrored(&self, mirrored: &Mirrored) {
        self.vault(|vault| {
            (vault.files, vault.bytes) = (mirrored.files, mirrored.bytes);
            vault.written_bytes += mirrored.written;
            vault.problem.clone_from(&mirrored.left_out);
            if mirrored.written > 0 || mirrored.removed > 0 {
                vault.mirrored_at = Some(clock::now());
            }
        });
    }

    /// The bot removed its session.
    pub fn session_removed(&self) {
        tracing::warn!(bot = %self.bot, "the bot removed its session: the last good one is kept");
        self.vault(|vault| vault.removed_at = Some(clock::now()));
    }

    /// Every part is at rest: another dyno's bot from here on, or none.
    pub fn stopped(&self) {
        self.parts(|hosted| {
            hosted.child.state = ChildState::Stopped;
            hosted.child.started_at = None;
            hosted.memory_bytes = None;
            hosted.port = None;
        });
    }
}
