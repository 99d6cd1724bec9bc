//! `blacksky session forget`: ends a session by archiving it.

use serde_json::json;

use super::writing::Writing;
use super::{confirmed, failure, session_of};
use crate::cli;
use crate::commands::output;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::store::Store;

pub(super) async fn run(store: &Store, config: &Config, args: &cli::Forget) -> Result<Exit, Failure> {
    let session = session_of(store, config, &args.name).await?;
    let sessions = store.sessions().await.map_err(failure)?;
    let Some(info) = sessions.into_iter().find(|one| one.session == session) else {
        return Err(Failure::new(
            Exit::Failed,
            anyhow::anyhow!("there is nothing to forget: \"{session}\" has never been stored"),
        ));
    };
    output::print_error(&format!(
        "Forgetting \"{session}\" ends it: the bot asks for a QR code when it starts next, and the phone still \
         lists the old device until you remove it there (WhatsApp > Linked devices). Its {} rows are kept in an \
         archived generation for at least 30 days, and its backups stay: `blacksky session restore` brings it back.",
        info.rows
    ))?;
    if !confirmed(args.yes, &format!("Forget \"{session}\"?"))? {
        output::print_error("nothing was changed")?;
        return Ok(Exit::Failed);
    }
    let writing = Writing::begin(store, config, &session).await?;
    let outcome = store.session(&writing.kept.lease).archive().await;
    writing.end().await;
    outcome.map_err(failure)?;
    if args.json {
        output::print_json(&json!({ "session": session, "archived_generation": info.generation }))?;
    } else {
        output::print(&format!("\"{session}\" was archived as generation {}", info.generation))?;
    }
    Ok(Exit::Ok)
}
