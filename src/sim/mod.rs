//! The simulated WhatsApp server.
