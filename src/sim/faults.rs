//! What the server can be told to do wrong, and when.

use serde::{Deserialize, Serialize};
use wacore_binary::builder::NodeBuilder;
use wacore_binary::node::Node;

use super::stanza;

/// A fault as the control API takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What to do.
    #[serde(flatten)]
    pub action: Action,
    /// When.
    #[serde(default)]
    pub when: When,
    /// How often; 0 means until the faults are cleared. Ignored for `now`.
    #[serde(default = "once")]
    pub times: u32,
    /// Only for this account; from `login` on, since a dial names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

fn once() -> u32 {
    1
}

/// When a fault strikes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// At once, on every connection that is open.
    #[default]
    Now,
    /// Before the WebSocket upgrade is answered.
    Dial,
    /// In place of the ServerHello.
    Hello,
    /// In place of `<success>`.
    Login,
    /// Right after `<success>` and the offline queue.
    Open,
    /// When a phone encrypts a message for a device; only `garble`.
    Message,
    /// When a client puts a file on the media server; only `http` and `silence`.
    Upload,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum Action {
    /// The TCP connection ends (FIN), without a WebSocket close frame.
    Drop,
    /// The TCP connection is reset (RST). At `dial`, as if nothing listened.
    Reset,
    /// The socket stays open; nothing is read or written until the faults are cleared.
    Silence,
    /// The socket stays open and all that arrives is read and dropped: a peer of which only TCP is alive. The
    /// connection ends when the faults are cleared, since what was dropped is missing.
    Swallow,
    /// From now on each stanza reaches the client this much later. 0 ends it, and so does clearing
    /// the faults.
    Slow {
        /// Milliseconds.
        ms: u64,
    },
    /// The message is damaged on its way and cannot be decrypted; only at `message`.
    Garble,
    /// The upgrade, or the upload, is answered with this HTTP status; only at `dial` and `upload`.
    Http { status: u16 },
    /// `<stream:error>`.
    StreamError {
        /// Its `code`.
        #[serde(default)]
        code: Option<u16>,
        /// `<conflict type>`: "replaced" or "device_removed".
        #[serde(default)]
        conflict: Option<String>,
        /// Another child: "ack" or "xml-not-well-formed".
        #[serde(default)]
        child: Option<StreamErrorChild>,
        /// Whether the connection is closed after it.
        #[serde(default = "yes")]
        close: bool,
    },
    /// `<xmlstreamend/>`, then close.
    StreamEnd,
    /// `<failure reason>`, then close; only at `login`.
    Failure {
        /// The `reason`.
        reason: u16,
        /// `code`, for a temporary ban (402).
        #[serde(default)]
        code: Option<u32>,
        /// Seconds until the ban ends, for 402.
        #[serde(default)]
        expire: Option<u64>,
    },
    /// `<ib><downgrade_webclient/></ib>`, then close.
    Downgrade,
}

/// The children of `<stream:error>` that carry no attributes of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StreamErrorChild {
    /// `<ack class="receipt" id="0"/>`
    Ack,
    /// `<xml-not-well-formed/>`
    XmlNotWellFormed,
}

fn yes() -> bool {
    true
}

impl Fault {
    /// `action`, once, at `when`, for any account.
    pub fn new(action: Action, when: When) -> Self {
        Self { action, when, times: 1, account: None }
    }

    /// The same until the faults are cleared.
    pub fn lasting(self) -> Self {
        Self { times: 0, ..self }
    }

    /// Why this combination makes no sense, if it does not.
    pub fn problem(&self) -> Option<&'static str> {
        match (&self.action, self.when) {
            (Action::Http { .. }, when) if when != When::Dial && when != When::Upload => {
                Some("an HTTP status can only be given at \"dial\" or \"upload\"")
            }
            (Action::Http { status }, _) if !(300..600).contains(status) => {
                Some("the HTTP status must be from 300 to 599")
            }
            (Action::Garble, when) if when != When::Message => {
                Some("a message can only be garbled at \"message\"")
            }
            (action, When::Message) if *action != Action::Garble => {
                Some("at \"message\" there is only \"garble\"")
            }
            (action, When::Upload) if !matches!(action, Action::Http { .. } | Action::Silence) => {
                Some("at \"upload\" there is only \"http\" or \"silence\"")
            }
            (Action::Slow { .. }, When::Dial | When::Hello | When::Login) => {
                Some("a connection can only be slowed down at \"now\" or \"open\"")
            }
            (Action::Failure { .. }, when) if when != When::Login => {
                Some("a failure can only be given at \"login\"")
            }
            (
                Action::StreamError { .. } | Action::StreamEnd | Action::Downgrade,
                When::Dial | When::Hello,
            ) => Some("no stanza can be sent before the handshake is over: use \"login\" or \"open\""),
            _ => None,
        }
    }
}

