//! The processes of one dyno, as `/proc` shows them: who belongs to it, how much memory it uses, whether it
//! listens.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

/// How the processes of a dyno are known.
#[derive(Debug, Clone, Copy)]
pub struct Members {
    /// The first process; its process group has the same number.
    pub first: u32,
    /// The account that nothing but this dyno uses.
    pub user: Option<u32>,
}

/// One living process.
struct Seen {
    pid: u32,
    parent: u32,
    group: u32,
    user: u32,
    resident: u64,
}

impl Members {
    /// Every process of the dyno: those of its account, of its group, and the children of either.
    fn seen(self) -> Vec<Seen> {
        let all = living();
        let mut members: BTreeSet<u32> = all
            .iter()
            .filter(|one| one.group == self.first || one.pid == self.first || self.user == Some(one.user))
            .map(|one| one.pid)
            .collect();
        loop {
            let children: Vec<u32> = all
                .iter()
                .filter(|one| members.contains(&one.parent) && !members.contains(&one.pid))
                .map(|one| one.pid)
                .collect();
            if children.is_empty() {
                break;
            }
            members.extend(children);
        }
        all.into_iter().filter(|one| members.contains(&one.pid)).collect()
    }

    /// Sends a signal to every process of the dyno; the number of processes.
    pub fn signal(self, name: &str) -> usize {
        let seen = self.seen();
        if !seen.is_empty() {
            // One that has ended in between is no failure.
            let _ = Command::new("kill")
                .arg(format!("-{name}"))
                .args(seen.iter().map(|one| one.pid.to_string()))
                .stderr(Stdio::null())
                .status();
        }
        seen.len()
    }

    /// Resident memory of all of them, in bytes.
    pub fn resident(self) -> u64 {
        self.seen().iter().map(|one| one.resident).sum()
    }
}

/// All processes but zombies.
fn living() -> Vec<Seen> {
    let entries = fs::read_dir("/proc").expect("/proc");
    entries.flatten().filter_map(|entry| read(entry.file_name().to_str()?.parse().ok()?)).collect()
}

fn read(pid: u32) -> Option<Seen> {
    const PAGE: u64 = 4096;
    let folder = format!("/proc/{pid}");
    let user = fs::metadata(&folder).ok()?.uid();
    let stat = fs::read_to_string(format!("{folder}/stat")).ok()?;
    // The name, in parentheses, may itself hold blanks and parentheses.
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let (state, parent, group) =
        (*fields.first()?, fields.get(1)?.parse().ok()?, fields.get(2)?.parse().ok()?);
    let pages: u64 = fields.get(21)?.parse().ok()?;
    (state != "Z").then_some(Seen { pid, parent, group, user, resident: pages * PAGE })
}

/// Whether something listens on the port on every address: one on 127.0.0.1 alone is not seen by a router
/// on another machine.
pub fn listening(port: u16) -> bool {
    const LISTEN: &str = "0A";
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().any(|table| {
        let text = fs::read_to_string(table).unwrap_or_default();
        text.lines().skip(1).any(|line| {
            let mut fields = line.split_ascii_whitespace().skip(1);
            let (Some(local), Some(_), Some(state)) = (fields.next(), fields.next(), fields.next()) else {
                return false;
            };
            let Some((address, number)) = local.split_once(':') else { return false };
            state == LISTEN
                && u16::from_str_radix(number, 16) == Ok(port)
                && address.bytes().all(|digit| digit == b'0')
        })
    })
}
