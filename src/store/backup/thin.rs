//! Which backups may go.

use std::collections::{BTreeMap, HashSet};

use super::BackupInfo;
use crate::config;

/// Ids of the backups that `config` does not keep, after one of `session` was taken.
///
/// Of the session's own stay the newest `recent`, the newest of each of the last `hourly` hours in which
/// there is one, and the newest of each of the last `daily` days (UTC). Then, while all backups of the
/// database together take more than `max_size`, the oldest goes, whosever it is. The newest of each
/// session always stays.
pub(super) fn surplus(all: &[BackupInfo], session: &str, config: &config::Backup) -> Vec<i64> {
    let mut own: Vec<&BackupInfo> = all.iter().filter(|backup| backup.session == session).collect();
    own.sort_by_key(|backup| std::cmp::Reverse((backup.taken_at, backup.id)));
    let keep = config.keep;
    let mut kept: HashSet<i64> = own.iter().take(keep.recent.max(1) as usize).map(|b| b.id).collect();
    for (seconds, count) in [(3_600, keep.hourly), (86_400, keep.daily)] {
        let mut last = None;
        let mut left = count;
        for backup in &own {
            let period = backup.taken_at.timestamp().div_euclid(seconds);
            if last != Some(period) {
                if left == 0 {
                    break;
                }
                left -= 1;
                last = Some(period);
                kept.insert(backup.id);
            }
        }
    }
    let mut gone: Vec<i64> = own.iter().map(|backup| backup.id).filter(|id| !kept.contains(id)).collect();

    let mut left: Vec<&BackupInfo> = all.iter().filter(|backup| !gone.contains(&backup.id)).collect();
    left.sort_by_key(|backup| (backup.taken_at, backup.id));
    let newest: BTreeMap<&str, i64> = left.iter().map(|b| (b.session.as_str(), b.id)).collect();
    let mut total: u64 = left.iter().map(|backup| backup.size).sum();
    for backup in &left {
        if total <= config.max_size.get() {
            break;
        }
        if newest.get(backup.session.as_str()) != Some(&backup.id) {
            total -= backup.size;
            gone.push(backup.id);
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;

    use super::*;
    use crate::config::{Keep, Period, Size};
    use crate::store::Digest;

    const HOUR: i64 = 3600;

    fn backup(id: i64, session: &str, second: i64, size: u64) -> BackupInfo {
        let at = DateTime::from_timestamp(second, 0).expect("a time");
        BackupInfo {
            id,
            session: session.to_owned(),
            taken_at: at,
            checked_at: at,
            generation: 1,
            digest: Digest([0; 32]),
            rows: 1,
            size,
        }
    }

    fn config(recent: u32, hourly: u32, daily: u32, max_size: u64) -> config::Backup {
        config::Backup {
            interval: Period::seconds(300),
            keep: Keep { recent, hourly, daily },
            max_size: Size::bytes(max_size),
        }
    }

    /// One every 5 minutes from second 0 on, thinned after each as the bot does.
    fn after(hours: i64, config: &config::Backup) -> Vec<i64> {
        let mut all: Vec<BackupInfo> = Vec::new();
        for step in 0..hours * 12 {
            all.push(backup(step, "main", step * 300, 10));
            let gone = surplus(&all, "main", config);
            all.retain(|backup| !gone.contains(&backup.id));
        }
        all.iter().map(|backup| backup.taken_at.timestamp()).collect()
    }

    #[test]
    fn recent_hourly_and_daily_ones_stay() {
        let kept = after(24 * 10, &config(12, 24, 7, 1 << 30));
        let end = 24 * 10 * HOUR;
        // The last hour in full, of the 23 hours before it the last one of each, of the 6 days before this
        // one the last of each.
        let mut expected: Vec<i64> = (0..7).map(|day| end - day * 24 * HOUR - 300).collect();
        expected.extend((0..24).map(|hour| end - hour * HOUR - 300));
        expected.extend((1..=12).map(|step| end - step * 300));
        expected.sort_unstable();
        expected.dedup();
        assert_eq!(kept, expected);
    }

    #[test]
    fn hours_without_a_backup_do_not_count() {
        let all: Vec<BackupInfo> = (0..5).map(|n| backup(n, "main", n * 50 * HOUR, 1)).collect();
        assert_eq!(surplus(&all, "main", &config(1, 3, 0, 1 << 30)), [1, 0]);
    }

    #[test]
    fn the_oldest_go_when_there_is_no_room_and_never_the_last_of_a_session() {
        let all = [
            backup(1, "other", 10, 40),
            backup(2, "main", 20, 40),
            backup(3, "other", 30, 40),
            backup(4, "main", 40, 40),
            backup(5, "main", 50, 40),
        ];
        assert_eq!(surplus(&all, "main", &config(12, 24, 7, 200)), Vec::<i64>::new());
        assert_eq!(surplus(&all, "main", &config(12, 24, 7, 199)), [1]);
        assert_eq!(surplus(&all, "main", &config(12, 24, 7, 100)), [1, 2, 4]);
        assert_eq!(surplus(&all, "main", &config(12, 24, 7, 1)), [1, 2, 4], "3 and 5 are the last ones");
    }

    proptest! {
        #[test]
        fn what_is_kept_holds_the_rule(
            times in proptest::collection::vec((0i64..400 * HOUR, 0u64..50, any::<bool>()), 1..60),
            recent in 1u32..6, hourly in 0u32..6, daily in 0u32..6, max_size in 0u64..1000,
        ) {
            let all: Vec<BackupInfo> = (0..).zip(&times)
                .map(|(id, (at, size, own))| backup(id, if *own { "main" } else { "other" }, *at, *size))
                .collect();
            let config = config(recent, hourly, daily, max_size);
            let gone = surplus(&all, "main", &config);
            let left: Vec<&BackupInfo> = all.iter().filter(|b| !gone.contains(&b.id)).collect();
            let own = left.iter().filter(|b| b.session == "main").count();
            prop_assert!(own <= (recent + hourly + daily) as usize);
            for session in ["main", "other"] {
                let newest = |list: &mut dyn Iterator<Item = &BackupInfo>| {
                    list.filter(|b| b.session == session).max_by_key(|b| (b.taken_at, b.id)).map(|b| b.id)
                };
                prop_assert_eq!(newest(&mut all.iter()), newest(&mut left.iter().copied()));
            }
            let sessions: HashSet<&str> = left.iter().map(|b| b.session.as_str()).collect();
            let total: u64 = left.iter().map(|b| b.size).sum();
            prop_assert!(total <= max_size || left.len() == sessions.len());
            // Thinning again changes nothing.
            let left: Vec<BackupInfo> = left.into_iter().cloned().collect();
            prop_assert_eq!(surplus(&left, "main", &config), Vec::<i64>::new());
        }
    }
}
