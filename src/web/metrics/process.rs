//! The families of the process: build, memory, database, jobs, anti-idle.

use std::fmt;

use chrono::{DateTime, Utc};
use prometheus_client::registry::Unit;

use super::writer::{Sample, Writer, count, flag, timestamp};
use crate::runtime::status::{DatabaseStatus, Snapshot};
use crate::runtime::{clock, memory};

/// One sample without labels, if there is a value.
fn single<V>(value: Option<V>) -> Option<Sample<0, V>> {
    value.map(|value| ([], value))
}

/// Writes them.
pub fn write(to: &mut Writer<'_>, snapshot: &Snapshot, now: DateTime<Utc>) -> fmt::Result {
    let simulator = if snapshot.simulator.is_some() { "true" } else { "false" };
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("simulator", simulator)];
    to.info("blacksky_build", "This blacksky.", labels)?;
    let uptime = (now - snapshot.started_at).to_std().unwrap_or_default();
    to.gauge(
        ("blacksky_uptime", Some(Unit::Seconds)),
        "How long the process has been running.",
        single(Some(uptime.as_secs_f64())),
    )?;
    let started = timestamp(snapshot.started_at);
    to.gauge(("process_start_time", Some(Unit::Seconds)), "When it began.", single(Some(started)))?;
    to.gauge(
        ("blacksky_stopping", None),
        "1 while the process ends.",
        single(Some(flag(snapshot.stopping))),
    )?;

    to.counter(
        ("process_cpu", Some(Unit::Seconds)),
        "What it has used of the processors.",
        single(Some(clock::cpu().as_secs_f64())),
    )?;
    let files = std::fs::read_dir("/proc/self/fd").ok().map(|files| count(files.count() as u64));
    to.gauge(("process_open_fds", None), "Open files and sockets.", single(files))?;
    let usage = memory::usage();
    to.gauge(
        ("process_resident_memory", Some(Unit::Bytes)),
        "Resident memory.",
        single(usage.map(|usage| count(usage.resident))),
    )?;
    to.gauge(
        ("blacksky_memory_used", Some(Unit::Bytes)),
        "Resident memory and swap, as Heroku counts a dyno's.",
        single(usage.map(|usage| count(usage.resident + usage.swap))),
    )?;
    let quota = snapshot.memory.map(|memory| count(memory.quota_bytes));
    to.gauge(
        ("blacksky_memory_quota", Some(Unit::Bytes)),
        "What the dyno may use before Heroku reports R14; elsewhere what the container or the machine has.",
        single(quota),
    )?;

    let database = &snapshot.database;
    let up = matches!(database, DatabaseStatus::Ok { .. });
    to.gauge(("blacksky_database_up", None), "1 while the database answers.", single(Some(flag(up))))?;
    let size = snapshot.database_size.as_ref();
    to.gauge(
        ("blacksky_database_size", Some(Unit::Bytes)),
        "What the database takes.",
        single(size.map(|size| count(size.bytes))),
    )?;
    to.gauge(
        ("blacksky_database_limit", Some(Unit::Bytes)),
        "What its plan holds, where that is known.",
        single(size.and_then(|size| size.limit_bytes).map(count)),
    )?;
    let left = snapshot.sealing.as_ref().map(|sealing| count(sealing.left));
    to.gauge(
        ("blacksky_sealing_left", None),
        "Stored values that are plain or under an old secret key.",
        single(left),
    )?;

    let jobs = &snapshot.jobs;
    to.gauge(
        ("blacksky_job_running", None),
        "Runs of a job under way in this process.",
        jobs.iter().map(|(name, job)| ([("job", name.clone())], f64::from(job.running))),
    )?;
    to.gauge(
        ("blacksky_job_next_timestamp", Some(Unit::Seconds)),
        "When a job is due next.",
        jobs.iter().filter_map(|(name, job)| Some(([("job", name.clone())], timestamp(job.next_at?)))),
    )?;
    anti_idle(to, snapshot)
}

fn anti_idle(to: &mut Writer<'_>, snapshot: &Snapshot) -> fmt::Result {
    let targets = || snapshot.anti_idle.iter().flat_map(|all| &all.targets);
    to.counter(
        ("blacksky_anti_idle_pings", None),
        "Pings of an anti-idle target by result: answered, failed.",
        targets().flat_map(|target| {
            [("answered", target.answered), ("failed", target.failed)].map(|(result, pings)| {
                ([("target", target.target.clone()), ("result", result.to_owned())], pings)
            })
        }),
    )?;
    to.gauge(
        ("blacksky_anti_idle_last_timestamp", Some(Unit::Seconds)),
        "When the last ping of a target ended.",
        targets().filter_map(|target| {
            let last = target.last.as_ref()?;
            Some(([("target", target.target.clone())], timestamp(last.at)))
        }),
    )
}
