//! What the preload tells from inside the bot.

use std::fmt;

use serde::Deserialize;

/// A report of the preload. Its Debug hides what links an account.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum Said {
    /// A process of the bot runs with the preload.
    Loaded {
        /// Its version of Node.
        node: String,
        /// Its process id.
        pid: u32,
    },
    /// Baileys has a QR code to scan.
    Qr {
        /// What the phone scans.
        payload: String,
    },
    /// Baileys has a code to type into the phone.
    PairingCode {
        /// The code.
        code: String,
    },
    /// Baileys reports an open link.
    Open,
    /// Baileys reports the end of the link.
    Closed {
        /// Its status code, such as 401, 440 or 515; 0 when it gave none.
        #[serde(default)]
        code: u16,
    },
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loaded { node, pid } => write!(f, "Loaded({node}, {pid})"),
            Self::Qr { .. } => f.write_str("Qr(***)"),
            Self::PairingCode { .. } => f.write_str("PairingCode(***)"),
            Self::Open => f.write_str("Open"),
            Self::Closed { code } => write!(f, "Closed({code})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Said;

    #[test]
    fn reports_read_and_hide_what_is_secret() {
        let read = |text: &str| serde_json::from_str::<Said>(text).ok();
        assert_eq!(read(r#"{"what":"closed","code":440}"#), Some(Said::Closed { code: 440 }));
        assert_eq!(read(r#"{"what":"closed"}"#), Some(Said::Closed { code: 0 }));
        assert_eq!(read(r#"{"what":"open"}"#), Some(Said::Open));
        assert_eq!(read(r#"{"what":"dance"}"#), None);
        let qr = read(r#"{"what":"qr","payload":"2@secret"}"#).expect("a QR");
        assert_eq!(format!("{qr:?}"), "Qr(***)");
    }
}
