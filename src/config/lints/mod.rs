//! What a good configuration still means on Heroku: `blacksky check --heroku`.
//!
//! The facts are Heroku's own limits. Whatever the loader refuses in any case (such as two `basic` dynos)
//! is not repeated here.

mod address;
pub(super) mod ended;
mod procfile;
#[cfg(test)]
mod tests;

pub use procfile::Starts;

use super::plans::DatabasePlan;
use super::{DatabaseLocation, Dyno, Loaded, Place, Problem, ProcessType, Source, Target};

use procfile::ECO_POOL;

/// Connections of `blacksky migrate`, which runs before each release while the old dynos still run.
const MIGRATE: u32 = 3;

/// What `check --heroku` finds.
#[derive(Debug, Clone, Default)]
pub struct Lints {
    /// Errors and warnings.
    pub problems: Vec<Problem>,
    /// What to know; nothing is wrong.
    pub notes: Vec<Note>,
}

/// Something to know about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The key.
    pub key: &'static str,
    /// One or two sentences.
    pub text: String,
}

/// Looks at a configuration with Heroku's eyes, and at what is started there.
pub fn heroku(loaded: &Loaded, starts: Starts<'_>) -> Lints {
    let mut lints = Lints::default();
    lints.process(loaded);
    lints.procfile(loaded, starts);
    lints.app_url(loaded);
    lints.success_url(loaded);
    lints.anti_idle(loaded);
    lints.database(loaded);
    lints.connections(loaded);
    lints.standby(loaded);
    lints.secrets(loaded);
    lints
}

impl Lints {
    fn process(&mut self, loaded: &Loaded) {
        let heroku = &loaded.config.heroku;
        match (heroku.process, heroku.dyno) {
            (ProcessType::Worker, dyno) => {
                self.warn(
                    loaded,
                    "heroku.process",
                    "heroku.process: a worker gets no requests, so it has no page, and its QR appears nowhere",
                    "write \"web\"; or link the bot once as web and change it to worker afterwards",
                );
                if dyno == Dyno::Eco {
                    let text = format!(
                        "An eco worker never falls asleep by itself, but it does with an idle eco web dyno of the \
                         same app. Awake all month it takes 744 of the {ECO_POOL} hours that all eco dynos of an \
                         account share."
                    );
                    self.note("heroku.process", text);
                }
            }
            (ProcessType::Web, _) => {}
        }
    }

    fn anti_idle(&mut self, loaded: &Loaded) {
        let (heroku, anti_idle) = (&loaded.config.heroku, &loaded.config.anti_idle);
        let platform = &loaded.config.platform;
        let active = anti_idle.is_active(heroku, true);
        match (heroku.process, heroku.dyno) {
            (ProcessType::Web, Dyno::Eco) if active => {
                if heroku.url.is_none() && platform.default_domain.is_none() && platform.dyno.is_none() {
                    let text = "Without HEROKU_APP_URL a dyno learns its address from the first visit of its page, so \
                                open it once after each deploy; or set HEROKU_APP_URL to the address that heroku \
                                info shows.";
                    self.note("heroku.url", text);
                }
                let text = format!(
                    "An eco web dyno falls asleep after 30 minutes without a request; a ping each {} keeps this one \
                     awake. Awake all month it takes 744 of the {ECO_POOL} hours that all eco dynos of an account share: \
                     a second such app does not fit, and when they are used up all of them sleep until the next \
                     month. dyno = \"basic\" never sleeps.",
                    anti_idle.interval
                );
                self.note("anti_idle.enabled", text);
            }
            (ProcessType::Web, Dyno::Eco) => self.warn(
                loaded,
                "anti_idle.enabled",
                "anti_idle.enabled: an eco web dyno falls asleep after 30 minutes without a request, and the bot \
                 with it",
                "write \"auto\" here, or dyno = \"basic\", which never sleeps",
            ),
            (ProcessType::Worker, _) if active && anti_idle.targets.contains(&Target::Own) => self.warn(
                loaded,
                "anti_idle.targets",
                "anti_idle.targets: a worker gets no requests, so \"self\" reaches no process of this file",
                "leave [anti_idle] out, or name another address",
            ),
            (ProcessType::Web, dyno) if active && anti_idle.targets.contains(&Target::Own) => self.warn(
                loaded,
                "anti_idle.enabled",
                format!("anti_idle.enabled: a {dyno} dyno never falls asleep, so the pings do nothing"),
                "write \"auto\"",
            ),
            _ => {}
        }
    }

    fn database(&mut self, loaded: &Loaded) {
        let config = &loaded.config;
        let on_disk = on_disk(loaded);
        let key = if config.database.allow_ephemeral { "database.allow_ephemeral" } else { "database.url" };
        if on_disk && config.heroku.quantity > 1 {
            self.fail(
                loaded,
                key,
                format!(
                    "{key}: each of {} dynos would keep a SQLite file and a login of its own",
                    config.heroku.quantity
                ),
                "use Heroku Postgres: remove this key, DATABASE_URL comes with the add-on",
            );
        } else if on_disk {
            // The lease is in the database, and two dynos would have one each.
            let preboot = if scales(config.heroku.dyno) && config.heroku.process == ProcessType::Web {
                "; with preboot old and new dyno would both be linked for minutes, since a file has no lease that \
                 both of them see"
            } else {
                ""
            };
            self.warn(
                loaded,
                key,
                format!("{key}: the disk of a dyno is wiped every day, and the login with it{preboot}"),
                "use Heroku Postgres: remove this key, DATABASE_URL comes with the add-on",
            );
        }
        let comes_with_postgres =
            config.heroku.addons.iter().any(|addon| addon.starts_with("heroku-postgresql:"));
        let is_set = matches!(config.database.location, DatabaseLocation::Postgres(_));
        if !on_disk && !comes_with_postgres && !is_set {
            self.warn(
                loaded,
                "heroku.addons",
                "heroku.addons: there is no Heroku Postgres among them, so DATABASE_URL has to come from elsewhere",
                "add \"heroku-postgresql:essential-0\"",
            );
        }
    }

