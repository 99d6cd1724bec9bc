//! blacksky.toml and Config Vars → [`Config`]: all problems at once, each with its place.
//!
//! A file a section: its layer (all keys optional; the doc comments are the reference and the
//! schema), its resolved type, its defaults (applied last), its checks. `reader` reads one key from
//! file and Config Vars; `values/` knows the types; `document` knows the text.

mod alerts;
mod anti_idle;
mod app;
mod backoff;
mod backup;
mod bots;
mod commands;
mod database;
pub mod document;
pub mod environment;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub mod generated;
mod heartbeat;
mod heroku;
mod jobs;
mod lease;
pub mod lints;
pub mod listing;
mod log;
mod plans;
pub mod problem;
mod reader;
pub mod reference;
mod reply_media;
mod retention;
pub mod schema;
pub mod source;
pub(crate) mod suggest;
pub mod values;
mod web;
mod webhook;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use toml::de::DeTable;

pub use alerts::{AlertFormat, AlertKind, Alerts};
pub use anti_idle::{AntiIdle, Target};
pub use app::App;
pub use backoff::Backoff;
pub use backup::{Backup, Keep};
pub use bots::{Bot, Client, HostedBot, LOGINS_OF_OTHERS, NativeBot, WaVersion};
pub use commands::{Commands, Match, Program, Reply, Where};
pub use database::{Database, DatabaseLocation, Tls, Wiped};
pub use environment::{Environment, NoEnvironment, ProcessEnvironment, inherited};
pub use heartbeat::Heartbeat;
pub use heroku::{Build, Dyno, Heroku, ProcessType};
pub use jobs::{CatchUp, Job, JobAction, Overlap};
pub use lease::Lease;
pub use log::{Log, LogFormat, LogLevel};
pub use plans::DatabasePlan;
pub use problem::{Place, Problem, Problems};
pub use reply_media::MediaReply;
pub use retention::{Keeps, Retention};
pub use source::Source;
pub use values::form::ChatAddress;
pub use values::{Period, Secret, Size};
pub use web::Web;
pub use webhook::Webhook;

use document::Document;
use reader::Reader;
use values::form::BotName;

/// The resolved configuration: every default applied, every value checked.
#[derive(Debug, Clone)]
pub struct Config {
    pub app: App,
    pub heroku: Heroku,
    pub database: Database,
    /// Bots by name.
    pub bots: BTreeMap<String, Bot>,
    pub backup: Backup,
    pub backoff: Backoff,
    pub heartbeat: Heartbeat,
    pub lease: Lease,
    pub web: Web,
    pub anti_idle: AntiIdle,
    /// Jobs by name.
    pub jobs: BTreeMap<String, Job>,
    pub alerts: Alerts,
    pub retention: Retention,
    pub log: Log,
    /// What the platform says about this process; not in the file.
    pub platform: Platform,
    /// The folder of the file: hosted bots run there.
    pub folder: PathBuf,
}

/// What the platform's environment says.
#[derive(Debug, Clone, Default)]
pub struct Platform {
    /// DYNO, e.g. "web.1".
    pub dyno: Option<String>,
    /// HEROKU_APP_DEFAULT_DOMAIN_NAME, which Heroku sets where dyno metadata is on.
    pub default_domain: Option<String>,
    /// Railway, Render or Fly.io.
    pub host: Option<environment::Host>,
    /// PORT was set by the environment: bind every interface.
    pub port_from_env: bool,
}

impl Platform {
    /// What does not stay on this disk, if anything does not.
    pub fn wiped(&self) -> Option<Wiped> {
        match (&self.dyno, &self.host) {
            (Some(_), _) => Some(Wiped::EveryDay),
            (None, Some(_)) => Some(Wiped::EachDeploy),
            (None, None) => None,
        }
    }

    /// The name under which the platform makes this app public.
    pub fn domain(&self) -> Option<&str> {
        self.default_domain.as_deref().or_else(|| self.host.as_ref()?.domain.as_deref())
    }
}

