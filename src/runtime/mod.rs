//! Owner of every task: start order, stop order, clock, status snapshot.

pub mod clock;
pub mod status;
