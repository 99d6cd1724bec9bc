//! Media: the encrypted files that clients put on the media server and fetch from it, and what a simulated phone
//! makes of a message with one.
//!
//! The media server is the simulator's own port. WhatsApp's hosts speak HTTPS there, so a client needs to be told
//! to leave TLS out; `link::http` of a build with the feature `simulator` does.

use std::collections::{HashMap, VecDeque};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use wacore::download::{DownloadUtils, Downloadable, MediaType};
use wacore::proto_helpers::MessageExt as _;
use wacore::upload::encrypt_media;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::node::Node;
use waproto::buffa::MessageField;
use waproto::whatsapp as wa;

use super::faults::{Action, When};
use super::handle::Handle;
use super::report::What;
use super::world::{World, now_seconds};

/// Largest file, in bytes.
const LARGEST: usize = 128 << 20;
/// Bytes of files that are kept; the oldest go.
const KEPT: usize = 512 << 20;
/// Seconds for which a client may use the hosts and the token it was told.
const TTL: u32 = 3_600;

/// The kinds of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaKind {
    Image,
    Video,
    Audio,
    Document,
    Sticker,
}

/// A medium that a simulated phone sends.
#[derive(Clone, Debug)]
pub struct Medium {
    pub kind: MediaKind,
    pub mimetype: String,
    pub caption: Option<String>,
    /// Of a document.
    pub file_name: Option<String>,
    /// The file.
    pub bytes: Vec<u8>,
}

/// A medium that arrived from a client, as the recipient's phone fetched and decrypted it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Media {
    pub kind: MediaKind,
    pub mimetype: Option<String>,
    pub caption: Option<String>,
    pub file_name: Option<String>,
    /// Of an audio: it is a voice message.
    pub voice: bool,
    /// Size of the file, in bytes.
    pub size: u64,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// Why it cannot be shown. Size and hash are then what the message says.
    pub problem: Option<String>,
}

/// The files of the media server, encrypted as they are.
pub(super) struct Files {
    by_token: HashMap<String, Bytes>,
    oldest: VecDeque<String>,
    bytes: usize,
    /// What clients show to be let in.
    auth: String,
    /// Where the media server is; empty until it listens.
    pub(super) host: String,
}

impl Default for Files {
    fn default() -> Self {
        let auth = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 18]>());
        let (by_token, oldest) = (HashMap::new(), VecDeque::new());
        Self { by_token, oldest, bytes: 0, auth, host: String::new() }
    }
}

impl Files {
    fn put(&mut self, token: String, file: Bytes) {
        self.bytes += file.len();
        match self.by_token.insert(token.clone(), file) {
            Some(before) => self.bytes -= before.len(),
            None => self.oldest.push_back(token),
        }
        while self.bytes > KEPT
            && let Some(token) = self.oldest.pop_front()
        {
            self.bytes -= self.by_token.remove(&token).map_or(0, |file| file.len());
        }
    }

    /// The file of a message, decrypted and held against the hashes in it.
    fn open(&self, medium: &dyn Downloadable) -> Result<Vec<u8>, String> {
        let path = medium.direct_path().unwrap_or_default();
        let key = medium.media_key().ok_or("the message has no key")?;
        let token = path.strip_prefix(PATH).ok_or_else(|| format!("{path:?} is not on this server"))?;
        let file = self.by_token.get(token).ok_or("there is no such file")?;
        if medium.file_enc_sha256() != Some(&Sha256::digest(file)[..]) {
            return Err("the hash of the encrypted file is another one".to_owned());
        }
        let plain = DownloadUtils::verify_and_decrypt(file, key, medium.app_info())
            .map_err(|error| format!("it does not decrypt: {error}"))?;
        if medium.file_sha256() != Some(&Sha256::digest(&plain)[..]) {
            return Err("the hash of the file is another one".to_owned());
        }
        if medium.file_length() != Some(plain.len() as u64) {
            return Err(format!("it has {} bytes", plain.len()));
        }
        Ok(plain)
    }
}

/// Where files are fetched from.
const PATH: &str = "/sim-media/";

impl World {
    /// `<media_conn>`: where the media server is, and what to show it.
    pub(super) fn media_conn(&mut self) -> Node {
        let host =
            NodeBuilder::new("host").attr("hostname", self.files.host.as_str()).attr("type", "primary");
        NodeBuilder::new("media_conn")
            .attr("auth", self.files.auth.as_str())
            .attr("ttl", TTL)
            .attr("auth_ttl", TTL)
            .attr("max_buckets", 12)
            .children([host.build()])
            .build()
    }

