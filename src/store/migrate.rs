//! The embedded migrations. Expand and contract only: old dynos run on while a release migrates.

use sqlx::migrate::Migrator;

use super::StoreError;

/// Keeps its table in our own schema, which it makes.
pub(super) fn postgres() -> Migrator {
    let mut migrator = sqlx::migrate!("migrations/postgres");
    migrator.dangerous_set_table_name("blacksky.migration");
    migrator.create_schema("blacksky");
    migrator
}

pub(super) fn sqlite() -> Migrator {
    let mut migrator = sqlx::migrate!("migrations/sqlite");
    migrator.dangerous_set_table_name("migration");
    migrator
}

/// The newest version this binary knows.
pub(super) fn known(migrator: &Migrator) -> i64 {
    migrator.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// Whether nothing is to do; an error when the schema is ahead of this binary.
pub(super) fn is_current(found: i64, known: i64) -> Result<bool, StoreError> {
    if found > known { Err(StoreError::NewerSchema { found, known }) } else { Ok(found == known) }
}

#[cfg(test)]
mod tests {
    use super::{known, postgres, sqlite};

    #[test]
    fn both_back_ends_are_at_the_same_version() {
        let versions =
            |migrator: &sqlx::migrate::Migrator| migrator.iter().map(|m| m.version).collect::<Vec<_>>();
        assert_eq!(versions(&postgres()), versions(&sqlite()));
        assert!(known(&postgres()) >= 1);
    }
}