impl Action {
    /// `<stream:error code>`.
    pub fn stream_error(code: u16) -> Self {
        Self::StreamError { code: Some(code), conflict: None, child: None, close: true }
    }

    /// `<stream:error code><conflict type/></stream:error>`.
    pub fn conflict(kind: &str, code: Option<u16>) -> Self {
        Self::StreamError { code, conflict: Some(kind.to_owned()), child: None, close: true }
    }

    /// `<failure reason>`.
    pub fn failure(reason: u16) -> Self {
        Self::Failure { reason, code: None, expire: None }
    }

    /// The stanza to send and whether to close after it; `None` when the fault has none.
    pub fn stanza(&self) -> Option<(Node, bool)> {
        match self {
            Self::Drop
            | Self::Reset
            | Self::Silence
            | Self::Swallow
            | Self::Slow { .. }
            | Self::Garble
            | Self::Http { .. } => None,
            Self::StreamError { code, conflict, child, close } => {
                let mut children = Vec::new();
                if let Some(kind) = conflict {
                    children.push(NodeBuilder::new("conflict").attr("type", kind).build());
                }
                match child {
                    Some(StreamErrorChild::Ack) => children
                        .push(NodeBuilder::new("ack").attr("class", "receipt").attr("id", "0").build()),
                    Some(StreamErrorChild::XmlNotWellFormed) => {
                        children.push(stanza::empty("xml-not-well-formed"));
                    }
                    None => {}
                }
                let mut error = NodeBuilder::new("stream:error");
                if let Some(code) = code {
                    error = error.attr("code", *code);
                }
                Some((error.children(children).build(), *close))
            }
            Self::StreamEnd => Some((stanza::empty("xmlstreamend"), true)),
            Self::Failure { reason, code, expire } => {
                let mut failure = NodeBuilder::new("failure").attr("reason", *reason).attr("location", "sim");
                if let Some(code) = code {
                    failure = failure.attr("code", *code);
                }
                if let Some(expire) = expire {
                    failure = failure.attr("expire", *expire);
                }
                Some((failure.build(), true))
            }
            Self::Downgrade => {
                Some((NodeBuilder::new("ib").children([stanza::empty("downgrade_webclient")]).build(), true))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_api_spelling() {
        let fault: Fault = serde_json::from_str(r#"{"do":"drop"}"#).unwrap();
        assert_eq!(fault, Fault::new(Action::Drop, When::Now));
        let fault: Fault = serde_json::from_str(
            r#"{"do":"failure","reason":402,"code":101,"expire":60,"when":"login","times":0}"#,
        )
        .unwrap();
        assert_eq!(fault.times, 0);
        assert_eq!(fault.problem(), None);
        let garble: Fault = serde_json::from_str(r#"{"do":"garble","when":"message","times":0}"#).unwrap();
        assert_eq!((garble.action.clone(), garble.problem()), (Action::Garble, None));
        let slow: Fault = serde_json::from_str(r#"{"do":"slow","ms":250}"#).unwrap();
        assert_eq!((slow.action.clone(), slow.problem()), (Action::Slow { ms: 250 }, None));
        let error: Fault = serde_json::from_str(
            r#"{"do":"stream_error","child":"xml-not-well-formed","when":"open","account":"4915"}"#,
        )
        .unwrap();
        let (node, close) = error.action.stanza().unwrap();
        assert!(close && node.get_optional_child("xml-not-well-formed").is_some());
    }

    #[test]
    fn combinations_without_sense_are_named() {
        for (action, when) in [
            (Action::Http { status: 503 }, When::Now),
            (Action::Http { status: 101 }, When::Dial),
            (Action::failure(401), When::Open),
            (Action::stream_error(515), When::Dial),
            (Action::StreamEnd, When::Hello),
            (Action::Garble, When::Now),
            (Action::Drop, When::Message),
            (Action::Drop, When::Upload),
            (Action::Slow { ms: 5 }, When::Dial),
        ] {
            assert!(Fault::new(action.clone(), when).problem().is_some(), "{action:?} {when:?}");
        }
    }
}