    /// What the phone makes of a message's medium; `None` when there is none.
    pub(super) fn media(&self, message: &wa::Message) -> Option<Media> {
        let base = message.get_base_message();
        let (kind, medium, mimetype): (_, &dyn Downloadable, _) =
            if let Some(image) = base.image_message.as_option() {
                (MediaKind::Image, image, &image.mimetype)
            } else if let Some(video) = base.video_message.as_option() {
                (MediaKind::Video, video, &video.mimetype)
            } else if let Some(audio) = base.audio_message.as_option() {
                (MediaKind::Audio, audio, &audio.mimetype)
            } else if let Some(document) = base.document_message.as_option() {
                (MediaKind::Document, document, &document.mimetype)
            } else {
                let sticker = base.sticker_message.as_option()?;
                (MediaKind::Sticker, sticker, &sticker.mimetype)
            };
        let opened = self.files.open(medium);
        let sha256 = match &opened {
            Ok(plain) => hex(&Sha256::digest(plain)),
            Err(_) => hex(medium.file_sha256().unwrap_or_default()),
        };
        Some(Media {
            kind,
            mimetype: mimetype.clone(),
            caption: message.get_caption().map(str::to_owned),
            file_name: base.document_message.as_option().and_then(|document| document.file_name.clone()),
            voice: base.audio_message.as_option().and_then(|audio| audio.ptt).unwrap_or(false),
            size: medium.file_length().unwrap_or_default(),
            sha256,
            problem: opened.err(),
        })
    }

    /// Puts the file of a phone on the media server; the message that goes with it.
    pub(super) fn message_with(&mut self, medium: Medium) -> Result<wa::Message, String> {
        let media_type = match medium.kind {
            MediaKind::Image => MediaType::Image,
            MediaKind::Video => MediaType::Video,
            MediaKind::Audio => MediaType::Audio,
            MediaKind::Document => MediaType::Document,
            MediaKind::Sticker => MediaType::Sticker,
        };
        let sealed = encrypt_media(&medium.bytes, media_type).map_err(|error| error.to_string())?;
        let token = URL_SAFE_NO_PAD.encode(sealed.file_enc_sha256);
        let url = Some(format!("https://{}{PATH}{token}", self.files.host));
        let direct_path = Some(format!("{PATH}{token}"));
        self.files.put(token, sealed.data_to_upload.into());
        let Medium { kind, mimetype, caption, file_name, bytes } = medium;
        // The five have the same fields, and share no type.
        macro_rules! with {
            ($message:ident { $($field:ident: $value:expr),* }) => {
                MessageField::some(wa::message::$message {
                    url,
                    direct_path,
                    mimetype: Some(mimetype),
                    media_key: Some(sealed.media_key.to_vec()),
                    file_sha256: Some(sealed.file_sha256.to_vec()),
                    file_enc_sha256: Some(sealed.file_enc_sha256.to_vec()),
                    file_length: Some(bytes.len() as u64),
                    media_key_timestamp: Some(i64::try_from(now_seconds()).unwrap_or_default()),
                    $($field: $value,)*
                    ..Default::default()
                })
            };
        }
        let mut message = wa::Message::default();
        match kind {
            MediaKind::Image => message.image_message = with!(ImageMessage { caption: caption }),
            MediaKind::Video => message.video_message = with!(VideoMessage { caption: caption }),
            MediaKind::Audio => message.audio_message = with!(AudioMessage {}),
            MediaKind::Document => {
                message.document_message = with!(DocumentMessage { caption: caption, file_name: file_name });
            }
            MediaKind::Sticker => message.sticker_message = with!(StickerMessage {}),
        }
        Ok(message)
    }
}

/// `type` of the stanza of a message.
pub(super) fn stanza_type(message: &wa::Message) -> &'static str {
    let base = message.get_base_message();
    let media = base.image_message.is_set()
        || base.video_message.is_set()
        || base.audio_message.is_set()
        || base.document_message.is_set()
        || base.sticker_message.is_set();
    if media { "media" } else { "text" }
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    token: String,
    /// Asks how far an earlier upload came.
    resume: Option<String>,
}

/// The routes of the media server.
pub(super) fn router(handle: Handle) -> Router {
    Router::new()
        .route("/mms/{kind}/{token}", post(upload))
        .route(&format!("{PATH}{{token}}"), get(download))
        .layer(DefaultBodyLimit::max(LARGEST))
        .with_state(handle)
}

