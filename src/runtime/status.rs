//! The status snapshot: what page, health and API read. Written by the runtime and the
//! bots through [`Board`], read through a `watch` channel.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::link::LinkState;

mod alerts;
mod anti_idle;
mod history;
mod hosted;
mod jobs;
mod webhook;

pub use alerts::{AlertStatus, AlertsStatus};
pub use anti_idle::{AntiIdleStatus, Ping, TargetStatus};
pub use history::{BotHistory, HANDOVER, Hour, Interruption, Month, NOT_KEPT, Piece};
pub use hosted::{ChildState, ChildStatus, HostedStatus, RelayStatus, RelayWay, VaultStatus};
pub use jobs::{JobRunStatus, JobStatus};
pub use webhook::{WebhookProblem, WebhookStatus};

/// Everything a reader may know about this process at one instant.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// When this process began.
    pub started_at: DateTime<Utc>,
    /// Loopback simulator address when this build trusts the simulator, else `None`.
    pub simulator: Option<String>,
    /// Whether the database answers, and what to do when it does not.
    pub database: DatabaseStatus,
    /// What it was before it went down.
    database_when_up: Option<DatabaseStatus>,
    /// Under which secret keys the stored values are; `None` until they were counted.
    pub sealing: Option<SealingStatus>,
    /// How large the database is; `None` until the first look.
    pub database_size: Option<DatabaseSize>,
    /// Memory of this process; `None` until the first look.
    pub memory: Option<Memory>,
    /// Pings that keep the dyno awake; `None` where there are none.
    pub anti_idle: Option<AntiIdleStatus>,
    /// What was told of the bots.
    pub alerts: AlertsStatus,
    /// Jobs by name.
    pub jobs: BTreeMap<String, JobStatus>,
    /// The dyno this process is, e.g. "web.1"; `None` outside of Heroku.
    pub dyno: Option<String>,
    /// SIGTERM was seen; the process is ending.
    pub stopping: bool,
    /// The bots by name.
    pub bots: BTreeMap<String, BotStatus>,
    /// What their links did, by name of the bot, as far as it was read.
    pub history: BTreeMap<String, Arc<BotHistory>>,
}

/// The database as the page shows it. Messages carry no URL and no password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum DatabaseStatus {
    /// Not asked yet.
    Starting,
    /// Answers; `kind` is "postgresql" or "sqlite".
    Ok { kind: &'static str, warning: Option<String> },
    /// Does not answer or refuses; `problem` says what and what to do.
    Down { kind: &'static str, problem: String },
}

/// How the stored values are sealed. Ids tell keys apart and nothing more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SealingStatus {
    /// Id of the key that seals.
    pub key: String,
    /// Ids of the old keys that are set too.
    pub old_keys: Vec<String>,
    /// Stored values that are plain or under an old key.
    pub left: u64,
    /// Stored values that open under none of the keys that are set.
    pub unreadable: u64,
    /// No stored value needs an old key: it can be removed from BLACKSKY_SECRET_KEY.
    pub old_keys_removable: bool,
}

/// How large the database is against what its plan holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DatabaseSize {
    /// What it takes.
    pub bytes: u64,
    /// What the plan holds; `None` where there is none, or none that is known.
    pub limit_bytes: Option<u64>,
    /// The plan, e.g. "essential-0".
    pub plan: Option<String>,
    /// At least nine tenths are used.
    pub tight: bool,
}

/// Memory against what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Resident memory and swap of this process.
    pub used_bytes: u64,
    /// The same of the programs of hosted bots.
    pub programs_bytes: u64,
    /// What the dyno may use before Heroku reports R14; elsewhere the limit of the container, or else what the
    /// machine has.
    pub quota_bytes: u64,
    /// At least nine tenths are used.
    pub tight: bool,
}

