//! What a database must be able to do. [`super::postgres`] and [`super::sqlite`] do it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::backup::{BackupInfo, GenerationInfo, SessionInfo};
use super::chats::ChatRow;
use super::delivery::{Backlog, DeliveryKey, DeliveryLimits, Thinned};
use super::dyno::Dyno;
use super::history::{HourCount, KeptRows, Stretch, Totals, Traffic};
use super::jobs::{JobEnd, JobKey, JobRun};
use super::kind::{Kind, Name, Row};
use super::notice::Bulletin;
use super::outbox::{OutboxRow, OutgoingStatus, QueuedRow, Taken};
use super::published::{Asked, FoundStatus, StatusRow};
use super::sealed_places::{Part, SealedPlace, Share, Stored, Swap};
use super::{Lease, Migrated, Owner, StoreError};
use crate::config::WaVersion;

/// Session, epoch and generation a write is bound to. A write whose bond is no longer the session's
/// fails with [`StoreError::Fenced`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bond {
    pub session: String,
    pub epoch: i64,
    pub generation: i64,
}

/// A lease that was won.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Won {
    pub epoch: i64,
    pub generation: i64,
}

/// What happens to a row that is already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Merge {
    /// The new row replaces it.
    Replace,
    /// It stays.
    Keep,
    /// The LID gets this phone number: its other rows go, the time of creation stays.
    Lid,
    /// `mark` only grows; value and `at` stay.
    TcSender,
    /// Value and `at` change if it had no value or the new one is at least as new; `mark` stays.
    TcReceived,
    /// The value changes; the later expiry wins, 0 being never; the later `mark` wins.
    MsgSecret,
}

/// Which rows of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Which {
    All,
    Named(Vec<Name>),
    /// All of one key.
    Key(Vec<u8>),
    /// Whose second half is one of these, whatever their key.
    Subs(Vec<Vec<u8>>),
    /// `at` below this.
    Before(i64),
    /// `at` not 0 and not above this.
    Expired(i64),
    /// Contact tokens with neither a token since the first time nor a `mark` since the second.
    StaleTc {
        token: i64,
        sender: i64,
    },
}

/// Which one row stands for its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    /// The one with the highest key.
    Key,
    /// The one with the latest `at`; among equals the highest key.
    At,
}

/// A sealed row of the inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InboxRow {
    pub chat: Vec<u8>,
    pub sender: Vec<u8>,
    pub id: Vec<u8>,
    pub at: i64,
    pub value: Vec<u8>,
}

/// A sealed row of what is owed to the webhook; `at` is when it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeliveryRow {
    pub row: InboxRow,
    pub attempts: i64,
}

/// What is owed to webhooks. The first of a chat that is not dead holds up those after it.
#[async_trait]
pub(super) trait Deliveries {
    /// Chats with something owed and when their first message is due, the soonest first.
    async fn owed_chats(&self, session: &str, limit: u32) -> Result<Vec<(Vec<u8>, i64)>, StoreError>;
    /// What is owed of a chat, in order.
    async fn owed_of(&self, session: &str, chat: &[u8], limit: u32) -> Result<Vec<DeliveryRow>, StoreError>;
    /// Removes a row.
    async fn delivered(&self, bond: &Bond, key: &DeliveryKey) -> Result<(), StoreError>;
    /// Counts an attempt; the row is due again at `next`, or dead.
    async fn not_delivered(
        &self,
        bond: &Bond,
        key: &DeliveryKey,
        now: i64,
        next: Option<i64>,
    ) -> Result<(), StoreError>;
    /// Makes dead rows as if they had just been written, and says how many.
    async fn revive_deliveries(&self, bond: &Bond, now: i64) -> Result<u64, StoreError>;
    async fn thin_deliveries(
        &self,
        bond: &Bond,
        limits: &DeliveryLimits,
        now: i64,
    ) -> Result<Thinned, StoreError>;
    async fn backlog(&self, session: &str) -> Result<Backlog, StoreError>;
}

/// All rows of a session that a copy takes, still sealed, as they were at one instant.
#[derive(Debug)]
pub(super) struct RawCopy {
    /// Epoch, generation and version of the session's row in the same snapshot.
    pub epoch: i64,
    pub generation: i64,
    pub wa_version: Option<String>,
    /// The database's clock, microseconds since 1970.
    pub taken_at: i64,
    /// Rows with the number of their kind, without those that were set aside.
    pub rows: Vec<(i16, Row)>,
    /// Messages not yet handled, in the order of arrival.
    pub inbox: Vec<InboxRow>,
}