async fn upload(
    State(handle): State<Handle>,
    Path((kind, token)): Path<(String, String)>,
    Query(asked): Query<Asked>,
    file: Bytes,
) -> Response {
    match handle.0.with(|world| world.take_fault(When::Upload, None)) {
        None => {}
        Some(Action::Http { status }) => {
            return StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY).into_response();
        }
        // Silence: until the client gives up.
        Some(_) => std::future::pending().await,
    }
    handle.0.with(|world| {
        if asked.auth != world.files.auth {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        let direct_path = format!("{PATH}{token}");
        let url = format!("https://{}{direct_path}", world.files.host);
        if asked.resume.is_some() {
            return if world.files.by_token.contains_key(&token) {
                axum::Json(json!({ "resume": "complete", "url": url, "direct_path": direct_path }))
                    .into_response()
            } else {
                axum::Json(json!({ "resume": "0" })).into_response()
            };
        }
        // As on WhatsApp's server the token is the hash of what is sent.
        if token != asked.token || token != URL_SAFE_NO_PAD.encode(Sha256::digest(&file)) {
            return (StatusCode::BAD_REQUEST, "the hash is another one").into_response();
        }
        world.counters.uploads += 1;
        world.event(What::Uploaded { kind, bytes: file.len() });
        world.files.put(token, file);
        axum::Json(json!({ "url": url, "direct_path": direct_path })).into_response()
    })
}

async fn download(
    State(handle): State<Handle>,
    Path(token): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    handle.0.read(|world| match world.files.by_token.get(&token) {
        _ if asked.token != token => StatusCode::FORBIDDEN.into_response(),
        // Real hosts let in those without; a wrong one they refuse.
        _ if !asked.auth.is_empty() && asked.auth != world.files.auth => {
            StatusCode::UNAUTHORIZED.into_response()
        }
        Some(file) => ([(header::CONTENT_TYPE, "application/octet-stream")], file.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    })
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::identity::ServerIdentity;
    use std::sync::Arc;

    fn world() -> World {
        World::new(Arc::new(ServerIdentity::generate(1_800_000_000).expect("keys")))
    }

    #[test]
    fn what_a_phone_sends_opens_again_and_what_was_changed_does_not() {
        let mut world = world();
        for kind in
            [MediaKind::Image, MediaKind::Video, MediaKind::Audio, MediaKind::Document, MediaKind::Sticker]
        {
            let bytes = format!("{kind:?} of some bytes").into_bytes();
            let medium = Medium {
                kind,
                mimetype: "a/b".into(),
                caption: Some("look".into()),
                file_name: Some("a.txt".into()),
                bytes: bytes.clone(),
            };
            let message = world.message_with(medium).expect("is encrypted");
            assert_eq!(stanza_type(&message), "media");
            let seen = world.media(&message).expect("a medium");
            assert_eq!((seen.kind, seen.problem, seen.size), (kind, None, bytes.len() as u64));
            assert_eq!(seen.sha256, hex(&Sha256::digest(&bytes)));
        }
        for token in world.files.by_token.keys().cloned().collect::<Vec<_>>() {
            world.files.by_token.insert(token, Bytes::from_static(b"something else, and longer"));
        }
        let medium = Medium {
            kind: MediaKind::Image,
            mimetype: "a/b".into(),
            caption: None,
            file_name: None,
            bytes: vec![1; 100],
        };
        let message = world.message_with(medium).expect("is encrypted");
        let mut forged = message.clone();
        forged.image_message.as_option_mut().expect("an image").file_sha256 = Some(vec![0; 32]);
        let problem = world.media(&forged).expect("a medium").problem;
        assert_eq!(problem.as_deref(), Some("the hash of the file is another one"));
        world.files.by_token.clear();
        assert_eq!(
            world.media(&message).expect("a medium").problem.as_deref(),
            Some("there is no such file")
        );
    }

    #[test]
    fn old_files_go_when_there_are_too_many_bytes() {
        let mut files = Files::default();
        let third = Bytes::from(vec![0; KEPT / 3]);
        for token in ["a", "b", "a", "c", "d"] {
            files.put(token.into(), third.clone());
        }
        let mut kept: Vec<_> = files.by_token.keys().map(String::as_str).collect();
        kept.sort_unstable();
        assert_eq!(kept, ["b", "c", "d"]);
        assert_eq!(files.bytes, 3 * (KEPT / 3));
    }
}
