//! blacksky keeps WhatsApp bots linked: one file, one binary, made for Heroku.
//!
//! Data flows one way:
//!
//! ```text
//! blacksky.toml + Config Vars → config → Config ─┬→ gen → Procfile, app.json
//!                                                └→ runtime ─→ store (session, lease, inbox)
//!                                                            ─→ bot (native) ─→ link
//!                                                            ─→ web
//! ```
//!
//! `docs/architecture.md` walks through a boot and a dead socket.

pub mod alerts;
pub mod bot;
pub mod cli;
pub mod commands;
pub mod config;
pub mod doctor;
pub mod exit;
pub mod explain;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
pub mod r#gen;
pub mod init;
pub mod jobs;
pub mod link;
pub mod measure;
pub mod media;
pub mod post;
pub mod runtime;
pub mod sim;
pub mod store;
pub mod web;
