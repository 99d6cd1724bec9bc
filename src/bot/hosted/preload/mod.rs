//! What Node loads before a hosted bot's own code: it leads the bot's WebSocket to the relay and reports Baileys'
//! own events.
//!
//! It goes through NODE_OPTIONS, so that processes that the bot starts have it too, and replaces only the two
//! functions of Node that every version of `ws` calls: the bot's source and packages stay as they are. Programs
//! that do not read NODE_OPTIONS (Bun, Deno, packed binaries) go around the relay.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const SOURCE: &str = include_str!("preload.cjs");

/// The preload on the disk.
#[derive(Debug)]
pub struct Preload(PathBuf);

impl Preload {
    /// Writes it into a private folder.
    ///
    /// # Errors
    /// It cannot be written, or not be read again. Node ends at once when a preload is missing, so the bot must be
    /// started without it then.
    pub fn write(folder: &Path) -> io::Result<Self> {
        let path = folder.join("preload.cjs");
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?
            .write_all(SOURCE.as_bytes())?;
        if fs::read_to_string(&path)? != SOURCE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "what was written does not read back"));
        }
        Ok(Self(path))
    }

    /// For NODE_OPTIONS. Node takes double quotes and the backslash there.
    pub fn node_options(&self) -> String {
        let path = self.0.display().to_string().replace('\\', "\\\\").replace('"', "\\\"");
        format!("--require \"{path}\"")
    }
}

/// What the preload reads. `relay` is the relay's address; with `through` the bot's WebSocket is led there.
pub fn variables(relay: &str, through: bool) -> Vec<(String, String)> {
    let through = if through { "1" } else { "0" };
    vec![
        ("BLACKSKY_RELAY".to_owned(), relay.to_owned()),
        ("BLACKSKY_RELAY_THROUGH".to_owned(), through.to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::Preload;

    #[test]
    fn it_is_private_and_its_path_may_hold_blanks_and_quotes() {
        let folder = tempfile::Builder::new().prefix("a \"b\" ").tempdir().expect("a folder");
        let preload = Preload::write(folder.path()).expect("writes");
        let mode = std::fs::metadata(&preload.0).expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let node = std::process::Command::new("node")
            .args(["-e", "process.stdout.write('started')"])
            .env("NODE_OPTIONS", preload.node_options())
            .output()
            .expect("node starts");
        assert_eq!(
            String::from_utf8_lossy(&node.stdout),
            "started",
            "{}",
            String::from_utf8_lossy(&node.stderr)
        );
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_said() {
        assert!(Preload::write(std::path::Path::new("/proc")).is_err());
    }
}