/// One bot at one instant. As JSON, without any secret, it is what a dyno publishes to the others; a
/// key that is added needs a default, since dynos of two versions run at once during a deploy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BotStatus {
    /// Where the link stands.
    pub state: LinkState,
    /// When `state` was entered.
    pub since: DateTime<Utc>,
    /// What a person should do now, in one sentence; `None` when nothing.
    pub advice: Option<String>,
    /// The QR to scan while `state` is pairing. Secret.
    #[serde(skip)]
    pub qr: Option<Qr>,
    /// When the link opened last, while it is open.
    pub open_since: Option<DateTime<Utc>>,
    /// Why and when the link ended last.
    pub last_disconnect: Option<Disconnect>,
    /// How often the link ended, or was not made, in this process, by [`Disconnect::reason`].
    pub disconnects: BTreeMap<String, u64>,
    /// What a person should know although nothing is stopped for it; at most one of a kind.
    pub warnings: Vec<Warning>,
    /// How often each kind of warning was raised in this process, those that are over included: whoever
    /// watches the board sees by this that a warning which still stands was raised again.
    pub raised: BTreeMap<WarningKind, u64>,
    /// Dials since the link was last open for `backoff.reset_after`.
    pub attempt: u32,
    /// When the next dial is due, while backing off.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// Times the link opened again after it had been open, in this process.
    pub reconnects: u64,
    /// Inbound messages written to the inbox by this process.
    pub messages_in: u64,
    /// Replies handed to WhatsApp by this process.
    pub messages_out: u64,
    /// Copies of its session.
    pub backup: BackupStatus,
    /// What is known of a hosted bot beside its link; `None` for a native one.
    #[serde(default)]
    pub hosted: Option<HostedStatus>,
    /// Its webhook; `None` where there is none.
    #[serde(default)]
    pub webhook: Option<WebhookStatus>,
    /// While `state` is standby: the dyno that holds the link, and what it says.
    #[serde(skip)]
    pub holder: Option<Holder>,
}

/// The dyno that holds a bot's link, as another dyno knows it.
#[derive(Debug, Clone)]
pub struct Holder {
    /// The dyno, e.g. "web.1"; `None` when it has no name.
    pub dyno: Option<String>,
    /// The bot as the holder published it. Its own `holder` is `None`.
    pub bot: Box<BotStatus>,
    /// Holders publish no QR, since there is no key to seal it with.
    pub qr_withheld: bool,
}

/// What a dyno does for a bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It holds the lease: the link is its own.
    Holder,
    /// Another dyno holds the lease; this one takes over when that ends.
    Standby,
    /// Neither yet: it is starting or waits for the database.
    Waiting,
}

/// Copies of a session as the page shows them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BackupStatus {
    /// The newest one.
    pub last: Option<LastBackup>,
    /// Why the last try took none; `None` when it went well.
    pub problem: Option<String>,
}

/// The newest backup of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastBackup {
    /// When it was taken.
    pub taken_at: DateTime<Utc>,
    /// When the session was last found to be the same.
    pub checked_at: DateTime<Utc>,
    /// Bytes it takes in the database.
    pub bytes: u64,
    /// Rows in it.
    pub rows: u64,
}

/// A QR payload. Secret: whoever scans it links the account.
#[derive(Clone, PartialEq, Eq)]
pub struct Qr {
    /// The text the phone scans.
    pub payload: String,
    /// When WhatsApp stops accepting it.
    pub expires_at: DateTime<Utc>,
}

impl std::fmt::Debug for Qr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Qr").field("payload", &"***").field("expires_at", &self.expires_at).finish()
    }
}

/// How a link ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Disconnect {
    /// When.
    pub at: DateTime<Utc>,
    /// A short stable word: "silence", "replaced", "stream_error_503", "failure_405", "dial_failed" …
    pub reason: String,
    /// One sentence for a person.
    pub text: String,
}

/// Something that a person should know and that restarts nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// What it is about.
    pub kind: WarningKind,
    /// When it was first raised since it was last over.
    pub since: DateTime<Utc>,
    /// One or two sentences for a person: what happens, and what to do.
    pub text: String,
}

/// The kinds of warnings. The words are stable: `/status` and alerts use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarningKind {
    /// For ten minutes a large share of the inbound messages could not be decrypted.
    Deaf,
    /// Attempt after attempt to open the link fails; raised again at every fifth.
    ReconnectLoop,
    /// The bot's webhook did not take messages until they were given up; raised again with each more.
    DeadLetters,
}

