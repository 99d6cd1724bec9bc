//! `blacksky session export`: the session in one file under a passphrase.

use serde_json::json;

use super::writing::Writing;
use super::{bytes, failure, passphrase, rfc3339, session_of, time};
use crate::cli;
use crate::commands::output;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::store::{Export, ExportKey, NewFile, Store};

pub(super) async fn run(store: &Store, config: &Config, args: &cli::Export) -> Result<Exit, Failure> {
    let session = session_of(store, config, &args.name).await?;
    // What can fail fails before anything is asked and before the bot is kept from its session.
    let file = NewFile::begin(&args.out, args.force)?;
    if !store.copy(&session).await.map_err(failure)?.is_some_and(|copy| copy.is_linked()) {
        return Err(not_linked(&session));
    }
    let passphrase = passphrase::choose(args.passphrase_env.as_deref())?;
    let key = tokio::task::spawn_blocking(move || ExportKey::new(&passphrase)).await??;

    let writing = if args.copy { None } else { Some(begin(store, config, &session).await?) };
    let written = write(store, &session, &key, file, args.copy).await;
    if let Some(writing) = writing {
        writing.end().await;
    }
    let (export, size) = written?;
    let copy = &export.copy;
    if args.json {
        output::print_json(&json!({
            "session": session,
            "file": args.out,
            "taken_at": rfc3339(copy.header.taken_at),
            "rows": copy.rows(),
            "bytes": size,
            "copy": export.beside_a_bot,
        }))?;
        return Ok(Exit::Ok);
    }
    let (rows, size, at) = (copy.rows(), bytes(size), time(copy.header.taken_at));
    output::print(&format!(
        "exported \"{session}\" as of {at}: {rows} rows, {size}, to {}",
        args.out.display()
    ))?;
    output::print_error(if export.beside_a_bot {
        "This is a copy beside a bot that may be running. Do not run both: stop the bot here for good before the \
         copy is started elsewhere. What happens here from now on is not in it."
    } else {
        "The bot is stopped here: keep it stopped. Once the session runs elsewhere, do not run both, not even \
         briefly: they would push each other off the link and spoil each other's encryption."
    })?;
    Ok(Exit::Ok)
}

async fn begin(store: &Store, config: &Config, session: &str) -> Result<Writing, Failure> {
    Writing::begin(store, config, session).await.map_err(|failure| Failure {
        error: anyhow::anyhow!("{:#}. Or take a copy beside the running bot with --copy", failure.error),
        ..failure
    })
}

/// Takes the copy and writes it.
async fn write(
    store: &Store,
    session: &str,
    key: &ExportKey,
    file: NewFile,
    beside_a_bot: bool,
) -> Result<(Export, u64), Failure> {
    let copy = store.copy(session).await.map_err(failure)?.filter(|copy| copy.is_linked());
    let export = Export { copy: copy.ok_or_else(|| not_linked(session))?, beside_a_bot };
    let bytes = export.seal(key)?;
    file.finish(&bytes)?;
    Ok((export, bytes.len() as u64))
}

fn not_linked(session: &str) -> Failure {
    Failure::new(
        Exit::Failed,
        anyhow::anyhow!("there is nothing to export: the session \"{session}\" is not linked"),
    )
}