/// A configuration that holds, with where it came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// By key; a key that is not here has its default.
    pub sources: BTreeMap<String, Source>,
    /// What a person should know although it works.
    pub warnings: Vec<Problem>,
}

/// blacksky.toml: one file from which the bots, the page and the deploy files are made.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "blacksky.toml")]
#[allow(dead_code, reason = "its sections are read one by one; this is their schema")]
pub(crate) struct File {
    app: app::AppLayer,
    heroku: heroku::HerokuLayer,
    database: database::DatabaseLayer,
    /// The bots by name: 1 to 31 small letters and digits, beginning with a letter. Without any there
    /// is one, `main`.
    bots: BTreeMap<BotName, bots::BotLayer>,
    backup: backup::BackupLayer,
    backoff: backoff::BackoffLayer,
    heartbeat: heartbeat::HeartbeatLayer,
    lease: lease::LeaseLayer,
    web: web::WebLayer,
    anti_idle: anti_idle::AntiIdleLayer,
    /// The jobs by name: 1 to 31 small letters and digits, beginning with a letter.
    jobs: BTreeMap<BotName, jobs::JobLayer>,
    alerts: alerts::AlertsLayer,
    retention: retention::RetentionLayer,
    log: log::LogLayer,
}

/// The sections in the order of the reference.
pub(crate) const SECTIONS: [&str; 14] = [
    "app",
    "heroku",
    "database",
    "bots",
    "backup",
    "backoff",
    "heartbeat",
    "lease",
    "web",
    "anti_idle",
    "jobs",
    "alerts",
    "retention",
    "log",
];

impl Config {
    /// Reads the file and the Config Vars. All problems come at once; none of them holds a secret.
    pub fn load(path: &Path, env: &dyn Environment) -> Result<Loaded, Problems> {
        let fail = |list| Problems { path: path.to_owned(), list };
        let document = Document::read(path).map_err(|problem| fail(vec![*problem]))?;
        resolve(&document, env, folder_of(path)).map_err(fail)
    }

    /// The same for a file that is already in memory.
    pub fn parse(path: &Path, bytes: Vec<u8>, env: &dyn Environment) -> Result<Loaded, Problems> {
        let fail = |list| Problems { path: path.to_owned(), list };
        let document = Document::from_bytes(bytes).map_err(|problem| fail(vec![*problem]))?;
        resolve(&document, env, folder_of(path)).map_err(fail)
    }
}

impl Loaded {
    /// Where the value of a key came from.
    pub fn source(&self, key: &str) -> Source {
        self.sources.get(key).cloned().unwrap_or(Source::Default)
    }
}

