//! The file of a message that came: where it is, what opens it, and fetching it.
//!
//! No link is needed for that: WhatsApp's media servers go by what the message says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wacore::download::{
    DEFAULT_MEDIA_HOSTS, DownloadUtils, Downloadable, MediaDecryption, MediaHost, MediaRoute,
};
use waproto::whatsapp as wa;
use whatsapp_rust::download::DownloadParams;

use super::{Kind, LARGEST};
use crate::link::http::Http;

/// Longest path of a file, in bytes.
const LONGEST_PATH: usize = 1024;
/// What encryption adds at the most.
const OVERHEAD: u64 = 1024;

/// Where a file is, and what opens it: whoever has it can read the file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    kind: Kind,
    size: u64,
    path: String,
    /// In base64, as are the hashes.
    key: String,
    sha256: String,
    sealed_sha256: String,
    /// Where the simulator is.
    #[cfg(feature = "simulator")]
    host: String,
}

/// Without what opens it.
impl std::fmt::Debug for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reference")
            .field("kind", &self.kind)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// Why a file was not fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    #[error("the file has {0} bytes, and at most {LARGEST} are fetched")]
    TooLarge(u64),
    #[error("WhatsApp does not have the file any more")]
    Gone,
    #[error("WhatsApp's media servers were not reached, or have other troubles")]
    Unreached,
    #[error("what WhatsApp has is not the file of the message")]
    Forged,
}

impl Reference {
    /// Of a message, without what wraps it; `None` when it has no file, or does not say what is needed.
    pub fn of(message: &wa::Message) -> Option<Self> {
        if let Some(image) = message.image_message.as_option() {
            return Self::new(Kind::Image, image, image.url.as_deref());
        }
        if let Some(video) = message.video_message.as_option().or(message.ptv_message.as_option()) {
            return Self::new(Kind::Video, video, video.url.as_deref());
        }
        if let Some(audio) = message.audio_message.as_option() {
            return Self::new(Kind::Audio, audio, audio.url.as_deref());
        }
        if let Some(document) = message.document_message.as_option() {
            return Self::new(Kind::Document, document, document.url.as_deref());
        }
        let sticker = message.sticker_message.as_option()?;
        Self::new(Kind::Sticker, sticker, sticker.url.as_deref())
    }

    fn new(kind: Kind, medium: &dyn Downloadable, url: Option<&str>) -> Option<Self> {
        let path = medium.direct_path()?;
        // The sender wrote it: behind the name of a host, it must not make another one of it.
        if !path.starts_with('/') || path.len() > LONGEST_PATH || !path.bytes().all(|b| b.is_ascii_graphic())
        {
            return None;
        }
        let text = |bytes: &[u8]| (bytes.len() == 32).then(|| STANDARD_NO_PAD.encode(bytes));
        // In a build without the simulator nobody but WhatsApp is asked.
        #[cfg(not(feature = "simulator"))]
        let _ = url;
        Some(Self {
            kind,
            size: medium.file_length()?,
            path: path.to_owned(),
            key: text(medium.media_key()?)?,
            sha256: text(medium.file_sha256()?)?,
            sealed_sha256: text(medium.file_enc_sha256()?)?,
            #[cfg(feature = "simulator")]
            host: {
                let url = url::Url::parse(url?).ok()?;
                format!("{}:{}", url.host_str()?, url.port()?)
            },
        })
    }

    /// As text.
    pub fn text(&self) -> String {
        // Strings and numbers only: it cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// From its text.
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Fetches the file, decrypts it and holds it against the hash in the message.
    pub async fn fetch(&self, http: &Http) -> Result<Vec<u8>, Lost> {
        if self.size > LARGEST {
            return Err(Lost::TooLarge(self.size));
        }
        let bytes = |text: &str| STANDARD_NO_PAD.decode(text).map_err(|_| Lost::Forged);
        let (key, sha256) = (bytes(&self.key)?, bytes(&self.sha256)?);
        let sealed_sha256 = bytes(&self.sealed_sha256)?;
        let media_type = self.kind.media_type();
        let params =
            DownloadParams::encrypted(&*self.path, &key, &sha256, &sealed_sha256, self.size, media_type);
        let route = MediaRoute::unauthenticated(self.hosts());
        let requests = DownloadUtils::prepare_download_requests(&params, &route).map_err(|_| Lost::Forged)?;
        let mut lost = Lost::Unreached;
        for request in requests {
            let MediaDecryption::Encrypted { .. } = request.decryption else { continue };
            let Ok(answer) = http.get(request.url, LARGEST + OVERHEAD).await else { continue };
            match answer.status_code {
                200 => {}
                401 | 403 | 404 | 410 => return Err(Lost::Gone),
                _ => continue,
            }
            let mut file = answer.body;
            let opened = DownloadUtils::verify_and_decrypt_in_place(&mut file, &key, media_type);
            if opened.is_ok() && Sha256::digest(&file)[..] == sha256[..] {
                return Ok(file);
            }
            lost = Lost::Forged;
        }
        Err(lost)
    }

    #[cfg(not(feature = "simulator"))]
    fn hosts(&self) -> Vec<MediaHost> {
        DEFAULT_MEDIA_HOSTS.map(MediaHost::new).to_vec()
    }

    /// `link::http` of such a build reaches only this machine.
    #[cfg(feature = "simulator")]
    fn hosts(&self) -> Vec<MediaHost> {
        let host = if self.host.is_empty() { DEFAULT_MEDIA_HOSTS[0] } else { &self.host };
        vec![MediaHost::new(host)]
    }
}

#[cfg(test)]
mod tests {
    use waproto::buffa::MessageField;

    use super::*;

    fn image() -> wa::message::ImageMessage {
        wa::message::ImageMessage {
            url: Some("https://127.0.0.1:1/x".into()),
            direct_path: Some("/v/t62?oh=1".into()),
            media_key: Some(vec![1; 32]),
            file_sha256: Some(vec![2; 32]),
            file_enc_sha256: Some(vec![3; 32]),
            file_length: Some(5),
            ..Default::default()
        }
    }

    fn of(image: wa::message::ImageMessage) -> Option<Reference> {
        Reference::of(&wa::Message { image_message: MessageField::some(image), ..Default::default() })
    }

    #[test]
    fn a_reference_reads_back_and_shows_nothing() {
        let reference = of(image()).expect("a file");
        assert_eq!(Reference::read(&reference.text()).as_ref(), Some(&reference));
        let shown = format!("{reference:?}");
        assert!(!shown.contains("t62") && !shown.contains(&reference.key), "{shown}");
        assert_eq!(Reference::of(&wa::Message::default()), None);
    }

    #[test]
    fn a_path_that_would_lead_to_another_host_is_none() {
        for path in ["@evil.example/x", ".evil.example/x", ":80/x", "", "/a b", "/a\r\nx: y", "x/y"] {
            let mut image = image();
            image.direct_path = Some(path.into());
            assert_eq!(of(image), None, "{path:?}");
        }
        let mut keyless = image();
        keyless.media_key = Some(vec![1; 31]);
        assert_eq!(of(keyless), None);
    }

    #[tokio::test]
    async fn one_that_is_too_large_is_not_asked_for() {
        let mut image = image();
        image.file_length = Some(LARGEST + 1);
        let lost = of(image).expect("a file").fetch(&Http::new()).await;
        assert_eq!(lost, Err(Lost::TooLarge(LARGEST + 1)));
    }
}