/// Reading a session as a whole, and writing one.
#[async_trait]
pub(super) trait Copying {
    /// All of a session, read in one snapshot; `None` when there is no such session.
    async fn copy(&self, session: &str) -> Result<Option<RawCopy>, StoreError>;
    /// Makes these rows a new generation and the current one, archives the one of the bond, and gives the
    /// new one's number: one transaction. With `carry_inbox` the messages of the old one are in the new one
    /// too, and win over those of the copy.
    async fn restore(&self, bond: &Bond, copy: RawCopy, carry_inbox: bool) -> Result<i64, StoreError>;
}

/// What processes on one database tell each other. Where only one process uses it, nothing of it happens.
#[async_trait]
pub(super) trait Publishing {
    /// Whether processes on other machines may use the database too.
    fn is_shared(&self) -> bool;
    /// Writes the rows of sessions whose lease `owner` holds, under its epoch; gives the sessions written.
    async fn publish(&self, owner: &Owner, rows: &[StatusRow]) -> Result<Vec<String>, StoreError>;
    /// The rows of the present epochs of leases that last.
    async fn published(&self, sessions: &[String]) -> Result<Vec<FoundStatus>, StoreError>;
    async fn ask_holder(&self, session: &str, action: &str) -> Result<Option<i64>, StoreError>;
    /// Takes the requests for sessions whose lease `owner` holds, by id.
    async fn take_asked(&self, owner: &Owner, expiry: Duration) -> Result<Vec<Asked>, StoreError>;
    async fn answer(&self, id: i64, outcome: &str) -> Result<(), StoreError>;
    async fn answer_to(&self, id: i64) -> Result<Option<String>, StoreError>;
}

/// A backup to be written; its session and generation are those of the bond.
#[derive(Debug)]
pub(super) struct BackupRow {
    /// Microseconds since 1970.
    pub taken_at: i64,
    pub digest: [u8; 32],
    pub rows: u64,
    pub value: Vec<u8>,
}

/// Backups, and what is known of sessions.
#[async_trait]
pub(super) trait Backups {
    /// The backups of one session or of all, newest first.
    async fn backups(&self, session: Option<&str>) -> Result<Vec<BackupInfo>, StoreError>;
    /// When a backup was taken, and its sealed copy.
    async fn backup_value(&self, session: &str, id: i64) -> Result<Option<(i64, Vec<u8>)>, StoreError>;
    /// Writes one and gives its id.
    async fn put_backup(&self, bond: &Bond, row: BackupRow) -> Result<i64, StoreError>;
    /// Notes that the session was the same at this time.
    async fn note_backup(&self, bond: &Bond, id: i64, checked_at: i64) -> Result<(), StoreError>;
    /// Removes backups, whosever they are.
    async fn drop_backups(&self, bond: &Bond, ids: &[i64]) -> Result<(), StoreError>;
    /// All sessions, by id.
    async fn sessions(&self) -> Result<Vec<SessionInfo>, StoreError>;
    /// The generations of a session, newest first.
    async fn generations(&self, session: &str) -> Result<Vec<GenerationInfo>, StoreError>;
    /// Removes an archived generation with its rows and messages; the current one never.
    async fn drop_generation(&self, bond: &Bond, id: i64) -> Result<(), StoreError>;
}

