//! What blacksky does by the clock.

pub mod action;
pub mod anti_idle;
mod clock;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod schedule;

pub use clock::{Clock, answered};
pub use schedule::Schedule;
