//! Figures of a measurement: printed for whoever looks on, and gathered for `benches/RESULTS.md`.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use serde_json::json;

/// Names the file in which `scripts/bench` gathers figures, one JSON object a line. Unset: nothing is gathered.
pub const FILE: &str = "BLACKSKY_FIGURES";

/// Gathers one figure: what was measured (`row`), of whom (`of`), and which figure of it this is (`stat`).
pub fn note(row: &str, of: &str, stat: &str, value: f64) {
    let Some(file) = std::env::var_os(FILE) else { return };
    let line = json!({ "row": row, "of": of, "stat": stat, "value": value });
    let written = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&file)
        // In one write, so that lines of two programs do not mix.
        .and_then(|mut open| open.write_all(format!("{line}\n").as_bytes()));
    written.unwrap_or_else(|error| panic!("{FILE}={}: {error}", file.display()));
}

/// Prints and gathers how many there are of these times, their median, 99th percentile and maximum, in milliseconds.
pub fn times(row: &str, of: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let ms = |share: f64| percentile(times, share).as_secs_f64() * 1e3;
    let (median, p99, max) = (ms(0.5), ms(0.99), ms(1.0));
    println!("{row}, {of}: {} times, median {median:.1} ms, p99 {p99:.1} ms, max {max:.1} ms", times.len());
    for (stat, value) in [("times", times.len() as f64), ("median", median), ("p99", p99), ("max", max)] {
        note(row, of, stat, value);
    }
}

/// The time that this share of the sorted ones does not exceed.
pub fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
}

/// A number from the environment.
pub fn number(name: &str, default: usize) -> usize {
    let set = std::env::var_os(name).and_then(|text| text.into_string().ok());
    set.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// Resident memory of a process now, in MB of 1,000,000 bytes; `VmRSS` or `VmHWM` of Linux.
pub fn megabytes(pid: u32, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib: f64 = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default();
    kib * 1024.0 / 1e6
}
