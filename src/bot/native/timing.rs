//! Times the dials of one bot, its take-overs, and its wait for a successor.

use tokio::time::Instant;

use crate::link::policy::Ending;
use crate::measure::{self, Dial};

/// What is being timed.
#[derive(Debug, Default)]
pub struct Timing {
    /// The lease was won, and the link has not been open since.
    won: Option<Instant>,
    /// A dial is under way.
    dialled: Option<Instant>,
    /// The link waits for a successor.
    waits: Option<Instant>,
}

impl Timing {
    /// The lease was won.
    pub fn won(&mut self) {
        self.won = Some(Instant::now());
    }

    /// A dial begins.
    pub fn dialled(&mut self) {
        self.dialled = Some(Instant::now());
    }

    /// The link is open.
    pub fn opened(&mut self, bot: &str) {
        if let Some(began) = self.dialled.take() {
            measure::dialled(bot, Dial::Opened, began.elapsed());
        }
        if let Some(won) = self.won.take() {
            measure::took_over(won.elapsed());
        }
    }

    /// The connection ended, or was never made.
    pub fn ended(&mut self, bot: &str, ending: &Ending) {
        let Some(began) = self.dialled.take() else { return };
        let paired = *ending == Ending::Paired;
        measure::dialled(bot, if paired { Dial::Paired } else { Dial::Failed }, began.elapsed());
        // The time that a person takes to scan is none of ours.
        self.won = None;
    }

    /// Whether the link waits for a successor now.
    pub fn waits(&mut self, waits: bool) {
        if !waits {
            if let Some(began) = self.waits.take() {
                measure::stopped("wait", began.elapsed());
            }
        } else if self.waits.is_none() {
            self.waits = Some(Instant::now());
        }
    }
}
