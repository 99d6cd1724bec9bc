//! Which removals of a bot are believed. Bots remove their session when something goes wrong that has nothing to
//! do with it; a removal is mirrored only once it has lasted, and one that would end the session never.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::identity::CREDS;
use super::sqlite;

/// A removal has to last this long.
pub const LASTS: Duration = Duration::from_secs(5);
/// What is written anew is away for a moment.
const CREDS_AWAY: Duration = Duration::from_secs(2);
/// Fewer files are removed by ordinary work.
const FEW: usize = 4;

/// What to do about the files that are gone.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Mirror these removals; look again after this.
    Believe(Vec<Vec<u8>>, Option<Duration>),
    /// The bot removed its session.
    SessionRemoved,
}

/// Remembers since when files have been gone.
#[derive(Debug, Default)]
pub struct Removals(BTreeMap<Vec<u8>, Instant>);

impl Removals {
    /// `gone` are the stored files that are not in the folder any more, of `stored` in all. With `at_once` nothing
    /// is waited for: the bot has ended.
    pub fn judge(&mut self, gone: &[Vec<u8>], stored: usize, now: Instant, at_once: bool) -> Verdict {
        self.0.retain(|path, _| gone.contains(path));
        for path in gone {
            self.0.entry(path.clone()).or_insert(now);
        }
        let lasted = |path: &[u8], time: Duration| {
            at_once || self.0.get(path).is_some_and(|since| now >= *since + time)
        };
        // Without it there is no session.
        let vital = [CREDS, sqlite::NAME].into_iter().find(|path| self.0.contains_key(*path));
        let most = |count: usize| count >= FEW && count * 2 > stored;
        let away = self.0.keys().filter(|path| lasted(path, CREDS_AWAY)).count();
        if vital.is_some_and(|path| lasted(path, CREDS_AWAY)) || most(away) {
            return Verdict::SessionRemoved;
        }
        let look = if vital.is_some() || most(gone.len()) { CREDS_AWAY } else { LASTS };
        let believed: Vec<Vec<u8>> = self
            .0
            .keys()
            .filter(|path| Some(path.as_slice()) != vital && lasted(path, LASTS))
            .cloned()
            .collect();
        let waits = |(path, since): (&Vec<u8>, &Instant)| {
            let time = if now < *since + look { look } else { LASTS };
            (!believed.contains(path)).then(|| (*since + time).saturating_duration_since(now))
        };
        let next = self.0.iter().filter_map(waits).min();
        Verdict::Believe(believed, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(names: &[&str]) -> Vec<Vec<u8>> {
        names.iter().map(|name| name.as_bytes().to_vec()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_removal_is_believed_once_it_has_lasted() {
        let (mut removals, start) = (Removals::default(), Instant::now());
        let gone = paths(&["pre-key-1.json"]);
        assert_eq!(removals.judge(&gone, 40, start, false), Verdict::Believe(vec![], Some(LASTS)));
        // It came back: the time begins anew.
        assert_eq!(
            removals.judge(&[], 40, start + Duration::from_secs(4), false),
            Verdict::Believe(vec![], None)
        );
        let again = start + Duration::from_secs(6);
        assert_eq!(removals.judge(&gone, 40, again, false), Verdict::Believe(vec![], Some(LASTS)));
        assert_eq!(removals.judge(&gone, 40, again + LASTS, false), Verdict::Believe(gone.clone(), None));
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_that_are_away_for_a_moment_are_none_that_were_removed() {
        let (mut removals, start) = (Removals::default(), Instant::now());
        let gone = paths(&["creds.json"]);
        assert_eq!(removals.judge(&gone, 40, start, false), Verdict::Believe(vec![], Some(CREDS_AWAY)));
        assert_eq!(removals.judge(&gone, 40, start + CREDS_AWAY, false), Verdict::SessionRemoved);
        assert_eq!(Removals::default().judge(&gone, 40, start, true), Verdict::SessionRemoved);
    }

    fn sorted(paths: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut paths = paths.to_vec();
        paths.sort();
        paths
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_file_is_the_session() {
        let (mut removals, start) = (Removals::default(), Instant::now());
        let gone = vec![sqlite::NAME.to_vec()];
        assert_eq!(removals.judge(&gone, 1, start, false), Verdict::Believe(vec![], Some(CREDS_AWAY)));
        assert_eq!(removals.judge(&gone, 1, start + CREDS_AWAY, false), Verdict::SessionRemoved);
    }

    #[tokio::test(start_paused = true)]
    async fn most_files_at_once_are_the_session_and_a_few_are_not() {
        let start = Instant::now();
        let many: Vec<String> = (0..21).map(|number| format!("session-{number}.json")).collect();
        let many = paths(&many.iter().map(String::as_str).collect::<Vec<_>>());
        let mut removals = Removals::default();
        assert_eq!(removals.judge(&many, 40, start, false), Verdict::Believe(vec![], Some(CREDS_AWAY)));
        assert_eq!(removals.judge(&many, 40, start + CREDS_AWAY, false), Verdict::SessionRemoved);
        let mut removals = Removals::default();
        removals.judge(&many[..20], 40, start, false);
        assert_eq!(
            removals.judge(&many[..20], 40, start + LASTS, false),
            Verdict::Believe(sorted(&many[..20]), None)
        );
        assert!(matches!(Removals::default().judge(&many[..3], 4, start, false), Verdict::Believe(..)));
        assert_eq!(
            Removals::default().judge(&many[..3], 40, start, true),
            Verdict::Believe(sorted(&many[..3]), None)
        );
    }
}
