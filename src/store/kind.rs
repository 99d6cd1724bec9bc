//! What a row of a session is: its kind, its key, and what `at` and `mark` mean for it.

use std::fmt;

/// Kinds of rows. The numbers are stored: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i16)]
pub(super) enum Kind {
    /// The device: identity, noise keys, account. Key empty.
    Device = 1,
    /// Identity key of a peer. Key: address.
    Identity = 2,
    /// Ratchet with a peer. Key: address.
    Session = 3,
    /// One-time pre-key. Key: id, big-endian; `mark` 1 once uploaded.
    PreKey = 4,
    /// Key: id, big-endian.
    SignedPreKey = 5,
    /// Group ratchet. Key: name.
    SenderKey = 6,
    /// App-state key. Key: key id; `at`: when stored, microseconds.
    SyncKey = 7,
    /// App-state version. Key: collection.
    SyncVersion = 8,
    /// App-state MAC. Key: collection; sub: index MAC; `mark`: version.
    MutationMac = 9,
    /// Key: group; sub: device; `mark` 1 when the device has our sender key. No value.
    SenderKeyDevice = 10,
    /// Key: LID; sub: phone number; `at`: updated; `mark`: created. The value is how it was learned.
    LidMapping = 11,
    /// Key: address; sub: message id.
    BaseKey = 12,
    /// Key: user.
    DeviceList = 13,
    /// Key: group.
    GroupMetadata = 14,
    /// Key: jid; `at`: token time; `mark`: sender time. Value empty for a placeholder.
    TcToken = 15,
    /// Key: chat; sub: message id; `at`: when stored, seconds.
    SentMessage = 16,
    /// Key: chat; sub: sender and id; `at`: when stored, seconds.
    PendingInbound = 17,
    /// Key: chat; sub: sender and id; `at`: expiry in seconds, 0 never; `mark`: time of the parent message.
    MsgSecret = 18,
    /// A piece of a file of a hosted bot. Key: path; sub: number of the piece, big-endian; `at`: when the file
    /// changed, microseconds; `mark`: size of the file.
    VaultFile = 19,
}

/// Damaged rows are set aside by adding this to their kind.
pub(super) const SET_ASIDE: i16 = 1000;

impl Kind {
    const ALL: [Self; 19] = [
        Self::Device,
        Self::Identity,
        Self::Session,
        Self::PreKey,
        Self::SignedPreKey,
        Self::SenderKey,
        Self::SyncKey,
        Self::SyncVersion,
        Self::MutationMac,
        Self::SenderKeyDevice,
        Self::LidMapping,
        Self::BaseKey,
        Self::DeviceList,
        Self::GroupMetadata,
        Self::TcToken,
        Self::SentMessage,
        Self::PendingInbound,
        Self::MsgSecret,
        Self::VaultFile,
    ];

    /// The stored number.
    pub(super) const fn number(self) -> i16 {
        self as i16
    }

    /// The kind of a stored number; `None` when a newer blacksky made it, or when the row was set aside.
    pub(super) fn of(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// Whether a value of no bytes is stored as it is, rather than sealed.
    pub(super) const fn may_be_empty(self) -> bool {
        matches!(self, Self::TcToken | Self::SenderKeyDevice | Self::VaultFile)
    }

    /// Whether a damaged row may be set aside and renegotiated with the peer or fetched again,
    /// rather than stop the bot.
    pub(super) const fn renegotiable(self) -> bool {
        match self {
            Self::Identity
            | Self::Session
            | Self::SenderKey
            | Self::DeviceList
            | Self::GroupMetadata
            | Self::LidMapping
            | Self::TcToken
            | Self::BaseKey
            | Self::SentMessage
            | Self::MsgSecret => true,
            Self::Device
            | Self::PreKey
            | Self::SignedPreKey
            | Self::SyncKey
            | Self::SyncVersion
            | Self::MutationMac
            | Self::SenderKeyDevice
            | Self::PendingInbound
            | Self::VaultFile => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Device => "the stored device",
            Self::Identity => "the identity key of a peer",
            Self::Session => "the ratchet with a peer",
            Self::PreKey => "a pre-key",
            Self::SignedPreKey => "a signed pre-key",
            Self::SenderKey => "a group key",
            Self::SyncKey => "an app-state key",
            Self::SyncVersion => "an app-state version",
            Self::MutationMac => "an app-state MAC",
            Self::SenderKeyDevice => "a group's device",
            Self::LidMapping => "a LID mapping",
            Self::BaseKey => "a base key",
            Self::DeviceList => "a device list",
            Self::GroupMetadata => "a group's metadata",
            Self::TcToken => "a contact token",
            Self::SentMessage => "a sent message",
            Self::PendingInbound => "a pending inbound message",
            Self::MsgSecret => "a message secret",
            Self::VaultFile => "a file of the bot's session",
        })
    }
}

/// Name of a row within its kind. Bytes, since peers choose some of them: PostgreSQL's text refuses NUL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Name {
    pub key: Vec<u8>,
    pub sub: Vec<u8>,
}

impl Name {
    /// A name of one part.
    pub(super) fn of(key: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), sub: Vec::new() }
    }

    /// A name of two parts.
    pub(super) fn pair(key: impl Into<Vec<u8>>, sub: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), sub: sub.into() }
    }

    /// A name of three parts. The second is preceded by its length, so that no two triples meet.
    pub(super) fn triple(key: &str, second: &str, third: &str) -> Self {
        let mut sub = Vec::with_capacity(4 + second.len() + third.len());
        sub.extend_from_slice(&(second.len() as u32).to_be_bytes());
        sub.extend_from_slice(second.as_bytes());
        sub.extend_from_slice(third.as_bytes());
        Self { key: key.into(), sub }
    }

    /// A numbered row; big-endian, so that keys sort as numbers.
    pub(super) fn number(id: u32) -> Self {
        Self::of(id.to_be_bytes())
    }
}

/// A row as the database keeps it; `value` is sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub name: Name,
    pub value: Vec<u8>,
    pub at: i64,
    pub mark: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::{Kind, Name};

    #[test]
    fn every_number_finds_its_kind() {
        for number in 1..=18 {
            assert_eq!(Kind::of(number).map(Kind::number), Some(number));
        }
        assert_eq!(Kind::of(0).or(Kind::of(20)).or(Kind::of(1001)), None);
    }

    #[test]
    fn triples_do_not_meet() {
        assert_ne!(Name::triple("c", "ab", "c"), Name::triple("c", "a", "bc"));
        assert_ne!(Name::triple("c", "", "ab"), Name::triple("c", "ab", ""));
    }

    #[test]
    fn numbers_sort_as_numbers() {
        assert!(Name::number(255) < Name::number(256));
        assert!(Name::number(9) < Name::number(10));
    }
}
