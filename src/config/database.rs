//! `[database]`: where the sessions live.

use std::path::PathBuf;

use schemars::JsonSchema;

use super::listing::Listing;
use super::problem::Problem;
use super::reader::{Reader, Setting, Table};
use super::values::Secret;
use super::values::choice::choice;
use super::values::database_url::DatabaseUrl;
use super::values::number::Whole;
use super::values::text::SecretKeys;

/// `[database]`.
#[derive(Debug, Clone)]
pub struct Database {
    pub location: DatabaseLocation,
    pub tls: Tls,
    /// Connections of one dyno, the lease's own included.
    pub max_connections: u32,
    /// Accept SQLite on a dyno whose disk is wiped daily.
    pub allow_ephemeral: bool,
    /// BLACKSKY_SECRET_KEY: seals stored values. One key, or several separated by commas: the first
    /// seals, all open.
    pub secret_key: Option<Secret>,
}

/// Where the sessions live.
#[derive(Debug, Clone)]
pub enum DatabaseLocation {
    /// A `postgres://` URL, a secret as a whole.
    Postgres(Secret),
    /// A file.
    Sqlite(PathBuf),
    /// DYNO is set, there is no PostgreSQL and `allow_ephemeral` is false.
    Missing,
}

choice! {
    /// TLS of the connection to PostgreSQL.
    pub enum Tls {
        /// Encrypted, any certificate (Heroku's are self-signed).
        Require = "require",
        /// Encrypted, certificate and name checked.
        VerifyFull = "verify-full",
        /// In the clear.
        Disable = "disable",
    }
}

/// The database that keeps the sessions: PostgreSQL, or a SQLite file on a machine whose disk stays.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Database")]
pub(super) struct DatabaseLayer {
    /// `postgres://USER:PASSWORD@HOST/NAME`, or `sqlite:FILE` with a file relative to the working
    /// directory. Heroku sets DATABASE_URL itself: a password does not belong into the file. On a
    /// dyno SQLite is refused, because its disk is wiped daily.
    url: Setting<DatabaseUrl>,
    /// TLS of the connection to PostgreSQL: `require` encrypts and accepts any certificate (Heroku's
    /// are self-signed), `verify-full` also checks certificate and name, `disable` is for a database
    /// on the same machine.
    tls: Setting<Tls>,
    /// Connections to PostgreSQL of one dyno, the lease's own included. Essential-0 allows 20 in all.
    max_connections: Setting<Whole<2, 20>>,
    /// Keep the session in a SQLite file on a dyno although it is lost every day.
    allow_ephemeral: Setting<bool>,
    /// Seals the stored sessions. Who loses it has to link the phone again. At least 16 characters;
    /// `openssl rand -hex 32` makes one. To change it, write `NEW,OLD`: what is sealed under the old key
    /// is sealed anew in the background, and the log and `/status` say when the old one can be removed.
    secret_key: Setting<SecretKeys<16>>,
}

/// The SQLite file beside the working directory.
const DEFAULT_FILE: &str = "blacksky.db";

impl DatabaseLayer {
    pub(super) fn read(mut table: Table<'_, '_>) -> Self {
        let layer = Self {
            url: table.key("url"),
            tls: table.key("tls"),
            max_connections: table.key("max_connections"),
            allow_ephemeral: table.key("allow_ephemeral"),
            secret_key: table.key("secret_key"),
        };
        table.finish();
        layer
    }

    pub(super) fn resolve(self, on_dyno: bool, reader: &mut Reader<'_>) -> Database {
        let allow_ephemeral = self.allow_ephemeral.value().unwrap_or(false);
        let origin = self.url.origin().cloned();
        let location = match self.url.value() {
            Some(DatabaseUrl::Postgres(url)) => DatabaseLocation::Postgres(url),
            Some(DatabaseUrl::Sqlite(_)) if on_dyno && !allow_ephemeral => {
                if let Some(origin) = origin {
                    let place = reader.place(&origin, true);
                    reader.push(Problem::warning(
                        place,
                        "database.url",
                        "database.url: a SQLite file on a dyno is lost every day and is not used",
                        Some(
                            "heroku addons:create heroku-postgresql:essential-0 (or allow_ephemeral = true)"
                                .to_owned(),
                        ),
                    ));
                }
                DatabaseLocation::Missing
            }
            Some(DatabaseUrl::Sqlite(file)) => DatabaseLocation::Sqlite(file),
            None if on_dyno && !allow_ephemeral => DatabaseLocation::Missing,
            None => DatabaseLocation::Sqlite(PathBuf::from(DEFAULT_FILE)),
        };
        Database {
            location,
            tls: self.tls.value().unwrap_or(Tls::Require),
            max_connections: self.max_connections.value().map_or(4, |number| number.0),
            allow_ephemeral,
            secret_key: self.secret_key.value().map(|secret| secret.0),
        }
    }
}

impl Database {
    pub(super) fn list(&self, to: &mut Listing) {
        match &self.location {
            DatabaseLocation::Postgres(_) => to.add_secret("database", "url", true),
            DatabaseLocation::Sqlite(file) => to.add("database", "url", format!("sqlite:{}", file.display())),
            DatabaseLocation::Missing => to.add_secret("database", "url", false),
        }
        to.add("database", "tls", self.tls.as_str());
        to.add("database", "max_connections", self.max_connections);
        to.add("database", "allow_ephemeral", self.allow_ephemeral);
        to.add_secret("database", "secret_key", self.secret_key.is_some());
    }
}
