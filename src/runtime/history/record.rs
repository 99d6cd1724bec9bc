//! What this process saw of the links it holds, as rows of the history. Pure.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use crate::link::LinkState;
use crate::runtime::status::{BotStatus, Role};
use crate::store::{HourCount, Stretch};

/// Stretches that wait for the database at most; beyond, the oldest are forgotten.
const MOST_WAITING: usize = 2_000;
/// Characters of a reason that are kept.
const LONGEST: usize = 300;

/// Turns what the board says into rows.
#[derive(Debug)]
pub struct Recorder {
    process: i64,
    dyno: String,
    bots: BTreeMap<String, Track>,
    /// Stretches that are over, until they are written.
    over: VecDeque<Stretch>,
    /// What this process counted in the hours that are not written, or not over.
    counts: BTreeMap<(String, DateTime<Utc>), (u64, u64)>,
}

/// What is followed of a bot.
#[derive(Debug)]
struct Track {
    session: String,
    /// The link is, or was last, kept by this process.
    kept: bool,
    now: Option<Stretch>,
    ended: Option<DateTime<Utc>>,
    received: u64,
    sent: u64,
}

/// Rows to be written, and what to forget afterwards.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    pub stretches: Vec<Stretch>,
    pub counts: Vec<HourCount>,
    over: usize,
}

impl Recorder {
    /// Of the bots with these sessions.
    pub fn new(process: i64, dyno: &str, sessions: &BTreeMap<String, String>) -> Self {
        let track = |session: &String| Track {
            session: session.clone(),
            kept: false,
            now: None,
            ended: None,
            received: 0,
            sent: 0,
        };
        Self {
            process,
            dyno: dyno.to_owned(),
            bots: sessions.iter().map(|(name, session)| (name.clone(), track(session))).collect(),
            over: VecDeque::new(),
            counts: BTreeMap::new(),
        }
    }

    /// Looks at the board; whether a stretch began or ended.
    pub fn look(&mut self, bots: &BTreeMap<String, BotStatus>, now: DateTime<Utc>) -> bool {
        let mut news = false;
        for (name, bot) in bots {
            let Some(mut track) = self.bots.remove(name) else { continue };
            self.count(&mut track, bot, now);
            news |= self.follow(&mut track, bot, now);
            self.bots.insert(name.clone(), track);
        }
        while self.over.len() > MOST_WAITING {
            self.over.pop_front();
        }
        news
    }

    /// Everything that is not written yet; what lasts is seen until now.
    pub fn rows(&mut self, now: DateTime<Utc>) -> Rows {
        let lasting = self.bots.values_mut().filter_map(|track| track.now.as_mut());
        let lasting: Vec<Stretch> = lasting
            .map(|stretch| {
                stretch.until = stretch.until.max(now);
                stretch.clone()
            })
            .collect();
        let counts = self.counts.iter().map(|((session, hour), (received, sent))| HourCount {
            session: session.clone(),
            hour: *hour,
            process: self.process,
            received: *received,
            sent: *sent,
        });
        Rows {
            counts: counts.collect(),
            over: self.over.len(),
            stretches: self.over.iter().cloned().chain(lasting).collect(),
        }
    }

    /// These rows are in the database.
    pub fn written(&mut self, rows: &Rows, now: DateTime<Utc>) {
        // None went meanwhile from the front, unless there were too many.
        self.over.drain(..rows.over.min(self.over.len()));
        let present = hour_of(now);
        for count in &rows.counts {
            let key = (count.session.clone(), count.hour);
            // Counted on in this hour: the row holds the whole of it.
            if count.hour < present && self.counts.get(&key) == Some(&(count.received, count.sent)) {
                self.counts.remove(&key);
            }
        }
    }

    fn count(&mut self, track: &mut Track, bot: &BotStatus, now: DateTime<Utc>) {
        let received = bot.messages_in.saturating_sub(track.received);
        let sent = bot.messages_out.saturating_sub(track.sent);
        (track.received, track.sent) = (bot.messages_in, bot.messages_out);
        if received + sent > 0 {
            let counted = self.counts.entry((track.session.clone(), hour_of(now))).or_default();
            *counted = (counted.0 + received, counted.1 + sent);
        }
    }

