//! `blacksky session show`: no secrets, no phone numbers.

use serde_json::json;

use super::{backup_json, bots_of, bytes, failure, rfc3339, session_json, session_of, table, time};
use crate::cli;
use crate::commands::output;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::store::Store;

pub(super) async fn run(store: &Store, config: &Config, args: &cli::SessionName) -> Result<Exit, Failure> {
    let id = session_of(store, config, &args.name).await?;
    let sessions = store.sessions().await.map_err(failure)?;
    let session = sessions.iter().find(|session| session.session == id);
    let backups = store.backups(Some(&id)).await.map_err(failure)?;
    let generations = store.generations(&id).await.map_err(failure)?;
    if args.json {
        let generations: Vec<_> = generations
            .iter()
            .map(|one| {
                json!({
                    "id": one.id,
                    "opened_at": rfc3339(one.opened_at),
                    "archived_at": one.archived_at.map(rfc3339),
                    "rows": one.rows,
                    "bytes": one.size,
                })
            })
            .collect();
        output::print_json(&json!({
            "session": id,
            "bots": bots_of(config, &id),
            "stored": session.map(|session| session_json(config, session, backups.first())),
            "generations": generations,
            "backups": backups.iter().map(backup_json).collect::<Vec<_>>(),
        }))?;
        return Ok(Exit::Ok);
    }
    let fact = |name: &str, value: String| vec![name.to_owned(), value];
    let mut facts = vec![fact("session", id.clone()), fact("bots", bots_of(config, &id).join(", "))];
    match session {
        None => facts.push(fact("stored", "nothing".to_owned())),
        Some(session) => {
            let holder = session.holder.as_ref().map_or("nobody".to_owned(), |holder| match holder.until {
                Some(until) => format!("{} until {} unless renewed", holder.owner, time(until)),
                None => holder.owner.clone(),
            });
            facts.push(fact("held by", holder));
            facts.push(fact("stored", format!("{} rows, {}", session.rows, bytes(session.size))));
            facts.push(fact("unhandled messages", session.unhandled.to_string()));
            if let Some(v) = session.wa_version {
                facts.push(fact("WhatsApp version", format!("{}.{}.{}", v.0, v.1, v.2)));
            }
        }
    }
    let mut text = table(&facts);
    let mut rows = vec![["GENERATION", "OPENED", "ARCHIVED", "ROWS", "SIZE"].map(str::to_owned).to_vec()];
    rows.extend(generations.iter().map(|one| {
        vec![
            one.id.to_string(),
            time(one.opened_at),
            one.archived_at.map_or("current".to_owned(), time),
            one.rows.to_string(),
            bytes(one.size),
        ]
    }));
    text += &format!("\n\n{}", table(&rows));
    let mut rows = vec![
        ["BACKUP", "TAKEN", "UNCHANGED UNTIL", "GENERATION", "ROWS", "SIZE"].map(str::to_owned).to_vec(),
    ];
    rows.extend(backups.iter().map(|one| {
        vec![
            one.id.to_string(),
            time(one.taken_at),
            time(one.checked_at),
            one.generation.to_string(),
            one.rows.to_string(),
            bytes(one.size),
        ]
    }));
    text += &if backups.is_empty() { "\n\nno backups".to_owned() } else { format!("\n\n{}", table(&rows)) };
    output::print(&text)?;
    Ok(Exit::Ok)
}
