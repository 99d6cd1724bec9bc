//! The link: the WebSocket to WhatsApp and its state.
//!
//! What decides is pure and has no loop around it: [`backoff::delay`], [`policy`] (what an ending
//! means), [`machine::Machine`] (what to do next), [`heartbeat::next`] (is it dead). What acts is thin:
//! [`transport`] (the socket), [`http`], [`heartbeat::watch`]. `bot::native` runs the actions.

pub mod address;
pub mod advice;
pub mod backoff;
pub mod dial;
pub mod hearing;
pub mod heartbeat;
pub mod http;
pub mod machine;
pub mod policy;
pub mod relay;
pub mod stanza;
pub mod state;
pub mod tls;
pub mod transport;

pub use address::LinkAddress;
pub use state::{LinkState, Parked};
