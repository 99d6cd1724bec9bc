//! Watches the memory of this process and of the programs of hosted bots against what there is. In a dyno: a warning before Heroku's R14 (above the
//! quota, on swap), a graceful restart before its R15 (killed at twice the quota).

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::status::{Board, Memory};
use crate::config::Size;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(5);
/// A process that is over the quota right after its start would be so again.
const SHORTEST_LIFE: Duration = Duration::from_secs(60);
/// Looks in a row above the limit that end in a restart; a short peak is none.
const LOOKS: u32 = 3;

/// What to do about the memory. Pure.
#[derive(Debug)]
struct Judge {
    quota: Size,
    is_dyno: bool,
    began: Instant,
    over: u32,
}

/// What a look says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Fine,
    /// From nine tenths of the quota on.
    Tight,
    /// Above 1.6 times the quota for [`LOOKS`] looks.
    Restart,
}

impl Judge {
    /// `used` is of this process, `programs` of all others: a restart of this process does not help against them.
    fn look(&mut self, used: u64, programs: u64, now: Instant) -> Verdict {
        let share = |tenths: u64| self.quota.get() / 10 * tenths;
        self.over = if self.is_dyno && used > share(16) { self.over + 1 } else { 0 };
        if self.over >= LOOKS && now >= self.began + SHORTEST_LIFE {
            Verdict::Restart
        } else if used + programs >= share(9) {
            Verdict::Tight
        } else {
            Verdict::Fine
        }
    }
}

/// Watches until `stop`; cancels `restart` when the process should begin anew. `quota` is that of the dyno.
pub(super) async fn watch(
    quota: Option<Size>,
    board: Board,
    restart: CancellationToken,
    stop: CancellationToken,
) {
    // Other systems have no /proc, and no Heroku.
    let Some(whole) = quota.or_else(limit) else { return stop.cancelled().await };
    let mut judge = Judge { quota: whole, is_dyno: quota.is_some(), began: Instant::now(), over: 0 };
    let mut before = Verdict::Fine;
    let mut looks = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = looks.tick() => {}
        }
        let Some(used) = used() else { return stop.cancelled().await };
        let programs = of_programs(&board);
        let verdict = judge.look(used, programs, Instant::now());
        let (used_mb, programs_mb, quota_mb) = (used >> 20, programs >> 20, whole.get() >> 20);
        match verdict {
            Verdict::Fine => {}
            Verdict::Tight if before != Verdict::Tight && judge.is_dyno => {
                tracing::warn!(
                    used_mb,
                    programs_mb,
                    quota_mb,
                    "memory is nearly used up; Heroku reports R14 above the quota"
                );
            }
            Verdict::Tight if before != Verdict::Tight => {
                tracing::warn!(used_mb, programs_mb, quota_mb, "memory is nearly used up");
            }
            Verdict::Tight => {}
            Verdict::Restart => {
                tracing::error!(used_mb, quota_mb, "restarting before Heroku kills the dyno (R15)");
                restart.cancel();
                return stop.cancelled().await;
            }
        }
        let tight = verdict != Verdict::Fine;
        board.memory(Memory { used_bytes: used, programs_bytes: programs, quota_bytes: whole.get(), tight });
        before = verdict;
    }
}

/// Of the hosted bots that run here.
fn of_programs(board: &Board) -> u64 {
    let snapshot = board.subscribe();
    let snapshot = snapshot.borrow();
    let hosted = snapshot.bots.values().filter_map(|bot| bot.hosted.as_ref());
    hosted.filter_map(|hosted| hosted.memory_bytes).sum()
}

/// The limit of the container, or else what the machine has.
fn limit() -> Option<Size> {
    let machine = field_of("/proc/meminfo", "MemTotal:")?;
    let files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let container = files.iter().find_map(|file| std::fs::read_to_string(file).ok()?.trim().parse().ok());
    // Without a limit it says "max", or a number that no machine has.
    Some(Size::bytes(container.filter(|limit| *limit > 0).unwrap_or(machine).min(machine)))
}

/// Resident memory and swap of this process in bytes, as Heroku counts a dyno's.
fn used() -> Option<u64> {
    of_process("self")
}

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    pub resident: u64,
    pub swap: u64,
}

/// Memory of this process; `None` where there is no /proc.
pub fn usage() -> Option<Usage> {
    usage_of("self")
}

/// Resident memory and swap of a process in bytes; `None` once it has ended, and where there is no /proc.
pub fn of_process(pid: &str) -> Option<u64> {
    usage_of(pid).map(|usage| usage.resident + usage.swap)
}

fn usage_of(pid: &str) -> Option<Usage> {
    let status = format!("/proc/{pid}/status");
    Some(Usage { resident: field_of(&status, "VmRSS:")?, swap: field_of(&status, "VmSwap:").unwrap_or(0) })
}

/// A line "Name:   123 kB" of a file, in bytes.
fn field_of(file: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    fn judge() -> Judge {
        Judge { quota: Size::megabytes(512), is_dyno: true, began: Instant::now(), over: 0 }
    }

    #[tokio::test(start_paused = true)]
    async fn it_warns_before_the_quota_and_restarts_before_twice_of_it() {
        let mut judge = judge();
        let late = judge.began + Duration::from_secs(3600);
        assert_eq!(judge.look(100 * MB, 0, late), Verdict::Fine);
        assert_eq!(judge.look(459 * MB, 0, late), Verdict::Fine);
        assert_eq!(judge.look(461 * MB, 0, late), Verdict::Tight);
        assert_eq!(judge.look(800 * MB, 0, late), Verdict::Tight);
        for _ in 1..LOOKS {
            assert_eq!(judge.look(830 * MB, 0, late), Verdict::Tight);
        }
        assert_eq!(judge.look(830 * MB, 0, late), Verdict::Restart);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peak_and_a_young_process_do_not_restart() {
        let mut peaks = judge();
        let late = peaks.began + Duration::from_secs(3600);
        for _ in 0..50 {
            assert_eq!(peaks.look(900 * MB, 0, late), Verdict::Tight);
            assert_eq!(peaks.look(900 * MB, 0, late), Verdict::Tight);
            assert_eq!(peaks.look(200 * MB, 0, late), Verdict::Fine);
        }
        let mut young = judge();
        for second in 0..59 {
            let now = young.began + Duration::from_secs(second);
            assert_eq!(young.look(900 * MB, 0, now), Verdict::Tight);
        }
        let now = young.began + SHORTEST_LIFE;
        assert_eq!(young.look(900 * MB, 0, now), Verdict::Restart);
    }

    #[tokio::test(start_paused = true)]
    async fn programs_make_it_tight_and_restart_nothing() {
        let mut judge = judge();
        let late = judge.began + Duration::from_secs(3600);
        assert_eq!(judge.look(60 * MB, 300 * MB, late), Verdict::Fine);
        for _ in 0..10 {
            assert_eq!(judge.look(60 * MB, 900 * MB, late), Verdict::Tight);
        }
        // Elsewhere the system ends what uses too much.
        judge.is_dyno = false;
        for _ in 0..10 {
            assert_eq!(judge.look(900 * MB, 0, late), Verdict::Tight);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_machine_has_more_than_this_process_uses() {
        assert!(limit().expect("/proc") > Size::bytes(used().expect("/proc")));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_uses_some() {
        let used = used().expect("/proc");
        assert!((MB..4096 * MB).contains(&used), "{used}");
    }
}
