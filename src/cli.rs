//! The command line: clap types only.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use url::Url;

use crate::r#gen::Target;

/// Keeps WhatsApp bots linked: one file, one binary, made for Heroku.
#[derive(Debug, Parser)]
#[command(name = "blacksky", version, about, propagate_version = true)]
pub struct Cli {
    /// The config file.
    #[arg(long, global = true, default_value = "blacksky.toml", value_name = "FILE")]
    pub config: PathBuf,
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands; each has a file of its name under `commands/`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Keep the bots linked (what Procfile starts)
    Run(Run),
    /// Validate blacksky.toml and the environment
    Check(Check),
    /// Print every value and where it came from
    Config(Json),
    /// Write what Heroku or another host reads from blacksky.toml: Procfile, app.json, Dockerfile …
    Gen(Gen),
    /// Write blacksky.toml for this folder; recognises a WhatsApp bot that is in it
    Init(Init),
    /// Print the JSON schema of blacksky.toml
    Schema,
    /// Print what makes a shell complete blacksky's words
    Completions(Completions),
    /// Print the manual page, or write all pages
    Man(Man),
    /// Apply the database migrations (Procfile's release phase)
    Migrate(Json),
    /// Look at what blacksky needs, live: database, port, address, disk, keys, Node, WhatsApp; exit 1 when one fails
    Doctor(Doctor),
    /// What a code or a word means here and what to do: H12, R10, 440, parked …; all of them without one
    Explain(Explain),
    /// How the links of a running blacksky stand; exit 0 only when all are open
    Status(Status),
    /// Messages to a webhook when a bot needs somebody
    #[command(subcommand)]
    Alerts(Alerts),
    /// Jobs of blacksky.toml: list them, do one now
    #[command(subcommand)]
    Job(Job),
    /// Sessions in the database: list, show, back up, restore, export, import, forget
    #[command(subcommand)]
    Session(SessionCommand),
    /// The simulated WhatsApp server with its HTTP control API
    Sim(Sim),
    /// Simulator, bot and page in one process, narrated
    #[cfg(feature = "simulator")]
    Demo,
}

#[derive(Debug, Args)]
pub struct Run {
    /// Address of the WhatsApp server; for `blacksky sim`
    #[arg(long, value_name = "URL")]
    pub link: Option<Url>,
}

#[derive(Debug, Args)]
pub struct Check {
    /// Also look at it with Heroku's eyes: dyno size and number, database plan, what sleeps and what is wiped
    #[arg(long)]
    pub heroku: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Json {
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Gen {
    /// For which host
    #[arg(long, value_enum, default_value_t = Target::Heroku, value_name = "HOST")]
    pub target: Target,
    /// Write nothing; fail with a diff when a file differs
    #[arg(long, conflicts_with_all = ["print", "commands"])]
    pub check: bool,
    /// Write nothing; print the files
    #[arg(long)]
    pub print: bool,
    /// Write nothing; print the commands that come next: on Heroku those that bring an app which exists already to
    /// this blacksky.toml
    #[arg(long, conflicts_with = "print")]
    pub commands: bool,
    /// Overwrite files that were edited by hand
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// Address of the WhatsApp server; for `blacksky sim`
    #[arg(long, value_name = "URL")]
    pub link: Option<Url>,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Explain {
    /// As it stands in a log, on the page or in /status: H12, R10, 440, stream_error_515, parked (conflict)
    pub code: Vec<String>,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Init {
    /// Ask for what is found before it is written
    #[arg(long)]
    pub interactive: bool,
    /// How the bot is started, when that is not found out
    #[arg(long, value_name = "LINE")]
    pub command: Option<String>,
    /// Replace a blacksky.toml that is there
    #[arg(long)]
    pub force: bool,
    /// Print what was found and written as JSON
    #[arg(long)]
    pub json: bool,
}

/// The subcommands of `session`; each has a file of its name under `commands/session/`.
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// All sessions: who holds them, their size, their last backup
    List(Json),
    /// One session: generations and backups
    Show(SessionName),
    /// Take a backup now, whether or not the bot runs
    Backup(SessionName),
    /// Make a backup the session again; the bot must be stopped
    Restore(Restore),
    /// Write a session to one file under a passphrase, for another app or another kind of database
    Export(Export),
    /// Make an export a session of this database; the bot must be stopped
    Import(Import),
    /// End a session: it is archived, and the bot pairs anew
    Forget(Forget),
}

#[derive(Debug, Args)]
pub struct SessionName {
    /// Name of a bot, or a session id
    pub name: String,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Restore {
    /// Name of a bot, or a session id
    pub name: String,
    /// Number of the backup, or "latest"
    #[arg(long, default_value = "latest", value_name = "ID")]
    pub from: String,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Export {
    /// Name of a bot, or a session id
    pub name: String,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Take a copy although a bot may be running
    #[arg(long)]
    pub copy: bool,
    /// Overwrite the file
    #[arg(long)]
    pub force: bool,
    /// Take the passphrase from this variable; else it is asked for, or read from standard input
    #[arg(long, value_name = "VAR")]
    pub passphrase_env: Option<String>,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Import {
    /// The file to read
    pub file: PathBuf,
    /// Name of the bot, or session id, it is to become; that of the export if not given
    #[arg(long, value_name = "NAME")]
    pub session: Option<String>,
    /// Put it in the place of a session that is linked, which is backed up and archived
    #[arg(long)]
    pub replace: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Take the passphrase from this variable; else it is asked for, or read from standard input
    #[arg(long, value_name = "VAR")]
    pub passphrase_env: Option<String>,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Forget {
    /// Name of a bot, or a session id
    pub name: String,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub struct Man {
    /// Write the page of every command into this folder
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Sim {
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 7770)]
    pub port: u16,
    /// Folder that keeps the server's keys and the paired devices between runs
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Status {
    /// Address of the page [default: heroku.url, else this machine]
    #[arg(long, value_name = "URL")]
    pub url: Option<Url>,
    /// Look on for so long and tell each change; exit 1 when a link was lost for no normal reason
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub watch: Option<std::time::Duration>,
    /// Print as JSON; with --watch a line for each change
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Alerts {
    /// Send one alert to the webhook, to see that it arrives
    Test,
}

#[derive(Debug, Subcommand)]
pub enum Job {
    /// All jobs: when they are due next, how the last run went
    List(Json),
    /// Do one now, in this process; exit 1 when it fails
    Run(JobName),
}

#[derive(Debug, Args)]
pub struct JobName {
    /// Name of the job
    pub name: String,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}
