//! What in a status snapshot is worth telling. Pure: it is given each snapshot and the time.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::Alert;
use crate::config::AlertKind;
use crate::link::LinkState;
use crate::link::policy::ends_the_session;
use crate::runtime::status::{BotStatus, DatabaseStatus, Snapshot, WarningKind};

/// Remembers what was seen and told.
#[derive(Debug)]
pub(super) struct Watcher {
    down_after: Duration,
    bots: BTreeMap<String, Seen>,
    database_down_since: Option<Instant>,
    database_told: bool,
    memory_tight: bool,
}

/// What is remembered of a bot.
#[derive(Debug, Default)]
struct Seen {
    state: Option<LinkState>,
    /// Since when its link has not been open although it should be.
    down_since: Option<Instant>,
    last_disconnect: Option<DateTime<Utc>>,
    /// An alert went out that an open link answers.
    troubled: bool,
    down_told: bool,
    raised: BTreeMap<WarningKind, u64>,
    /// The last backup could not be taken, and that was told.
    backup_failed: bool,
    session_removed: Option<DateTime<Utc>>,
}

impl Watcher {
    pub(super) fn new(down_after: Duration) -> Self {
        Self {
            down_after,
            bots: BTreeMap::new(),
            database_down_since: None,
            database_told: false,
            memory_tight: false,
        }
    }

    /// What is new, and when to look again although nothing changes.
    pub(super) fn look(
        &mut self,
        snapshot: &Snapshot,
        now: Instant,
        at: DateTime<Utc>,
    ) -> (Vec<Alert>, Option<Instant>) {
        let mut alerts = Vec::new();
        // An ending process closes its links on purpose.
        if snapshot.stopping {
            return (alerts, None);
        }
        self.database(snapshot, now, at, &mut alerts);
        self.memory(snapshot, at, &mut alerts);
        for (name, bot) in &snapshot.bots {
            let seen = self.bots.entry(name.clone()).or_default();
            let mut tell = |kind, text| {
                alerts.push(Alert { kind: Some(kind), bot: Some(name.clone()), text, at, left_out: 0 });
            };
            look_at(seen, bot, now, self.down_after, self.database_down_since.is_some(), &mut tell);
        }
        let waiting = self.bots.values().filter(|seen| !seen.down_told).filter_map(|seen| seen.down_since);
        let waiting = waiting.chain(self.database_down_since.filter(|_| !self.database_told));
        (alerts, waiting.min().map(|since| since + self.down_after))
    }

    fn database(&mut self, snapshot: &Snapshot, now: Instant, at: DateTime<Utc>, alerts: &mut Vec<Alert>) {
        let DatabaseStatus::Down { problem, .. } = &snapshot.database else {
            self.database_down_since = None;
            self.database_told = false;
            return;
        };
        let since = *self.database_down_since.get_or_insert(now);
        if now >= since + self.down_after && !self.database_told {
            self.database_told = true;
            alerts.push(Alert {
                kind: Some(AlertKind::Database),
                bot: None,
                text: format!("The database has not answered for {}: {problem}", length(self.down_after)),
                at,
                left_out: 0,
            });
        }
    }
}

impl Watcher {
    fn memory(&mut self, snapshot: &Snapshot, at: DateTime<Utc>, alerts: &mut Vec<Alert>) {
        let Some(memory) = snapshot.memory else { return };
        let before = std::mem::replace(&mut self.memory_tight, memory.tight);
        if memory.tight && !before {
            let used = (memory.used_bytes + memory.programs_bytes) >> 20;
            let quota = memory.quota_bytes >> 20;
            alerts.push(Alert {
                kind: Some(AlertKind::Memory),
                bot: None,
                text: format!("{used} MB of {quota} MB memory are used. {}", memory_advice(snapshot)),
                at,
                left_out: 0,
            });
        }
    }
}

fn memory_advice(snapshot: &Snapshot) -> &'static str {
    if snapshot.dyno.is_some() {
        "Above the quota Heroku reports R14 and the dyno slows down; at 1.6 times the quota blacksky restarts by \
         itself."
    } else {
        "When all of it is used, the system ends a program."
    }
}

