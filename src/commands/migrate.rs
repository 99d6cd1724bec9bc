//! `blacksky migrate`: brings the schema up; what Procfile's `release:` runs.

use serde_json::json;

use crate::config;
use crate::exit::{Exit, Failure};
use crate::store::{Migrated, Store, StoreError};

use super::output;

/// Applies the migrations and says what changed. Exit 69 when the database does not answer or
/// refuses, 1 when its schema is newer than this binary.
pub fn run(database: &config::Database, as_json: bool) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (kind, migrated) = runtime.block_on(migrate(database)).map_err(failure)?;
    if as_json {
        output::print_json(&json!({ "database": kind, "from": migrated.from, "to": migrated.to }))?;
    } else {
        output::print(&sentence(kind, migrated))?;
    }
    Ok(Exit::Ok)
}

async fn migrate(database: &config::Database) -> Result<(&'static str, Migrated), StoreError> {
    let store = Store::open(database).await?;
    let migrated = store.migrate().await;
    let kind = store.kind();
    store.close().await;
    Ok((kind, migrated?))
}

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

fn sentence(kind: &str, migrated: Migrated) -> String {
    let Migrated { from, to } = migrated;
    match from {
        _ if from == to => format!("the {kind} schema is at version {to}: nothing to do"),
        0 => format!("the {kind} schema was made, version {to}"),
        _ => format!("the {kind} schema went from version {from} to {to}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{failure, run, sentence};
    use crate::config::{Database, DatabaseLocation, Secret, Tls};
    use crate::exit::Exit;
    use crate::store::{Migrated, StoreError};

    fn database(location: DatabaseLocation) -> Database {
        Database { location, tls: Tls::Disable, max_connections: 4, allow_ephemeral: false, secret_key: None }
    }

    #[test]
    fn a_sqlite_file_is_made_and_then_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = database(DatabaseLocation::Sqlite(folder.path().join("deep/down/blacksky.db")));
        assert_eq!(run(&database, false).expect("migrates"), Exit::Ok);
        assert_eq!(run(&database, true).expect("migrates"), Exit::Ok);
    }

    #[test]
    fn a_database_that_is_down_is_exit_69() {
        let url = Secret::new("postgres://u:hunter2@127.0.0.1:1/x");
        let failure = run(&database(DatabaseLocation::Postgres(url)), false).expect_err("is down");
        assert_eq!(failure.exit, Exit::Unavailable);
        let text = format!("{:#}", failure.error);
        assert!(text.contains("nothing listens") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_newer_schema_is_exit_1() {
        assert_eq!(failure(StoreError::NewerSchema { found: 9, known: 1 }).exit, Exit::Failed);
    }

    #[test]
    fn what_changed_is_said() {
        assert_eq!(sentence("sqlite", Migrated { from: 0, to: 1 }), "the sqlite schema was made, version 1");
        assert_eq!(
            sentence("postgresql", Migrated { from: 1, to: 1 }),
            "the postgresql schema is at version 1: nothing to do"
        );
        assert_eq!(
            sentence("postgresql", Migrated { from: 1, to: 2 }),
            "the postgresql schema went from version 1 to 2"
        );
    }
}
