//! The message that goes with an uploaded file.

use waproto::buffa::MessageField;
use waproto::whatsapp as wa;
use waproto::whatsapp::message::{
    AudioMessage, DocumentMessage, FutureProofMessage, ImageMessage, StickerMessage, VideoMessage,
};
use whatsapp_rust::upload::UploadResponse;

use crate::media::Kind;

/// How a file is shown.
#[derive(Debug, Clone)]
pub struct Shown<'s> {
    pub kind: Kind,
    pub mimetype: &'s str,
    pub caption: Option<&'s str>,
    /// Of a document.
    pub file_name: Option<&'s str>,
    /// Of an audio: as recorded on the phone.
    pub voice: bool,
    /// What it answers.
    pub context: Option<wa::ContextInfo>,
}

/// Name of a document that has none.
const UNNAMED: &str = "document";

/// As WhatsApp has it.
pub fn message(shown: Shown<'_>, uploaded: UploadResponse) -> wa::Message {
    let Shown { kind, mimetype, caption, file_name, voice, context } = shown;
    let caption = caption.map(str::to_owned);
    let context = context.map_or_else(MessageField::none, MessageField::some);
    // The five have the same fields, and share no type.
    macro_rules! with {
        ($message:ident { $($field:ident: $value:expr),* }) => {
            MessageField::some($message {
                url: Some(uploaded.url),
                direct_path: Some(uploaded.direct_path),
                mimetype: Some(mimetype.to_owned()),
                media_key: Some(uploaded.media_key.to_vec()),
                media_key_timestamp: Some(uploaded.media_key_timestamp),
                file_sha256: Some(uploaded.file_sha256.to_vec()),
                file_enc_sha256: Some(uploaded.file_enc_sha256.to_vec()),
                file_length: Some(uploaded.file_length),
                context_info: context,
                $($field: $value,)*
                ..Default::default()
            })
        };
    }
    let mut message = wa::Message::default();
    match kind {
        Kind::Image => message.image_message = with!(ImageMessage { caption: caption }),
        Kind::Video => {
            message.video_message =
                with!(VideoMessage { caption: caption, streaming_sidecar: uploaded.streaming_sidecar });
        }
        Kind::Audio => {
            message.audio_message =
                with!(AudioMessage { ptt: Some(voice), streaming_sidecar: uploaded.streaming_sidecar });
        }
        Kind::Document => {
            let wrapped = caption.is_some();
            let name = file_name.unwrap_or(UNNAMED).to_owned();
            message.document_message =
                with!(DocumentMessage { caption: caption, title: Some(name.clone()), file_name: Some(name) });
            if wrapped {
                // Without it, clients leave the caption out.
                let inner = MessageField::some(message);
                message = wa::Message {
                    document_with_caption_message: MessageField::some(FutureProofMessage { message: inner }),
                    ..Default::default()
                };
            }
        }
        Kind::Sticker => message.sticker_message = with!(StickerMessage {}),
    }
    message
}
