//! What is counted and timed while blacksky runs. `web::metrics` shows it together with the status snapshot, which
//! has the rest.
//!
//! One function for each event, called where it happens. Nothing here names a session, a chat or a person; labels
//! are names of bots and jobs from the file and words of short lists ([`Series`] bounds them all the same).

mod library;
mod series;

use std::sync::LazyLock;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use library::Recorder;
pub use series::{Labels, OTHER, Series};

/// Bounds of what takes from a millisecond to half a minute, in seconds.
const SECONDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];
/// Bounds of what takes from a tenth of a second to half an hour, in seconds.
const LONG: [f64; 9] = [0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0];

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

fn long() -> Histogram {
    Histogram::new(LONG)
}

/// Everything that is measured.
struct Measures {
    dials: Series<2, Counter>,
    dial: Histogram,
    heartbeat: Histogram,
    undecryptable: Series<1, Counter>,
    lease_epoch: Series<1, Gauge>,
    lease_wins: Series<1, Counter>,
    lease_losses: Series<1, Counter>,
    lease_renewals: Series<1, Counter>,
    lease_renewal: Histogram,
    takeover: Histogram,
    stop: Series<1, Histogram>,
    backups: Series<2, Counter>,
    backup: Histogram,
    mirror: Histogram,
    posts: Series<2, Counter>,
    post: Histogram,
    job_runs: Series<2, Counter>,
    job: Series<1, Histogram>,
    requests: Series<3, Counter>,
    request: Series<1, Histogram>,
    database_errors: Series<1, Counter>,
    statement: Histogram,
    connections: Series<2, Gauge>,
    client: Recorder,
}

static MEASURES: LazyLock<Measures> = LazyLock::new(|| {
    let client = Recorder::default();
    // Fails when another recorder was set before; then that one hears the library.
    if metrics::set_global_recorder(client.clone()).is_ok() {
        whatsapp_rust::telemetry::describe();
    }
    Measures {
        dials: Series::new(["bot", "outcome"], Counter::default),
        dial: seconds(),
        heartbeat: seconds(),
        undecryptable: Series::new(["bot"], Counter::default),
        lease_epoch: Series::new(["bot"], Gauge::default),
        lease_wins: Series::new(["bot"], Counter::default),
        lease_losses: Series::new(["reason"], Counter::default),
        lease_renewals: Series::new(["outcome"], Counter::default),
        lease_renewal: seconds(),
        takeover: seconds(),
        stop: Series::new(["step"], seconds),
        backups: Series::new(["bot", "outcome"], Counter::default),
        backup: seconds(),
        mirror: seconds(),
        posts: Series::new(["bot", "outcome"], Counter::default),
        post: seconds(),
        job_runs: Series::new(["job", "outcome"], Counter::default),
        job: Series::new(["job"], long),
        requests: Series::new(["route", "method", "status"], Counter::default),
        request: Series::new(["route"], seconds),
        database_errors: Series::new(["kind"], Counter::default),
        statement: seconds(),
        connections: Series::new(["pool", "state"], Gauge::default),
        client,
    }
});

/// Begins to hear what the client library counts. A second call changes nothing.
pub fn start() {
    LazyLock::force(&MEASURES);
}

/// Counters of a bot that there will be: they begin at 0, since a rate does not see the first event of one that was
/// not there before.
pub fn expect_bot(bot: &str, native: bool, webhook: bool) {
    let all = &*MEASURES;
    let each = |series: &Series<2, Counter>, outcomes: &[&str]| {
        for outcome in outcomes {
            series.of([bot, outcome]);
        }
    };
    each(&all.backups, &["taken", "unchanged", "failed"]);
    if native {
        each(&all.dials, &["opened", "paired", "failed"]);
        all.undecryptable.of([bot]);
    }
    if webhook {
        each(&all.posts, &["taken", "failed"]);
    }
}

/// The same for a job.
pub fn expect_job(job: &str) {
    for outcome in ["ok", "failed", "skipped", "interrupted"] {
        MEASURES.job_runs.of([job, outcome]);
    }
    MEASURES.job.of([job]);
}

