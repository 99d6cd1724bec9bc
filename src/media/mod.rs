//! Media that bots send and get: their kinds, and what is in a file.

mod fetch;
mod received;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wacore::download::MediaType;

pub use fetch::{DEADLINE as FETCH_DEADLINE, Fetched, Fetcher, Fetching, NotFetched};
pub use received::{Lost, Reference};

/// Largest file, in bytes.
pub const LARGEST: u64 = 16 << 20;
/// The first bytes of a file that its type is read from; those of a shorter one are all of it.
pub const HEAD: usize = 4096;
/// Type of a file that says nothing of itself.
pub const UNKNOWN: &str = "application/octet-stream";

/// How WhatsApp shows a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// JPEG or PNG.
    Image,
    /// MP4.
    Video,
    /// MP3, M4A, AAC, AMR or Opus in Ogg.
    Audio,
    /// Anything.
    Document,
    /// WebP.
    Sticker,
}

/// Why a file cannot be sent as a kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It has no byte.
    #[error("the file is empty")]
    Empty,
    /// It is something else.
    #[error("{} must be {}, and the file is {found}; anything can be sent as a document", .kind.with_article(), .kind.wanted())]
    Type { kind: Kind, found: String },
    /// Not what phones record.
    #[error("a voice message must be Opus in Ogg, and the file is {found}; send it without voice")]
    Voice { found: String },
}

/// Opus in Ogg, as WhatsApp names it.
const OPUS: &str = "audio/ogg; codecs=opus";

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Image, Self::Video, Self::Audio, Self::Document, Self::Sticker];

    /// Its word in the file and the API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Document => "document",
            Self::Sticker => "sticker",
        }
    }

    /// Whether WhatsApp shows a text with it.
    pub const fn has_caption(self) -> bool {
        match self {
            Self::Image | Self::Video | Self::Document => true,
            Self::Audio | Self::Sticker => false,
        }
    }

    /// Which keys are for it at WhatsApp.
    pub const fn media_type(self) -> MediaType {
        match self {
            Self::Image => MediaType::Image,
            Self::Video => MediaType::Video,
            Self::Audio => MediaType::Audio,
            Self::Document => MediaType::Document,
            Self::Sticker => MediaType::Sticker,
        }
    }

    const fn with_article(self) -> &'static str {
        match self {
            Self::Image => "an image",
            Self::Video => "a video",
            Self::Audio => "an audio",
            Self::Document => "a document",
            Self::Sticker => "a sticker",
        }
    }

    const fn wanted(self) -> &'static str {
        match self {
            Self::Image => "JPEG or PNG",
            Self::Video => "MP4",
            Self::Audio => "MP3, M4A, AAC, AMR or Opus in Ogg",
            Self::Document => "a file",
            Self::Sticker => "WebP",
        }
    }

    /// Whether a file of this type, as [`type_of`] gives it, and of this size can be sent as this kind; a `voice`
    /// message is an audio.
    pub fn take(self, mimetype: &str, size: u64, voice: bool) -> Result<(), Unfit> {
        if size == 0 {
            return Err(Unfit::Empty);
        }
        if voice && mimetype != OPUS {
            return Err(Unfit::Voice { found: mimetype.to_owned() });
        }
        let fits = match self {
            Self::Image => ["image/jpeg", "image/png"].contains(&mimetype),
            Self::Video => mimetype == "video/mp4",
            Self::Audio => ["audio/mpeg", "audio/mp4", "audio/aac", "audio/amr", OPUS].contains(&mimetype),
            Self::Document => true,
            Self::Sticker => mimetype == "image/webp",
        };
        if fits { Ok(()) } else { Err(Unfit::Type { kind: self, found: mimetype.to_owned() }) }
    }
}