impl WarningKind {
    /// The stable word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deaf => "deaf",
            Self::ReconnectLoop => "reconnect_loop",
            Self::DeadLetters => "dead_letters",
        }
    }
}

impl BotStatus {
    /// Raises a warning, or raises it again: the text is the new one, `since` stays.
    pub fn raise(&mut self, kind: WarningKind, now: DateTime<Utc>, text: impl Into<String>) {
        let text = text.into();
        match self.warnings.iter_mut().find(|warning| warning.kind == kind) {
            Some(warning) => warning.text = text,
            None => self.warnings.push(Warning { kind, since: now, text }),
        }
        *self.raised.entry(kind).or_default() += 1;
    }

    /// The warning is over; one that does not stand is ignored.
    pub fn clear(&mut self, kind: WarningKind) {
        self.warnings.retain(|warning| warning.kind != kind);
    }

    /// A bot whose process has just begun.
    pub fn starting(now: DateTime<Utc>) -> Self {
        Self {
            state: LinkState::Starting,
            since: now,
            advice: None,
            qr: None,
            open_since: None,
            last_disconnect: None,
            disconnects: BTreeMap::new(),
            warnings: Vec::new(),
            raised: BTreeMap::new(),
            attempt: 0,
            next_attempt_at: None,
            reconnects: 0,
            messages_in: 0,
            messages_out: 0,
            holder: None,
            backup: BackupStatus::default(),
            hosted: None,
            webhook: None,
        }
    }

    /// What this process does for the bot.
    pub fn role(&self) -> Role {
        match self.state {
            LinkState::Standby => Role::Standby,
            LinkState::Starting | LinkState::WaitingForDatabase => Role::Waiting,
            LinkState::Pairing
            | LinkState::Connecting
            | LinkState::Open
            | LinkState::BackingOff
            | LinkState::Parked(_)
            | LinkState::LoggedOut => Role::Holder,
        }
    }

    /// The dyno that holds the link, while that is another one and is heard of.
    pub fn kept_by(&self) -> Option<&Holder> {
        self.holder.as_ref().filter(|_| self.role() == Role::Standby)
    }

    /// The bot as its holder has it: what every dyno's page shows.
    pub fn shown(&self) -> &Self {
        self.kept_by().map_or(self, |holder| &holder.bot)
    }
}

/// The writing side of the snapshot; cheap to clone.
#[derive(Debug, Clone)]
pub struct Board(watch::Sender<Snapshot>);

