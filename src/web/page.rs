//! The page: server-rendered HTML with one inline script that swaps in what changes.

use std::sync::{Arc, LazyLock};

use askama::Template;
use axum::http::HeaderValue;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use sha2::{Digest, Sha256};

use super::access::{Access, Denial, Proof};
use super::alerts::AlertLine;
use super::day::DayCard;
use super::gauge::{Gauge, gauges};
use super::hosted::{self, HostedCard};
use super::paths::Paths;
use super::qr;
use super::router::SET_TOKEN;
use super::words::{Tone, Words, words};
use crate::link::LinkState;
use crate::runtime::status::{
    BotStatus, ChildState, DatabaseStatus, Disconnect, JobRunStatus, JobStatus, LastBackup, Ping, Role,
    Snapshot, TargetStatus, Warning,
};
use crate::store::JobOutcome;

/// The style of all our pages.
pub const STYLE: &str = include_str!("../../templates/page.css");
const SCRIPT: &str = include_str!("../../templates/page.js");
/// The script of a page that stands for a hosted bot until that answers.
pub const RETRY: &str = include_str!("../../templates/refusal.js");

/// The whole page for this visitor.
pub fn page(name: &str, paths: &Paths, snapshot: &Snapshot, access: Access, now: DateTime<Utc>) -> String {
    let page = Page {
        name,
        base: &paths.base,
        style: STYLE,
        script: SCRIPT,
        version: env!("CARGO_PKG_VERSION"),
        build: build(),
        now_ms: now.timestamp_millis(),
        live: live(paths, snapshot, access.is_admin(), now),
        sign_in: SignIn::of(access),
        set_token: SET_TOKEN,
        can_sign_out: access == Access::Admin(Proof::Cookie),
    };
    rendered(&page)
}

/// The part of the page that changes; with QR and actions for an admin.
pub fn live(paths: &Paths, snapshot: &Snapshot, admin: bool, now: DateTime<Utc>) -> String {
    rendered(&Live {
        base: &paths.base,
        simulator: snapshot.simulator.as_deref(),
        stopping: snapshot.stopping,
        started: Moment::past(snapshot.started_at, now),
        database: DatabaseCard::of(&snapshot.database),
        dyno: snapshot.dyno.as_deref(),
        gauges: gauges(snapshot),
        alerts: snapshot
            .alerts
            .latest
            .iter()
            .map(|alert| AlertLine::of(alert, snapshot.alerts.webhook, now))
            .collect(),
        webhook: snapshot.alerts.webhook,
        pings: snapshot
            .anti_idle
            .iter()
            .flat_map(|all| &all.targets)
            .map(|target| PingLine::of(target, now))
            .collect(),
        jobs: snapshot.jobs.iter().map(|(name, job)| JobLine::of(name, job, now)).collect(),
        bots: snapshot
            .bots
            .iter()
            .map(|(name, bot)| {
                let history = snapshot.history.get(name).map(Arc::as_ref);
                let day = history.and_then(|history| DayCard::of(history, bot.shown().hosted.is_some(), now));
                BotCard { day, ..BotCard::of(name, bot, snapshot.dyno.as_deref(), paths, admin, now) }
            })
            .collect(),
        admin,
    })
}

/// Which page this program serves: an open page of another build loads itself anew.
pub fn build() -> &'static str {
    static BUILD: LazyLock<String> = LazyLock::new(|| {
        let mut digest = Sha256::new();
        for part in [env!("CARGO_PKG_VERSION"), STYLE, SCRIPT] {
            digest.update(part);
        }
        BASE64_STANDARD.encode(&digest.finalize()[..9])
    });
    &BUILD
}

/// Allows our own style and script by their hashes and nothing else.
pub fn content_security_policy() -> HeaderValue {
    static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
        let hash = |text: &str| BASE64_STANDARD.encode(Sha256::digest(text));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}' 'sha256-{}'; connect-src 'self'; \
             img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            hash(STYLE),
            hash(SCRIPT),
            hash(RETRY)
        );
        HeaderValue::try_from(policy).expect("base64 and ASCII words are a header value")
    });
    POLICY.clone()
}

