//! The page, /status, health and events.
