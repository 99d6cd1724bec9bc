//! The bots: who answers.

pub mod commands;
pub mod handle;
pub mod native;