/// The text of a template.
pub fn rendered(template: &impl Template) -> String {
    // Writing to a String fails only when a value's Display does, and ours do not.
    template.render().unwrap_or_else(|error| {
        tracing::error!(%error, "the page could not be rendered");
        String::from("The page could not be rendered; /status answers still.")
    })
}

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    name: &'a str,
    base: &'a str,
    style: &'static str,
    script: &'static str,
    version: &'static str,
    build: &'static str,
    now_ms: i64,
    live: String,
    sign_in: Option<SignIn>,
    set_token: &'static str,
    can_sign_out: bool,
}

#[derive(Template)]
#[template(path = "live.html")]
struct Live<'a> {
    base: &'a str,
    simulator: Option<&'a str>,
    stopping: bool,
    started: Moment,
    database: DatabaseCard<'a>,
    dyno: Option<&'a str>,
    gauges: Vec<Gauge>,
    alerts: Vec<AlertLine<'a>>,
    /// Alerts go to a webhook.
    webhook: bool,
    pings: Vec<PingLine<'a>>,
    jobs: Vec<JobLine<'a>>,
    bots: Vec<BotCard<'a>>,
    admin: bool,
}

/// What a visitor without the right is offered.
struct SignIn {
    /// A token exists to sign in with.
    token_is_set: bool,
    /// Why the last try failed.
    problem: Option<String>,
}

impl SignIn {
    fn of(access: Access) -> Option<Self> {
        let problem = match access {
            Access::Admin(_) => return None,
            Access::Public(Denial::NoTokenSet) => return Some(Self { token_is_set: false, problem: None }),
            Access::Public(Denial::TokenNeeded) => None,
            Access::Public(Denial::WrongToken) => Some("This is not the admin token.".to_owned()),
            Access::Public(Denial::TooManyTries(seconds)) => {
                Some(format!("Too many wrong tokens. Try again in {seconds} s."))
            }
        };
        Some(Self { token_is_set: true, problem })
    }
}

/// A point in time: for the script, and readable without it.
pub struct Moment {
    pub ms: i64,
    pub iso: String,
    /// "24 Nov, 21:42:05 UTC".
    pub clock: String,
    /// "2 h 14 min", from or until now.
    pub span: String,
}

impl Moment {
    /// A point behind us.
    pub fn past(at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self::new(at, now - at)
    }

    /// A point ahead of us.
    pub fn coming(at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self::new(at, at - now)
    }

    fn new(at: DateTime<Utc>, span: TimeDelta) -> Self {
        Self {
            ms: at.timestamp_millis(),
            iso: at.to_rfc3339_opts(SecondsFormat::Secs, true),
            clock: at.format("%-d %b, %H:%M:%S UTC").to_string(),
            span: span_text(span),
        }
    }
}

/// A count with its thousands set apart: 12,345.
pub fn grouped(count: &u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count of bytes: 12.3 KB.
pub fn size_text(bytes: &u64) -> String {
    match *bytes {
        bytes @ 0..1024 => format!("{bytes} B"),
        bytes @ 1024..1_048_576 => format!("{:.1} KB", bytes as f64 / 1024.0),
        bytes @ 1_048_576..1_073_741_824 => format!("{:.1} MB", bytes as f64 / 1_048_576.0),
        bytes => format!("{:.1} GB", bytes as f64 / 1_073_741_824.0),
    }
}

/// A length of time in its two largest units; the script's `span` writes the same.
pub fn span_text(span: TimeDelta) -> String {
    let seconds = span.num_seconds().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    if days > 0 {
        format!("{days} d {} h", hours % 24)
    } else if hours > 0 {
        format!("{hours} h {} min", minutes % 60)
    } else if minutes > 0 {
        format!("{minutes} min {} s", seconds % 60)
    } else {
        format!("{seconds} s")
    }
}

struct DatabaseCard<'a> {
    word: &'static str,
    tone: Tone,
    text: Option<&'a str>,
}

