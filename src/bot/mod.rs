//! The bots: who answers.

pub mod commands;
pub mod handle;
pub mod hosted;
pub mod native;
pub mod outgoing;
