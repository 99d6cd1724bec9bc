//! The families of the bots, as this process knows them.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use prometheus_client::registry::Unit;

use super::writer::{Sample, Writer, count, flag, timestamp};
use crate::link::LinkState;
use crate::link::state::Parked;
use crate::runtime::status::{
    BotStatus, ChildState, HostedStatus, Role, Snapshot, WarningKind, WebhookStatus,
};

/// The states of a link, one sample each.
const STATES: [&str; 9] = [
    LinkState::Starting.name(),
    LinkState::WaitingForDatabase.name(),
    LinkState::Standby.name(),
    LinkState::Pairing.name(),
    LinkState::Connecting.name(),
    LinkState::Open.name(),
    LinkState::BackingOff.name(),
    LinkState::Parked(Parked::Conflict).name(),
    LinkState::LoggedOut.name(),
];
const WARNINGS: [WarningKind; 3] = [WarningKind::Deaf, WarningKind::ReconnectLoop, WarningKind::DeadLetters];

/// Codes of endings that are told apart, beside those of HTTP from 400 to 599; a server may send any.
const CODES: [&str; 12] =
    ["1000", "1001", "1002", "1003", "1005", "1006", "1007", "1008", "1009", "1011", "1012", "1013"];

/// Reasons that are there from the beginning, at 0.
const COMMON: [&str; 3] = ["silence", "eof", "dial_failed"];

/// A sample for each bot that has a value.
fn each<'s, V>(
    snapshot: &'s Snapshot,
    value: impl Fn(&BotStatus) -> Option<V> + 's,
) -> impl Iterator<Item = Sample<1, V>> + 's {
    snapshot.bots.iter().filter_map(move |(name, bot)| Some(([("bot", name.clone())], value(bot)?)))
}

/// Samples for each bot, told apart by a second label.
fn by<V, I: IntoIterator<Item = (String, V)>>(
    snapshot: &Snapshot,
    label: &'static str,
    values: impl Fn(&BotStatus) -> I,
) -> Vec<Sample<2, V>> {
    let of = |(name, bot): (&String, &BotStatus)| {
        let sample = |(word, value)| ([("bot", name.clone()), (label, word)], value);
        values(bot).into_iter().map(sample).collect::<Vec<_>>()
    };
    snapshot.bots.iter().flat_map(of).collect()
}

/// Writes them.
pub fn write(to: &mut Writer<'_>, snapshot: &Snapshot, now: DateTime<Utc>) -> fmt::Result {
    link(to, snapshot, now)?;
    to.counter(
        ("blacksky_messages_received", None),
        "Inbound messages stored by this process.",
        each(snapshot, |bot| Some(bot.messages_in)),
    )?;
    to.counter(
        ("blacksky_messages_sent", None),
        "Messages that this process handed to WhatsApp.",
        each(snapshot, |bot| Some(bot.messages_out)),
    )?;
    to.gauge(
        ("blacksky_bot_warning", None),
        "1 while a warning stands.",
        by(snapshot, "kind", |bot| {
            WARNINGS.map(|kind| {
                (kind.name().to_owned(), flag(bot.warnings.iter().any(|warning| warning.kind == kind)))
            })
        }),
    )?;
    to.counter(
        ("blacksky_bot_warnings", None),
        "Times a warning was raised.",
        by(snapshot, "kind", |bot| {
            WARNINGS.map(|kind| (kind.name().to_owned(), bot.raised.get(&kind).copied().unwrap_or(0)))
        }),
    )?;
    backups(to, snapshot)?;
    webhooks(to, snapshot)?;
    hosted(to, snapshot)
}