/// The same for what is of the whole process.
fn expect(all: &Measures) {
    for (series, words) in [
        (&all.lease_losses, &["taken_over", "expired"][..]),
        (&all.lease_renewals, &["ok", "failed"]),
        (&all.database_errors, &["refused", "no_answer", "other"]),
    ] {
        for word in words {
            series.of([word]);
        }
    }
}

/// Puts everything into a registry.
pub fn register(registry: &mut Registry) {
    let all = &*MEASURES;
    expect(all);
    registry.register(
        "blacksky_link_dials",
        "Dials of native bots by how they ended: opened, paired, failed",
        all.dials.clone(),
    );
    registry.register(
        "blacksky_messages_undecryptable",
        "Inbound messages that could not be decrypted, retries of the same message included",
        all.undecryptable.clone(),
    );
    registry.register("blacksky_lease_epoch", "Epoch (fencing token) under which this process won the lease last; microseconds since 1970 at the least", all.lease_epoch.clone());
    registry.register(
        "blacksky_lease_wins",
        "Times this process won the lease of a bot",
        all.lease_wins.clone(),
    );
    registry.register(
        "blacksky_lease_losses",
        "Leases that this process lost: taken_over by another dyno, or expired since no renewal came through",
        all.lease_losses.clone(),
    );
    registry.register(
        "blacksky_lease_renewals",
        "Renewals of all leases of this process at once, by outcome: ok, failed",
        all.lease_renewals.clone(),
    );
    registry.register(
        "blacksky_backups",
        "Backups by outcome: taken, unchanged, failed",
        all.backups.clone(),
    );
    registry.register(
        "blacksky_webhook_posts",
        "Posts to a webhook by outcome: taken, failed",
        all.posts.clone(),
    );
    registry.register(
        "blacksky_job_runs",
        "Runs of a job that this process did, by outcome: ok, failed, skipped, interrupted",
        all.job_runs.clone(),
    );
    registry.register("blacksky_http_requests", "HTTP requests by route, method and status; the route (bot) is what a hosted bot answers, (none) what nobody has", all.requests.clone());
    registry.register(
        "blacksky_database_errors",
        "Statements that failed: refused by the database, no_answer in time or no connection, other",
        all.database_errors.clone(),
    );
    registry.register(
        "blacksky_database_connections",
        "Connections to PostgreSQL by pool and state: open, idle, most",
        all.connections.clone(),
    );
    registry.register_with_unit(
        "blacksky_link_dial_duration",
        "From the dial of a native bot to the open link",
        Unit::Seconds,
        all.dial.clone(),
    );
    registry.register_with_unit(
        "blacksky_heartbeat_round_trip",
        "From a probe to the next frame from WhatsApp",
        Unit::Seconds,
        all.heartbeat.clone(),
    );
    registry.register_with_unit(
        "blacksky_lease_renewal_duration",
        "How long the database took to renew the leases",
        Unit::Seconds,
        all.lease_renewal.clone(),
    );
    registry.register_with_unit(
        "blacksky_takeover_duration",
        "From winning the lease of a native bot to its open link",
        Unit::Seconds,
        all.takeover.clone(),
    );
    registry.register_with_unit(
        "blacksky_stop_duration",
        "Steps of a bot's stop: wait for a successor, link closed and flushed, lease released",
        Unit::Seconds,
        all.stop.clone(),
    );
    registry.register_with_unit(
        "blacksky_backup_duration",
        "How long a backup took, whatever came of it",
        Unit::Seconds,
        all.backup.clone(),
    );
    registry.register_with_unit(
        "blacksky_vault_mirror_duration",
        "From the first change in a hosted bot's session folder to its being durable in the database",
        Unit::Seconds,
        all.mirror.clone(),
    );
    registry.register_with_unit(
        "blacksky_webhook_post_duration",
        "How long a post to a webhook took, whatever came of it",
        Unit::Seconds,
        all.post.clone(),
    );
    registry.register_with_unit(
        "blacksky_job_duration",
        "How long a run of a job took",
        Unit::Seconds,
        all.job.clone(),
    );
    registry.register_with_unit(
        "blacksky_http_request_duration",
        "From the head of a request to the head of its answer",
        Unit::Seconds,
        all.request.clone(),
    );
    registry.register_with_unit(
        "blacksky_database_statement_duration",
        "How long a statement took, the wait for a connection included (PostgreSQL)",
        Unit::Seconds,
        all.statement.clone(),
    );
    registry.register_collector(Box::new(all.client.clone()));
}

