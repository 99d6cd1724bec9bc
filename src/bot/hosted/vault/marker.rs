//! Whose a session folder is, and what to do about that when a bot starts.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The marker's name within the folder.
pub const MARKER: &str = ".blacksky";

/// What blacksky wrote last in a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The session id.
    pub session: String,
    pub generation: i64,
    pub epoch: i64,
    /// SHA-256 of all that was mirrored last, in hex.
    pub digest: String,
}

impl Marker {
    /// Reads it; one that is damaged is none.
    pub fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(folder.join(MARKER)).ok()?).ok()
    }

    /// Writes it at once or not at all.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let (new, text) = (folder.join(".blacksky.new"), serde_json::to_vec(self)?);
        std::fs::write(&new, text)?;
        std::fs::rename(new, folder.join(MARKER))
    }

    /// Whether the folder is not older than the database: the lease is still the one under which it was written, or
    /// the database has what was mirrored last, so that nobody else has had the session since.
    fn is_current(&self, session: &str, (epoch, generation): (i64, i64), stored: &str) -> bool {
        self.session == session
            && self.generation == generation
            && (self.epoch == epoch || self.digest == stored)
    }
}

/// Where the session comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// There is none: the bot pairs.
    Nowhere,
    /// The database; what is in the folder is put aside.
    Database,
    /// The folder: the bot has run since the last mirror.
    Folder,
    /// The folder, for the first time: the database gets it.
    TakeOver,
}

/// Decides by what is there. `standing` is epoch and generation of the lease, `stored` the digest of what is in the
/// database, if anything is.
pub fn source(
    marker: Option<&Marker>,
    (session, standing): (&str, (i64, i64)),
    in_folder: bool,
    stored: Option<&str>,
) -> Source {
    match (stored, in_folder, marker) {
        (None, false, _) => Source::Nowhere,
        // Of another session or generation: an archived one that must not come back.
        (None, true, Some(marker)) if marker.session != session || marker.generation != standing.1 => {
            Source::Nowhere
        }
        (None, true, _) => Source::TakeOver,
        (Some(stored), true, Some(marker)) if marker.is_current(session, standing, stored) => Source::Folder,
        (Some(_), ..) => Source::Database,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wins() {
        let marker = |session: &str, generation, epoch| {
            Some(Marker { session: session.into(), generation, epoch, digest: "mirrored".into() })
        };
        let (ours, older) = (marker("main", 3, 700), marker("main", 3, 600));
        let (archived, foreign) = (marker("main", 2, 700), marker("other", 3, 700));
        for (marker, in_folder, in_database, wanted) in [
            (None, false, false, Source::Nowhere),
            (ours.clone(), false, false, Source::Nowhere),
            // The first deploy with blacksky: the bot's own session.
            (None, true, false, Source::TakeOver),
            (ours.clone(), true, false, Source::TakeOver),
            (older.clone(), true, false, Source::TakeOver),
            // It was archived since.
            (archived.clone(), true, false, Source::Nowhere),
            (foreign.clone(), true, false, Source::Nowhere),
            // A slug that brings a stale committed folder at every boot.
            (None, true, true, Source::Database),
            (older, true, true, Source::Database),
            (archived, true, true, Source::Database),
            (foreign, true, true, Source::Database),
            (None, false, true, Source::Database),
            // It removed the folder's contents: the mirror has its own rule for that while it runs.
            (ours.clone(), false, true, Source::Database),
            (ours, true, true, Source::Folder),
        ] {
            let stored = in_database.then_some("another");
            let seen = source(marker.as_ref(), ("main", (700, 3)), in_folder, stored);
            assert_eq!(seen, wanted, "{marker:?} {in_folder} {in_database}");
        }
        // A blacksky that was killed, on a disk that stays: the bot's last changes are in the folder alone.
        let (older, archived, foreign) =
            (marker("main", 3, 600), marker("main", 2, 600), marker("other", 3, 600));
        for (marker, wanted) in
            [(older, Source::Folder), (archived, Source::Database), (foreign, Source::Database)]
        {
            assert_eq!(
                source(marker.as_ref(), ("main", (700, 3)), true, Some("mirrored")),
                wanted,
                "{marker:?}"
            );
        }
    }

    #[test]
    fn a_marker_reads_back_and_a_damaged_one_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(Marker::read(folder.path()), None);
        let marker = Marker { session: "main".into(), generation: 1, epoch: 2, digest: "00".into() };
        marker.write(folder.path()).expect("writes");
        assert_eq!(Marker::read(folder.path()), Some(marker));
        std::fs::write(folder.path().join(MARKER), "{").expect("writes");
        assert_eq!(Marker::read(folder.path()), None);
    }
}
