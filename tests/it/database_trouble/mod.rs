//! Trouble with PostgreSQL while the real binary is linked and messages flow: the link closes when nothing
//! can be stored, the page says what is wrong, and in the end nothing is lost.
//!
//! `cargo test --features simulator --test it database_trouble -- --nocapture` prints what was said and how
//! long it took to recover.

mod clocks;
mod full;
mod gone;
mod pooler;
mod refused;
mod scene;
mod shared;
mod slow;
