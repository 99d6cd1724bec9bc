//! What a process uses, as `/proc` shows it.

use std::time::Duration;

/// Of a process.
pub struct Weight(pub u32);

impl Weight {
    /// Resident memory, in kB.
    pub fn resident(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most that it ever had resident, in kB.
    pub fn most(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// Counts the most anew from now on, where the system lets us.
    pub fn reset(&self) {
        let _ = std::fs::write(format!("/proc/{}/clear_refs", self.0), "5");
    }

    fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0)).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Files that are open; 0 when the tests run under an account that may not see it.
    pub fn files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.0)).map_or(0, Iterator::count)
    }

    /// Time of the processor that it has used.
    pub fn processor(&self) -> Duration {
        const TICKS: u64 = 100;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0)).expect("it lives");
        // The name, in parentheses, may itself hold blanks and parentheses.
        let (_, rest) = stat.rsplit_once(") ").expect("a name");
        let ticks = |n: usize| rest.split(' ').nth(n).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        Duration::from_millis((ticks(11) + ticks(12)) * 1000 / TICKS)
    }
}