    fn follow(&mut self, track: &mut Track, bot: &BotStatus, now: DateTime<Utc>) -> bool {
        let ended = bot.last_disconnect.as_ref().filter(|last| track.ended != Some(last.at));
        track.ended = bot.last_disconnect.as_ref().map(|last| last.at);
        track.kept = match bot.role() {
            Role::Holder => true,
            Role::Standby => false,
            Role::Waiting => track.kept && bot.state == LinkState::WaitingForDatabase,
        };
        if !track.kept {
            return self.end(track, now);
        }
        let dials = is_dial(bot.state);
        let lasts = track.now.as_ref().is_some_and(|before| {
            let same = before.state == bot.state.name() || (dials && is_dial_word(&before.state));
            // A link that was lost and open again between two looks.
            same && !(bot.state == LinkState::Open && ended.is_some())
        });
        let (reason, text) = ended.map(|last| (short(&last.reason), short(&last.text))).unzip();
        if lasts {
            let Some(stretch) = &mut track.now else { return false };
            if dials && ended.is_some() {
                stretch.tries += 1;
            }
            if dials && bot.state == LinkState::BackingOff {
                bot.state.name().clone_into(&mut stretch.state);
            }
            if stretch.reason.is_none() {
                (stretch.reason, stretch.text) = (reason, text);
            }
            return false;
        }
        let before = track.now.as_mut();
        let was_dial = before.as_ref().is_some_and(|before| is_dial_word(&before.state));
        let is_open = bot.state == LinkState::Open;
        // The last dial but one failed, and the last one led here.
        let failed = ended.is_some() && was_dial && is_open;
        if let (true, Some(before)) = (failed, before) {
            before.tries += 1;
        }
        self.end(track, now);
        let parked = match bot.state {
            LinkState::Parked(why) => Some(why.name().to_owned()),
            _ => None,
        };
        let first =
            track.now.is_none() && !was_dial && dials && ended.is_some() && !self.was_open(track, now);
        track.now = Some(Stretch {
            session: track.session.clone(),
            at: self.beginning(track, now),
            process: self.process,
            until: now,
            state: bot.state.name().to_owned(),
            reason: if failed { None } else { reason.or(parked) },
            text: if failed { None } else { text },
            tries: u32::from(first),
            dyno: self.dyno.clone(),
        });
        true
    }

    /// Whether the stretch that ended just now was an open link.
    fn was_open(&self, track: &Track, now: DateTime<Utc>) -> bool {
        let last = self.over.iter().rev().find(|one| one.session == track.session);
        last.is_some_and(|one| one.until >= now && one.state == LinkState::Open.name())
    }

    /// Not before the end of the last one, should the clock have been set back.
    fn beginning(&self, track: &Track, now: DateTime<Utc>) -> DateTime<Utc> {
        let last = self.over.iter().rev().find(|one| one.session == track.session);
        last.map_or(now, |last| now.max(last.until).max(last.at + TimeDelta::microseconds(1)))
    }

    fn end(&mut self, track: &mut Track, now: DateTime<Utc>) -> bool {
        let Some(mut stretch) = track.now.take() else { return false };
        stretch.until = stretch.until.max(now);
        self.over.push_back(stretch);
        true
    }
}

/// Dials and waits between them are one stretch.
fn is_dial(state: LinkState) -> bool {
    matches!(state, LinkState::Connecting | LinkState::BackingOff)
}

fn is_dial_word(word: &str) -> bool {
    word == LinkState::Connecting.name() || word == LinkState::BackingOff.name()
}

