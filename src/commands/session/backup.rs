//! `blacksky session backup`: now, whether or not the bot runs. It needs no lease: a copy is read in one
//! snapshot, and written only if the session has not changed hands meanwhile.

use serde_json::json;

use super::{backup_json, bytes, failure, session_of, time};
use crate::cli;
use crate::commands::output;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::store::{Backed, Store, StoreError};

/// Tries, when the session changes hands in between.
const TRIES: u32 = 3;

pub(super) async fn run(store: &Store, config: &Config, args: &cli::SessionName) -> Result<Exit, Failure> {
    let session = session_of(store, config, &args.name).await?;
    let mut tries = 1;
    let backed = loop {
        match store.back_up(&session, None, &config.backup).await {
            Err(StoreError::Fenced) if tries < TRIES => tries += 1,
            result => break result.map_err(failure)?,
        }
    };
    let (written, info) = match &backed {
        Backed::Written(info) => (true, info),
        Backed::Unchanged(info) => (false, info),
        Backed::NotLinked => {
            return Err(Failure::new(
                Exit::Failed,
                anyhow::anyhow!("there is nothing to back up: the session \"{session}\" is not linked"),
            ));
        }
    };
    if args.json {
        output::print_json(&json!({ "written": written, "backup": backup_json(info) }))?;
    } else if written {
        let size = bytes(info.size);
        output::print(&format!("backup {} of \"{session}\": {} rows, {size}", info.id, info.rows))?;
    } else {
        output::print(&format!(
            "nothing has changed since backup {} of {}: no new one was written",
            info.id,
            time(info.taken_at)
        ))?;
    }
    Ok(Exit::Ok)
}
