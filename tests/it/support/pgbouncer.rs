//! PgBouncer in front of a PostgreSQL of the tests.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;

use super::eventually::eventually;
use super::postgres::{Account, PASSWORD, USER, base, free_port};

/// Ends with the test, at the latest with the test binary.
const WATCH: &str = r#""$@" & server=$!; cat > /dev/null; kill -KILL $server"#;

pub struct PgBouncer {
    pub port: u16,
    _folder: tempfile::TempDir,
    _watch: Child,
}

impl PgBouncer {
    /// In front of the server on `target`; `settings` are lines for its section.
    pub async fn start(target: u16, settings: &str) -> Self {
        let (account, port) = (Account::of_server(), free_port());
        let folder = tempfile::tempdir_in(base()).expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("a private folder");
        let config = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={target} user={USER} password={PASSWORD}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\n{settings}\n"
        );
        fs::write(&config, text).expect("its configuration");
        account.give(&config);
        account.give(folder.path());
        let mut watch = Command::new("sh");
        // Debian keeps it where only root looks.
        let program =
            if Path::new("/usr/sbin/pgbouncer").exists() { "/usr/sbin/pgbouncer" } else { "pgbouncer" };
        watch
            .args(["-c", WATCH, "sh", program])
            .arg(&config)
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        account.become_it(&mut watch);
        let watch = watch.spawn().expect("PgBouncer starts (Debian: apt install pgbouncer)");
        eventually("PgBouncer listens", Duration::from_secs(10), async || {
            TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        Self { port, _folder: folder, _watch: watch }
    }
}
