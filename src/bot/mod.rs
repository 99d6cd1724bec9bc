//! The bots: who answers.

pub mod call;
pub mod commands;
pub mod events;
pub mod handle;
pub mod hosted;
pub mod medium;
pub mod native;
pub mod outgoing;
