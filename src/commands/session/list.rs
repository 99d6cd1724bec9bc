//! `blacksky session list`.

use serde_json::Value;

use super::{bots_of, bytes, failure, session_json, table, time};
use crate::cli;
use crate::commands::output;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::store::{BackupInfo, Store};

pub(super) async fn run(store: &Store, config: &Config, args: &cli::Json) -> Result<Exit, Failure> {
    let sessions = store.sessions().await.map_err(failure)?;
    let backups = store.backups(None).await.map_err(failure)?;
    let newest = |session: &str| -> Option<&BackupInfo> { backups.iter().find(|one| one.session == session) };
    // Sessions whose row is gone, which a backup could bring back.
    let mut lost: Vec<&BackupInfo> = Vec::new();
    for backup in &backups {
        let is_known = sessions.iter().any(|session| session.session == backup.session);
        if !is_known && !lost.iter().any(|one| one.session == backup.session) {
            lost.push(backup);
        }
    }
    if args.json {
        let known = sessions.iter().map(|session| session_json(config, session, newest(&session.session)));
        let lost = lost.iter().map(|backup| {
            serde_json::json!({
                "session": backup.session,
                "bots": bots_of(config, &backup.session),
                "holder": null,
                "generation": null,
                "last_backup": super::backup_json(backup),
            })
        });
        output::print_json(&Value::Array(known.chain(lost).collect()))?;
        return Ok(Exit::Ok);
    }
    if sessions.is_empty() && lost.is_empty() {
        output::print("no session yet: `blacksky run` makes one")?;
        return Ok(Exit::Ok);
    }
    let head = ["SESSION", "BOT", "HELD BY", "GENERATION", "ROWS", "SIZE", "LAST BACKUP"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let said = |backup: Option<&BackupInfo>| backup.map_or("none".to_owned(), |one| time(one.taken_at));
    for session in &sessions {
        rows.push(vec![
            session.session.clone(),
            bots_of(config, &session.session).join(","),
            session.holder.as_ref().map_or("nobody".to_owned(), |holder| holder.owner.clone()),
            session.generation.to_string(),
            session.rows.to_string(),
            bytes(session.size),
            said(newest(&session.session)),
        ]);
    }
    for backup in lost {
        rows.push(vec![
            backup.session.clone(),
            bots_of(config, &backup.session).join(","),
            "nobody".to_owned(),
            "gone".to_owned(),
            "0".to_owned(),
            bytes(0),
            said(Some(backup)),
        ]);
    }
    output::print(&table(&rows))?;
    Ok(Exit::Ok)
}
