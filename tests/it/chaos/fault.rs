//! What can go wrong, with everything about it that is left to chance.

use std::fmt;
use std::time::Duration;

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// WhatsApp ends, breaks or silences the link that is open.
    Link(Blow),
    /// The link is dropped, and this many attempts to open it again fail.
    Refused { how: Refusal, times: u32 },
    /// The network on a road of one dyno or of all, for this many milliseconds.
    Network { road: Road, weather: Weather, whose: Whose, ms: u64 },
    /// PostgreSQL ends all connections.
    Backends,
    /// PostgreSQL is stopped, as after a crash or in order, and is down for this many milliseconds.
    Postgres { crash: bool, ms: u64 },
    /// SIGTERM, and a new dyno at the same instant, as Heroku does daily.
    Term(Whose),
    /// The same, and SIGTERM again after so many milliseconds.
    TermTwice { ms: u64 },
    /// SIGTERM; the new dyno comes when the old one is gone.
    TermAlone,
    /// SIGKILL, and a new dyno.
    Kill(Whose),
    /// SIGKILL of the holder while its database answers this much later, for so many milliseconds: between a
    /// message, its rows, its ratchets and its reply.
    KillSlow { delay: u64, ms: u64 },
    /// SIGSTOP, and SIGCONT after so many milliseconds: the process loses that time.
    Pause { whose: Whose, ms: u64, long: bool },
    /// A new dyno for each; the old ones get SIGTERM after so many milliseconds.
    Preboot { ms: u64 },
    /// A config change: SIGTERM to all, as many new ones.
    Restart,
    /// A second dyno.
    ScaleUp,
    /// One dyno again.
    ScaleDown(Whose),
}

/// How WhatsApp treats an open link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    Drop,
    Reset,
    Silence,
    StreamEnd,
    StreamError(u16),
    Replaced,
}

/// Where an attempt to open the link fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Http(u16),
    DialReset,
    HelloDrop,
    HelloReset,
    Failure(u16),
    LoginDrop,
    OpenDrop,
    OpenError(u16),
}

/// Which connections of a dyno.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Road {
    WhatsApp,
    Database,
}

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Nothing passes; all arrives late.
    Hold,
    /// What is sent is lost, and the connections end with a reset when it is over.
    Swallow,
    /// Everything is slow.
    Slow,
    /// All connections are reset, new ones refused.
    Refuse,
    /// All connections are reset, once.
    Reset,
    /// All connections end in order, once.
    Cut,
}

/// Which dyno; resolved when the fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The one with the link.
    Holder,
    /// The other one.
    Standby,
    All,
}

/// The parts of the time a recovery may take.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// `lease.ttl`.
    pub ttl: Duration,
}

/// `backoff.initial`, `backoff.max`, and the share of a wait that is random.
pub const BACKOFF: (Duration, Duration, f64) = (Duration::from_millis(200), Duration::from_secs(2), 0.5);
/// `heartbeat.period`
pub const PERIOD: Duration = Duration::from_millis(400);
/// `heartbeat.deadline`
pub const DEADLINE: Duration = Duration::from_millis(600);
/// `lease.handover_wait`
pub const HANDOVER_WAIT: Duration = Duration::from_secs(2);
/// From exec to a dyno that stands ready.
const BOOT: Duration = Duration::from_secs(2);
/// A message's way through a database and a link that are well.
const ANSWER: Duration = Duration::from_secs(1);
/// A database that comes back is asked again within this: the longest of the waits at the start.
const DATABASE: Duration = Duration::from_secs(6);
/// The one retry after a conflict.
const CONFLICT: Duration = Duration::from_secs(30);

impl Timing {
    /// A crashed holder's lease runs out, and another dyno has the link.
    pub fn take_over(self) -> Duration {
        self.ttl + Duration::from_secs(1)
    }
}

impl Fault {
    /// Within this all is well again, counted from the end of the disturbance, on an idle machine.
    pub fn bound(self, timing: Timing) -> Duration {
        let dial = BACKOFF.1 + ANSWER;
        let detect = PERIOD + DEADLINE + Duration::from_secs(1);
        match self {
            Self::Link(Blow::Silence) => detect + dial,
            Self::Link(Blow::Replaced) => CONFLICT + dial,
            Self::Link(_) => dial,
            Self::Refused { times, .. } => dial * (times + 1),
            Self::Network { road: Road::WhatsApp, .. } => detect + dial,
            Self::Network { road: Road::Database, .. } | Self::Backends | Self::Postgres { .. } => {
                DATABASE + timing.take_over() + dial
            }
            Self::Term(_) | Self::TermTwice { .. } | Self::Restart | Self::ScaleDown(_) => {
                HANDOVER_WAIT + BOOT + timing.take_over() + dial
            }
            Self::TermAlone => HANDOVER_WAIT + BOOT + dial,
            Self::Preboot { .. } => HANDOVER_WAIT + BOOT + timing.take_over() + dial,
            Self::Kill(_) | Self::KillSlow { .. } => timing.take_over() + BOOT + dial,
            Self::Pause { .. } => timing.take_over() + detect + dial,
            Self::ScaleUp => BOOT + ANSWER,
        }
    }

