//! blacksky.toml and Config Vars → [`Config`]: all problems at once, each with its place.

use std::collections::BTreeMap;
use std::path::PathBuf;

use url::Url;

pub mod values;

pub use values::{Period, Secret};

/// The resolved configuration: every default applied, every value checked.
#[derive(Debug, Clone)]
pub struct Config {
    pub app: App,
    pub heroku: Heroku,
    pub database: Database,
    /// Bots by name.
    pub bots: BTreeMap<String, Bot>,
    pub backoff: Backoff,
    pub heartbeat: Heartbeat,
    pub lease: Lease,
    pub web: Web,
    pub log: Log,
    /// What the platform says about this process; not in the file.
    pub platform: Platform,
}

/// `[app]`: how app.json presents the app.
#[derive(Debug, Clone)]
pub struct App {
    pub name: String,
    pub description: Option<String>,
    pub repository: Option<Url>,
    pub keywords: Vec<String>,
    pub logo: Option<Url>,
    pub website: Option<Url>,
    /// Absolute URL or path.
    pub success_url: String,
}

/// `[heroku]`.
#[derive(Debug, Clone)]
pub struct Heroku {
    pub process: ProcessType,
    pub stack: String,
    pub dyno: Dyno,
    pub quantity: u32,
    pub addons: Vec<String>,
    pub buildpacks: Vec<String>,
    /// HEROKU_APP_URL: where people reach the page.
    pub url: Option<Url>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessType {
    Web,
    Worker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dyno {
    Eco,
    Basic,
    Standard1x,
    Standard2x,
    PerformanceM,
    PerformanceL,
}

/// `[database]`.
#[derive(Debug, Clone)]
pub struct Database {
    pub location: DatabaseLocation,
    pub tls: Tls,
    /// Connections of one dyno, the lease's own included.
    pub max_connections: u32,
    /// Accept SQLite on a dyno whose disk is wiped daily.
    pub allow_ephemeral: bool,
    /// BLACKSKY_SECRET_KEY: seals stored values.
    pub secret_key: Option<Secret>,
}

/// Where the sessions live.
#[derive(Debug, Clone)]
pub enum DatabaseLocation {
    /// A `postgres://` URL, a secret as a whole.
    Postgres(Secret),
    /// A file.
    Sqlite(PathBuf),
    /// DYNO is set, there is no DATABASE_URL and `allow_ephemeral` is false.
    Missing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Encrypted, any certificate (Heroku's are self-signed).
    Require,
    /// Encrypted, certificate and name checked.
    VerifyFull,
    Disable,
}

/// `[bots.NAME]` of kind native.
#[derive(Debug, Clone)]
pub struct Bot {
    /// SESSION_ID: the name of the stored session.
    pub session: String,
    pub enabled: bool,
    /// Overrides the WhatsApp Web version, e.g. 2.3000.1023.
    pub wa_version: Option<WaVersion>,
    pub push_name: Option<String>,
    pub commands: Commands,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaVersion(pub u32, pub u32, pub u32);

/// Trigger → reply.
#[derive(Debug, Clone, Default)]
pub struct Commands {
    /// In front of every trigger, e.g. "!"; may be empty.
    pub prefix: String,
    /// Who may use the commands: phone numbers or chat ids; empty means everybody.
    pub allow: Vec<String>,
    /// By trigger, without the prefix.
    pub replies: BTreeMap<String, Reply>,
}

#[derive(Debug, Clone)]
pub struct Reply {
    /// With `{uptime}`, `{sender}`, `{args}` filled in.
    pub text: String,
    /// Narrows the bot's allow-list for this trigger; `None` means the bot's own.
    pub allow: Option<Vec<String>>,
}

/// `[backoff]`: the wait before the next dial.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    pub initial: Period,
    pub factor: f64,
    pub max: Period,
    /// 0.0 to 1.0: share of the wait that is random.
    pub jitter: f64,
    /// An open link this old clears the attempts.
    pub reset_after: Period,
}

/// `[heartbeat]`: the probe that tells a live link from a dead one.
#[derive(Debug, Clone, Copy)]
pub struct Heartbeat {
    pub period: Period,
    pub deadline: Period,
}

/// `[lease]`: the exclusive right to open a link.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    pub ttl: Period,
    /// At most a third of `ttl`.
    pub renew: Period,
}

/// `[web]`.
#[derive(Debug, Clone)]
pub struct Web {
    /// PORT; 0 takes a free one.
    pub port: u16,
    /// BLACKSKY_ADMIN_TOKEN.
    pub admin_token: Option<Secret>,
}

/// `[log]`.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    pub level: LogLevel,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// What the platform's environment says.
#[derive(Debug, Clone, Default)]
pub struct Platform {
    /// DYNO, e.g. "web.1".
    pub dyno: Option<String>,
    /// PORT was set by the environment: bind every interface.
    pub port_from_env: bool,
}
