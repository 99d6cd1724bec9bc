//! What blacksky does by the clock.

pub mod anti_idle;
pub mod schedule;
