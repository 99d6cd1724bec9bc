//! `blacksky session import`: a session from a file becomes one of this database.

use anyhow::anyhow;
use serde_json::json;

use super::writing::Writing;
use super::{backup_json, bots_of, confirmed, failure, passphrase, restore, rfc3339, time};
use crate::cli;
use crate::commands::output;
use crate::config::Config;
use crate::config::values::Value as _;
use crate::config::values::session::{SessionId, refused_login};
use crate::exit::{Exit, Failure};
use crate::store::{SealedExport, Store, StoreError};

pub(super) async fn run(store: &Store, config: &Config, args: &cli::Import) -> Result<Exit, Failure> {
    let sealed = SealedExport::read(&args.file)?;
    let passphrase = passphrase::know(args.passphrase_env.as_deref())?;
    let export = tokio::task::spawn_blocking(move || sealed.open(&passphrase)).await??;
    let header = export.copy.header.clone();
    if !export.copy.is_linked() {
        return Err(refusal("there is no linked device in this export: nothing was changed".to_owned()));
    }
    let session = target(config, args.session.as_deref(), &header.session)?;
    // The database may be a new one.
    store.migrate().await.map_err(failure)?;
    let replaces = is_taken(store, &session).await?;
    if replaces && !args.replace {
        return Err(taken(&session));
    }

    output::print_error(&meaning(
        &header.session,
        &session,
        &time(header.taken_at),
        export.beside_a_bot,
        replaces,
    ))?;
    // A copy that may have a twin, and a session that is replaced, are worth a question.
    let ask = export.beside_a_bot || replaces;
    if ask && !confirmed(args.yes, &format!("Import it as \"{session}\"?"))? {
        output::print_error("nothing was changed")?;
        return Ok(Exit::Failed);
    }
    let writing = Writing::begin(store, config, &session).await?;
    let copy = export.copy.renamed(&session);
    let outcome = match is_taken(store, &session).await {
        // It was linked while the question stood.
        Ok(true) if !args.replace => Err(taken(&session)),
        Ok(_) => restore::replace(store, config, &writing, &copy).await,
        Err(failure) => Err(failure),
    };
    writing.end().await;
    let fresh = outcome?;
    if args.json {
        output::print_json(&json!({
            "session": session,
            "exported_from": header.session,
            "taken_at": rfc3339(header.taken_at),
            "rows": copy.rows(),
            "copy": export.beside_a_bot,
            "fresh": fresh.as_ref().map(backup_json),
        }))?;
        return Ok(Exit::Ok);
    }
    let before = match &fresh {
        Some(fresh) => format!("; the session as it was before is backup {}", fresh.id),
        None => String::new(),
    };
    output::print(&format!("imported \"{session}\", {} rows{before}", copy.rows()))?;
    let next = if bots_of(config, &session).is_empty() {
        "No bot of this file uses this session yet: set SESSION_ID or the bot's `session` to its name."
    } else {
        "Start the bot: it links without a QR code."
    };
    output::print_error(next)?;
    Ok(Exit::Ok)
}

/// The session to become: the one that was asked for, else that of the export if a bot here uses it.
fn target(config: &Config, asked: Option<&str>, exported: &str) -> Result<String, Failure> {
    if let Some(name) = asked {
        if let Some(bot) = config.bots.get(name) {
            return Ok(bot.session.clone());
        }
        let wrong = match SessionId::from_text(name) {
            Ok(SessionId::Name(name)) => return Ok(name),
            Ok(SessionId::Login(_) | SessionId::Unreadable(_)) => refused_login(),
            Err(wrong) => wrong,
        };
        let help = wrong.help.unwrap_or_default();
        return Err(Failure::new(
            Exit::Usage,
            anyhow!("the name given with --session {}: {help}", wrong.what),
        ));
    }
    if bots_of(config, exported).is_empty() {
        let bots: Vec<&str> = config.bots.keys().map(String::as_str).collect();
        return Err(refusal(format!(
            "the export is of the session \"{}\", which no bot of this file uses, and nothing was changed: say \
             which bot or session it is to become with --session NAME (bots of the file: {})",
            exported.escape_debug(),
            bots.join(", ")
        )));
    }
    Ok(exported.to_owned())
}

/// Whether there is a session that an import would replace. One that does not read is one.
async fn is_taken(store: &Store, session: &str) -> Result<bool, Failure> {
    match store.copy(session).await {
        Ok(copy) => Ok(copy.is_some_and(|copy| copy.is_linked())),
        Err(StoreError::Unreadable { .. }) => Ok(true),
        Err(error) => Err(failure(error)),
    }
}

fn taken(session: &str) -> Failure {
    refusal(format!(
        "\"{session}\" is linked in this database already, and nothing was changed: import under another name \
         with --session NAME, or put the export in its place with --replace, which backs it up and archives it"
    ))
}

fn meaning(exported: &str, session: &str, at: &str, beside_a_bot: bool, replaces: bool) -> String {
    let mut text = format!(
        "Export of \"{}\" as of {at}.\nIf its bot ran on after that, its encryption ratchets roll back with this \
         import: some messages, in both directions, cannot be decrypted until the two sides have agreed on new \
         keys, which happens by itself.",
        exported.escape_debug()
    );
    if beside_a_bot {
        text.push_str(
            "\nIt was copied beside a bot that may have been running. Do not run both: stop that bot for good first.",
        );
    }
    if replaces {
        text.push_str(&format!("\n\"{session}\" of this database is backed up, archived and replaced."));
    }
    text
}

fn refusal(problem: String) -> Failure {
    Failure::new(Exit::Failed, anyhow!(problem))
}
