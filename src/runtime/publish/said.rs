//! What a holder said last of one bot, and when it has to say something again.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::link::LinkState;
use crate::runtime::status::{BotStatus, ChildState, RelayWay, WarningKind};

/// Shortest between two publications of which only the counters differ.
const COUNTERS: Duration = Duration::from_secs(1);

/// What was said.
#[derive(Debug, Clone)]
pub(super) struct Said {
    /// The words.
    pub status: String,
    /// Something may have changed since.
    pub doubtful: bool,
    at: Instant,
    urgent: Urgent,
}

/// What nobody should have to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Urgent {
    state: LinkState,
    since: DateTime<Utc>,
    qr_expires_at: Option<DateTime<Utc>>,
    disconnected_at: Option<DateTime<Utc>>,
    raised: BTreeMap<WarningKind, u64>,
    warnings: usize,
    attempt: u32,
    hosted: Option<Hosted>,
}

/// The same of a hosted bot.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hosted {
    child: ChildState,
    next_start_at: Option<DateTime<Utc>>,
    way: RelayWay,
    removed_at: Option<DateTime<Utc>>,
}

impl Urgent {
    fn of(bot: &BotStatus) -> Self {
        Self {
            state: bot.state,
            since: bot.since,
            qr_expires_at: bot.qr.as_ref().map(|qr| qr.expires_at),
            disconnected_at: bot.last_disconnect.as_ref().map(|last| last.at),
            raised: bot.raised.clone(),
            warnings: bot.warnings.len(),
            attempt: bot.attempt,
            hosted: bot.hosted.as_ref().map(|hosted| Hosted {
                child: hosted.child.state,
                next_start_at: hosted.child.next_start_at,
                way: hosted.relay.way,
                removed_at: hosted.vault.removed_at,
            }),
        }
    }
}

impl Said {
    /// When something has to be said again, or looked at whether it has.
    pub fn due(&self, beat: Duration) -> Instant {
        self.at + if self.doubtful { COUNTERS.min(beat) } else { beat }
    }
}

/// What to say now, and whether everybody should hear it at once; `None` while there is nothing to say.
pub(super) fn next(
    before: Option<&mut Said>,
    bot: &BotStatus,
    now: Instant,
    beat: Duration,
) -> Option<(Said, bool)> {
    let urgent = Urgent::of(bot);
    let loud = before.as_ref().is_none_or(|before| before.urgent != urgent);
    let due = before.as_ref().is_none_or(|before| before.due(beat) <= now);
    if !loud && !due {
        return None;
    }
    // A status of plain texts, numbers and times always has a JSON form.
    let status = serde_json::to_string(bot).ok()?;
    if let Some(before) = before
        && !loud
        && before.status == status
        && before.at + beat > now
    {
        before.doubtful = false;
        return None;
    }
    Some((Said { status, doubtful: false, at: now, urgent }, loud))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock;
    use crate::runtime::status::HostedStatus;

    const BEAT: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn a_new_state_is_told_at_once_counters_once_a_second_and_silence_is_broken_by_the_beat() {
        let mut bot = BotStatus::starting(clock::now());
        let say = |said: &mut Option<Said>, bot: &BotStatus| {
            if let Some(said) = said {
                said.doubtful = true;
            }
            let (next, loud) = next(said.as_mut(), bot, Instant::now(), BEAT)?;
            *said = Some(next);
            Some(loud)
        };
        let mut said = None;
        assert_eq!(say(&mut said, &bot), Some(true), "the first word");
        assert_eq!(say(&mut said, &bot), None);
        bot.state = LinkState::Open;
        assert_eq!(say(&mut said, &bot), Some(true), "a new state");
        let mut hosted = HostedStatus::default();
        hosted.child.state = ChildState::Waiting;
        bot.hosted = Some(hosted);
        assert_eq!(say(&mut said, &bot), Some(true), "a program that ended");
        bot.messages_in = 1;
        assert_eq!(say(&mut said, &bot), None, "a counter waits");
        tokio::time::advance(COUNTERS).await;
        assert_eq!(say(&mut said, &bot), Some(false));
        tokio::time::advance(COUNTERS).await;
        assert_eq!(say(&mut said, &bot), None, "nothing new");
        tokio::time::advance(BEAT).await;
        assert_eq!(say(&mut said, &bot), Some(false), "the beat");
    }

    #[test]
    fn no_qr_is_in_the_words() {
        let mut bot = BotStatus::starting(clock::now());
        let payload = "2@secret-of-the-qr".to_owned();
        bot.qr = Some(crate::runtime::status::Qr { payload, expires_at: clock::now() });
        let words = serde_json::to_string(&bot).expect("JSON");
        assert!(!words.contains("secret-of-the-qr"), "{words}");
        let back: BotStatus = serde_json::from_str(&words).expect("reads back");
        assert_eq!(serde_json::to_string(&back).expect("JSON"), words);
    }
}