/// Runs of jobs.
#[async_trait]
pub(super) trait Jobs {
    /// Whether this is the first to begin the run.
    async fn start_job(&self, key: &JobKey, owner: &Owner, at: DateTime<Utc>) -> Result<bool, StoreError>;
    /// The latest due time by the clock; without one, `at` is kept for whoever asks later.
    async fn job_last_due(
        &self,
        app: &str,
        job: &str,
        owner: &Owner,
        at: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, StoreError>;
    async fn end_job(&self, key: &JobKey, end: &JobEnd) -> Result<(), StoreError>;
    /// The latest first.
    async fn job_runs(&self, app: &str) -> Result<Vec<JobRun>, StoreError>;
}

/// What programs ask of a session.
#[async_trait]
pub(super) trait Outbox {
    async fn put_outgoing(&self, session: &str, row: &OutboxRow<'_>) -> Result<Taken, StoreError>;
    /// What waits, the oldest first.
    async fn outgoing(&self, session: &str, limit: u32) -> Result<Vec<QueuedRow>, StoreError>;
    /// Ends one that waits; `at` in microseconds since 1970.
    async fn end_outgoing(
        &self,
        session: &str,
        id: &str,
        given_up: Option<&str>,
        at: i64,
    ) -> Result<(), StoreError>;
    async fn outgoing_status(&self, session: &str, id: &str) -> Result<Option<OutgoingStatus>, StoreError>;
    /// The chats that wrote, the latest first.
    async fn chats(&self, session: &str, limit: u32) -> Result<Vec<ChatRow>, StoreError>;
    /// Id and digest of the message with this key.
    async fn outgoing_known(&self, session: &str, key: &str)
    -> Result<Option<(String, Vec<u8>)>, StoreError>;
}

/// Files for messages of the outbox. What a message waits for is not removed.
#[async_trait]
pub(super) trait Files {
    /// `false` when there is no room for it; `at` in microseconds since 1970.
    async fn begin_file(&self, session: &str, id: &str, size: i64, at: i64) -> Result<bool, StoreError>;
    async fn put_piece(&self, session: &str, id: &str, part: u32, value: Vec<u8>) -> Result<(), StoreError>;
    async fn finish_file(&self, session: &str, id: &str, size: i64, mimetype: &str)
    -> Result<(), StoreError>;
    /// Size and type of one that is complete.
    async fn file(&self, session: &str, id: &str) -> Result<Option<(i64, String)>, StoreError>;
    async fn piece(&self, session: &str, id: &str, part: u32) -> Result<Option<Vec<u8>>, StoreError>;
    async fn drop_file(&self, session: &str, id: &str) -> Result<(), StoreError>;
    /// Removes some that were last used before that, the oldest first, and says how many.
    async fn prune_files(&self, before: i64, most: i64) -> Result<u64, StoreError>;
}

/// What the links did.
#[async_trait]
pub(super) trait Histories {
    /// Writes rows or brings them up to date. No two have the same name.
    async fn note_history(&self, stretches: &[&Stretch], counts: &[&HourCount]) -> Result<(), StoreError>;
    async fn history(&self, sessions: &[String], since: i64) -> Result<Vec<Stretch>, StoreError>;
    async fn traffic(
        &self,
        sessions: &[String],
        since: i64,
    ) -> Result<BTreeMap<(String, DateTime<Utc>), Traffic>, StoreError>;
    async fn totals(&self, sessions: &[String], since: i64) -> Result<BTreeMap<String, Totals>, StoreError>;
    async fn prune_history(&self, session: &str, kept: KeptRows, batch: u32) -> Result<u64, StoreError>;
}

/// Removing what was kept long enough.
#[async_trait]
pub(super) trait Retention {
    async fn prune_inbox(&self, bond: &Bond, kept: KeptRows, batch: u32) -> Result<u64, StoreError>;
    async fn prune_outbox(&self, session: &str, kept: KeptRows, batch: u32) -> Result<u64, StoreError>;
    async fn prune_jobs(
        &self,
        app: &str,
        runs: KeptRows,
        output: KeptRows,
        batch: u32,
    ) -> Result<u64, StoreError>;
}

/// A database. Every write returns only once it is durable.
#[async_trait]
pub(super) trait Engine:
    Backups
    + Copying
    + Deliveries
    + Files
    + Histories
    + Jobs
    + Outbox
    + Publishing
    + Retention
    + Debug
    + Send
    + Sync
{
    fn kind(&self) -> &'static str;
    async fn migrate(&self) -> Result<Migrated, StoreError>;
    /// Version of the tables; `None` before the first migration.
    async fn schema(&self) -> Result<Option<i64>, StoreError>;
    async fn close(&self);
    /// Bytes that the database takes.
    async fn size(&self) -> Result<u64, StoreError>;
    /// Hands on what other dynos tell until the connection is lost; pending for ever without such a thing.
    async fn listen(&self, bulletin: &Bulletin) -> Result<(), StoreError>;

    async fn acquire(&self, session: &str, owner: &Owner, ttl: Duration) -> Result<Won, StoreError>;
    async fn renew(&self, leases: &[Lease], ttl: Duration) -> Result<Vec<Lease>, StoreError>;
    async fn release(&self, lease: &Lease) -> Result<(), StoreError>;

    /// [`renew`](Self::renew) and [`register`](Self::register) in one statement, without telling anybody.
    async fn beat(&self, dyno: &Dyno, leases: &[Lease], ttl: Duration) -> Result<Vec<Lease>, StoreError>;
    async fn register(&self, dyno: &Dyno, ttl: Duration) -> Result<(), StoreError>;
    async fn unregister(&self, owner: &Owner) -> Result<(), StoreError>;
    async fn dynos(&self) -> Result<Vec<Dyno>, StoreError>;
    /// Whose lease lasts, of these sessions.
    async fn holders(&self, sessions: &[String]) -> Result<Vec<(String, Owner)>, StoreError>;

    /// The named rows that exist, in any order.
    async fn get(&self, generation: i64, kind: Kind, names: &[Name]) -> Result<Vec<Row>, StoreError>;
    /// Rows of `All`, `Key` or `Subs`, latest `at` first.
    async fn list(&self, generation: i64, kind: Kind, which: &Which) -> Result<Vec<Row>, StoreError>;
    async fn last(&self, generation: i64, kind: Kind, last: Last) -> Result<Option<Row>, StoreError>;
    /// Whether a row of these kinds has a key in one of the half-open ranges.
    async fn any_between(
        &self,
        generation: i64,
        kinds: &[Kind],
        ranges: &[(Vec<u8>, Vec<u8>)],
    ) -> Result<bool, StoreError>;

    /// Writes rows, all or nothing. No two of them have the same name.
    async fn put(&self, bond: &Bond, kind: Kind, rows: &[Row], merge: Merge) -> Result<(), StoreError>;
    async fn delete(&self, bond: &Bond, kind: Kind, which: &Which) -> Result<u64, StoreError>;
    /// Writes rows and removes others, all or nothing. No row is among both, and none there twice.
    async fn exchange(&self, bond: &Bond, kind: Kind, rows: &[Row], gone: &[Name]) -> Result<(), StoreError>;
    /// Deletes a row and gives it back.
    async fn take(&self, bond: &Bond, kind: Kind, name: &Name) -> Result<Option<Row>, StoreError>;
    /// Sets `mark` of rows that exist.
    async fn mark(&self, bond: &Bond, kind: Kind, names: &[Name], mark: i64) -> Result<(), StoreError>;
    /// Puts a damaged row aside, unless it has changed since it was read.
    async fn set_aside(&self, bond: &Bond, kind: Kind, row: &Row) -> Result<(), StoreError>;

    /// Writes messages that are not there yet and says how many. With `owed`, which has a sealed body for
    /// each and the time, the webhook is owed those that are new.
    async fn put_inbox(
        &self,
        bond: &Bond,
        rows: &[InboxRow],
        owed: Option<(&[Vec<u8>], i64)>,
    ) -> Result<u64, StoreError>;
    async fn unhandled(&self, generation: i64, limit: u32) -> Result<Vec<InboxRow>, StoreError>;
    /// Marks a message handled.
    async fn mark_handled(
        &self,
        bond: &Bond,
        chat: &[u8],
        sender: &[u8],
        id: &[u8],
    ) -> Result<(), StoreError>;

    /// Opens a new generation and gives its number.
    async fn archive(&self, bond: &Bond) -> Result<i64, StoreError>;
    async fn wa_version(&self, session: &str) -> Result<Option<WaVersion>, StoreError>;
    async fn put_wa_version(&self, bond: &Bond, version: WaVersion) -> Result<(), StoreError>;
    /// Whether a session id with this SHA-256 was imported into the session.
    async fn is_imported(&self, session: &str, digest: &[u8; 32]) -> Result<bool, StoreError>;
    async fn note_imported(&self, bond: &Bond, digest: &[u8; 32]) -> Result<(), StoreError>;

    /// The sessions whose lease this owner holds.
    async fn bonds(&self, owner: &Owner) -> Result<Vec<Bond>, StoreError>;
    /// Under which keys the values of a place are sealed, those of archived generations too.
    async fn shares(&self, place: &SealedPlace) -> Result<Vec<Share>, StoreError>;
    /// Values of a session, of any generation, that do not begin with `prefix`; those after a key.
    async fn stale(
        &self,
        place: &SealedPlace,
        session: &str,
        prefix: &[u8],
        after: Option<&[Part]>,
    ) -> Result<Vec<Stored>, StoreError>;
    /// Replaces values that are still what they were, and says how many.
    async fn swap(&self, bond: &Bond, place: &SealedPlace, swaps: &[Swap]) -> Result<u64, StoreError>;
}

/// The stored form of a version.
pub(super) fn version_text(version: WaVersion) -> String {
    format!("{}.{}.{}", version.0, version.1, version.2)
}

/// The version of a stored form; one that does not read is no version, since it is only a hint.
pub(super) fn version_of(text: &str) -> Option<WaVersion> {
    let mut parts = text.split('.').map(|part| part.parse().ok());
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(Some(first)), Some(Some(second)), Some(Some(third)), None) => {
            Some(WaVersion(first, second, third))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{version_of, version_text};
    use crate::config::WaVersion;

    #[test]
    fn a_version_reads_back() {
        let version = WaVersion(2, 3000, 1_042_742_319);
        assert_eq!(version_of(&version_text(version)), Some(version));
        assert_eq!(version_of("2.3000"), None);
        assert_eq!(version_of("2.3000.1.1"), None);
        assert_eq!(version_of("2.3000.x"), None);
    }
}