fn look_at(
    seen: &mut Seen,
    bot: &BotStatus,
    now: Instant,
    down_after: Duration,
    database_down: bool,
    tell: &mut impl FnMut(AlertKind, String),
) {
    // The state itself may be too short to be seen; how the link ended stays.
    let ended = bot.last_disconnect.as_ref().filter(|ended| seen.last_disconnect != Some(ended.at));
    if let Some(ended) = ended {
        seen.last_disconnect = Some(ended.at);
        if ends_the_session(&ended.reason) {
            seen.troubled = true;
            tell(AlertKind::LoggedOut, with_advice(&ended.text, bot));
        }
    }
    for warning in &bot.warnings {
        let raised = bot.raised.get(&warning.kind).copied().unwrap_or(0);
        if seen.raised.insert(warning.kind, raised).unwrap_or(0) < raised {
            seen.troubled |= bot.state != LinkState::Open;
            tell(kind_of(warning.kind), warning.text.clone());
        }
    }
    let failed = bot.backup.problem.as_ref();
    if let (Some(problem), false) = (failed, seen.backup_failed) {
        tell(
            AlertKind::Backup,
            format!("No backup of the session was taken: {problem}. The link does not need it."),
        );
    }
    seen.backup_failed = failed.is_some();
    let removed = bot.hosted.as_ref().and_then(|hosted| hosted.vault.removed_at);
    if removed.is_some() && removed != seen.session_removed {
        let text =
            "The bot removed its own session. The last good one is kept, and is restored at its next start.";
        tell(AlertKind::SessionRemoved, text.to_owned());
    }
    seen.session_removed = removed;
    let entered = seen.state != Some(bot.state);
    seen.state = Some(bot.state);
    match bot.state {
        LinkState::Open => {
            if std::mem::take(&mut seen.troubled) {
                tell(AlertKind::Up, "The link is open again.".to_owned());
            }
            (seen.down_since, seen.down_told) = (None, false);
        }
        // Another dyno tells.
        LinkState::Standby => (seen.down_since, seen.down_told) = (None, false),
        LinkState::Parked(_) => {
            (seen.down_since, seen.down_told) = (None, false);
            if entered {
                seen.troubled = true;
                let text = bot.last_disconnect.as_ref().map_or("The link is parked.", |ended| &ended.text);
                tell(AlertKind::Parked, with_advice(text, bot));
            }
        }
        LinkState::Pairing => {
            (seen.down_since, seen.down_told) = (None, false);
            if entered {
                seen.troubled = true;
                tell(AlertKind::Pairing, with_advice("The bot waits to be linked to a phone.", bot));
            }
        }
        // Told as the database's, with its own clock.
        LinkState::WaitingForDatabase if database_down => {}
        LinkState::Starting
        | LinkState::WaitingForDatabase
        | LinkState::Connecting
        | LinkState::BackingOff
        | LinkState::LoggedOut => {
            let since = *seen.down_since.get_or_insert(now);
            if now >= since + down_after && !seen.down_told {
                seen.down_told = true;
                seen.troubled = true;
                let why = bot.last_disconnect.as_ref().map_or("", |ended| &ended.text);
                let text = format!("The link has been down for {}. {why}", length(down_after));
                tell(AlertKind::Down, with_advice(text.trim(), bot));
            }
        }
    }
}

fn kind_of(warning: WarningKind) -> AlertKind {
    match warning {
        WarningKind::Deaf => AlertKind::Deaf,
        WarningKind::ReconnectLoop => AlertKind::ReconnectLoop,
        WarningKind::DeadLetters => AlertKind::DeadLetters,
    }
}

fn with_advice(text: &str, bot: &BotStatus) -> String {
    match &bot.advice {
        Some(advice) => format!("{text} {advice}"),
        None => text.to_owned(),
    }
}

