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
    /// There is no PostgreSQL, a file would not stay, and `allow_ephemeral` is false.
    Missing(Wiped),
}

/// When the disk is empty again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wiped {
    /// On a dyno.
    EveryDay,
    /// On Railway, Render and Fly.io, except for volumes.
    EachDeploy,
}

impl Wiped {
    /// What it means for sessions, as a clause.
    pub fn what(self) -> &'static str {
        match self {
            Self::EveryDay => "DATABASE_URL is not set, and a file on a dyno would be lost every day",
            Self::EachDeploy => {
                "DATABASE_URL is not set, and a file on this host would be lost at each deploy"
            }
        }
    }

    /// What to do about it.
    pub fn todo(self) -> &'static str {
        match self {
            Self::EveryDay => "heroku addons:create heroku-postgresql:essential-0",
            Self::EachDeploy => {
                "give the app a PostgreSQL and its address as DATABASE_URL, or name a file on a volume: \
                 database.url = \"sqlite:/data/blacksky.db\""
            }
        }
    }
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

    pub(super) fn resolve(self, wiped: Option<Wiped>, reader: &mut Reader<'_>) -> Database {
        let allow_ephemeral = self.allow_ephemeral.value().unwrap_or(false);
        let origin = self.url.origin().cloned();
        let wiped = wiped.filter(|_| !allow_ephemeral);
        let location = match (self.url.value(), wiped) {
            (Some(DatabaseUrl::Postgres(url)), _) => DatabaseLocation::Postgres(url),
            (Some(DatabaseUrl::Sqlite(_)), Some(wiped @ Wiped::EveryDay)) => {
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
                DatabaseLocation::Missing(wiped)
            }
            // Other hosts have volumes, and which folder is one nobody tells.
            (Some(DatabaseUrl::Sqlite(file)), _) => DatabaseLocation::Sqlite(file),
            (None, Some(wiped)) => DatabaseLocation::Missing(wiped),
            (None, None) => DatabaseLocation::Sqlite(PathBuf::from(DEFAULT_FILE)),
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
            DatabaseLocation::Missing(_) => to.add_secret("database", "url", false),
        }
        to.add("database", "tls", self.tls.as_str());
        to.add("database", "max_connections", self.max_connections);
        to.add("database", "allow_ephemeral", self.allow_ephemeral);
        to.add_secret("database", "secret_key", self.secret_key.is_some());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn loaded(toml: &str, env: &[(&str, &str)]) -> Config {
        let env: BTreeMap<String, String> =
            env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let loaded = Config::parse(Path::new("blacksky.toml"), toml.as_bytes().to_vec(), &env);
        loaded.unwrap_or_else(|problems| panic!("{problems}")).config
    }

    const URL: (&str, &str) = ("DATABASE_URL", "postgres://u:p@db.example/n");
    const FILE: &str = "[database]\nurl = \"sqlite:/data/blacksky.db\"";

    #[test]
    fn a_host_whose_disk_is_emptied_keeps_no_session_by_default() {
        for (mark, name, variable, value, domain) in [
            (
                "RAILWAY_ENVIRONMENT_ID",
                "Railway",
                "RAILWAY_PUBLIC_DOMAIN",
                "a.up.railway.app",
                "a.up.railway.app",
            ),
            ("RENDER", "Render", "RENDER_EXTERNAL_HOSTNAME", "a.onrender.com", "a.onrender.com"),
            ("FLY_APP_NAME", "Fly.io", "FLY_APP_NAME", "a", "a.fly.dev"),
        ] {
            let env = [(mark, "a"), (variable, value)];
            let config = loaded("", &env);
            assert_eq!(config.platform.domain(), Some(domain));
            assert_eq!(config.platform.host.as_ref().map(|host| host.name), Some(name));
            let missing = |config: &Config| {
                matches!(config.database.location, DatabaseLocation::Missing(Wiped::EachDeploy))
            };
            assert!(missing(&config), "{name}: {:?}", config.database.location);
            // It may be on a volume.
            assert!(matches!(loaded(FILE, &env).database.location, DatabaseLocation::Sqlite(_)), "{name}");
            let all = [env[0], env[1], URL];
            assert!(matches!(loaded("", &all).database.location, DatabaseLocation::Postgres(_)), "{name}");
            let accepted = loaded("[database]\nallow_ephemeral = true", &env);
            assert!(matches!(accepted.database.location, DatabaseLocation::Sqlite(_)), "{name}");
        }
        assert!(matches!(loaded("", &[]).database.location, DatabaseLocation::Sqlite(_)));
    }

    #[test]
    fn a_dyno_takes_no_file_whichever_it_is() {
        for toml in ["", FILE] {
            let location = loaded(toml, &[("DYNO", "web.1")]).database.location;
            assert!(matches!(location, DatabaseLocation::Missing(Wiped::EveryDay)), "{location:?}");
        }
    }
}