fn link(to: &mut Writer<'_>, snapshot: &Snapshot, now: DateTime<Utc>) -> fmt::Result {
    to.gauge(
        ("blacksky_link_open", None),
        "1 while the link to WhatsApp is open in this process.",
        each(snapshot, |bot| Some(flag(bot.state == LinkState::Open))),
    )?;
    to.gauge(
        ("blacksky_link_state", None),
        "1 for the state in which the link is, 0 for the others.",
        by(snapshot, "state", |bot| STATES.map(|state| (state.to_owned(), flag(bot.state.name() == state)))),
    )?;
    to.gauge(
        ("blacksky_link_holder", None),
        "1 where this process holds the lease of the bot, 0 where it stands by or waits.",
        each(snapshot, |bot| Some(flag(bot.role() == Role::Holder))),
    )?;
    to.gauge(
        ("blacksky_link_state_timestamp", Some(Unit::Seconds)),
        "When the state was entered.",
        each(snapshot, |bot| Some(timestamp(bot.since))),
    )?;
    to.counter(
        ("blacksky_link_disconnects", None),
        "Times the link ended or was not made, by reason.",
        by(snapshot, "reason", |bot| bounded(&bot.disconnects)),
    )?;
    to.counter(
        ("blacksky_link_reconnects", None),
        "Times the link opened again after it had been open.",
        each(snapshot, |bot| Some(bot.reconnects)),
    )?;
    to.gauge(
        ("blacksky_link_attempts", None),
        "Dials since the link was last stable.",
        each(snapshot, |bot| Some(f64::from(bot.attempt))),
    )?;
    to.gauge(
        ("blacksky_link_backoff", Some(Unit::Seconds)),
        "Time until the next dial; 0 when none waits.",
        each(snapshot, |bot| {
            let wait = bot.next_attempt_at.and_then(|at| (at - now).to_std().ok());
            Some(wait.unwrap_or_default().as_secs_f64())
        }),
    )
}

fn backups(to: &mut Writer<'_>, snapshot: &Snapshot) -> fmt::Result {
    to.gauge(
        ("blacksky_backup_last_timestamp", Some(Unit::Seconds)),
        "When the newest backup was taken.",
        each(snapshot, |bot| Some(timestamp(bot.backup.last.as_ref()?.taken_at))),
    )?;
    to.gauge(
        ("blacksky_backup_checked_timestamp", Some(Unit::Seconds)),
        "When the session was last found to be as in the newest backup.",
        each(snapshot, |bot| Some(timestamp(bot.backup.last.as_ref()?.checked_at))),
    )?;
    to.gauge(
        ("blacksky_backup_size", Some(Unit::Bytes)),
        "Size of the newest backup in the database.",
        each(snapshot, |bot| Some(count(bot.backup.last.as_ref()?.bytes))),
    )?;
    to.gauge(
        ("blacksky_backup_failing", None),
        "1 when the last try took no backup.",
        each(snapshot, |bot| Some(flag(bot.backup.problem.is_some()))),
    )
}

fn webhooks(to: &mut Writer<'_>, snapshot: &Snapshot) -> fmt::Result {
    let of = |value: fn(&WebhookStatus) -> u64| each(snapshot, move |bot| bot.webhook.as_ref().map(value));
    to.gauge(
        ("blacksky_webhook_waiting", None),
        "Messages that wait to be posted.",
        of(|webhook| webhook.waiting).map(|(labels, value)| (labels, count(value))),
    )?;
    to.gauge(
        ("blacksky_webhook_oldest_timestamp", Some(Unit::Seconds)),
        "When the oldest message that waits came.",
        each(snapshot, |bot| Some(timestamp(bot.webhook.as_ref()?.oldest_waiting_at?))),
    )?;
    to.gauge(
        ("blacksky_webhook_dead_letters", None),
        "Messages that were given up and are kept.",
        of(|webhook| webhook.dead).map(|(labels, value)| (labels, count(value))),
    )?;
    to.counter(
        ("blacksky_webhook_delivered", None),
        "Messages that the receiver took.",
        of(|webhook| webhook.delivered),
    )
}

