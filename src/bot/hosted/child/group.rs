//! All processes of one run: its process group, their descendants, and what left both.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use sha2::{Digest, Sha256};

use crate::runtime::memory;

/// In the environment of every process of a run, so that one is found that made itself a session of its own.
const MARK: &str = "BLACKSKY_RUN";
/// Between two looks whether all are gone.
const LOOK: Duration = Duration::from_millis(20);
/// Rounds of SIGKILL: a process may start another between the look and the kill.
const ROUNDS: u32 = 50;

/// A fresh mark for a run of this bot in this folder: the variable, and a value that no other run has.
pub fn mark(bot: &str, folder: &Path) -> (&'static str, String) {
    (MARK, format!("{}{:032x}", place(bot, folder), rand::random::<u128>()))
}

/// What all runs of a bot in a folder have in common.
fn place(bot: &str, folder: &Path) -> String {
    let mut hash = Sha256::new();
    hash.update(folder.as_os_str().as_bytes());
    let digest = hash.finalize();
    let short: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{bot}-{short}-")
}

/// Kills what an earlier run left behind: a blacksky that was killed itself could not. Two programs on one session
/// would spoil it.
pub fn kill_orphans(bot: &str, folder: &Path) {
    let start = format!("{MARK}={}", place(bot, folder));
    for pid in processes().into_keys() {
        let marked = std::fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|text| text.split(|byte| *byte == 0).any(|one| one.starts_with(start.as_bytes())));
        if marked && let Some(orphan) = Pid::from_raw(pid) {
            tracing::warn!(bot, pid, "an earlier run of the bot is still there: killing it");
            let _ = kill_process(orphan, Signal::KILL);
        }
    }
}

/// The processes of one run.
#[derive(Debug, Clone)]
pub struct Group {
    leader: Option<Pid>,
    mark: String,
}

impl Group {
    pub fn new(leader: Option<u32>, mark: String) -> Self {
        let leader = leader.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Self { leader, mark }
    }

    /// To all of the group; one that is gone needs none.
    pub fn signal(&self, signal: Signal) {
        if let Some(leader) = self.leader {
            let _ = kill_process_group(leader, signal);
        }
    }

    /// Waits until no process is left.
    pub async fn gone(&self) {
        while !self.members(true).await.is_empty() {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Kills until no process is left.
    pub async fn kill_all(&self) {
        for _ in 0..ROUNDS {
            self.signal(Signal::KILL);
            let left = self.members(true).await;
            if left.is_empty() {
                return;
            }
            for pid in left {
                let _ = kill_process(pid, Signal::KILL);
            }
            tokio::time::sleep(LOOK).await;
        }
        tracing::warn!("some processes of the bot do not end");
    }

    async fn members(&self, strays: bool) -> Vec<Pid> {
        let group = self.clone();
        tokio::task::spawn_blocking(move || group.find(strays)).await.unwrap_or_default()
    }

    /// Resident memory and swap of all in bytes; `None` where there is no /proc.
    pub fn memory(&self) -> Option<u64> {
        let members = self.find(false);
        if members.is_empty() {
            return None;
        }
        Some(
            members.into_iter().filter_map(|pid| memory::of_process(&pid.as_raw_nonzero().to_string())).sum(),
        )
    }

    /// Its processes that live, without zombies: they end when their parent looks. With `strays` those too that
    /// are neither in the group nor descend from it.
    fn find(&self, strays: bool) -> Vec<Pid> {
        let Some(leader) = self.leader.map(|pid| pid.as_raw_nonzero().get()) else { return Vec::new() };
        let all = processes();
        let mut found: BTreeSet<i32> = all
            .iter()
            .filter(|(pid, one)| one.group == leader || **pid == leader)
            .map(|(pid, _)| *pid)
            .collect();
        loop {
            let before = found.len();
            found.extend(
                all.iter()
                    .filter(|(_, one)| found.contains(&one.parent))
                    .map(|(pid, _)| *pid)
                    .collect::<Vec<_>>(),
            );
            if found.len() == before {
                break;
            }
        }
        if strays {
            let entry = format!("{MARK}={}", self.mark);
            let marked = |pid: &i32| {
                std::fs::read(format!("/proc/{pid}/environ"))
                    .is_ok_and(|text| text.split(|byte| *byte == 0).any(|one| one == entry.as_bytes()))
            };
            found.extend(
                all.keys()
                    .filter(|pid| !found.contains(pid))
                    .copied()
                    .filter(|pid| marked(pid))
                    .collect::<Vec<_>>(),
            );
        }
        found
            .into_iter()
            .filter(|pid| all.get(pid).is_some_and(|one| !one.zombie))
            .filter_map(Pid::from_raw)
            .collect()
    }
}

/// One line of the process table.
struct Process {
    parent: i32,
    group: i32,
    zombie: bool,
}

fn processes() -> BTreeMap<i32, Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return BTreeMap::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = std::str::from_utf8(entry.file_name().as_bytes()).ok()?.parse().ok()?;
            let stat = std::fs::read(entry.path().join("stat")).ok()?;
            // The name is in brackets and may hold anything, brackets too.
            let rest = &stat[stat.iter().rposition(|byte| *byte == b')')? + 1..];
            let mut fields = std::str::from_utf8(rest).ok()?.split_ascii_whitespace();
            let state = fields.next()?;
            let parent = fields.next()?.parse().ok()?;
            let group = fields.next()?.parse().ok()?;
            Some((pid, Process { parent, group, zombie: matches!(state, "Z" | "X") }))
        })
        .collect()
}
