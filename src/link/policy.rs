//! What an ending means. Every way in which a link can end maps to one [`Reaction`]; the matches are
//! exhaustive, so a new ending has to be decided here.
//!
//! Numbers are those of WhatsApp Web's protocol as whatsapp-rust 0.7.0 and whatsmeow know them.

use std::time::Duration;

use wacore::types::events::ConnectFailureReason;

use super::dial::DialError;
use super::state::Parked;
use super::transport::{CutReason, End};

/// Steps that a rate limit (429) adds to the back-off.
pub const RATE_LIMIT_STEPS: u32 = 5;

/// How a link ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// `<stream:error>`.
    Stream(StreamError),
    /// `<failure>` at login.
    Failure {
        /// `reason`.
        reason: ConnectFailureReason,
        /// `expire`: how long a temporary ban lasts.
        expire: Option<Duration>,
    },
    /// `<ib><downgrade_webclient/></ib>`: the account left multi-device.
    Downgraded,
    /// `<xmlstreamend/>`: the server recycles the stream.
    StreamEnd,
    /// The phone scanned the QR; WhatsApp restarts the stream (515) for the login.
    Paired,
    /// Pairing was refused by a check of ours or by the server.
    PairingRefused,
    /// All QR codes of one round were shown and none was scanned.
    QrEnded,
    /// The connection was never made.
    Dial(DialError),
    /// The transport ended.
    Transport(End),
    /// The client gave the connection up by itself, e.g. the handshake did not verify.
    GivenUp,
}

/// What a `<stream:error>` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamError {
    /// `<conflict type="replaced">`, whatever its code.
    Replaced,
    /// `<conflict type="device_removed">`, whatever its code.
    DeviceRemoved,
    /// `<conflict>` of a type that is not known.
    OtherConflict,
    /// `<xml-not-well-formed/>`.
    NotWellFormed,
    /// A bare `code`.
    Code(u16),
    /// Neither a code nor a child that is known.
    Unknown,
}

/// What to do about an ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// Dial at once, without penalty.
    Restart,
    /// Another client uses the session.
    Conflict,
    /// The phone removed this device: archive, then pair anew.
    LoggedOut,
    /// Wait this long, then try once.
    BanFor(Duration),
    /// Stop until a person acts.
    Park(Parked),
    /// Wait by the back-off, this many steps further.
    BackOff { extra: u32 },
    /// We ended it; whoever did knows what comes next.
    Ours,
}

const BACK_OFF: Reaction = Reaction::BackOff { extra: 0 };
const SLOW_DOWN: Reaction = Reaction::BackOff { extra: RATE_LIMIT_STEPS };

impl Ending {
    /// What to do about it.
    pub fn reaction(&self) -> Reaction {
        match self {
            Self::Stream(error) => match error {
                StreamError::Replaced | StreamError::OtherConflict => Reaction::Conflict,
                StreamError::DeviceRemoved => Reaction::LoggedOut,
                StreamError::NotWellFormed | StreamError::Unknown => BACK_OFF,
                StreamError::Code(code) => match code {
                    515 => Reaction::Restart,
                    409 | 440 => Reaction::Conflict,
                    401 => Reaction::LoggedOut,
                    411 | 516 => Reaction::Park(Parked::Refused),
                    405 => Reaction::Park(Parked::ClientOutdated),
                    429 => SLOW_DOWN,
                    _ => BACK_OFF,
                },
            },
            Self::Failure { reason, expire } => failure(*reason, *expire),
            Self::Downgraded => Reaction::Park(Parked::Refused),
            Self::StreamEnd => BACK_OFF,
            Self::Paired => Reaction::Restart,
            Self::PairingRefused => BACK_OFF,
            Self::QrEnded => Reaction::Park(Parked::QrExpired),
            Self::Dial(error) => match error {
                DialError::Status { status: 429 } => SLOW_DOWN,
                DialError::Status { .. }
                | DialError::Name { .. }
                | DialError::NotLoopback
                | DialError::Connect { .. }
                | DialError::Tls { .. }
                | DialError::Upgrade { .. }
                | DialError::TimedOut { .. } => BACK_OFF,
            },
            Self::Transport(end) => match end {
                End::Closed { .. } | End::Eof | End::Io { .. } | End::Local => BACK_OFF,
                End::Cut(reason) => match reason {
                    CutReason::Silence | CutReason::ServerError => BACK_OFF,
                    CutReason::Lease | CutReason::Database | CutReason::LoggedOut | CutReason::Stop => {
                        Reaction::Ours
                    }
                },
            },
            Self::GivenUp => BACK_OFF,
        }
    }

