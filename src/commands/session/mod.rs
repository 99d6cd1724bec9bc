//! `blacksky session …`: what the database knows of the sessions, backups, restore, export, import, forget.

mod backup;
mod export;
mod forget;
mod import;
mod list;
mod passphrase;
mod restore;
mod show;
mod writing;

use std::io::{BufRead, IsTerminal};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::cli::{Cli, SessionCommand};
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::store::{BackupInfo, SessionInfo, Store, StoreError};

use super::output;

pub(super) fn run(cli: &Cli, command: &SessionCommand) -> Result<Exit, Failure> {
    let config = super::load::load(cli)?.config;
    super::block_on(async {
        let store = Store::open(&config.database).await.map_err(failure)?;
        let outcome = match command {
            SessionCommand::List(args) => list::run(&store, &config, args).await,
            SessionCommand::Show(args) => show::run(&store, &config, args).await,
            SessionCommand::Backup(args) => backup::run(&store, &config, args).await,
            SessionCommand::Restore(args) => restore::run(&store, &config, args).await,
            SessionCommand::Export(args) => export::run(&store, &config, args).await,
            SessionCommand::Import(args) => import::run(&store, &config, args).await,
            SessionCommand::Forget(args) => forget::run(&store, &config, args).await,
        };
        store.close().await;
        outcome
    })
}

/// The exit code of an error of the store.
fn failure(error: StoreError) -> Failure {
    let exit = match &error {
        StoreError::Unavailable { .. } => Exit::Unavailable,
        StoreError::NewerSchema { .. }
        | StoreError::Held { .. }
        | StoreError::Fenced
        | StoreError::Unreadable { .. }
        | StoreError::Refused { .. } => Exit::Failed,
    };
    Failure::new(exit, error)
}

/// The session id of a bot's name, or of a session id that the database knows.
async fn session_of(store: &Store, config: &Config, name: &str) -> Result<String, Failure> {
    if let Some(bot) = config.bots.get(name) {
        return Ok(bot.session.clone());
    }
    let mut known: Vec<String> =
        store.sessions().await.map_err(failure)?.into_iter().map(|one| one.session).collect();
    // A session may be gone while its backups are there.
    known.extend(store.backups(None).await.map_err(failure)?.into_iter().map(|one| one.session));
    known.sort();
    known.dedup();
    if known.iter().any(|session| session == name) {
        return Ok(name.to_owned());
    }
    let bots: Vec<&str> = config.bots.keys().map(String::as_str).collect();
    let sessions = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Err(Failure::new(
        Exit::Failed,
        anyhow::anyhow!(
            "there is no bot and no session \"{}\"; bots of the file: {}; sessions in the database: {sessions}",
            name.escape_debug(),
            bots.join(", ")
        ),
    ))
}

/// The bots of the file that use a session.
fn bots_of<'c>(config: &'c Config, session: &str) -> Vec<&'c str> {
    config.bots.iter().filter(|(_, bot)| bot.session == session).map(|(name, _)| name.as_str()).collect()
}

/// Asks for a "yes" at the terminal.
///
/// # Errors
/// There is no terminal: somebody must say `--yes`.
fn confirmed(yes: bool, question: &str) -> Result<bool, Failure> {
    if yes {
        return Ok(true);
    }
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::new(
            Exit::Usage,
            anyhow::anyhow!("nobody can be asked here, since there is no terminal: add --yes to go on"),
        ));
    }
    output::print_error(&format!("{question} Type yes to go on:"))?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("yes"))
}

/// A count of bytes for people.
fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{:.1} KB", count as f64 / 1024.0),
        _ => format!("{:.1} MB", count as f64 / 1_048_576.0),
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn backup_json(backup: &BackupInfo) -> Value {
    json!({
        "id": backup.id,
        "session": backup.session,
        "taken_at": rfc3339(backup.taken_at),
        "checked_at": rfc3339(backup.checked_at),
        "generation": backup.generation,
        "rows": backup.rows,
        "bytes": backup.size,
    })
}

fn session_json(config: &Config, session: &SessionInfo, newest: Option<&BackupInfo>) -> Value {
    json!({
        "session": session.session,
        "bots": bots_of(config, &session.session),
        "holder": session.holder.as_ref().map(|holder| json!({
            "owner": holder.owner,
            "until": holder.until.map(rfc3339),
        })),
        "generation": session.generation,
        "rows": session.rows,
        "bytes": session.size,
        "unhandled_messages": session.unhandled,
        "wa_version": session.wa_version.map(|v| format!("{}.{}.{}", v.0, v.1, v.2)),
        "last_backup": newest.map(backup_json),
    })
}

/// Columns set under each other, two spaces apart.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::{bytes, table};

    #[test]
    fn sizes_are_said_in_three_digits_or_so() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KB");
        assert_eq!(bytes(5 << 20), "5.0 MB");
    }

    #[test]
    fn columns_stand_under_each_other() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        assert_eq!(table(&[row(["a", "größe"]), row(["bcd", ""])]), "a    größe\nbcd");
    }
}
