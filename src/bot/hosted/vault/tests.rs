//! A vault over real files and a real database.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Row};

use super::*;
use crate::config::{Database, DatabaseLocation, Tls};
use crate::store::{Lease, Owner, Store};

const PATIENCE: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_secs(3600);

struct Bench {
    home: tempfile::TempDir,
    store: Store,
    lease: Lease,
    name: &'static str,
}

fn creds(noise: &str, linked: bool) -> String {
    let me = if linked { r#"{"id":"15551234567:3@s.whatsapp.net"}"# } else { "null" };
    format!(r#"{{"noiseKey":{{"public":"{noise}"}},"signedIdentityKey":{{"public":"{noise}"}},"me":{me}}}"#)
}

impl Bench {
    async fn new(name: &'static str) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let store = Store::open(&Database {
            location: DatabaseLocation::Sqlite(home.path().join("blacksky.db")),
            tls: Tls::Require,
            max_connections: 4,
            allow_ephemeral: false,
            secret_key: Some(crate::config::Secret::new("a key of some length")),
        })
        .await
        .expect("opens");
        store.migrate().await.expect("migrates");
        let lease = Self::lease(&store).await;
        Self { home, store, lease, name }
    }

    /// With the session of a linked bot in its folder, and in the database.
    async fn linked() -> Self {
        let bench = Self::new("sessions").await;
        bench.write("creds.json", creds("AAAA", true));
        for number in 0..8 {
            bench.write(&format!("session-{number}.json"), format!("{{\"n\":{number}}}"));
        }
        assert_eq!(bench.vault().restore().await.expect("takes it over"), Restored::TakenOver);
        bench
    }

    async fn lease(store: &Store) -> Lease {
        store.acquire("main", &Owner("a".into()), HOUR).await.expect("is free")
    }

    /// As another process of blacksky has it.
    async fn restarted(&mut self) {
        self.lease = Self::lease(&self.store).await;
    }

    fn vault(&self) -> Vault {
        Vault::new(self.store.session(&self.lease), self.place(), HOUR)
    }

    fn place(&self) -> PathBuf {
        self.home.path().join(self.name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.place().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("makes");
        fs::write(path, text).expect("writes");
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.place().join(name)).ok()
    }

    async fn stored(&self) -> BTreeMap<String, Vec<u8>> {
        let files = self.store.session(&self.lease).files().await.expect("reads");
        files.into_iter().map(|file| (String::from_utf8(file.path).expect("text"), file.content)).collect()
    }

    async fn generations(&self) -> usize {
        self.store.generations("main").await.expect("reads").len()
    }

    async fn until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !condition().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(waited.await.is_ok(), "not within {PATIENCE:?}: {what}");
    }

    /// Mirrors while the bot, `work`, does something.
    async fn during(&self, vault: &mut Vault, work: impl Future<Output = ()>) -> MirrorEnd {
        let stop = CancellationToken::new();
        let mut mirror = std::pin::pin!(vault.mirror(stop.clone(), |_| {}));
        tokio::select! {
            end = &mut mirror => end,
            () = work => {
                stop.cancel();
                mirror.await
            }
        }
    }
}