    /// A short stable word for logs, metrics and `/status`.
    pub fn word(&self) -> String {
        match self {
            Self::Stream(error) => match error {
                StreamError::Replaced => "replaced".to_owned(),
                StreamError::DeviceRemoved => "device_removed".to_owned(),
                StreamError::OtherConflict => "conflict".to_owned(),
                StreamError::NotWellFormed => "stream_error_xml".to_owned(),
                StreamError::Code(code) => format!("stream_error_{code}"),
                StreamError::Unknown => "stream_error".to_owned(),
            },
            Self::Failure { reason, .. } => format!("failure_{}", reason.code()),
            Self::Downgraded => "downgraded".to_owned(),
            Self::StreamEnd => "stream_end".to_owned(),
            Self::Paired => "paired".to_owned(),
            Self::PairingRefused => "pairing_refused".to_owned(),
            Self::QrEnded => "qr_expired".to_owned(),
            Self::Dial(DialError::Status { status }) => format!("http_{status}"),
            Self::Dial(_) => "dial_failed".to_owned(),
            Self::Transport(end) => match end {
                End::Closed { code: Some(code) } => format!("close_{code}"),
                End::Closed { code: None } => "close".to_owned(),
                End::Eof => "eof".to_owned(),
                End::Io { .. } => "io_error".to_owned(),
                End::Local => "closed_by_client".to_owned(),
                End::Cut(reason) => reason.word().to_owned(),
            },
            Self::GivenUp => "handshake_failed".to_owned(),
        }
    }

    /// One sentence for a person.
    pub fn text(&self) -> String {
        match self {
            Self::Stream(error) => match error {
                StreamError::Replaced => "Another client opened this session.".to_owned(),
                StreamError::DeviceRemoved => "The phone removed this linked device.".to_owned(),
                StreamError::OtherConflict => "WhatsApp reports a conflict with another client.".to_owned(),
                StreamError::NotWellFormed => "WhatsApp could not read what was sent.".to_owned(),
                StreamError::Code(515) => "WhatsApp asked for a restart of the stream (515).".to_owned(),
                StreamError::Code(429) => "WhatsApp limits this session (429): slowing down.".to_owned(),
                StreamError::Code(code) => format!("WhatsApp ended the stream with code {code}."),
                StreamError::Unknown => "WhatsApp ended the stream with an error.".to_owned(),
            },
            Self::Failure { reason, .. } => {
                format!("WhatsApp refused the login with reason {}.", reason.code())
            }
            Self::Downgraded => "WhatsApp moved the account off linked devices (411).".to_owned(),
            Self::StreamEnd => "WhatsApp recycled the stream.".to_owned(),
            Self::Paired => "The phone linked this device; logging in.".to_owned(),
            Self::PairingRefused => "The pairing could not be completed.".to_owned(),
            Self::QrEnded => "All QR codes were shown and none was scanned.".to_owned(),
            Self::Dial(error) => format!("The connection was not made: {error}."),
            Self::Transport(end) => match end {
                End::Closed { code: Some(code) } => format!("WhatsApp closed the socket with code {code}."),
                End::Closed { code: None } => "WhatsApp closed the socket.".to_owned(),
                End::Eof => "The socket was closed without a word.".to_owned(),
                End::Io { kind } => format!("The socket failed: {kind}."),
                End::Local => "The client closed the socket.".to_owned(),
                End::Cut(reason) => reason.text().to_owned(),
            },
            Self::GivenUp => "The client gave up before the login: the handshake failed. What answered may not be WhatsApp (a proxy, a simulator), or this blacksky is too old for it.".to_owned(),
        }
    }
}

/// Whether the word of an ending is of one after which the session is over.
pub fn ends_the_session(word: &str) -> bool {
    matches!(word, "device_removed" | "stream_error_401" | "failure_401")
}

