//! What is known of a hosted bot beside its link: its processes, its vault, its relay.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A hosted bot at one instant.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HostedStatus {
    /// Its processes.
    pub child: ChildStatus,
    /// Its session.
    pub vault: VaultStatus,
    /// Its WebSocket.
    pub relay: RelayStatus,
    /// Memory of all its processes; `None` before the first look.
    pub memory_bytes: Option<u64>,
    /// What it may use before it is restarted.
    pub memory_limit_bytes: Option<u64>,
    /// The port of this machine that it was given as PORT. Only this dyno can reach it.
    #[serde(skip)]
    pub port: Option<u16>,
    /// The last lines it wrote, without QR codes and credentials. For the owner's eyes.
    #[serde(skip)]
    pub last_lines: Vec<String>,
}

/// The processes of a hosted bot.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ChildStatus {
    /// What they do.
    pub state: ChildState,
    /// When the present run began, while there is one.
    pub started_at: Option<DateTime<Utc>>,
    /// When the next run begins, while it waits for that.
    pub next_start_at: Option<DateTime<Utc>>,
    /// How often it was started again in this process.
    pub restarts: u64,
    /// How the last run ended, in words.
    pub last_exit: Option<String>,
}

/// What the processes of a hosted bot do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChildState {
    /// Not started, or stopped since another dyno has the lease or this one ends.
    #[default]
    Stopped,
    /// Runs.
    Running,
    /// Ended, and is started again soon.
    Waiting,
    /// Ended at once again and again: not started any more until somebody asks.
    CrashLoop,
    /// Its command cannot be started: not started any more until somebody asks.
    NotStarted,
}

/// The session of a hosted bot, in its folder and in the database.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct VaultStatus {
    /// Files in the database.
    pub files: u64,
    /// Their size.
    pub bytes: u64,
    /// Bytes written to the database since this process began, before sealing.
    pub written_bytes: u64,
    /// When a change was last written to the database.
    pub mirrored_at: Option<DateTime<Utc>>,
    /// Why the last try wrote nothing, or what was left out; `None` when all is well.
    pub problem: Option<String>,
    /// The bot removed its session; the last good one is kept and is restored at the next start.
    pub removed_at: Option<DateTime<Utc>>,
}

/// The way of a hosted bot's WebSocket.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RelayStatus {
    /// What is known of it.
    pub way: RelayWay,
    /// Times that the bot dialled, in this process.
    pub dials: u64,
    /// Dials that were made to wait, in this process.
    pub held: u64,
    /// WebSocket frames from WhatsApp, in this process.
    pub frames_in: u64,
    /// WebSocket frames to WhatsApp, in this process.
    pub frames_out: u64,
    /// Bytes from WhatsApp, in this process.
    pub bytes_in: u64,
    /// Bytes to WhatsApp, in this process.
    pub bytes_out: u64,
}

/// Whether the bot's WebSocket comes through the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelayWay {
    /// The bot has not dialled yet.
    #[default]
    Unknown,
    /// It does.
    Through,
    /// It has been running for a minute and does not.
    Around,
    /// `relay = false`.
    Off,
}
