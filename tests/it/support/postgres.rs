//! A PostgreSQL of the tests' own: one cluster a test binary, one database a test.
//!
//! It listens on a free port of 127.0.0.1 with a password, with or without TLS under a certificate
//! of its own making, and on a Unix socket. It ends with the
//! test binary: a shell in between waits for its standard input to close. Commits are synchronous;
//! only the disk is not waited for, unless `BLACKSKY_FSYNC=on` says so, as for all that is measured.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::{Connection, PgConnection};

use super::eventually::eventually;

/// Name and password of the one user.
pub const USER: &str = "tester";
pub const PASSWORD: &str = "not-a-secret";

/// Runs PostgreSQL. A line "SIGNAL SECONDS" restarts it: it gets the signal and is down that long. Once the
/// tests' end of the pipe is closed it is stopped and its folder removed.
const WATCH: &str = r#"
    "$@" & server=$!
    while read -r signal down; do kill -"$signal" $server; wait $server; sleep "$down"; "$@" & server=$!; done
    kill -INT $server; wait $server; rm -rf "$FOLDER"
"#;

pub struct Cluster {
    pub port: u16,
    folder: PathBuf,
    // Its standard input stays open as long as the tests run.
    watch: Mutex<Child>,
}

/// How PostgreSQL is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Connections are ended, then all is written.
    Fast,
    /// As if it had crashed: the next start recovers.
    Immediate,
}

/// The tests' cluster, started by the first one that asks.
pub async fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    let cluster = tokio::task::spawn_blocking(|| CLUSTER.get_or_init(Cluster::start)).await.expect("starts");
    eventually("PostgreSQL answers", Duration::from_secs(30), async || {
        PgConnection::connect(&cluster.url("postgres")).await.is_ok()
    })
    .await;
    cluster
}

/// Waits until a server answers; how long that took.
pub async fn answers(url: &str) -> Duration {
    let begun = tokio::time::Instant::now();
    eventually("PostgreSQL answers", Duration::from_secs(30), async || {
        PgConnection::connect(url).await.is_ok()
    })
    .await;
    begun.elapsed()
}

/// A fresh database of the tests' cluster; its URL.
pub async fn database() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let cluster = cluster().await;
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let mut admin = PgConnection::connect(&cluster.url("postgres")).await.expect("an admin connection");
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut admin)
        .await
        .expect("a database");
    cluster.url(&name)
}

impl Cluster {
    /// The URL of one of its databases.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// The URL of one of its databases over the Unix socket.
    pub fn socket_url(&self, database: &str) -> String {
        let folder = self.folder.display().to_string().replace('/', "%2F");
        format!("postgres://{USER}:{PASSWORD}@{folder}:{}/{database}", self.port)
    }

    /// Stops the server and starts it again after `down`; returns at once. For a cluster of one's own only.
    pub fn restart(&self, how: Shutdown, down: Duration) {
        let signal = match how {
            Shutdown::Fast => "INT",
            Shutdown::Immediate => "QUIT",
        };
        let mut watch = self.watch.lock().expect("not poisoned");
        let orders = watch.stdin.as_mut().expect("piped");
        writeln!(orders, "{signal} {}", down.as_secs_f64()).expect("the shell reads");
    }

