//! A session that is a single SQLite file: consistent snapshots of it, and the way back.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use super::folder::{beside, put_aside, remove, write};
use super::marker::Marker;
use super::scan::{LARGEST, Stat};
use super::{KnownFiles, VaultError, Work};
use crate::store::{StoredFile, pieces};

/// For the bot to finish what it writes.
const BUSY: Duration = Duration::from_secs(2);

/// The stored name of the file.
pub const NAME: &[u8] = b"session.sqlite";

/// A bot's file with the files that SQLite keeps beside it.
fn beside_it(file: &Path) -> [PathBuf; 2] {
    ["-wal", "-shm"].map(|end| {
        let mut name = file.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    })
}

/// Tells versions apart: the newest of the file and its log, and the size of both.
fn stat(file: &Path) -> Option<Stat> {
    let [log, _] = beside_it(file);
    let of = |path: &Path| Some(Stat::of(&std::fs::metadata(path).ok()?));
    let (main, log) = (of(file)?, of(&log));
    Some(Stat {
        size: main.size + log.map_or(0, |log| log.size),
        changed_ns: log.map_or(main.changed_ns, |log| log.changed_ns.max(main.changed_ns)),
        inode: main.inode,
    })
}

/// What differs from what is known.
pub async fn look(file: &Path, known: &KnownFiles) -> Result<Work, VaultError> {
    let mut work = Work::default();
    let before = known.get(NAME);
    let Some(now) = stat(file) else {
        work.gone = known.keys().cloned().collect();
        return Ok(work);
    };
    if before.is_some_and(|(known, _)| known == &Some(now)) {
        return Ok(work);
    }
    if now.size > LARGEST {
        work.left_out.push(format!("{} is larger than 64 MB", file.display()));
        return Ok(work);
    }
    let content = match snapshot(file).await {
        Ok(content) => content,
        // Being created, or locked for long: the last good one stays.
        Err(problem) if before.is_none() || is_busy(&problem) => {
            tracing::debug!(%problem, "no snapshot of the bot's SQLite file yet");
            work.torn.push(NAME.to_vec());
            return Ok(work);
        }
        Err(problem) => {
            return Err(VaultError::Sqlite {
                file: file.display().to_string(),
                problem: problem.to_string(),
            });
        }
    };
    if before.is_none_or(|(_, stored)| *stored != pieces(&content)) {
        work.changed.push((NAME.to_vec(), content, Some(now)));
    }
    Ok(work)
}

fn is_busy(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.message().contains("locked") || error.message().contains("busy"))
}

/// A copy of the database as it is at one instant, its log included.
async fn snapshot(file: &Path) -> Result<Vec<u8>, sqlx::Error> {
    let copy = beside(file, "copy");
    remove(&copy)?;
    let options = SqliteConnectOptions::new().filename(file).busy_timeout(BUSY).disable_statement_logging();
    let mut connection = options.connect().await?;
    let made = sqlx::query("VACUUM INTO ?").bind(copy.display().to_string()).execute(&mut connection).await;
    connection.close().await?;
    made?;
    let content = tokio::fs::read(&copy).await?;
    remove(&copy)?;
    Ok(content)
}

/// Writes the stored database, without a log beside it.
pub fn write_out(file: &Path, stored: &[StoredFile], marker: &Marker) -> io::Result<Vec<(Vec<u8>, Stat)>> {
    put_aside(file)?;
    for path in beside_it(file) {
        remove(&path)?;
    }
    let Some(kept) = stored.iter().find(|stored| stored.path == NAME) else { return Ok(Vec::new()) };
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let new = beside(file, "new");
    write(&new, &kept.content)?;
    std::fs::rename(new, file)?;
    write_marker(file, marker)?;
    Ok(stat(file).map(|stat| (NAME.to_vec(), stat)).into_iter().collect())
}

/// The marker, in a folder beside the file.
pub fn marker(file: &Path) -> Option<Marker> {
    Marker::read(&beside(file, "marker"))
}

pub fn write_marker(file: &Path, marker: &Marker) -> io::Result<()> {
    let folder = beside(file, "marker");
    std::fs::create_dir_all(&folder)?;
    marker.write(&folder)
}