#[tokio::test]
async fn what_the_bot_writes_is_in_the_database_and_back_on_an_empty_disk() {
    let mut bench = Bench::linked().await;
    let mut vault = bench.vault();
    vault.restore().await.expect("restores");
    let large: Vec<u8> = (0..700_000_u32).map(|number| (number % 251) as u8).collect();
    let bot = async {
        bench.write("session-3.json", r#"{"n":33}"#);
        bench.write("deep/er/pre-key-1.json", "{}");
        bench.write("store.bin", &large);
        bench.write("empty.txt", "");
        bench.until("the files are stored", async || bench.stored().await.len() == 12).await;
    };
    assert!(matches!(bench.during(&mut vault, bot).await, MirrorEnd::Stopped));
    assert_eq!(bench.stored().await["store.bin"], large);

    fs::remove_dir_all(bench.place()).expect("removes");
    bench.restarted().await;
    let restored = bench.vault().restore().await.expect("restores");
    assert!(matches!(restored, Restored::Database { files: 12, .. }), "{restored:?}");
    assert_eq!(bench.read("session-3.json").as_deref(), Some(r#"{"n":33}"#));
    assert_eq!(bench.read("deep/er/pre-key-1.json").as_deref(), Some("{}"));
    assert_eq!(bench.read("empty.txt").as_deref(), Some(""));
    assert_eq!(fs::read(bench.place().join("store.bin")).expect("is there"), large);
    let mode = |path: &Path| fs::metadata(path).expect("is there").permissions().mode() & 0o777;
    assert_eq!((mode(&bench.place()), mode(&bench.place().join("creds.json"))), (0o700, 0o600));
}

#[tokio::test]
async fn of_a_large_file_only_what_changed_is_written() {
    let bench = Bench::linked().await;
    let mut vault = bench.vault();
    vault.restore().await.expect("restores");
    let mut large = vec![7_u8; 3 << 20];
    bench.write("store.bin", &large);
    assert_eq!(vault.flush().await.expect("writes").written, 3 << 20);
    large[2 << 20] = 8;
    large.truncate((5 << 20) / 2);
    bench.write("store.bin", &large);
    let written = vault.flush().await.expect("writes").written;
    assert!(written <= 3 * 256 * 1024, "{written} bytes for one that changed");
    assert_eq!(bench.stored().await["store.bin"], large);
}

#[tokio::test]
async fn a_stale_folder_of_the_slug_loses_and_is_put_aside() {
    let mut bench = Bench::linked().await;
    fs::remove_dir_all(bench.place()).expect("removes");
    bench.write("creds.json", creds("OLD", true));
    bench.write("old.json", "{}");
    bench.restarted().await;
    assert!(matches!(bench.vault().restore().await.expect("restores"), Restored::Database { files: 9, .. }));
    assert_eq!(bench.read("creds.json"), Some(creds("AAAA", true)));
    assert_eq!(bench.read("old.json"), None);
    let aside = bench.home.path().join(".sessions.blacksky-old-1/old.json");
    assert!(aside.is_file(), "nothing is lost");
}

#[tokio::test]
async fn a_removed_session_comes_back_once_and_stays_archived_when_it_is_removed_again() {
    let bench = Bench::linked().await;
    let mut vault = bench.vault();
    vault.restore().await.expect("restores");
    let remove = async || {
        fs::remove_dir_all(bench.place()).expect("removes");
        std::future::pending().await
    };
    assert!(matches!(bench.during(&mut vault, remove()).await, MirrorEnd::Removed));
    assert_eq!(bench.stored().await.len(), 9, "the good one is kept");
    assert!(matches!(vault.restore().await.expect("restores"), Restored::Database { files: 9, .. }));
    assert_eq!(bench.read("creds.json"), Some(creds("AAAA", true)));

    assert!(matches!(bench.during(&mut vault, remove()).await, MirrorEnd::Removed));
    assert_eq!(vault.restore().await.expect("restores"), Restored::Empty);
    assert_eq!((bench.stored().await.len(), bench.generations().await), (0, 2));
    assert_eq!(bench.read("creds.json"), None);
}

#[tokio::test]
async fn a_session_that_is_removed_at_the_end_of_the_program_is_kept_too() {
    let bench = Bench::linked().await;
    let mut vault = bench.vault();
    vault.restore().await.expect("restores");
    fs::remove_file(bench.place().join("creds.json")).expect("removes");
    vault.flush().await.expect("looks");
    assert!(vault.session_removed());
    assert!(matches!(vault.restore().await.expect("restores"), Restored::Database { files: 9, .. }));
}

#[tokio::test]
async fn new_credentials_that_no_phone_knows_do_not_replace_a_linked_session() {
    let bench = Bench::linked().await;
    let mut vault = bench.vault();
    vault.restore().await.expect("restores");
    let give_up = async {
        bench.write("creds.json", creds("BBBB", false));
        std::future::pending().await
    };
    assert!(matches!(bench.during(&mut vault, give_up).await, MirrorEnd::Removed));
    vault.restore().await.expect("restores");
    assert_eq!(bench.read("creds.json"), Some(creds("AAAA", true)));
    assert_eq!(bench.generations().await, 1);
}

#[tokio::test]
async fn another_linking_opens_a_generation_with_the_whole_folder() {
    let bench = Bench::linked().await;
    let mut vault = bench.vault();
    vault.restore().await.expect("restores");
    bench.write("creds.json", creds("BBBB", true));
    assert_eq!(vault.flush().await.expect("writes").files, 9);
    assert_eq!(bench.generations().await, 2);
    let stored = bench.stored().await;
    assert_eq!((stored.len(), stored["creds.json"].as_slice()), (9, creds("BBBB", true).as_bytes()));
}

#[tokio::test]
async fn a_file_that_a_kill_cut_off_is_written_anew() {
    let bench = Bench::linked().await;
    bench.vault().restore().await.expect("restores");
    // Baileys writes in place: first it empties the file.
    bench.write("creds.json", "");
    bench.write("session-1.json", "{\"n\":1");
    bench.write("session-2.json", r#"{"n":22}"#);
    let restored = bench.vault().restore().await.expect("restores");
    assert_eq!(restored, Restored::Folder);
    assert_eq!(bench.read("creds.json"), Some(creds("AAAA", true)));
    assert_eq!(bench.read("session-1.json").as_deref(), Some(r#"{"n":1}"#));
    assert_eq!(bench.read("session-2.json").as_deref(), Some(r#"{"n":22}"#), "whole, and newer");
    assert_eq!(bench.stored().await["session-2.json"], br#"{"n":22}"#);
}

#[tokio::test]
async fn what_a_killed_blacksky_did_not_store_is_taken_from_the_disk() {
    let mut bench = Bench::linked().await;
    bench.write("session-2.json", r#"{"n":22}"#);
    bench.restarted().await;
    assert_eq!(bench.vault().restore().await.expect("restores"), Restored::Folder);
    assert_eq!(bench.stored().await["session-2.json"], br#"{"n":22}"#);
    // Somebody else had the session since.
    let elsewhere = bench.store.session(&bench.lease);
    let put = VaultPut { path: b"session-5.json", changed_at: 1, content: b"{\"n\":55}", stored: &[] };
    elsewhere.exchange_files(&[put], &[]).await.expect("writes");
    bench.write("session-2.json", r#"{"n":222}"#);
    bench.restarted().await;
    assert!(matches!(bench.vault().restore().await.expect("restores"), Restored::Database { .. }));
    assert_eq!(bench.read("session-2.json").as_deref(), Some(r#"{"n":22}"#));
    assert_eq!(bench.read("session-5.json").as_deref(), Some(r#"{"n":55}"#));
}

#[tokio::test]
async fn a_removed_file_goes_after_a_while_and_a_rewritten_one_never() {
    let bench = Bench::linked().await;
    let mut vault = bench.vault();
    vault.restore().await.expect("restores");
    let bot = async {
        fs::remove_file(bench.place().join("session-7.json")).expect("removes");
        let began = Instant::now();
        bench.until("it is gone", async || !bench.stored().await.contains_key("session-7.json")).await;
        assert!(began.elapsed() >= removal::LASTS, "{:?}", began.elapsed());
        let path = bench.place().join("creds.json");
        for _ in 0..20 {
            fs::remove_file(&path).expect("removes");
            tokio::time::sleep(Duration::from_millis(20)).await;
            fs::write(&path, creds("AAAA", true)).expect("writes");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    assert!(matches!(bench.during(&mut vault, bot).await, MirrorEnd::Stopped));
    assert_eq!(bench.stored().await.len(), 8);
}

#[tokio::test]
async fn links_and_large_files_are_named_and_not_kept() {
    let bench = Bench::linked().await;
    std::os::unix::fs::symlink("/etc/hostname", bench.place().join("link.json")).expect("links");
    let huge = fs::File::create(bench.place().join("huge.bin")).expect("creates");
    huge.set_len(scan::LARGEST + 1).expect("grows");
    let left_out = bench.vault().flush().await.expect("writes").left_out.expect("something is left out");
    assert!(left_out.contains("link.json is a symbolic link"), "{left_out}");
    assert!(left_out.contains("huge.bin is larger than 64 MB"), "{left_out}");
    assert_eq!(bench.stored().await.len(), 9);
}

#[tokio::test]
async fn a_disk_that_takes_nothing_is_said_and_the_database_keeps_the_session() {
    let bench = Bench::linked().await;
    let mut vault = Vault::new(bench.store.session(&bench.lease), PathBuf::from("/proc/sessions"), HOUR);
    let error = vault.restore().await.expect_err("cannot be written");
    assert!(error.to_string().contains("the session folder /proc/sessions cannot be written"), "{error}");
    assert_eq!(bench.stored().await.len(), 9);
}

#[tokio::test]
async fn a_single_sqlite_file_is_kept_with_what_its_log_holds() {
    let mut bench = Bench::new("wa.db").await;
    let open = async || {
        let options = SqliteConnectOptions::new().filename(bench.place()).create_if_missing(true);
        options.journal_mode(sqlx::sqlite::SqliteJournalMode::Wal).connect().await.expect("opens")
    };
    let mut vault = bench.vault();
    vault.restore().await.expect("restores");
    let mut bot = open().await;
    let work = async {
        sqlx::raw_sql("CREATE TABLE device (jid TEXT); INSERT INTO device VALUES ('1555')")
            .execute(&mut bot)
            .await
            .expect("writes");
        bench.until("it is stored", async || !bench.stored().await.is_empty()).await;
        sqlx::raw_sql("INSERT INTO device VALUES ('1666')").execute(&mut bot).await.expect("writes");
    };
    assert!(matches!(bench.during(&mut vault, work).await, MirrorEnd::Stopped));
    // Still open, its log not merged: as a kill leaves it.
    vault.flush().await.expect("writes");
    drop(bot);
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{end}", bench.place().display()));
    }
    bench.lease = Bench::lease(&bench.store).await;
    assert!(matches!(bench.vault().restore().await.expect("restores"), Restored::Database { files: 1, .. }));
    let options = SqliteConnectOptions::new().filename(bench.place());
    let mut again = options.connect().await.expect("opens");
    let rows = sqlx::query("SELECT jid FROM device ORDER BY jid").fetch_all(&mut again).await.expect("reads");
    let seen: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(seen, ["1555", "1666"]);
    again.close().await.expect("closes");
}
