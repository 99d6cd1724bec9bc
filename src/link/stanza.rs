//! Reads the few stanzas that say where the link stands.
//!
//! whatsapp-rust announces some endings as events and some (429, 503, 515) only in its log; the raw
//! stanza has them all, before the client acts on it.

use std::time::Duration;

use wacore::stanza::connect_failure::ConnectFailureStanza;
use wacore::types::events::ConnectFailureReason;
use wacore_binary::NodeRef;

use super::policy::{Ending, StreamError};

/// What a stanza says about the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// `<success>`: the login was accepted.
    Success,
    /// The link ends now.
    Ends {
        /// Why.
        ending: Ending,
        /// The client keeps the socket and waits for the server to close it: do not.
        cut: bool,
    },
    /// If the socket ends soon, this is why.
    Hint(Ending),
}

/// Reads a stanza; `None` when it says nothing about the link.
pub fn read(node: &NodeRef<'_>) -> Option<Notice> {
    match node.tag.as_ref() {
        "success" => Some(Notice::Success),
        "failure" => {
            let failure = ConnectFailureStanza::parse(node);
            let reason = failure.reason.unwrap_or(ConnectFailureReason::Unknown(0));
            let expire = failure.expire.map(Duration::from_secs);
            Some(Notice::Ends { ending: Ending::Failure { reason, expire }, cut: false })
        }
        "stream:error" => Some(stream_error(node)),
        "xmlstreamend" => Some(Notice::Ends { ending: Ending::StreamEnd, cut: false }),
        "ib" if node.get_optional_child("downgrade_webclient").is_some() => {
            Some(Notice::Ends { ending: Ending::Downgraded, cut: true })
        }
        _ => None,
    }
}

fn stream_error(node: &NodeRef<'_>) -> Notice {
    if let Some(conflict) = node.get_optional_child("conflict") {
        let error = match conflict.attrs().optional_string("type").as_deref() {
            Some("replaced") => StreamError::Replaced,
            Some("device_removed") => StreamError::DeviceRemoved,
            _ => StreamError::OtherConflict,
        };
        // whatsapp-rust ignores a conflict without a type.
        return Notice::Ends { ending: Ending::Stream(error), cut: true };
    }
    let code = node.attrs().optional_string("code").and_then(|code| code.parse::<u16>().ok());
    match code {
        // The client closes the socket itself.
        Some(code @ (401 | 409 | 515 | 516)) => {
            Notice::Ends { ending: Ending::Stream(StreamError::Code(code)), cut: false }
        }
        // The client marks itself logged out and waits for a close that may never come.
        Some(code @ (405 | 411 | 429 | 440 | 500 | 503)) => {
            Notice::Ends { ending: Ending::Stream(StreamError::Code(code)), cut: true }
        }
        Some(code) => Notice::Hint(Ending::Stream(StreamError::Code(code))),
        None if node.get_optional_child("xml-not-well-formed").is_some() => {
            Notice::Ends { ending: Ending::Stream(StreamError::NotWellFormed), cut: false }
        }
        // `<ack>` and the like: one stanza could not be routed; the stream may go on.
        None => Notice::Hint(Ending::Stream(StreamError::Unknown)),
    }
}

#[cfg(test)]
mod tests {
    use wacore_binary::builder::NodeBuilder;

    use super::*;

    fn parse(node: wacore_binary::Node) -> Option<Notice> {
        read(&node.as_node_ref())
    }

    fn error(code: &str) -> wacore_binary::Node {
        NodeBuilder::new("stream:error").attr("code", code).build()
    }

    fn conflict(kind: &str, code: Option<&str>) -> wacore_binary::Node {
        let mut node = NodeBuilder::new("stream:error");
        if let Some(code) = code {
            node = node.attr("code", code);
        }
        node.children([NodeBuilder::new("conflict").attr("type", kind).build()]).build()
    }

    #[test]
    fn success_and_chatter() {
        assert_eq!(parse(NodeBuilder::new("success").build()), Some(Notice::Success));
        assert_eq!(parse(NodeBuilder::new("message").build()), None);
        assert_eq!(parse(NodeBuilder::new("ib").build()), None);
    }

    #[test]
    fn conflicts_go_by_type_and_not_by_code() {
        let ends = |error| Some(Notice::Ends { ending: Ending::Stream(error), cut: true });
        assert_eq!(parse(conflict("replaced", None)), ends(StreamError::Replaced));
        assert_eq!(parse(conflict("replaced", Some("440"))), ends(StreamError::Replaced));
        assert_eq!(parse(conflict("device_removed", None)), ends(StreamError::DeviceRemoved));
        assert_eq!(parse(conflict("device_removed", Some("401"))), ends(StreamError::DeviceRemoved));
        assert_eq!(parse(conflict("novelty", Some("401"))), ends(StreamError::OtherConflict));
    }

    #[test]
    fn sockets_that_the_client_keeps_are_cut() {
        for code in ["429", "503", "500"] {
            assert!(matches!(parse(error(code)), Some(Notice::Ends { cut: true, .. })), "{code}");
        }
        assert!(matches!(parse(error("515")), Some(Notice::Ends { cut: false, .. })));
    }

    #[test]
    fn an_unroutable_stanza_does_not_end_the_link() {
        let ack = NodeBuilder::new("stream:error").children([NodeBuilder::new("ack").build()]).build();
        assert_eq!(parse(ack), Some(Notice::Hint(Ending::Stream(StreamError::Unknown))));
    }

    #[test]
    fn a_failure_keeps_reason_and_expiry() {
        let node = NodeBuilder::new("failure")
            .attr("reason", "402")
            .attr("code", "101")
            .attr("expire", "3600")
            .build();
        let ending = Ending::Failure {
            reason: ConnectFailureReason::TempBanned,
            expire: Some(Duration::from_secs(3600)),
        };
        assert_eq!(parse(node), Some(Notice::Ends { ending, cut: false }));
    }
}
