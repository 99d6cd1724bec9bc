//! The one integration binary: it runs the real program against real parts.

mod support;
mod web_browser;
mod web_socket;
