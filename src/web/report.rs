//! The JSON of `/status` and `/readyz`; its shape is documented in `docs/status.md`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::hosted;
use crate::link::LinkState;
use crate::runtime::status::{
    AlertsStatus, AntiIdleStatus, BotHistory, BotStatus, DatabaseSize, DatabaseStatus, Disconnect,
    HostedStatus, JobStatus, LastBackup, Memory, Role, SealingStatus, Snapshot, WarningKind, WebhookStatus,
};

/// What anybody may know: no session id, no QR, no personal data.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Version of the program.
    pub version: &'static str,
    /// When this report was made.
    pub now: DateTime<Utc>,
    /// When the process began.
    pub started_at: DateTime<Utc>,
    /// Seconds since then.
    pub uptime_seconds: u64,
    /// Address of the simulated WhatsApp, in a build that trusts it.
    pub simulator: Option<String>,
    /// Memory against what there is; `None` where that is not known.
    pub memory: Option<Memory>,
    /// How large the database is; `null` until the first look.
    pub database_size: Option<DatabaseSize>,
    /// Pings that keep the dyno awake; `null` where there are none.
    pub anti_idle: Option<AntiIdleStatus>,
    /// What this process told of the bots.
    pub alerts: AlertsStatus,
    /// Jobs by name.
    pub jobs: BTreeMap<String, JobStatus>,
    /// The dyno that answers.
    pub dyno: Option<String>,
    /// Whether the process is ending.
    pub stopping: bool,
    /// Whether `/readyz` answers 200.
    pub ready: bool,
    /// The database.
    pub database: DatabaseStatus,
    /// Under which secret keys the stored values are; `null` while unknown.
    pub sealing: Option<SealingStatus>,
    /// The enabled bots by name.
    pub bots: BTreeMap<String, BotReport>,
}

/// One bot of a [`Report`].
#[derive(Debug, Clone, Serialize)]
pub struct BotReport {
    /// What the dyno that answers does for the bot; the rest is what the holder says.
    pub dyno: DynoReport,
    /// The state's word, such as "backing_off".
    pub state: &'static str,
    /// Why, while parked.
    pub reason: Option<&'static str>,
    /// When the state was entered.
    pub since: DateTime<Utc>,
    /// When the link opened, while it is open.
    pub open_since: Option<DateTime<Utc>>,
    /// Seconds the link has been open; 0 when it is not.
    pub open_seconds: u64,
    /// What a person should do now.
    pub advice: Option<String>,
    /// How the link ended last.
    pub last_disconnect: Option<Disconnect>,
    /// How often the link ended or was not made, in this process, by reason.
    pub disconnects: BTreeMap<String, u64>,
    /// What a person should know although nothing is stopped for it.
    pub warnings: Vec<WarningReport>,
    /// Dials since the link was last stable.
    pub attempt: u32,
    /// When the next dial is due.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// Times the link opened again, in this process.
    pub reconnects: u64,
    /// Inbound messages stored by this process.
    pub messages_in: u64,
    /// Replies sent by this process.
    pub messages_out: u64,
    /// The newest copy of the session.
    pub last_backup: Option<LastBackup>,
    /// Why the last try to take one failed.
    pub backup_problem: Option<String>,
    /// Program, session and WebSocket of a hosted bot; `null` for a native one.
    pub hosted: Option<HostedStatus>,
    /// Webhook of a native bot; `null` where there is none.
    pub webhook: Option<WebhookStatus>,
    /// What the link did, whichever dyno held it; `null` until it was read.
    pub history: Option<BotHistory>,
}

/// One warning of a [`BotReport`].
#[derive(Debug, Clone, Serialize)]
pub struct WarningReport {
    /// The warning's word, such as "deaf".
    pub kind: WarningKind,
    /// When it began.
    pub since: DateTime<Utc>,
    /// What happens and what to do.
    pub text: String,
    /// How often it was raised in this process.
    pub raised: u64,
}