/// How a dial of a native bot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dial {
    /// The link opened.
    Opened,
    /// A phone scanned the QR; the login follows on another connection.
    Paired,
    /// The link did not open.
    Failed,
}

/// A dial has ended `took` after it began.
pub fn dialled(bot: &str, how: Dial, took: Duration) {
    let outcome = match how {
        Dial::Opened => "opened",
        Dial::Paired => "paired",
        Dial::Failed => "failed",
    };
    MEASURES.dials.of([bot, outcome]).inc();
    if how == Dial::Opened {
        MEASURES.dial.observe(took.as_secs_f64());
    }
}

/// A probe was answered.
pub fn heartbeat(round_trip: Duration) {
    MEASURES.heartbeat.observe(round_trip.as_secs_f64());
}

/// A message could not be decrypted.
pub fn undecryptable(bot: &str) {
    MEASURES.undecryptable.of([bot]).inc();
}

/// The lease of a bot was won.
pub fn lease_won(bot: &str, epoch: i64) {
    MEASURES.lease_wins.of([bot]).inc();
    MEASURES.lease_epoch.of([bot]).set(epoch);
}

/// A lease was lost; `reason` is "taken_over" or "expired".
pub fn lease_lost(reason: &'static str) {
    MEASURES.lease_losses.of([reason]).inc();
}

/// All leases were renewed, or not.
pub fn leases_renewed(ok: bool, took: Duration) {
    MEASURES.lease_renewals.of([if ok { "ok" } else { "failed" }]).inc();
    MEASURES.lease_renewal.observe(took.as_secs_f64());
}

/// A link opened so long after its lease was won.
pub fn took_over(took: Duration) {
    MEASURES.takeover.observe(took.as_secs_f64());
}

/// A step of a bot's stop is done: "wait", "link" or "lease".
pub fn stopped(step: &'static str, took: Duration) {
    MEASURES.stop.of([step]).observe(took.as_secs_f64());
}

/// A backup was "taken", found the session "unchanged", or "failed".
pub fn backed_up(bot: &str, outcome: &'static str, took: Duration) {
    MEASURES.backups.of([bot, outcome]).inc();
    MEASURES.backup.observe(took.as_secs_f64());
}

/// What a hosted bot wrote is durable.
pub fn mirrored(since_change: Duration) {
    MEASURES.mirror.observe(since_change.as_secs_f64());
}

/// A webhook took a post, or not.
pub fn posted(bot: &str, taken: bool, took: Duration) {
    MEASURES.posts.of([bot, if taken { "taken" } else { "failed" }]).inc();
    MEASURES.post.observe(took.as_secs_f64());
}

/// A run of a job ended here.
pub fn job_ran(job: &str, outcome: &str, took: Duration) {
    MEASURES.job_runs.of([job, outcome]).inc();
    MEASURES.job.of([job]).observe(took.as_secs_f64());
}

/// The answer to a request began.
pub fn answered(route: &str, method: &str, status: u16, took: Duration) {
    MEASURES.requests.of([route, method, &status.to_string()]).inc();
    MEASURES.request.of([route]).observe(took.as_secs_f64());
}

/// A statement failed: "refused", "no_answer" or "other".
pub fn database_error(kind: &'static str) {
    MEASURES.database_errors.of([kind]).inc();
}

/// A statement ended, well or not.
pub fn statement(took: Duration) {
    MEASURES.statement.observe(took.as_secs_f64());
}

/// A number of connections to the database.
#[derive(Debug)]
pub struct Pool {
    open: Gauge,
    idle: Gauge,
}

/// The pool of this name, which may have so many.
pub fn pool(name: &'static str, most: usize) -> Pool {
    let state = |state| MEASURES.connections.of([name, state]);
    state("most").set(size(most));
    Pool { open: state("open"), idle: state("idle") }
}

impl Pool {
    /// So many are open now, those in use included, and so many idle.
    pub fn has(&self, open: usize, idle: usize) {
        self.open.set(size(open));
        self.idle.set(size(idle));
    }
}

fn size(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
