//! Whether WhatsApp can be reached from here. When it cannot, that is nobody's fault in the configuration.

use super::Finding;
use crate::link::LinkAddress;
use crate::link::dial::{DialError, Dialler};

const CHECK: &str = "whatsapp";

/// The host to be named, and whether it is WhatsApp's.
pub(super) fn named(address: &LinkAddress) -> (String, bool) {
    (address.url().host_str().unwrap_or_default().to_owned(), address.is_whatsapp())
}

pub(super) fn not_by_this_build() -> Vec<Finding> {
    vec![Finding::skip(
        CHECK,
        "this build is for the simulator and must not dial WhatsApp; give --link ws://127.0.0.1:PORT/ws/chat to \
         look at a simulator",
    )]
}

/// Opens a WebSocket and closes it; nobody logs in.
pub(super) async fn reach(dialler: &dyn Dialler, host: &str, is_whatsapp: bool) -> Vec<Finding> {
    let problem = match dialler.dial().await {
        Ok(_) => return vec![Finding::ok(CHECK, format!("{host} answers: name, TCP, TLS and WebSocket"))],
        Err(problem) => problem,
    };
    let whose =
        if is_whatsapp { "WhatsApp is not reachable from here" } else { "the server is not reachable" };
    let (step, todo) = match &problem {
        DialError::Name { .. } => ("name", "does this machine have DNS and a way to the internet?"),
        DialError::NotLoopback => ("name", "name 127.0.0.1, where the simulator is"),
        DialError::Connect { .. } | DialError::TimedOut { .. } => {
            ("TCP", "does a firewall or proxy let nothing out? On Heroku nothing stands in the way")
        }
        DialError::Tls { .. } => (
            "TLS",
            "something between here and WhatsApp shows a certificate of its own (a proxy), or the clock is wrong",
        ),
        DialError::Status { .. } | DialError::Upgrade { .. } => {
            ("WebSocket", "what answers is not WhatsApp, or WhatsApp has trouble: try again in a while")
        }
    };
    let message = format!("{whose}, at the step {step}: {problem}; this is not a fault of the configuration");
    vec![Finding::warn(CHECK, message, todo)]
}
