//! Typed values: durations and secrets.

pub mod period;
pub mod secret;

pub use period::Period;
pub use secret::Secret;
