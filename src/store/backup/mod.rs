//! Backups: sealed copies of sessions in the database, and what else is known of sessions.
//!
//! One rule for whoever writes a backup: its copy was read under the epoch that is still the session's
//! when the row is written. So a dyno that lost the lease writes none, and a command may write one
//! beside a bot that runs.

mod thin;

use chrono::{DateTime, TimeDelta, Utc};

use super::copy::{Digest, SessionCopy, blocking};
use super::engine::{BackupRow, Bond};
use super::kind::Name;
use super::seal::Place;
use super::{Lease, Store, StoreError};
use crate::config::{self, WaVersion};

/// The kind under which backups are sealed; no row of a session has it.
pub(super) const BACKUP: i16 = -1;
/// Archived generations that stay whatever their age.
const KEEP_GENERATIONS: usize = 3;
/// Any archived generation stays this long.
const KEEP_ARCHIVED: TimeDelta = TimeDelta::days(30);

/// A backup without what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupInfo {
    /// Its number in this database.
    pub id: i64,
    /// The session it is of.
    pub session: String,
    /// When it was taken, on the database's clock.
    pub taken_at: DateTime<Utc>,
    /// When the session was last found to be the same.
    pub checked_at: DateTime<Utc>,
    /// The generation it is of.
    pub generation: i64,
    /// What the session held.
    pub digest: Digest,
    /// Rows and unhandled messages in it.
    pub rows: u64,
    /// Bytes it takes, compressed and sealed.
    pub size: u64,
}

/// What came of taking a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backed {
    /// A new one was written.
    Written(BackupInfo),
    /// The session is what it was in this one.
    Unchanged(BackupInfo),
    /// There is no linked device to back up.
    NotLinked,
}

/// A session as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    /// Its id.
    pub session: String,
    /// Its current generation.
    pub generation: i64,
    /// Who holds the lease now.
    pub holder: Option<Holder>,
    /// Last WhatsApp Web version that led to an open link.
    pub wa_version: Option<WaVersion>,
    /// Stored rows of the current generation.
    pub rows: u64,
    /// Bytes of their values.
    pub size: u64,
    /// Received messages that were not handled yet.
    pub unhandled: u64,
}

/// A holder of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its name.
    pub owner: String,
    /// When the lease ends unless it is renewed; `None` when it ends with the process.
    pub until: Option<DateTime<Utc>>,
}

/// One linking of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenerationInfo {
    /// Its number.
    pub id: i64,
    /// When it began.
    pub opened_at: DateTime<Utc>,
    /// When it ended; `None` for the current one.
    pub archived_at: Option<DateTime<Utc>>,
    /// Stored rows.
    pub rows: u64,
    /// Bytes of their values.
    pub size: u64,
}

impl Store {
    /// Takes a backup of a session unless it is what it was in the newest one, and lets go of the backups
    /// that `config` does not keep and of generations archived long ago. With a lease, only while that is
    /// the session's.
    ///
    /// # Errors
    /// `Fenced` when the session changed hands; nothing is written then.
    pub async fn back_up(
        &self,
        session: &str,
        under: Option<&Lease>,
        config: &config::Backup,
    ) -> Result<Backed, StoreError> {
        let Some((copy, bond)) = self.copy_bound(session).await? else { return Ok(Backed::NotLinked) };
        if under.is_some_and(|lease| lease.epoch != bond.epoch) {
            return Err(StoreError::Fenced);
        }
        if !copy.is_linked() {
            return Ok(Backed::NotLinked);
        }
        let taken_at = copy.header.taken_at;
        let newest = self.engine.backups(Some(session)).await?.into_iter().next();
        let sealer = self.sealer.clone();
        let (digest, sealed) = blocking(move || {
            let digest = copy.digest();
            if newest.as_ref().is_some_and(|newest| newest.digest == digest) {
                return Ok((digest, Err(newest)));
            }
            let name = name_of(copy.header.taken_at);
            let place = Place { session: &copy.header.session, kind: BACKUP, name: &name };
            let value = sealer.seal(&place, &copy.encode());
            value.map(|value| (digest, Ok((copy.rows(), value))))
        })
        .await?
        .map_err(|problem| StoreError::Unreadable {
            what: "the copy".into(),
            problem: problem.to_string(),
        })?;
        let backed = match sealed {
            Err(Some(newest)) => {
                self.engine.note_backup(&bond, newest.id, taken_at.timestamp_micros()).await?;
                Backed::Unchanged(BackupInfo { checked_at: taken_at, ..newest })
            }
            // There is one when the digests are equal.
            Err(None) => return Ok(Backed::NotLinked),
            Ok((rows, value)) => {
                let size = value.len() as u64;
                let row = BackupRow { taken_at: taken_at.timestamp_micros(), digest: digest.0, rows, value };
                let id = self.engine.put_backup(&bond, row).await?;
                Backed::Written(BackupInfo {
                    id,
                    session: session.to_owned(),
                    taken_at,
                    checked_at: taken_at,
                    generation: bond.generation,
                    digest,
                    rows,
                    size,
                })
            }
        };
        self.thin_out(&bond, taken_at, config).await?;
        Ok(backed)
    }