fn short(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

/// When the hour of a time begins.
pub fn hour_of(at: DateTime<Utc>) -> DateTime<Utc> {
    at.duration_trunc(TimeDelta::hours(1)).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Parked;
    use crate::runtime::status::Disconnect;

    struct Scene {
        recorder: Recorder,
        bots: BTreeMap<String, BotStatus>,
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_400 + seconds, 0).expect("a time")
    }

    impl Scene {
        fn new() -> Self {
            let sessions = [("main".to_owned(), "SESSION".to_owned())].into();
            let bots = [("main".to_owned(), BotStatus::starting(at(0)))].into();
            Self { recorder: Recorder::new(7, "web.1", &sessions), bots }
        }

        fn bot(&mut self, second: i64, change: impl FnOnce(&mut BotStatus)) -> bool {
            change(self.bots.get_mut("main").expect("there"));
            self.recorder.look(&self.bots, at(second))
        }

        fn state(&mut self, second: i64, state: LinkState) -> bool {
            self.bot(second, |bot| bot.state = state)
        }

        fn ended(&mut self, second: i64, reason: &str, state: LinkState) -> bool {
            self.bot(second, |bot| {
                let text = format!("It ended: {reason}.");
                bot.last_disconnect = Some(Disconnect { at: at(second), reason: reason.into(), text });
                bot.state = state;
            })
        }

        /// State, beginning, end, reason and failed dials of what is not written yet.
        fn rows(&mut self, second: i64) -> Vec<(String, i64, i64, Option<String>, u32)> {
            let rows = self.recorder.rows(at(second));
            let seconds = |time: DateTime<Utc>| (time - at(0)).num_seconds();
            let row = |one: Stretch| (one.state, seconds(one.at), seconds(one.until), one.reason, one.tries);
            rows.stretches.into_iter().map(row).collect()
        }
    }

    fn row(
        state: &str,
        from: i64,
        until: i64,
        reason: Option<&str>,
        tries: u32,
    ) -> (String, i64, i64, Option<String>, u32) {
        (state.to_owned(), from, until, reason.map(str::to_owned), tries)
    }

    #[test]
    fn an_interruption_is_one_stretch_however_often_it_is_dialled() {
        let mut scene = Scene::new();
        assert!(!scene.state(0, LinkState::Starting));
        assert!(scene.state(1, LinkState::Connecting));
        assert!(scene.state(2, LinkState::Open));
        assert!(!scene.bot(50, |bot| bot.messages_in += 1));
        assert!(scene.ended(100, "silence", LinkState::BackingOff));
        assert!(!scene.state(102, LinkState::Connecting));
        assert!(!scene.ended(103, "http_503", LinkState::BackingOff));
        assert!(!scene.ended(107, "http_503", LinkState::BackingOff));
        assert!(!scene.state(110, LinkState::Connecting));
        assert!(scene.state(111, LinkState::Open));
        assert_eq!(
            scene.rows(120),
            [
                row("connecting", 1, 2, None, 0),
                row("open", 2, 100, None, 0),
                row("backing_off", 100, 111, Some("silence"), 2),
                row("open", 111, 120, None, 0),
            ]
        );
    }

    #[test]
    fn what_ends_between_two_looks_is_not_lost() {
        let mut scene = Scene::new();
        scene.state(0, LinkState::Open);
        assert!(scene.ended(10, "replaced", LinkState::Open), "lost, and open again");
        assert!(scene.ended(20, "silence", LinkState::Connecting));
        assert!(scene.ended(21, "dial_failed", LinkState::Open), "one dial failed, the next did not");
        assert_eq!(
            scene.rows(30),
            [
                row("open", 0, 10, None, 0),
                row("open", 10, 20, Some("replaced"), 0),
                row("connecting", 20, 21, Some("silence"), 1),
                row("open", 21, 30, None, 0),
            ]
        );
    }

    #[test]
    fn a_first_dial_that_fails_is_counted() {
        let mut scene = Scene::new();
        scene.ended(1, "dial_failed", LinkState::BackingOff);
        assert_eq!(scene.rows(2), [row("backing_off", 1, 2, Some("dial_failed"), 1)]);
    }

    #[test]
    fn a_dyno_that_stands_by_says_nothing_and_one_that_lost_its_database_does() {
        let mut scene = Scene::new();
        assert!(!scene.state(0, LinkState::WaitingForDatabase));
        assert!(!scene.state(1, LinkState::Standby));
        assert_eq!(scene.rows(2), []);
        scene.state(3, LinkState::Open);
        scene.ended(10, "database", LinkState::WaitingForDatabase);
        scene.state(20, LinkState::Standby);
        assert!(!scene.state(21, LinkState::WaitingForDatabase));
        assert_eq!(
            scene.rows(30),
            [row("open", 3, 10, None, 0), row("waiting_for_database", 10, 20, Some("database"), 0)]
        );
        scene.ended(40, "failure_403", LinkState::Parked(Parked::Refused));
        scene.state(50, LinkState::Pairing);
        assert_eq!(
            scene.rows(60)[2..],
            [row("parked", 40, 50, Some("failure_403"), 0), row("pairing", 50, 60, None, 0)]
        );
    }

    #[test]
    fn written_rows_are_forgotten_and_those_that_last_grow() {
        let mut scene = Scene::new();
        scene.state(0, LinkState::Connecting);
        scene.bot(10, |bot| {
            bot.state = LinkState::Open;
            (bot.messages_in, bot.messages_out) = (3, 2);
        });
        let rows = scene.recorder.rows(at(20));
        assert_eq!((rows.stretches.len(), rows.counts.len()), (2, 1));
        // While they are being written, more happens.
        scene.bot(21, |bot| bot.messages_in = 4);
        scene.ended(22, "silence", LinkState::BackingOff);
        scene.recorder.written(&rows, at(23));
        let left = scene.rows(24);
        assert_eq!(left, [row("open", 10, 22, None, 0), row("backing_off", 22, 24, Some("silence"), 0)]);
        let counted = |scene: &mut Scene, second| -> Vec<(u64, u64)> {
            scene.recorder.rows(at(second)).counts.iter().map(|one| (one.received, one.sent)).collect()
        };
        assert_eq!(counted(&mut scene, 24), [(4, 2)], "the whole of this hour");
        // An hour that is over and written is forgotten.
        scene.bot(4000, |bot| bot.messages_out = 10);
        let rows = scene.recorder.rows(at(4000));
        assert_eq!(rows.counts.len(), 2);
        scene.recorder.written(&rows, at(4001));
        assert_eq!(counted(&mut scene, 4002), [(0, 8)]);
    }

    #[test]
    fn a_clock_that_is_set_back_gives_no_stretch_twice() {
        let mut scene = Scene::new();
        scene.state(100, LinkState::Connecting);
        scene.state(200, LinkState::Open);
        scene.ended(150, "silence", LinkState::BackingOff);
        let rows = scene.recorder.rows(at(160)).stretches;
        assert!(
            rows.iter().zip(&rows[1..]).all(|(one, next)| one.until <= next.at && one.at < next.at),
            "{rows:?}"
        );
    }

    #[test]
    fn a_database_that_stays_away_does_not_fill_the_memory() {
        let mut scene = Scene::new();
        for second in 0..10_000 {
            scene.state(second * 2, LinkState::Open);
            scene.ended(second * 2 + 1, "silence", LinkState::Pairing);
        }
        let rows = scene.recorder.rows(at(20_000)).stretches;
        assert_eq!((rows.len(), rows[MOST_WAITING].at), (MOST_WAITING + 1, at(19_999)));
    }
}