/// The folder that a file is in.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn resolve(document: &Document, env: &dyn Environment, folder: &Path) -> Result<Loaded, Vec<Problem>> {
    let (root, syntax) = DeTable::parse_recoverable(document.text());
    let root = root.get_ref();
    let mut reader = Reader::new(document, env, folder);

    let platform = Platform {
        dyno: environment::value(env, environment::DYNO),
        default_domain: environment::value(env, environment::DEFAULT_DOMAIN),
        host: environment::host(env),
        port_from_env: environment::value(env, "PORT").is_some(),
    };
    for (name, value) in root.iter() {
        if !SECTIONS.contains(&name.get_ref().as_ref()) {
            let is_table = value.get_ref().is_table();
            reader.unknown_section(name.get_ref(), &name.span(), is_table);
        }
    }
    let app = app::AppLayer::read(reader.section(root, "app"));
    let heroku = heroku::HerokuLayer::read(reader.section(root, "heroku"));
    let database = database::DatabaseLayer::read(reader.section(root, "database"));
    let bots = bots::read(reader.section(root, "bots"));
    let backup = backup::BackupLayer::read(reader.section(root, "backup"));
    let backoff = backoff::BackoffLayer::read(reader.section(root, "backoff"));
    let heartbeat = heartbeat::HeartbeatLayer::read(reader.section(root, "heartbeat"));
    let lease = lease::LeaseLayer::read(reader.section(root, "lease"));
    let web = web::WebLayer::read(reader.section(root, "web"));
    let anti_idle = anti_idle::AntiIdleLayer::read(reader.section(root, "anti_idle"));
    let jobs = jobs::read(reader.section(root, "jobs"));
    let alerts = alerts::AlertsLayer::read(reader.section(root, "alerts"));
    let retention = retention::RetentionLayer::read(reader.section(root, "retention"));
    let log = log::LogLayer::read(reader.section(root, "log"));
    reader.unknown_variables();

    let bots = bots::resolve(bots, &mut reader);
    let web = web.resolve(&bots, &mut reader);
    let jobs = jobs::resolve(jobs, &bots, &mut reader);
    let config = Config {
        app: app.resolve(&web.base),
        heroku: heroku.resolve(&mut reader),
        database: database.resolve(platform.wiped(), &mut reader),
        bots,
        backup: backup.resolve(),
        backoff: backoff.resolve(&mut reader),
        heartbeat: heartbeat.resolve(),
        lease: lease.resolve(&mut reader),
        web,
        anti_idle: anti_idle.resolve(),
        jobs,
        alerts: alerts.resolve(),
        retention: retention.resolve(),
        log: log.resolve(),
        platform,
        folder: std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()),
    };
    webhook::refuse_ourselves(&config, &mut reader);
    let Reader { mut problems, sources, .. } = reader;
    add_syntax(document, &syntax, &mut problems);
    problems.sort_by_key(|problem| problem.position().unwrap_or((usize::MAX, 0)));
    if problems.iter().any(|problem| !problem.is_warning) {
        Err(problems)
    } else {
        Ok(Loaded { config, sources, warnings: problems })
    }
}

/// Adds the syntax errors. What else was found on such a line, or below a header that is broken, is
/// only their echo, so it goes.
fn add_syntax(document: &Document, errors: &[toml::de::Error], problems: &mut Vec<Problem>) {
    let mut syntax: Vec<Problem> = Vec::new();
    let mut echoes: Vec<std::ops::Range<usize>> = Vec::new();
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let duplicate = error.message().contains("duplicate key");
        let place = Place::Line(document.broken_line(&span));
        let line = document.line_at(span.start);
        let (what, help) = if duplicate {
            let key = document.text().get(span.clone()).unwrap_or_default();
            let key = suggest::showable(key.trim_matches(['"', '\'']));
            if line.trim_start().starts_with('[') {
                (
                    format!("the table \"{key}\" is there twice"),
                    "put its keys below the first header of that name".to_owned(),
                )
            } else {
                (format!("\"{key}\" is set twice"), "keep one of the two".to_owned())
            }
        } else if line.trim_end().ends_with('=') {
            (
                "this is not TOML: the value is missing".to_owned(),
                "write a value or remove the key".to_owned(),
            )
        } else {
            // "…, expected …" names tokens of the parser.
            let message = error.message().split(", expected").next().unwrap_or_default();
            (format!("this is not TOML: {message}"), "see https://toml.io for the syntax".to_owned())
        };
        let problem = Problem::error(place, "", what, Some(help));
        // The parser reports some slips twice.
        let Some((line, _)) = problem.position() else { continue };
        echoes.push(if duplicate { line..line + 1 } else { document.lines_under(line) });
        let line = |problem: &Problem| problem.position().map(|(line, _)| line);
        if !syntax.iter().any(|other| line(other) == line(&problem)) {
            syntax.push(problem);
        }
    }
    problems.retain(|problem| {
        problem.position().is_none_or(|(line, _)| !echoes.iter().any(|lines| lines.contains(&line)))
    });
    problems.extend(syntax);
}