    /// A cluster of one's own, which ends when it is dropped. It may not answer yet.
    pub fn start() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let bin = bin();
        let account = Account::of_server();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = base().join(format!("blacksky-postgres-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("a private folder");
        let password = folder.join("password");
        fs::write(&password, PASSWORD).expect("a password file");
        account.give(&password);
        account.give(&folder);
        let data = folder.join("data");
        let mut initdb = Command::new(bin.join("initdb"));
        initdb
            .args(["--no-sync", "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", "--username", USER])
            .arg("--pwfile")
            .arg(&password)
            .arg("-D")
            .arg(&data)
            .current_dir(&folder)
            .stdin(Stdio::null());
        account.become_it(&mut initdb);
        succeed(&mut initdb);
        let mut certificate = Command::new("openssl");
        certificate
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
            .args(["-keyout", "server.key", "-out", "server.crt"])
            .current_dir(&data)
            .stdin(Stdio::null());
        account.become_it(&mut certificate);
        succeed(&mut certificate);

        let fsync = std::env::var_os("BLACKSKY_FSYNC").is_some_and(|value| value == "on");
        let port = free_port();
        let log = fs::File::create(folder.join("log")).expect("a log");
        let mut watch = Command::new("sh");
        watch
            .args(["-c", WATCH, "sh"])
            .arg(bin.join("postgres"))
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(&folder)
            .args(["-p", &port.to_string()])
            .args([
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                if fsync { "fsync=on" } else { "fsync=off" },
                "-c",
                "max_connections=200",
                "-c",
                "ssl=on",
            ])
            .env("FOLDER", &folder)
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log);
        account.become_it(&mut watch);
        let watch = watch.spawn().expect("PostgreSQL starts");
        Self { port, folder, watch: Mutex::new(watch) }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let Ok(watch) = self.watch.get_mut() else { return };
        drop(watch.stdin.take());
        let _ = watch.wait();
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Runs one of PostgreSQL's own programs to its good end.
pub fn tool(name: &str, args: &[&str]) {
    succeed(Command::new(folder_of(&[name]).join(name)).args(args).stdin(Stdio::null()));
}

/// The newest PostgreSQL: on PATH, or where Debian puts it.
fn bin() -> PathBuf {
    folder_of(&["initdb", "postgres"])
}

fn folder_of(programs: &[&str]) -> PathBuf {
    let mut found: Vec<PathBuf> =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    versions.sort();
    found.extend(versions.into_iter().rev());
    let complete = |bin: &PathBuf| programs.iter().all(|program| bin.join(program).exists());
    found.into_iter().find(complete).expect("PostgreSQL's programs (Debian: apt install postgresql)")
}

/// A folder for temporary files that any account can reach into.
pub fn base() -> PathBuf {
    let folder = std::env::temp_dir();
    let reachable = |folder: &Path| folder.metadata().is_ok_and(|data| data.mode() & 0o001 != 0);
    if folder.ancestors().all(reachable) { folder } else { "/tmp".into() }
}

/// Who runs the server: it refuses root.
pub struct Account(Option<(u32, u32)>);

impl Account {
    pub fn of_server() -> Self {
        let root = fs::metadata("/proc/self").map(|data| data.uid() == 0).unwrap_or(false);
        if !root {
            return Self(None);
        }
        let accounts = fs::read_to_string("/etc/passwd").expect("the list of accounts");
        let ids = |name: &str| {
            let line = accounts.lines().find(|line| line.starts_with(&format!("{name}:")))?;
            let mut fields = line.split(':').skip(2).map(|field| field.parse().ok());
            Some((fields.next()??, fields.next()??))
        };
        Self(Some(ids("postgres").or_else(|| ids("nobody")).expect("an account for PostgreSQL")))
    }

    pub fn give(&self, path: &Path) {
        if let Some((user, group)) = self.0 {
            chown(path, Some(user), Some(group)).expect("a folder for PostgreSQL's account");
        }
    }

    pub fn become_it(&self, command: &mut Command) {
        if let Some((user, group)) = self.0 {
            command.uid(user).gid(group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_cluster_of_ones_own_restarts_and_keeps_what_was_committed() {
        let cluster = Cluster::start();
        let url = cluster.url("postgres");
        let connect = async || {
            let mut connection = None;
            eventually("PostgreSQL answers", Duration::from_secs(30), async || {
                connection = PgConnection::connect(&url).await.ok();
                connection.is_some()
            })
            .await;
            connection.expect("just seen")
        };
        let mut connection = connect().await;
        sqlx::raw_sql("CREATE TABLE kept (n integer)").execute(&mut connection).await.expect("created");
        for how in [Shutdown::Fast, Shutdown::Immediate] {
            sqlx::raw_sql("INSERT INTO kept VALUES (1)").execute(&mut connection).await.expect("inserted");
            cluster.restart(how, Duration::from_millis(200));
            eventually("the connection ends", Duration::from_secs(10), async || {
                sqlx::raw_sql("SELECT 1").execute(&mut connection).await.is_err()
            })
            .await;
            connection = connect().await;
        }
        let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM kept")
            .fetch_one(&mut connection)
            .await
            .expect("counted");
        assert_eq!(kept, 2);
    }
}
