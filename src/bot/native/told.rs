//! What the board tells beside the machine's state.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::link::policy::{Ending, Reaction};
use crate::link::{LinkState, Parked, advice};
use crate::runtime::clock;
use crate::runtime::status::{Disconnect, Qr};

/// At each multiple of this many failed attempts in a row the warning is raised.
pub const LOOP_EVERY: u32 = 5;

/// Published together with the machine's state in one change, so that no reader sees half of it.
#[derive(Default)]
pub struct Told {
    pub qr: Option<Qr>,
    pub open_since: Option<DateTime<Utc>>,
    /// The link has been open in this process.
    pub was_open: bool,
    pub reconnects: u64,
    pub last_disconnect: Option<Disconnect>,
    pub disconnects: BTreeMap<String, u64>,
    /// What of the stored session cannot be read, and what to do.
    pub unreadable: Option<String>,
    /// What is wrong with the database, while it is waited for.
    pub problem: Option<String>,
    /// Who has the lease, while standing by.
    pub holder: Option<String>,
    /// The number of failed attempts at which the warning was raised last.
    raised_at: u32,
}

/// What becomes of the warning that attempt after attempt fails.
#[derive(Debug, PartialEq, Eq)]
pub enum Looping {
    /// It is over, or never stood.
    Over,
    /// It stands as it did.
    AsBefore,
    /// It is raised, with this text.
    Again(String),
}

impl Told {
    /// What a person should do.
    pub fn advice(&self, state: LinkState) -> Option<String> {
        match (state, &self.problem, &self.holder) {
            (LinkState::WaitingForDatabase, Some(problem), _) => {
                Some(format!("Waiting for the database, which is asked again by itself: {problem}."))
            }
            (LinkState::Standby, _, Some(holder)) => Some(advice::standby(holder)),
            (LinkState::Parked(Parked::SessionUnreadable), ..) => {
                let advice = advice::advice(state)?;
                Some(self.unreadable.as_ref().map_or(advice.to_owned(), |what| format!("{advice} ({what})")))
            }
            _ => advice::advice(state).map(str::to_owned),
        }
    }

    /// Notes how the link ended. The phone's scan ends a connection as planned and is not counted; a restart
    /// on the server's wish is counted but is not worth a word on the page.
    pub fn disconnected(&mut self, ending: &Ending) {
        if *ending == Ending::Paired {
            return;
        }
        let reason = ending.word();
        *self.disconnects.entry(reason.clone()).or_default() += 1;
        if ending.reaction() != Reaction::Restart {
            self.last_disconnect = Some(Disconnect { at: clock::now(), reason, text: ending.text() });
        }
    }

    /// How often the link ended for this reason.
    pub fn count(&self, reason: &str) -> u64 {
        self.disconnects.get(reason).copied().unwrap_or_default()
    }

    /// What `failed` attempts in a row mean for the warning; each multiple raises it once.
    pub fn looping(&mut self, failed: u32) -> Looping {
        if failed == 0 {
            self.raised_at = 0;
            return Looping::Over;
        }
        if !failed.is_multiple_of(LOOP_EVERY) || std::mem::replace(&mut self.raised_at, failed) == failed {
            return Looping::AsBefore;
        }
        let last = self.last_disconnect.as_ref().map_or("", |last| last.text.as_str());
        Looping::Again(format!(
            "{failed} attempts in a row led to no stable link; blacksky goes on trying. {last} If this lasts, \
             check that WhatsApp works on the phone and that no other program uses this session."
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::policy::StreamError;
    use crate::link::transport::End;

    #[test]
    fn the_warning_comes_once_at_every_fifth_failure() {
        let mut told = Told::default();
        told.disconnected(&Ending::Transport(End::Eof));
        let mut raised = Vec::new();
        for failed in 0..=17 {
            // The board is written to more often than an attempt fails.
            for _ in 0..3 {
                if let Looping::Again(text) = told.looping(failed) {
                    assert!(text.contains("without a word"), "{text}");
                    raised.push(failed);
                }
            }
        }
        assert_eq!(raised, [5, 10, 15]);
        assert_eq!(told.looping(0), Looping::Over);
        assert!(matches!(told.looping(5), Looping::Again(_)), "a new loop is raised anew");
    }

    #[test]
    fn endings_are_counted_by_reason_and_the_scan_is_none() {
        let mut told = Told::default();
        told.disconnected(&Ending::Paired);
        told.disconnected(&Ending::Stream(StreamError::Code(515)));
        assert!(told.last_disconnect.is_none());
        told.disconnected(&Ending::Transport(End::Eof));
        told.disconnected(&Ending::Transport(End::Eof));
        assert_eq!((told.count("eof"), told.count("stream_error_515"), told.count("paired")), (2, 1, 0));
        assert_eq!(told.last_disconnect.expect("an end").reason, "eof");
    }
}