/// The part of a dyno in a bot.
#[derive(Debug, Clone, Serialize)]
pub struct DynoReport {
    /// Of the dyno that answers.
    pub role: Role,
    /// The dyno that holds the link, as far as it is known.
    pub holder: Option<String>,
}

/// The report of a snapshot.
pub fn report(snapshot: &Snapshot, now: DateTime<Utc>) -> Report {
    Report {
        version: env!("CARGO_PKG_VERSION"),
        now,
        started_at: snapshot.started_at,
        uptime_seconds: seconds_between(snapshot.started_at, now),
        simulator: snapshot.simulator.clone(),
        memory: snapshot.memory,
        database_size: snapshot.database_size.clone(),
        anti_idle: snapshot.anti_idle.clone(),
        alerts: snapshot.alerts.clone(),
        jobs: snapshot.jobs.clone(),
        dyno: snapshot.dyno.clone(),
        stopping: snapshot.stopping,
        ready: not_ready(snapshot).is_empty(),
        database: snapshot.database.clone(),
        sealing: snapshot.sealing.clone(),
        bots: snapshot
            .bots
            .iter()
            .map(|(name, bot)| {
                let history = snapshot.history.get(name).map(|history| BotHistory::clone(history));
                let report = BotReport { history, ..bot_report(bot, snapshot.dyno.as_deref(), now) };
                (name.clone(), report)
            })
            .collect(),
    }
}

fn bot_report(bot: &BotStatus, own: Option<&str>, now: DateTime<Utc>) -> BotReport {
    let role = bot.role();
    let holder = match role {
        Role::Holder => own.map(str::to_owned),
        Role::Standby => bot.kept_by().and_then(|holder| holder.dyno.clone()),
        Role::Waiting => None,
    };
    let bot = bot.shown();
    let open_since = bot.open_since.filter(|_| bot.state == LinkState::Open);
    BotReport {
        dyno: DynoReport { role, holder },
        state: bot.state.name(),
        reason: match bot.state {
            LinkState::Parked(why) => Some(why.name()),
            LinkState::Starting
            | LinkState::WaitingForDatabase
            | LinkState::Standby
            | LinkState::Pairing
            | LinkState::Connecting
            | LinkState::Open
            | LinkState::BackingOff
            | LinkState::LoggedOut => None,
        },
        since: bot.since,
        open_since,
        open_seconds: open_since.map_or(0, |at| seconds_between(at, now)),
        advice: bot.advice.clone(),
        last_disconnect: bot.last_disconnect.clone(),
        disconnects: bot.disconnects.clone(),
        warnings: bot
            .warnings
            .iter()
            .map(|warning| WarningReport {
                kind: warning.kind,
                since: warning.since,
                text: warning.text.clone(),
                raised: bot.raised.get(&warning.kind).copied().unwrap_or_default(),
            })
            .collect(),
        attempt: bot.attempt,
        next_attempt_at: bot.next_attempt_at,
        reconnects: bot.reconnects,
        messages_in: bot.messages_in,
        messages_out: bot.messages_out,
        last_backup: bot.backup.last.clone(),
        backup_problem: bot.backup.problem.clone(),
        hosted: bot.hosted.as_ref().map(hosted::public),
        webhook: bot.webhook.clone(),
        history: None,
    }
}

/// Why `/readyz` is not 200: the state of each bot whose link is not open, here or at the dyno that holds
/// it, by bot name. Empty when ready. A process that is stopping is not ready.
pub fn not_ready(snapshot: &Snapshot) -> BTreeMap<&str, &'static str> {
    let mut reasons: BTreeMap<&str, &'static str> = snapshot
        .bots
        .iter()
        .map(|(name, bot)| (name.as_str(), bot.shown().state))
        .filter(|(_, state)| *state != LinkState::Open)
        .map(|(name, state)| (name, state.name()))
        .collect();
    if snapshot.stopping {
        // No bot name: names are lower case letters and digits.
        reasons.insert("(process)", "stopping");
    }
    reasons
}

fn seconds_between(from: DateTime<Utc>, to: DateTime<Utc>) -> u64 {
    u64::try_from((to - from).num_seconds()).unwrap_or(0)
}