    /// Old and new dynos run at once during a deploy and the daily restart.
    fn connections(&mut self, loaded: &Loaded) {
        let config = &loaded.config;
        let Some(DatabasePlan { name: plan, connections: limit, .. }) = config.heroku.database_plan() else {
            return;
        };
        let (dynos, each) = (config.heroku.quantity, config.database.max_connections);
        let running = dynos * each;
        let deploying = 2 * running + MIGRATE;
        let fitting = limit.saturating_sub(MIGRATE) / (2 * dynos);
        let help = if fitting >= 2 {
            format!("write max_connections = {fitting}, run fewer dynos, or take a larger plan")
        } else {
            "run fewer dynos or take a larger plan".to_owned()
        };
        let key = "database.max_connections";
        if running > limit {
            self.fail(
                loaded,
                key,
                format!("{key}: {dynos} × {each} connections are more than the {limit} of {plan}"),
                &help,
            );
        } else if deploying > limit {
            self.warn(
                loaded,
                key,
                format!(
                    "{key}: during a deploy old and new dynos need {deploying} connections (2 × {dynos} × {each}, \
                     and {MIGRATE} for migrate), and {plan} has {limit}"
                ),
                &help,
            );
        }
    }

    fn standby(&mut self, loaded: &Loaded) {
        let config = &loaded.config;
        let (quantity, ttl) = (config.heroku.quantity, config.lease.ttl);
        let scales = scales(config.heroku.dyno);
        if quantity > 1 {
            let others = if quantity == 2 { "the other stands" } else { "the others stand" };
            self.note(
                "heroku.quantity",
                format!(
                    "Of {quantity} dynos one holds each link and {others} by: the same page, no second link. When the \
                     holder stops, another takes over at once; when it dies, within {ttl} (lease.ttl) and a second."
                ),
            );
        } else if scales {
            let text =
                "One dyno has no standby: quantity = 2 adds one that takes over when it stops or dies.";
            self.note("heroku.quantity", text);
        } else {
            self.note(
                "heroku.dyno",
                format!(
                    "Heroku runs one {} dyno per process type, so there is no standby; \
                     dyno = \"standard-1x\" and quantity = 2 give one.",
                    config.heroku.dyno
                ),
            );
        }
        if scales && config.heroku.process == ProcessType::Web && !on_disk(loaded) {
            let text = "Preboot (heroku features:enable preboot) runs old and new dynos together for about three \
                        minutes: the new ones stand by meanwhile, and take over when the old ones stop.";
            self.note("heroku.dyno", text);
        }
    }

    fn secrets(&mut self, loaded: &Loaded) {
        let config = &loaded.config;
        let missing: Vec<&str> = [
            ("BLACKSKY_SECRET_KEY", config.database.secret_key.is_none()),
            ("BLACKSKY_ADMIN_TOKEN", config.web.admin_token.is_none()),
        ]
        .into_iter()
        .filter_map(|(name, is_missing)| is_missing.then_some(name))
        .collect();
        if missing.is_empty() {
            return;
        }
        let several = if config.heroku.quantity > 1 {
            " Without the key only the holder's own page can show the QR."
        } else {
            ""
        };
        let verb = if missing.len() == 1 { "is" } else { "are" };
        self.note(
            "database.secret_key",
            format!(
                "{} {verb} not set here. A new app gets both from app.json; an existing one needs \
                 heroku config:set NAME=$(openssl rand -hex 32).{several}",
                missing.join(" and ")
            ),
        );
    }

    fn warn(&mut self, loaded: &Loaded, key: &str, what: impl Into<String>, help: &str) {
        self.problems.push(Problem::warning(place(loaded, key), key, what, Some(help.to_owned())));
    }

    fn fail(&mut self, loaded: &Loaded, key: &str, what: impl Into<String>, help: &str) {
        self.problems.push(Problem::error(place(loaded, key), key, what, Some(help.to_owned())));
    }

    fn note(&mut self, key: &'static str, text: impl Into<String>) {
        self.notes.push(Note { key, text: text.into() });
    }
}

/// Heroku runs more than one such dyno per process type, and knows preboot for them.
fn scales(dyno: Dyno) -> bool {
    !matches!(dyno, Dyno::Eco | Dyno::Basic)
}

/// The app would keep its sessions in a file on the dyno.
fn on_disk(loaded: &Loaded) -> bool {
    let database = &loaded.config.database;
    match &database.location {
        // The default file of a machine at home says nothing about the app.
        DatabaseLocation::Sqlite(_) => {
            database.allow_ephemeral || loaded.source("database.url") != Source::Default
        }
        DatabaseLocation::Postgres(_) | DatabaseLocation::Missing(_) => false,
    }
}

/// Where a key was set.
pub fn place(loaded: &Loaded, key: &str) -> Place {
    match loaded.source(key) {
        Source::Default => Place::File,
        Source::File { line, column } => Place::Position { line, column },
        Source::Env { variable } => Place::Variable(variable),
    }
}
