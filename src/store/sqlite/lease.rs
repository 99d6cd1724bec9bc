//! The lease as a file lock, and the session's row with its epoch.

use std::fs::TryLockError;

use sqlx::SqliteConnection;

use super::{Held, Sqlite, column, file_problem, private, problem};
use crate::config::WaVersion;
use crate::runtime::clock;
use crate::store::engine::{Bond, Won, version_of, version_text};
use crate::store::{Lease, Owner, StoreError};

impl Sqlite {
    pub(super) async fn lease_acquire(&self, session: &str, owner: &Owner) -> Result<Won, StoreError> {
        let file = match self.forget_own(session, owner)? {
            Some(file) => file,
            None => self.lock(session).await?,
        };
        let mut transaction =
            self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(|error| problem(&error))?;
        let now = clock::now().timestamp_micros();
        let before = sqlx::query("SELECT epoch, generation FROM session WHERE id = ?")
            .bind(session)
            .fetch_optional(&mut *transaction)
            .await
            .map_err(|error| problem(&error))?;
        let won = match before {
            Some(row) => Won { epoch: (column::<i64>(&row, 0)? + 1).max(now), generation: column(&row, 1)? },
            None => {
                let row =
                    sqlx::query("INSERT INTO generation (session, opened_at) VALUES (?, ?) RETURNING id")
                        .bind(session)
                        .bind(now)
                        .fetch_one(&mut *transaction)
                        .await
                        .map_err(|error| problem(&error))?;
                Won { epoch: now, generation: column(&row, 0)? }
            }
        };
        sqlx::query(
            "INSERT INTO session (id, generation, epoch, owner) VALUES (?, ?, ?, ?)
             ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch, owner = excluded.owner",
        )
        .bind(session)
        .bind(won.generation)
        .bind(won.epoch)
        .bind(&owner.0)
        .execute(&mut *transaction)
        .await
        .map_err(|error| problem(&error))?;
        transaction.commit().await.map_err(|error| problem(&error))?;
        let held = Held { _file: file, epoch: won.epoch, owner: owner.0.clone() };
        self.held()?.insert(session.to_owned(), held);
        Ok(won)
    }

    /// The file of a lease that this owner holds already, for a new epoch under the same lock.
    fn forget_own(&self, session: &str, owner: &Owner) -> Result<Option<std::fs::File>, StoreError> {
        let mut held = self.held()?;
        Ok(match held.get(session) {
            Some(lease) if lease.owner == owner.0 => held.remove(session).map(|lease| lease._file),
            _ => None,
        })
    }

    /// The file whose lock is the lease.
    pub(super) fn lease_file(&self, session: &str) -> std::path::PathBuf {
        self.beside(&format!(".{session}.lease"))
    }

    async fn lock(&self, session: &str) -> Result<std::fs::File, StoreError> {
        let path = self.lease_file(session);
        let file = private().open(&path).map_err(|error| file_problem(&path, "opened", &error))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::Error(error)) => Err(file_problem(&path, "locked", &error)),
            Err(TryLockError::WouldBlock) => {
                let row = sqlx::query("SELECT owner FROM session WHERE id = ?")
                    .bind(session)
                    .fetch_optional(&self.readers)
                    .await
                    .map_err(|error| problem(&error))?;
                let owner = row.map(|row| column(&row, 0)).transpose()?;
                // The lock has no expiry: it ends with its holder, so asking again at once is right.
                Err(StoreError::Held {
                    owner: owner.unwrap_or_else(|| "another process".into()),
                    until: clock::now(),
                })
            }
        }
    }

    pub(super) fn lease_renew(&self, leases: &[Lease]) -> Vec<Lease> {
        let Ok(held) = self.held() else { return Vec::new() };
        let holds = |lease: &&Lease| held.get(&lease.session).is_some_and(|held| held.epoch == lease.epoch);
        leases.iter().filter(holds).cloned().collect()
    }

    pub(super) fn lease_release(&self, lease: &Lease) {
        if let Ok(mut held) = self.held()
            && held.get(&lease.session).is_some_and(|held| held.epoch == lease.epoch)
        {
            held.remove(&lease.session);
        }
    }

    pub(super) fn held(
        &self,
    ) -> Result<std::sync::MutexGuard<'_, std::collections::HashMap<String, Held>>, StoreError> {
        self.locks
            .lock()
            .map_err(|_| StoreError::Unavailable { problem: "the table of leases is lost".into() })
    }

    pub(super) async fn lease_archive(&self, bond: &Bond) -> Result<i64, StoreError> {
        let mut transaction = self.begin(bond).await?;
        let generation = Self::next_generation(&mut transaction, bond).await?;
        transaction.commit().await.map_err(|error| problem(&error))?;
        Ok(generation)
    }

    /// Archives the generation of the bond and makes a new one the session's.
    pub(super) async fn next_generation(
        connection: &mut SqliteConnection,
        bond: &Bond,
    ) -> Result<i64, StoreError> {
        let now = clock::now().timestamp_micros();
        sqlx::query("UPDATE generation SET archived_at = ? WHERE id = ?")
            .bind(now)
            .bind(bond.generation)
            .execute(&mut *connection)
            .await
            .map_err(|error| problem(&error))?;
        let row = sqlx::query("INSERT INTO generation (session, opened_at) VALUES (?, ?) RETURNING id")
            .bind(&bond.session)
            .bind(now)
            .fetch_one(&mut *connection)
            .await
            .map_err(|error| problem(&error))?;
        let generation = column(&row, 0)?;
        sqlx::query("UPDATE session SET generation = ? WHERE id = ?")
            .bind(generation)
            .bind(&bond.session)
            .execute(&mut *connection)
            .await
            .map_err(|error| problem(&error))?;
        Ok(generation)
    }

    pub(super) async fn lease_wa_version(&self, session: &str) -> Result<Option<WaVersion>, StoreError> {
        let row = sqlx::query("SELECT wa_version FROM session WHERE id = ?")
            .bind(session)
            .fetch_optional(&self.readers)
            .await
            .map_err(|error| problem(&error))?;
        let text: Option<String> = row.map(|row| column(&row, 0)).transpose()?.flatten();
        Ok(text.as_deref().and_then(version_of))
    }

    pub(super) async fn lease_is_imported(
        &self,
        session: &str,
        digest: &[u8; 32],
    ) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT 1 FROM imported WHERE session = ? AND digest = ?")
            .bind(session)
            .bind(&digest[..])
            .fetch_optional(&self.readers)
            .await
            .map_err(|error| problem(&error))?;
        Ok(row.is_some())
    }

    pub(super) async fn lease_note_imported(&self, bond: &Bond, digest: &[u8; 32]) -> Result<(), StoreError> {
        let mut transaction = self.begin(bond).await?;
        sqlx::query("INSERT INTO imported (session, digest) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(&bond.session)
            .bind(digest.to_vec())
            .execute(&mut *transaction)
            .await
            .map_err(|error| problem(&error))?;
        transaction.commit().await.map_err(|error| problem(&error))
    }

    pub(super) async fn lease_put_wa_version(
        &self,
        bond: &Bond,
        version: WaVersion,
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin(bond).await?;
        sqlx::query("UPDATE session SET wa_version = ?2 WHERE id = ?1 AND wa_version IS NOT ?2")
            .bind(&bond.session)
            .bind(version_text(version))
            .execute(&mut *transaction)
            .await
            .map_err(|error| problem(&error))?;
        transaction.commit().await.map_err(|error| problem(&error))
    }
}
