//! The state folder: one JSON file with the server's keys and the accounts.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::account::User;
use super::identity::ServerIdentity;
use super::world::World;

const FILE: &str = "simulator.json";

/// Why the state cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refuses.
    #[error("the state file {path} cannot be {verb}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// "read" or "written".
        verb: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("the state file {path} does not parse ({source}); move it away to start anew")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
}

#[derive(Deserialize)]
struct Loaded {
    identity: ServerIdentity,
    users: Vec<User>,
}

#[derive(Serialize)]
struct Saved<'a> {
    identity: &'a ServerIdentity,
    users: Vec<&'a User>,
}

/// The world of the state folder; `None` when there is none yet.
pub fn load(folder: &Path) -> Result<Option<World>, Error> {
    let path = folder.join(FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::Io { path, verb: "read", source }),
    };
    let loaded: Loaded = serde_json::from_slice(&bytes).map_err(|source| Error::Parse { path, source })?;
    let mut world = World::new(Arc::new(loaded.identity));
    for user in loaded.users {
        world.adopt(user);
    }
    Ok(Some(world))
}

/// The content of the state file.
pub fn encode(world: &World) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Saved { identity: &world.identity, users: world.users.values().collect() })
}

/// Replaces the state file in one step.
pub fn write(folder: &Path, content: &[u8]) -> Result<(), Error> {
    let path = folder.join(FILE);
    let temporary = folder.join(format!("{FILE}.new"));
    let result = fs::create_dir_all(folder).and_then(|()| {
        let mut file = private(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)
    });
    result.map_err(|source| Error::Io { path, verb: "written", source })
}

/// The file holds private keys, if only of a simulator.
fn private(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_loaded_and_garbage_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert!(load(folder.path()).unwrap().is_none());
        let mut world = World::new(Arc::new(ServerIdentity::generate(1_800_000_000).unwrap()));
        world.user("4915112345678").unwrap().name = "Ada".to_owned();
        write(folder.path(), &encode(&world).unwrap()).unwrap();
        let mut again = load(folder.path()).unwrap().unwrap();
        assert_eq!(again.identity.chain(), world.identity.chain());
        assert_eq!(again.user("4915112345678").unwrap().name, "Ada");

        write(folder.path(), b"{}").unwrap();
        let error = load(folder.path()).err().unwrap().to_string();
        assert!(error.contains(FILE) && error.contains("move it away"), "{error}");
    }
}