/// The type of a file by its first bytes, at least [`HEAD`] of them. `declared` is believed where those do not tell,
/// and never that it is an image, a video or an audio.
pub fn type_of(head: &[u8], declared: Option<&str>) -> String {
    let seen = infer::get(head).map(|found| match found.mime_type() {
        "audio/opus" => OPUS,
        "audio/m4a" => "audio/mp4",
        other => other,
    });
    let is_medium =
        |mimetype: &str| ["image/", "video/", "audio/"].iter().any(|prefix| mimetype.starts_with(prefix));
    if let Some(seen) = seen
        && is_medium(seen)
    {
        return seen.to_owned();
    }
    let declared = declared.map(|declared| declared.trim().to_ascii_lowercase()).filter(|declared| {
        let vague = [UNKNOWN, "application/x-www-form-urlencoded"].contains(&declared.as_str());
        well_formed(declared) && !vague && !is_medium(declared)
    });
    declared.or_else(|| seen.map(str::to_owned)).unwrap_or_else(|| UNKNOWN.to_owned())
}

/// `type/subtype`, perhaps with parameters, short and without anything that is not plain.
fn well_formed(mimetype: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&c);
    let essence = mimetype.split(';').next().unwrap_or_default().trim();
    let halves = essence.split_once('/');
    mimetype.len() <= 100
        && mimetype.bytes().all(|c| plain(c) || b"/;= \"".contains(&c))
        && halves.is_some_and(|(left, right)| {
            !left.is_empty() && !right.is_empty() && left.bytes().all(plain) && right.bytes().all(plain)
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    const MP4: &[u8] = b"\0\0\0\x18ftypisom\0\0\0\0isomiso2";

    fn ogg(codec: &[u8; 8]) -> Vec<u8> {
        let mut head = b"OggS".to_vec();
        head.resize(28, 0);
        head.extend_from_slice(codec);
        head.resize(64, 0);
        head
    }

    #[test]
    fn a_file_says_itself_what_it_is() {
        for (head, declared, found) in [
            (PNG, None, "image/png"),
            (PNG, Some("image/jpeg"), "image/png"),
            (PNG, Some("application/pdf"), "image/png"),
            (MP4, None, "video/mp4"),
            (b"\xff\xd8\xff\xe0", None, "image/jpeg"),
            (b"RIFF\0\0\0\0WEBPVP8 ", None, "image/webp"),
            (b"ID3\x03\0\0", None, "audio/mpeg"),
            (b"%PDF-1.7", None, "application/pdf"),
            (b"PK\x03\x04\0\0\0\0", Some("application/vnd.ms-excel"), "application/vnd.ms-excel"),
            (b"a,b,c", Some("text/csv; charset=utf-8"), "text/csv; charset=utf-8"),
            (b"a,b,c", Some("image/png"), UNKNOWN),
            (b"a,b,c", Some("nonsense"), UNKNOWN),
            (b"a,b,c", Some("text/csv\r\nx: y"), UNKNOWN),
            (b"", None, UNKNOWN),
        ] {
            assert_eq!(type_of(head, declared), found, "{head:?} {declared:?}");
        }
        assert_eq!(type_of(&ogg(b"OpusHead"), None), OPUS);
        assert_eq!(type_of(&ogg(b"\x01vorbis\0"), None), "audio/ogg");
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_reason() {
        assert_eq!(Kind::Image.take("image/png", 1, false), Ok(()));
        assert_eq!(Kind::Audio.take(OPUS, 1, true), Ok(()));
        assert_eq!(Kind::Document.take("video/mp4", 1, false), Ok(()));
        for kind in Kind::ALL {
            assert_eq!(kind.take("image/png", 0, false), Err(Unfit::Empty));
            assert_eq!(kind.take("application/x-executable", 1, false).is_ok(), kind == Kind::Document);
        }
        let refused = Kind::Image.take("image/webp", 1, false).expect_err("a sticker").to_string();
        assert!(refused.starts_with("an image must be JPEG or PNG, and the file is image/webp"), "{refused}");
        let refused = Kind::Audio.take("audio/mpeg", 1, true).expect_err("no voice").to_string();
        assert!(refused.contains("Opus in Ogg"), "{refused}");
        // Phones do not play it.
        assert!(Kind::Audio.take("audio/ogg", 1, false).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_give_a_strange_type(
            head in proptest::collection::vec(any::<u8>(), 0..HEAD),
            declared in proptest::option::of(".{0,120}"),
        ) {
            let found = type_of(&head, declared.as_deref());
            prop_assert!(well_formed(&found), "{found}");
        }
    }
}
