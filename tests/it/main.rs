//! The one integration binary: it runs the real program against real parts.

mod support;