/// What a `<failure>` at login means.
fn failure(reason: ConnectFailureReason, expire: Option<Duration>) -> Reaction {
    use ConnectFailureReason as Reason;
    match reason {
        Reason::LoggedOut => Reaction::LoggedOut,
        // Without its expiry a ban is waited out at the far end of the back-off.
        Reason::TempBanned => expire.map_or(SLOW_DOWN, Reaction::BanFor),
        Reason::ClientOutdated => Reaction::Park(Parked::ClientOutdated),
        Reason::AccountLocked
        | Reason::UnknownLogout
        | Reason::BadUserAgent
        | Reason::CatExpired
        | Reason::CatInvalid
        | Reason::NotFound
        | Reason::ClientUnknown => Reaction::Park(Parked::Refused),
        Reason::InternalServerError | Reason::ServiceUnavailable => BACK_OFF,
        Reason::Unknown(429) => SLOW_DOWN,
        Reason::Unknown(440) => Reaction::Conflict,
        Reason::Unknown(411) => Reaction::Park(Parked::Refused),
        // Nobody documents these; slow and for ever is better than a bot that stays down.
        Reason::Generic | Reason::Experimental | Reason::Unknown(_) => SLOW_DOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(reason: i32) -> Reaction {
        Ending::Failure { reason: ConnectFailureReason::from(reason), expire: None }.reaction()
    }

    fn stream(code: u16) -> Reaction {
        Ending::Stream(StreamError::Code(code)).reaction()
    }

    #[test]
    fn login_failures_follow_the_design() {
        assert_eq!(login(401), Reaction::LoggedOut);
        for reason in [403, 406, 409, 411, 413, 414, 415, 418] {
            assert_eq!(login(reason), Reaction::Park(Parked::Refused), "{reason}");
        }
        assert_eq!(login(440), Reaction::Conflict);
        assert_eq!(login(405), Reaction::Park(Parked::ClientOutdated));
        for reason in [500, 503] {
            assert_eq!(login(reason), BACK_OFF, "{reason}");
        }
        for reason in [400, 402, 429, 501, 0, 599] {
            assert_eq!(login(reason), SLOW_DOWN, "{reason}");
        }
        let ban = Ending::Failure {
            reason: ConnectFailureReason::TempBanned,
            expire: Some(Duration::from_secs(3600)),
        };
        assert_eq!(ban.reaction(), Reaction::BanFor(Duration::from_secs(3600)));
    }

    #[test]
    fn stream_errors_follow_the_design() {
        assert_eq!(stream(515), Reaction::Restart);
        assert_eq!(stream(401), Reaction::LoggedOut);
        assert_eq!(stream(409), Reaction::Conflict);
        assert_eq!(stream(440), Reaction::Conflict);
        assert_eq!(stream(516), Reaction::Park(Parked::Refused));
        assert_eq!(stream(411), Reaction::Park(Parked::Refused));
        assert_eq!(stream(429), SLOW_DOWN);
        for code in [0, 500, 503, 999] {
            assert_eq!(stream(code), BACK_OFF, "{code}");
        }
        assert_eq!(Ending::Stream(StreamError::Replaced).reaction(), Reaction::Conflict);
        assert_eq!(Ending::Stream(StreamError::DeviceRemoved).reaction(), Reaction::LoggedOut);
        assert_eq!(
            Ending::Stream(StreamError::OtherConflict).reaction(),
            Reaction::Conflict,
            "an unknown conflict must not end a session"
        );
    }

    #[test]
    fn only_a_logout_ends_a_session() {
        // Every other number a server could think of leaves the session alone.
        for code in 0..=1000u16 {
            let ends = stream(code) == Reaction::LoggedOut;
            assert_eq!(ends, code == 401, "stream error {code}");
            let ends = login(i32::from(code)) == Reaction::LoggedOut;
            assert_eq!(ends, code == 401, "failure {code}");
            let endings = [
                Ending::Stream(StreamError::Code(code)),
                Ending::Failure { reason: ConnectFailureReason::from(i32::from(code)), expire: None },
            ];
            for ending in endings {
                let ends = ending.reaction() == Reaction::LoggedOut;
                assert_eq!(ends_the_session(&ending.word()), ends, "{}", ending.word());
            }
        }
        assert!(ends_the_session(&Ending::Stream(StreamError::DeviceRemoved).word()));
    }
}