    /// Whether it replaces or stops processes.
    pub fn strikes_dynos(self) -> bool {
        !matches!(
            self,
            Self::Link(_)
                | Self::Refused { .. }
                | Self::Network { .. }
                | Self::Backends
                | Self::Postgres { .. }
        )
    }

    /// Whether WhatsApp may keep a link that its client has left or cannot leave: then the next login
    /// replaces it.
    pub fn leaves_a_dead_link(self) -> bool {
        matches!(
            self,
            Self::Link(Blow::Silence)
                | Self::Pause { .. }
                | Self::Network { road: Road::WhatsApp, weather: Weather::Hold | Weather::Slow, .. }
        )
    }

    /// Whether a dial may follow at once on the one before: a stream restart, or a lease that was lost and
    /// won again.
    pub fn allows_a_dial_at_once(self) -> bool {
        matches!(
            self,
            Self::Link(Blow::StreamError(515))
                | Self::Refused { how: Refusal::OpenError(515), .. }
                | Self::Network { road: Road::Database, .. }
                | Self::Backends
                | Self::Postgres { .. }
                | Self::Pause { .. }
        )
    }

    /// Its kind, for the table.
    pub fn kind(self) -> String {
        match self {
            Self::Link(blow) => format!("link: {}", blow.word()),
            Self::Refused { how, .. } => format!("refused: {}", how.word()),
            Self::Network { road, weather, whose, .. } => {
                let road = match road {
                    Road::WhatsApp => "network",
                    Road::Database => "database",
                };
                let whose = if whose == Whose::Holder { " (one dyno)" } else { "" };
                format!("{road}: {}{whose}", weather.word())
            }
            Self::Backends => "database: connections terminated".into(),
            Self::Postgres { crash: true, .. } => "database: PostgreSQL crashes".into(),
            Self::Postgres { crash: false, .. } => "database: PostgreSQL restarts".into(),
            Self::Term(whose) => format!("dyno: SIGTERM, {}", whose.word()),
            Self::TermTwice { .. } => "dyno: SIGTERM twice".into(),
            Self::TermAlone => "dyno: SIGTERM, successor later".into(),
            Self::Kill(whose) => format!("dyno: SIGKILL, {}", whose.word()),
            Self::KillSlow { .. } => "dyno: SIGKILL while its database is slow".into(),
            Self::Pause { whose, long, .. } => {
                let how = if long { "beyond" } else { "within" };
                format!("dyno: SIGSTOP {how} ttl, {}", whose.word())
            }
            Self::Preboot { .. } => "dyno: preboot".into(),
            Self::Restart => "dyno: config change".into(),
            Self::ScaleUp => "dyno: scale to 2".into(),
            Self::ScaleDown(whose) => format!("dyno: scale to 1, {} goes", whose.word()),
        }
    }
}

impl Blow {
    fn word(self) -> String {
        match self {
            Self::Drop => "FIN".into(),
            Self::Reset => "RST".into(),
            Self::Silence => "silence".into(),
            Self::StreamEnd => "stream end".into(),
            Self::StreamError(code) => format!("stream error {code}"),
            Self::Replaced => "replaced".into(),
        }
    }
}

impl Refusal {
    fn word(self) -> String {
        match self {
            Self::Http(status) => format!("HTTP {status}"),
            Self::DialReset => "RST at dial".into(),
            Self::HelloDrop => "FIN at hello".into(),
            Self::HelloReset => "RST at hello".into(),
            Self::Failure(reason) => format!("failure {reason}"),
            Self::LoginDrop => "FIN at login".into(),
            Self::OpenDrop => "FIN once open".into(),
            Self::OpenError(code) => format!("stream error {code} once open"),
        }
    }
}

impl Weather {
    fn word(self) -> &'static str {
        match self {
            Self::Hold => "held up",
            Self::Swallow => "swallowed",
            Self::Slow => "slow",
            Self::Refuse => "refused",
            Self::Reset => "reset",
            Self::Cut => "cut",
        }
    }
}

impl Whose {
    fn word(self) -> &'static str {
        match self {
            Self::Holder => "holder",
            Self::Standby => "standby",
            Self::All => "all",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind())?;
        match self {
            Self::Refused { times, .. } => write!(f, " ×{times}"),
            Self::Network { ms, .. }
            | Self::Postgres { ms, .. }
            | Self::TermTwice { ms }
            | Self::Pause { ms, .. }
            | Self::Preboot { ms } => write!(f, ", {ms} ms"),
            Self::KillSlow { delay, ms } => write!(f, " by {delay} ms, after {ms} ms"),
            _ => Ok(()),
        }
    }
}
