//! A login that SESSION_ID carries becomes the session of a bot that has none: once, and never over another.

use super::vault::{CREDS, Identity, Vault, VaultError, may_be_linked};
use crate::config::values::session::blob::Blob;
use crate::runtime::clock;
use crate::store::{SessionStore, VaultPut, pieces};

/// What came of a login. Holds nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is the session now.
    Imported { files: usize },
    /// It was the session once; what became of that stands.
    Before,
    /// There is a session, in the database or in the bot's folder.
    SessionExists,
}

/// Imports a login. To be called when the lease is won, before the vault restores the folder.
///
/// The files are written first and the note after them, each in a transaction: whoever is killed between the two
/// finds its own session next time, and notes it then.
///
/// # Errors
/// The database or the folder cannot be read or written; nothing or all of the login is stored.
pub async fn import(session: &SessionStore, vault: &Vault, login: &Blob) -> Result<Outcome, VaultError> {
    if session.is_imported(login.digest()).await? {
        return Ok(Outcome::Before);
    }
    let stored = session.files().await?;
    if let Some(creds) = stored.iter().find(|file| file.path == CREDS)
        && may_be_linked(&creds.content)
    {
        let (ours, new) = (Identity::of(&creds.content), Identity::of(login.creds()));
        if ours.is_some_and(|ours| new.is_some_and(|new| new.is_same(&ours))) {
            session.note_imported(login.digest()).await?;
        }
        return Ok(Outcome::SessionExists);
    }
    if vault.has_own_login().await? {
        return Ok(Outcome::SessionExists);
    }
    let changed_at = clock::now().timestamp_micros();
    let puts: Vec<VaultPut<'_>> = login
        .files()
        .iter()
        .map(|(name, content)| VaultPut { path: name.as_bytes(), changed_at, content, stored: &[] })
        .collect();
    // What a bot that was never linked has left: keys of an identity that nobody knows.
    let gone: Vec<(&[u8], usize)> = stored
        .iter()
        .filter(|file| !puts.iter().any(|put| put.path == file.path))
        .map(|file| (file.path.as_slice(), pieces(&file.content).len()))
        .collect();
    session.exchange_files(&puts, &gone).await?;
    session.note_imported(login.digest()).await?;
    Ok(Outcome::Imported { files: puts.len() })
}