impl<'a> DatabaseCard<'a> {
    fn of(status: &'a DatabaseStatus) -> Self {
        match status {
            DatabaseStatus::Starting => Self { word: "Database starting", tone: Tone::Wait, text: None },
            DatabaseStatus::Ok { kind, warning } => Self {
                word: database_name(kind),
                tone: if warning.is_some() { Tone::Wait } else { Tone::Good },
                text: warning.as_deref(),
            },
            DatabaseStatus::Down { problem, .. } => {
                Self { word: "Database down", tone: Tone::Act, text: Some(problem) }
            }
        }
    }
}

fn database_name(kind: &'static str) -> &'static str {
    match kind {
        "postgresql" => "PostgreSQL",
        "sqlite" => "SQLite",
        other => other,
    }
}

/// A target of anti-idle.
struct PingLine<'a> {
    target: &'a TargetStatus,
    tone: Tone,
    last: Option<(&'a Ping, Moment)>,
    next: Option<Moment>,
}

impl<'a> PingLine<'a> {
    fn of(target: &'a TargetStatus, now: DateTime<Utc>) -> Self {
        let tone = match &target.last {
            Some(ping) if ping.problem.is_some() => Tone::Act,
            Some(_) => Tone::Good,
            None => Tone::Wait,
        };
        let last = target.last.as_ref().map(|ping| (ping, Moment::past(ping.at, now)));
        Self { target, tone, last, next: target.next_at.map(|at| Moment::coming(at, now)) }
    }
}

/// A job with its last runs.
struct JobLine<'a> {
    name: &'a str,
    status: &'a JobStatus,
    tone: Tone,
    word: &'static str,
    last: Option<(&'a JobRunStatus, Moment)>,
    next: Option<Moment>,
    /// The latest first.
    history: Vec<(&'static str, Moment)>,
    output: Option<&'a str>,
}

impl<'a> JobLine<'a> {
    fn of(name: &'a str, status: &'a JobStatus, now: DateTime<Utc>) -> Self {
        let last = status.runs.first();
        let word = |run: &JobRunStatus| run.outcome.map_or("running", JobOutcome::name);
        let tone = match last.and_then(|run| run.outcome) {
            Some(JobOutcome::Failed | JobOutcome::Interrupted) => Tone::Act,
            Some(JobOutcome::Ok) => Tone::Good,
            Some(JobOutcome::Skipped) | None => Tone::Wait,
        };
        let moment = |run: &JobRunStatus| Moment::past(run.started_at, now);
        Self {
            name,
            status,
            tone,
            word: last.map_or("not yet", word),
            last: last.map(|run| (run, moment(run))),
            next: status.next_at.map(|at| Moment::coming(at, now)),
            history: status.runs.iter().map(|run| (word(run), moment(run))).collect(),
            output: last.map(|run| run.output.trim_end()).filter(|output| !output.is_empty()),
        }
    }
}

struct BotCard<'a> {
    name: &'a str,
    code: &'static str,
    reason: Option<&'static str>,
    words: Words,
    advice: Option<&'a str>,
    warnings: Vec<(&'a Warning, Moment)>,
    since: Moment,
    open: Option<Moment>,
    /// What is waited for, and until when.
    next: Option<(String, Moment)>,
    last: Option<(&'a Disconnect, Moment)>,
    backup: Option<(&'a LastBackup, Moment)>,
    pairing: Pairing,
    /// Which dyno holds the link, and what this one does meanwhile.
    place: Option<String>,
    /// Of a hosted bot.
    hosted: Option<HostedCard<'a>>,
    /// What the link did.
    day: Option<DayCard<'a>>,
    /// Why the webhook did not take the last post.
    webhook_problem: Option<(&'a str, Moment)>,
    /// What the button for its dead letters says, for admins.
    webhook_again: Option<String>,
    bot: &'a BotStatus,
}

/// What the place of the QR shows.
enum Pairing {
    /// The bot is not pairing.
    None,
    /// The code and its end.
    Shown(String, Moment),
    /// The next code is on its way.
    Waiting,
    /// This visitor may not see it.
    Hidden,
    /// Only the holder's own page has it.
    Withheld,
}

impl<'a> BotCard<'a> {
    fn of(
        name: &'a str,
        bot: &'a BotStatus,
        dyno: Option<&str>,
        paths: &Paths,
        admin: bool,
        now: DateTime<Utc>,
    ) -> Self {
        let own = bot;
        let place = place(bot, dyno);
        let withheld = bot.kept_by().is_some_and(|holder| holder.qr_withheld);
        let bot = bot.shown();
        let words = hosted::words(bot).unwrap_or_else(|| words(bot.state));
        let hosted = HostedCard::of(name, own, bot, paths, admin, now);
        let webhook = bot.webhook.as_ref();
        let problem = webhook.and_then(|webhook| webhook.problem.as_ref());
        let dead = webhook.map_or(0, |webhook| webhook.dead);
        Self {
            name,
            code: bot.state.name(),
            reason: match bot.state {
                LinkState::Parked(why) => Some(why.name()),
                _ => None,
            },
            // While pairing the steps beside the QR say it at length.
            advice: bot.advice.as_deref().filter(|_| bot.state != LinkState::Pairing),
            words,
            warnings: bot
                .warnings
                .iter()
                .map(|warning| (warning, Moment::past(warning.since, now)))
                .collect(),
            since: Moment::past(bot.since, now),
            open: bot.open_since.filter(|_| bot.state == LinkState::Open).map(|at| Moment::past(at, now)),
            next: waited_for(bot, now),
            last: bot.last_disconnect.as_ref().map(|last| (last, Moment::past(last.at, now))),
            pairing: match pairing(bot, admin, now) {
                Pairing::Waiting if withheld => Pairing::Withheld,
                pairing => pairing,
            },
            place,
            hosted,
            day: None,
            webhook_problem: problem.map(|problem| (problem.text.as_str(), Moment::past(problem.at, now))),
            webhook_again: (admin && dead > 0).then(|| match dead {
                1 => "Try the dead letter again".to_owned(),
                dead => format!("Try {} dead letters again", grouped(&dead)),
            }),
            backup: bot.backup.last.as_ref().map(|last| (last, Moment::past(last.taken_at, now))),
            bot,
        }
    }
}

/// The start of a hosted bot's program, or else the next dial.
fn waited_for(bot: &BotStatus, now: DateTime<Utc>) -> Option<(String, Moment)> {
    let child = bot.hosted.as_ref().map(|hosted| &hosted.child);
    let start =
        child.filter(|child| child.state == ChildState::Waiting).and_then(|child| child.next_start_at);
    if let Some(at) = start {
        return Some(("until the bot is started again".to_owned(), Moment::coming(at, now)));
    }
    let at = bot.next_attempt_at?;
    Some((format!("until attempt {}", bot.attempt + 1), Moment::coming(at, now)))
}

/// Where the link is held, when there is more to say than "here".
fn place(bot: &BotStatus, dyno: Option<&str>) -> Option<String> {
    match (bot.role(), bot.kept_by()) {
        (Role::Standby, Some(holder)) => {
            let holder = holder.dyno.as_deref().unwrap_or("another process");
            Some(match dyno {
                Some(own) => format!("Kept by {holder}. This page comes from {own}, which stands by."),
                None => format!("Kept by {holder}. This page comes from a process that stands by."),
            })
        }
        (Role::Holder, _) => dyno.map(|own| format!("Kept by {own}, which also serves this page.")),
        (Role::Standby | Role::Waiting, _) => None,
    }
}

fn pairing(bot: &BotStatus, admin: bool, now: DateTime<Utc>) -> Pairing {
    if bot.state != LinkState::Pairing {
        return Pairing::None;
    }
    if !admin {
        return Pairing::Hidden;
    }
    let fresh = bot.qr.as_ref().filter(|code| code.expires_at > now);
    match fresh.and_then(|code| Some((qr::svg(&code.payload)?, code.expires_at))) {
        Some((svg, expiry)) => Pairing::Shown(svg, Moment::coming(expiry, now)),
        None => Pairing::Waiting,
    }
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
