//! The link: the WebSocket to WhatsApp and its state.

pub mod state;

pub use state::{LinkState, Parked};