impl Outcome {
    /// Tells the owner of the bot.
    pub fn log(self, bot: &str) {
        match self {
            Self::Imported { files } => {
                tracing::info!(
                    bot,
                    files,
                    "the login of SESSION_ID was imported; the variable is not needed any more"
                );
            }
            Self::Before => {
                tracing::info!(bot, "the login of SESSION_ID was imported before: it is not used again")
            }
            Self::SessionExists => {
                tracing::warn!(
                    bot,
                    "the login of SESSION_ID is not used: the bot has a session. To begin with it anew, end that \
                     first: blacksky session forget {bot}"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use super::super::vault::Restored;
    use super::*;
    use crate::config::values::session::blob::tests::{CREDS_TEXT, gzip};
    use crate::config::{Database, DatabaseLocation, Tls};
    use crate::store::{Lease, Owner, Store};

    struct Bench {
        folder: tempfile::TempDir,
        store: Store,
        lease: Lease,
    }

    async fn acquired(store: &Store) -> Lease {
        store.acquire("main", &Owner("test".to_owned()), Duration::from_secs(60)).await.unwrap()
    }

    async fn bench() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Database {
            location: DatabaseLocation::Sqlite(folder.path().join("blacksky.db")),
            tls: Tls::Require,
            max_connections: 2,
            allow_ephemeral: true,
            secret_key: None,
        })
        .await
        .unwrap();
        store.migrate().await.unwrap();
        let lease = acquired(&store).await;
        Bench { folder, store, lease }
    }

    impl Bench {
        fn place(&self) -> PathBuf {
            self.folder.path().join("sessions")
        }

        fn vault(&self, session: &SessionStore) -> Vault {
            Vault::new(session.clone(), self.place(), Duration::from_secs(60))
        }

        /// A start of the bot: what came of the login, and what the folder is then.
        async fn start(&self, login: &Blob) -> (Outcome, Restored) {
            let session = self.store.session(&self.lease).renewed();
            let mut vault = self.vault(&session);
            let outcome = import(&session, &vault, login).await.unwrap();
            (outcome, vault.restore().await.unwrap())
        }

        fn creds(&self) -> Option<String> {
            std::fs::read_to_string(self.place().join("creds.json")).ok()
        }
    }

    fn login(text: &str) -> Blob {
        use base64::prelude::{BASE64_STANDARD, Engine as _};
        Blob::read(&format!("KnightBot!{}", BASE64_STANDARD.encode(gzip(text)))).unwrap()
    }

    fn write(place: &Path, creds: &str) {
        std::fs::create_dir_all(place).unwrap();
        std::fs::write(place.join("creds.json"), creds).unwrap();
    }

    #[tokio::test]
    async fn a_login_is_imported_once() {
        let bench = bench().await;
        let (outcome, restored) = bench.start(&login(CREDS_TEXT)).await;
        assert_eq!(outcome, Outcome::Imported { files: 1 });
        assert!(matches!(restored, Restored::Database { files: 1, .. }), "{restored:?}");
        assert_eq!(bench.creds().as_deref(), Some(CREDS_TEXT), "byte for byte");
        // The bot goes on with it, and starts again.
        std::fs::write(bench.place().join("session-1.json"), "{}").unwrap();
        let (outcome, restored) = bench.start(&login(CREDS_TEXT)).await;
        assert_eq!((outcome, restored), (Outcome::Before, Restored::Folder));
        // Logged out: the dead login does not come back.
        bench.store.session(&bench.lease).renewed().archive().await.unwrap();
        let (outcome, restored) = bench.start(&login(CREDS_TEXT)).await;
        assert_eq!((outcome, restored, bench.creds()), (Outcome::Before, Restored::Empty, None));
        // Another one does.
        let other = CREDS_TEXT.replace("AAAA", "EEEE");
        let (outcome, _) = bench.start(&login(&other)).await;
        assert_eq!((outcome, bench.creds()), (Outcome::Imported { files: 1 }, Some(other)));
    }

    #[tokio::test]
    async fn never_over_a_session() {
        let bench = bench().await;
        let own = CREDS_TEXT.replace("[1,2]", "[3,4]");
        write(&bench.place(), &own);
        // In the folder, before blacksky was there.
        let (outcome, restored) = bench.start(&login(CREDS_TEXT)).await;
        assert_eq!((outcome, restored), (Outcome::SessionExists, Restored::TakenOver));
        // In the database.
        std::fs::remove_dir_all(bench.place()).unwrap();
        let (outcome, _) = bench.start(&login(CREDS_TEXT)).await;
        assert_eq!((outcome, bench.creds()), (Outcome::SessionExists, Some(own)));
        // It was not used, so it may be once the session is gone.
        bench.store.session(&bench.lease).renewed().archive().await.unwrap();
        let (outcome, _) = bench.start(&login(CREDS_TEXT)).await;
        assert_eq!((outcome, bench.creds().as_deref()), (Outcome::Imported { files: 1 }, Some(CREDS_TEXT)));
    }

    #[tokio::test]
    async fn credentials_that_nobody_has_linked_are_no_session() {
        let mut bench = bench().await;
        let unlinked = CREDS_TEXT.replace("\"me\":", "\"you\":").replace("[1,2]", "[3,4]");
        write(&bench.place(), &unlinked);
        std::fs::write(bench.place().join("pre-key-1.json"), "{}").unwrap();
        let session = bench.store.session(&bench.lease);
        bench.vault(&session).restore().await.unwrap();
        // The next start of blacksky has an epoch of its own.
        bench.lease = acquired(&bench.store).await;
        let (outcome, _) = bench.start(&login(CREDS_TEXT)).await;
        assert_eq!((outcome, bench.creds().as_deref()), (Outcome::Imported { files: 1 }, Some(CREDS_TEXT)));
        assert!(!bench.place().join("pre-key-1.json").exists(), "a key of the old identity");
    }

    #[tokio::test]
    async fn a_kill_between_the_files_and_the_note_is_made_good() {
        let bench = bench().await;
        let session = bench.store.session(&bench.lease);
        let login = login(CREDS_TEXT);
        let put = VaultPut { path: CREDS, changed_at: 1, content: login.creds(), stored: &[] };
        session.exchange_files(&[put], &[]).await.unwrap();
        assert_eq!(bench.start(&login).await.0, Outcome::SessionExists);
        assert!(session.is_imported(login.digest()).await.unwrap());
    }

    #[tokio::test]
    async fn what_does_not_read_is_not_replaced() {
        let bench = bench().await;
        write(&bench.place(), "{cut");
        let session = bench.store.session(&bench.lease);
        let vault = bench.vault(&session);
        assert_eq!(import(&session, &vault, &login(CREDS_TEXT)).await.unwrap(), Outcome::SessionExists);
    }
}