    async fn thin_out(
        &self,
        bond: &Bond,
        now: DateTime<Utc>,
        config: &config::Backup,
    ) -> Result<(), StoreError> {
        let gone = thin::surplus(&self.engine.backups(None).await?, &bond.session, config);
        if !gone.is_empty() {
            self.engine.drop_backups(bond, &gone).await?;
        }
        let generations = self.engine.generations(&bond.session).await?;
        if let Some(old) = outdated(&generations, now) {
            self.engine.drop_generation(bond, old).await?;
        }
        Ok(())
    }

    /// The backups of one session or of all, newest first.
    pub async fn backups(&self, session: Option<&str>) -> Result<Vec<BackupInfo>, StoreError> {
        self.engine.backups(session).await
    }

    /// The copy in a backup of this session.
    ///
    /// # Errors
    /// `Refused` when the session has no such backup, `Unreadable` when it does not open or decode.
    pub async fn backup(&self, session: &str, id: i64) -> Result<SessionCopy, StoreError> {
        let Some((taken_at, value)) = self.engine.backup_value(session, id).await? else {
            return Err(StoreError::Refused {
                problem: format!("there is no backup {id} of the session \"{session}\""),
            });
        };
        let unreadable =
            move |problem: String| StoreError::Unreadable { what: format!("backup {id}"), problem };
        let taken_at = DateTime::from_timestamp_micros(taken_at)
            .ok_or_else(|| unreadable("its time is out of range".into()))?;
        let (sealer, owner) = (self.sealer.clone(), session.to_owned());
        let copy = blocking(move || {
            let name = name_of(taken_at);
            let place = Place { session: &owner, kind: BACKUP, name: &name };
            let value = sealer.open(&place, &value).map_err(|problem| unreadable(problem.to_string()))?;
            let copy = SessionCopy::decode(&value).map_err(|problem| unreadable(problem.to_string()))?;
            // Only without a secret key can it have been moved here.
            if copy.header.session == owner {
                Ok(copy)
            } else {
                Err(unreadable("it is of another session".into()))
            }
        });
        copy.await?
    }

    /// All sessions of the database, by id.
    pub async fn sessions(&self) -> Result<Vec<SessionInfo>, StoreError> {
        self.engine.sessions().await
    }

    /// The generations of a session, newest first.
    pub async fn generations(&self, session: &str) -> Result<Vec<GenerationInfo>, StoreError> {
        self.engine.generations(session).await
    }
}

/// The name under which a backup is sealed.
fn name_of(taken_at: DateTime<Utc>) -> Name {
    name_of_micros(taken_at.timestamp_micros())
}

/// The same for a time as it is stored.
pub(super) fn name_of_micros(taken_at: i64) -> Name {
    Name::of(taken_at.to_be_bytes())
}

/// One generation that may go: archived for longer than [`KEEP_ARCHIVED`] and not among the last
/// [`KEEP_GENERATIONS`] archived ones. The newest first come first.
fn outdated(generations: &[GenerationInfo], now: DateTime<Utc>) -> Option<i64> {
    let archived = generations.iter().filter_map(|one| Some((one.id, one.archived_at?)));
    archived.skip(KEEP_GENERATIONS).filter(|(_, at)| now - *at > KEEP_ARCHIVED).last().map(|(id, _)| id)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::{GenerationInfo, outdated};

    fn generations(now: DateTime<Utc>, archived_days_ago: &[i64]) -> Vec<GenerationInfo> {
        let one = |id: i64, archived_at| GenerationInfo { id, opened_at: now, archived_at, rows: 1, size: 1 };
        let count = archived_days_ago.len() as i64;
        let archived =
            (1..).zip(archived_days_ago).map(|(n, days)| one(count - n, Some(now - TimeDelta::days(*days))));
        [one(count, None)].into_iter().chain(archived).collect()
    }

    #[test]
    fn old_generations_go_one_at_a_time_and_never_the_last_three() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
        assert_eq!(outdated(&generations(now, &[]), now), None);
        assert_eq!(outdated(&generations(now, &[40, 50, 60]), now), None);
        assert_eq!(outdated(&generations(now, &[1, 2, 3, 4, 29]), now), None);
        assert_eq!(outdated(&generations(now, &[1, 2, 3, 4, 31]), now), Some(0));
        assert_eq!(outdated(&generations(now, &[40, 50, 60, 70, 80]), now), Some(0));
    }
}