fn hosted(to: &mut Writer<'_>, snapshot: &Snapshot) -> fmt::Result {
    let of = |value: fn(&HostedStatus) -> u64| each(snapshot, move |bot| bot.hosted.as_ref().map(value));
    let counted =
        |samples: Vec<Sample<1, u64>>| samples.into_iter().map(|(labels, value)| (labels, count(value)));
    to.gauge(
        ("blacksky_hosted_running", None),
        "1 while the program of a hosted bot runs.",
        each(snapshot, |bot| Some(flag(bot.hosted.as_ref()?.child.state == ChildState::Running))),
    )?;
    to.counter(
        ("blacksky_hosted_restarts", None),
        "Times the program was started again.",
        of(|hosted| hosted.child.restarts),
    )?;
    to.gauge(
        ("blacksky_hosted_memory", Some(Unit::Bytes)),
        "Memory of all processes of a hosted bot.",
        each(snapshot, |bot| bot.hosted.as_ref()?.memory_bytes.map(count)),
    )?;
    to.gauge(
        ("blacksky_hosted_memory_limit", Some(Unit::Bytes)),
        "At how much they are restarted.",
        each(snapshot, |bot| bot.hosted.as_ref()?.memory_limit_bytes.map(count)),
    )?;
    to.gauge(
        ("blacksky_vault_files", None),
        "Files of a hosted bot's session in the database.",
        counted(of(|hosted| hosted.vault.files).collect()),
    )?;
    to.gauge(
        ("blacksky_vault_size", Some(Unit::Bytes)),
        "Their size.",
        counted(of(|hosted| hosted.vault.bytes).collect()),
    )?;
    to.counter(
        ("blacksky_vault_written", Some(Unit::Bytes)),
        "What was written of them, before sealing.",
        of(|hosted| hosted.vault.written_bytes),
    )?;
    to.gauge(
        ("blacksky_vault_mirrored_timestamp", Some(Unit::Seconds)),
        "When a change was last written to the database.",
        each(snapshot, |bot| Some(timestamp(bot.hosted.as_ref()?.vault.mirrored_at?))),
    )?;
    to.gauge(
        ("blacksky_vault_failing", None),
        "1 when the last try wrote nothing, or left a file out.",
        each(snapshot, |bot| Some(flag(bot.hosted.as_ref()?.vault.problem.is_some()))),
    )?;
    to.counter(
        ("blacksky_relay_dials", None),
        "Times a hosted bot dialled through the relay.",
        of(|hosted| hosted.relay.dials),
    )?;
    to.counter(
        ("blacksky_relay_dials_held", None),
        "Dials that were made to wait.",
        of(|hosted| hosted.relay.held),
    )?;
    let ways = |values: fn(&HostedStatus) -> [u64; 2]| {
        by(snapshot, "direction", |bot| {
            let found = bot.hosted.as_ref().map(values);
            found
                .into_iter()
                .flat_map(|[inward, outward]| [("in".to_owned(), inward), ("out".to_owned(), outward)])
        })
    };
    to.counter(
        ("blacksky_relay_frames", None),
        "WebSocket frames through the relay, from WhatsApp (in) and to it (out).",
        ways(|hosted| [hosted.relay.frames_in, hosted.relay.frames_out]),
    )?;
    to.counter(
        ("blacksky_relay_transferred", Some(Unit::Bytes)),
        "Bytes through the relay, from WhatsApp (in) and to it (out).",
        ways(|hosted| [hosted.relay.bytes_in, hosted.relay.bytes_out]),
    )
}

/// The reasons, those with a code of a server's own choice taken together: a server must not be able to make as many
/// series as there are numbers.
fn bounded(disconnects: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut all: BTreeMap<String, u64> = COMMON.map(|reason| (reason.to_owned(), 0)).into();
    for (reason, times) in disconnects {
        let word = match reason.rsplit_once('_') {
            Some((kind, code)) if code.bytes().all(|byte| byte.is_ascii_digit()) && !known(code) => {
                format!("{kind}_other")
            }
            _ => reason.clone(),
        };
        let sum = all.entry(word).or_default();
        *sum = sum.saturating_add(*times);
    }
    all
}

fn known(code: &str) -> bool {
    CODES.contains(&code) || (code.len() == 3 && (code.starts_with('4') || code.starts_with('5')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_cannot_make_a_series_for_each_number() {
        let mut all = BTreeMap::from([("silence".to_owned(), 3), ("replaced".to_owned(), 1)]);
        for code in 0..10_000 {
            all.insert(format!("close_{code}"), 1);
            all.insert(format!("stream_error_{code}"), 1);
        }
        let bounded = bounded(&all);
        assert!(bounded.len() < 500, "{}", bounded.len());
        assert_eq!((bounded["silence"], bounded["close_1006"], bounded["stream_error_503"]), (3, 1, 1));
        assert_eq!(bounded.values().sum::<u64>(), 20_004);
    }
}
