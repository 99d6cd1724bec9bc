//! `blacksky session restore`.

use serde_json::json;

use super::writing::Writing;
use super::{backup_json, confirmed, failure, session_of, time};
use crate::cli;
use crate::commands::output;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::store::{Backed, BackupInfo, SessionCopy, Store, StoreError};

/// What a person must know before.
const MEANING: &str = "\
Restoring rolls the session back to that moment, and with it its encryption ratchets:
- Contacts and groups that wrote or were written to since then are out of step. Some messages, in both
  directions, cannot be decrypted until the two sides have agreed on new keys, which happens by itself.
- The restored session and the one of now must never run at the same time, not even briefly.
- If WhatsApp has unlinked the device since then, the restored session is refused too: link anew instead.
The session of now is backed up first, and kept in an archived generation.";

pub(super) async fn run(store: &Store, config: &Config, args: &cli::Restore) -> Result<Exit, Failure> {
    let session = session_of(store, config, &args.name).await?;
    let info = choose(store, &session, &args.from).await?;
    // Read before anything is touched: one that does not open changes nothing.
    let copy = store.backup(&session, info.id).await.map_err(failure)?;
    output::print_error(&format!(
        "Backup {} of \"{session}\", taken {}, unchanged until {}.\n{MEANING}",
        info.id,
        time(info.taken_at),
        time(info.checked_at)
    ))?;
    let question = format!("Restore backup {} of \"{session}\"?", info.id);
    if !confirmed(args.yes, &question)? {
        output::print_error("nothing was changed")?;
        return Ok(Exit::Failed);
    }
    let writing = Writing::begin(store, config, &session).await?;
    let outcome = replace(store, config, &writing, &copy).await;
    writing.end().await;
    let fresh = outcome?;
    if args.json {
        output::print_json(&json!({
            "session": session,
            "restored": backup_json(&info),
            "fresh": fresh.as_ref().map(backup_json),
        }))?;
    } else {
        let before = match fresh {
            Some(fresh) => format!("; the session as it was before is backup {}", fresh.id),
            None => String::new(),
        };
        output::print(&format!("restored backup {} of \"{session}\"{before}", info.id))?;
    }
    Ok(Exit::Ok)
}

/// Takes a fresh backup, then writes the copy as a new generation.
pub(super) async fn replace(
    store: &Store,
    config: &Config,
    writing: &Writing,
    copy: &SessionCopy,
) -> Result<Option<BackupInfo>, Failure> {
    let lease = &writing.kept.lease;
    let fresh = match store.back_up(&lease.session, Some(lease), &config.backup).await {
        Ok(Backed::Written(info) | Backed::Unchanged(info)) => Some(info),
        Ok(Backed::NotLinked) => None,
        // What a restore is for; its rows stay in the archived generation.
        Err(error @ StoreError::Unreadable { .. }) => {
            output::print_error(&format!(
                "the session of now cannot be backed up ({error}); it is archived"
            ))?;
            None
        }
        Err(error) => return Err(failure(error)),
    };
    store.restore(lease, copy).await.map_err(failure)?;
    Ok(fresh)
}

async fn choose(store: &Store, session: &str, from: &str) -> Result<BackupInfo, Failure> {
    let refuse = |problem: String| Failure::new(Exit::Failed, anyhow::anyhow!(problem));
    let own = store.backups(Some(session)).await.map_err(failure)?;
    if own.is_empty() {
        return Err(refuse(format!("there is no backup of \"{session}\"")));
    }
    if from == "latest" {
        return own.into_iter().next().ok_or_else(|| refuse("there is no backup".into()));
    }
    let Ok(id) = from.parse::<i64>() else {
        return Err(Failure::new(
            Exit::Usage,
            anyhow::anyhow!("--from takes the number of a backup or \"latest\": see `blacksky session show`"),
        ));
    };
    if let Some(info) = own.iter().find(|info| info.id == id) {
        return Ok(info.clone());
    }
    let all = store.backups(None).await.map_err(failure)?;
    Err(refuse(match all.iter().find(|info| info.id == id) {
        Some(other) => format!(
            "backup {id} is of the session \"{}\", not of \"{session}\": nothing was changed",
            other.session
        ),
        None => {
            let ids: Vec<String> = own.iter().map(|info| info.id.to_string()).collect();
            format!("there is no backup {id} of \"{session}\"; there are: {}", ids.join(", "))
        }
    }))
}