impl Board {
    /// A board for the named bots, all `starting`.
    pub fn new<'a>(
        now: DateTime<Utc>,
        simulator: Option<String>,
        bots: impl Iterator<Item = &'a str>,
    ) -> Self {
        Self(watch::Sender::new(Snapshot {
            started_at: now,
            simulator,
            database: DatabaseStatus::Starting,
            database_when_up: None,
            sealing: None,
            database_size: None,
            memory: None,
            anti_idle: None,
            alerts: AlertsStatus::default(),
            jobs: BTreeMap::new(),
            dyno: None,
            stopping: false,
            bots: bots.map(|name| (name.to_owned(), BotStatus::starting(now))).collect(),
            history: BTreeMap::new(),
        }))
    }

    /// A reader of the snapshot.
    pub fn subscribe(&self) -> watch::Receiver<Snapshot> {
        self.0.subscribe()
    }

    /// Changes what is not of one bot.
    pub fn update(&self, change: impl FnOnce(&mut Snapshot)) {
        self.0.send_modify(change);
    }

    /// The same, and wakes readers only when `change` says that there was one.
    pub fn update_if(&self, change: impl FnOnce(&mut Snapshot) -> bool) {
        self.0.send_if_modified(change);
    }

    /// Writes what memory is used. Readers are woken only by a change that matters to them: `tight`, or at
    /// least a megabyte.
    pub fn memory(&self, memory: Memory) {
        self.0.send_if_modified(|snapshot| {
            let matters = snapshot.memory.is_none_or(|before| {
                let all = |memory: &Memory| memory.used_bytes + memory.programs_bytes;
                before.tight != memory.tight || all(&before).abs_diff(all(&memory)) >= 1 << 20
            });
            snapshot.memory = Some(memory);
            matters
        });
    }

    /// Changes one bot; a name that is not there is ignored.
    pub fn bot(&self, name: &str, change: impl FnOnce(&mut BotStatus)) {
        self.0.send_if_modified(|snapshot| match snapshot.bots.get_mut(name) {
            Some(bot) => {
                change(bot);
                true
            }
            None => false,
        });
    }

    /// The database does not answer or refuses; `problem` says what and what to do.
    pub fn database_down(&self, kind: &'static str, problem: &str) {
        self.0.send_if_modified(|snapshot| {
            let down = DatabaseStatus::Down { kind, problem: problem.to_owned() };
            let changed = snapshot.database != down;
            let before = std::mem::replace(&mut snapshot.database, down);
            if matches!(before, DatabaseStatus::Ok { .. }) {
                snapshot.database_when_up = Some(before);
            }
            changed
        });
    }

    /// The database answers again, and is what it was before; `warning` is for one that was not up yet. Of
    /// one that is up nothing changes.
    pub fn database_up(&self, kind: &'static str, warning: Option<String>) {
        self.0.send_if_modified(|snapshot| {
            let was_down = !matches!(snapshot.database, DatabaseStatus::Ok { .. });
            if was_down {
                let before = snapshot.database_when_up.take();
                snapshot.database = before.unwrap_or(DatabaseStatus::Ok { kind, warning });
            }
            was_down
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock;

    #[test]
    fn a_warning_raised_again_keeps_its_beginning_and_is_counted() {
        let mut bot = BotStatus::starting(clock::now());
        let (first, second) = (clock::now(), clock::now() + chrono::Duration::minutes(3));
        bot.raise(WarningKind::ReconnectLoop, first, "5 attempts failed");
        bot.raise(WarningKind::Deaf, first, "deaf");
        bot.raise(WarningKind::ReconnectLoop, second, "10 attempts failed");
        let text = "10 attempts failed".to_owned();
        assert_eq!(bot.warnings[0], Warning { kind: WarningKind::ReconnectLoop, since: first, text });
        assert_eq!(bot.warnings.len(), 2);
        bot.clear(WarningKind::ReconnectLoop);
        bot.clear(WarningKind::ReconnectLoop);
        assert_eq!(bot.warnings.len(), 1, "the other one stands");
        bot.raise(WarningKind::ReconnectLoop, second, "15 attempts failed");
        assert_eq!(bot.raised[&WarningKind::ReconnectLoop], 3);
        assert_eq!(bot.warnings[1].since, second, "a new one begins anew");
    }

    #[test]
    fn the_words_are_those_of_the_json() {
        for kind in [WarningKind::Deaf, WarningKind::ReconnectLoop, WarningKind::DeadLetters] {
            assert_eq!(serde_json::to_value(kind).expect("a word"), kind.name());
        }
    }

    #[test]
    fn a_database_that_comes_back_is_what_it_was() {
        let board = Board::new(clock::now(), None, ["main"].into_iter());
        let mut reader = board.subscribe();
        let now = |board: &Board| board.subscribe().borrow().database.clone();
        let said =
            |warning: &str| DatabaseStatus::Ok { kind: "postgresql", warning: Some(warning.to_owned()) };
        board.database_up("postgresql", Some("unsealed".to_owned()));
        assert_eq!(now(&board), said("unsealed"));
        board.update(|snapshot| snapshot.database = said("a key can be removed"));
        board.database_up("postgresql", Some("unsealed".to_owned()));
        assert_eq!(now(&board), said("a key can be removed"), "it was up");
        board.database_down("postgresql", "gone");
        board.database_down("postgresql", "still gone");
        let problem = "still gone".to_owned();
        assert_eq!(now(&board), DatabaseStatus::Down { kind: "postgresql", problem });
        reader.mark_unchanged();
        board.database_down("postgresql", "still gone");
        assert!(!reader.has_changed().expect("the board lives"), "nobody is woken for nothing");
        board.database_up("postgresql", None);
        assert_eq!(now(&board), said("a key can be removed"));
    }
}
