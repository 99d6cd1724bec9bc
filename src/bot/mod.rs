//! The bots: who answers.

pub mod handle;