fn length(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Parked;
    use crate::runtime::clock;
    use crate::runtime::status::{Board, Disconnect, Memory};

    const DOWN_AFTER: Duration = Duration::from_secs(300);

    struct Scene {
        board: Board,
        watcher: Watcher,
        start: Instant,
        look_again: Option<Instant>,
    }

    impl Scene {
        fn new() -> Self {
            let board = Board::new(clock::now(), None, ["main"].into_iter());
            board.update(|snapshot| {
                snapshot.database = DatabaseStatus::Ok { kind: "sqlite", warning: None };
            });
            let (watcher, start) = (Watcher::new(DOWN_AFTER), Instant::now());
            Self { board, watcher, start, look_again: None }
        }

        fn at(&mut self, seconds: u64) -> Vec<AlertKind> {
            let now = self.start + Duration::from_secs(seconds);
            let snapshot = self.board.subscribe();
            let (alerts, again) = self.watcher.look(&snapshot.borrow(), now, clock::now());
            self.look_again = again;
            alerts.into_iter().filter_map(|alert| alert.kind).collect()
        }

        fn state(&self, state: LinkState) {
            self.board.bot("main", |bot| bot.state = state);
        }

        fn ended(&self, reason: &str) {
            self.board.bot("main", |bot| {
                bot.last_disconnect =
                    Some(Disconnect { at: clock::now(), reason: reason.into(), text: "It ended.".into() });
            });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_that_is_back_soon_is_not_told() {
        let mut scene = Scene::new();
        scene.state(LinkState::Open);
        assert_eq!(scene.at(0), []);
        scene.ended("silence");
        scene.state(LinkState::BackingOff);
        assert_eq!(scene.at(10), []);
        assert_eq!(scene.look_again, Some(scene.start + Duration::from_secs(310)));
        scene.state(LinkState::Open);
        assert_eq!(scene.at(309), []);
        assert_eq!((scene.look_again, scene.at(10_000)), (None, vec![]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_that_stays_down_is_told_once_and_so_is_its_return() {
        let mut scene = Scene::new();
        scene.state(LinkState::BackingOff);
        assert_eq!(scene.at(0), []);
        // Dials in between are no return.
        scene.state(LinkState::Connecting);
        assert_eq!(scene.at(200), []);
        scene.state(LinkState::BackingOff);
        assert_eq!(scene.at(300), [AlertKind::Down]);
        assert_eq!(scene.at(4000), []);
        scene.state(LinkState::Open);
        assert_eq!(scene.at(4001), [AlertKind::Up]);
        assert_eq!(scene.at(4002), []);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_person_must_mend_is_told_at_once() {
        let mut scene = Scene::new();
        scene.state(LinkState::Open);
        assert_eq!(scene.at(0), []);
        scene.ended("replaced");
        scene.state(LinkState::Parked(Parked::Conflict));
        assert_eq!(scene.at(1), [AlertKind::Parked]);
        assert_eq!(scene.at(2), []);
        // The state of being logged out was over before anybody looked.
        scene.ended("device_removed");
        scene.state(LinkState::Pairing);
        assert_eq!(scene.at(3), [AlertKind::LoggedOut, AlertKind::Pairing]);
        scene.state(LinkState::Open);
        assert_eq!(scene.at(4), [AlertKind::Up]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dyno_that_stands_by_or_ends_is_silent() {
        let mut scene = Scene::new();
        scene.state(LinkState::Standby);
        assert_eq!(scene.at(0), []);
        assert_eq!(scene.at(10_000), []);
        scene.state(LinkState::BackingOff);
        scene.board.update(|snapshot| snapshot.stopping = true);
        assert_eq!(scene.at(20_000), []);
        assert_eq!((scene.at(30_000), scene.look_again), (vec![], None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_warning_is_told_each_time_it_is_raised() {
        let mut scene = Scene::new();
        scene.state(LinkState::BackingOff);
        let raise = |scene: &Scene, kind| {
            scene.board.bot("main", |bot| bot.raise(kind, clock::now(), "It fails and fails."));
        };
        raise(&scene, WarningKind::ReconnectLoop);
        assert_eq!(scene.at(0), [AlertKind::ReconnectLoop]);
        assert_eq!(scene.at(1), []);
        raise(&scene, WarningKind::ReconnectLoop);
        assert_eq!(scene.at(2), [AlertKind::ReconnectLoop]);
        scene.state(LinkState::Open);
        assert_eq!(scene.at(3), [AlertKind::Up]);
        raise(&scene, WarningKind::Deaf);
        assert_eq!(scene.at(4), [AlertKind::Deaf]);
        assert_eq!(scene.at(5), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_backup_that_fails_is_told_once_until_one_succeeds() {
        let mut scene = Scene::new();
        let backup = |scene: &Scene, problem: Option<&str>| {
            scene.board.bot("main", |bot| bot.backup.problem = problem.map(str::to_owned));
        };
        scene.state(LinkState::Open);
        backup(&scene, Some("the disk is full"));
        assert_eq!(scene.at(0), [AlertKind::Backup]);
        backup(&scene, Some("the disk is still full"));
        assert_eq!(scene.at(300), []);
        backup(&scene, None);
        assert_eq!(scene.at(600), []);
        backup(&scene, Some("the disk is full"));
        assert_eq!(scene.at(900), [AlertKind::Backup]);
    }

    #[tokio::test(start_paused = true)]
    async fn each_session_that_a_hosted_bot_removes_is_told() {
        let mut scene = Scene::new();
        let remove = |scene: &Scene| {
            scene.board.bot("main", |bot| {
                bot.hosted.get_or_insert_default().vault.removed_at = Some(clock::now());
            });
        };
        scene.state(LinkState::Open);
        assert_eq!(scene.at(0), []);
        remove(&scene);
        assert_eq!(scene.at(1), [AlertKind::SessionRemoved]);
        assert_eq!(scene.at(2), []);
        remove(&scene);
        assert_eq!(scene.at(3), [AlertKind::SessionRemoved]);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_told_when_it_becomes_tight() {
        let mut scene = Scene::new();
        let memory =
            |tight| Memory { used_bytes: 480 << 20, programs_bytes: 0, quota_bytes: 512 << 20, tight };
        scene.board.memory(memory(false));
        assert_eq!(scene.at(0), []);
        scene.board.memory(memory(true));
        assert_eq!(scene.at(5), [AlertKind::Memory]);
        assert_eq!(scene.at(10), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_that_is_down_is_told_as_such_and_not_by_each_bot() {
        let mut scene = Scene::new();
        scene.board.update(|snapshot| {
            snapshot.database = DatabaseStatus::Down { kind: "postgresql", problem: "gone".into() };
        });
        scene.state(LinkState::WaitingForDatabase);
        assert_eq!(scene.at(0), []);
        assert_eq!(scene.at(300), [AlertKind::Database]);
        assert_eq!(scene.at(900), []);
    }
}
