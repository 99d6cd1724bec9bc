//! What the webhook is sent for a message.

use std::fmt::Write as _;

use serde::Serialize;
use sha2::{Digest, Sha256};
use wacore::proto_helpers::MessageExt;
use wacore::types::events::InboundMessage;
use waproto::whatsapp as wa;

use crate::store::InboxMessage;

/// An event; documented in docs/webhooks.md.
#[derive(Debug, Serialize)]
struct Event<'a> {
    id: String,
    r#type: &'static str,
    bot: &'a str,
    message: Message<'a>,
}

#[derive(Debug, Serialize)]
struct Message<'a> {
    id: &'a str,
    chat: &'a str,
    sender: &'a str,
    push_name: &'a str,
    group: bool,
    at: chrono::DateTime<chrono::Utc>,
    kind: &'static str,
    /// Of a medium its caption.
    text: &'a str,
    #[serde(flatten)]
    file: File<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quoted: Option<Quoted<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reaction: Option<Reaction<'a>>,
}

/// The file of a medium, as the sender describes it.
#[derive(Debug, Default, Serialize)]
struct File<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    mimetype: Option<&'a str>,
    /// In bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// Of a document.
    #[serde(skip_serializing_if = "Option::is_none")]
    file_name: Option<&'a str>,
    /// Of an audio: it was recorded on the phone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    voice: bool,
    /// Where the API has the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    download: Option<String>,
}

#[derive(Debug, Serialize)]
struct Quoted<'a> {
    id: &'a str,
    sender: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Reaction<'a> {
    /// Empty when it was taken back.
    emoji: &'a str,
    /// The id of the message.
    to: Option<&'a str>,
}

/// The JSON to post, byte for byte the same at every try. `reference` is that of its file, sealed.
pub fn body(bot: &str, row: &InboxMessage, inbound: &InboundMessage, reference: Option<&str>) -> Vec<u8> {
    let base = inbound.message.get_base_message();
    let (kind, mut file) = kind(base);
    file.download = reference.map(|sealed| format!("/api/v1/bots/{bot}/received/{sealed}"));
    let context = base.extended_text_message.as_option().and_then(|text| text.context_info.as_option());
    let quoted = context.and_then(|context| {
        Some(Quoted { id: context.stanza_id.as_deref()?, sender: context.participant.as_deref() })
    });
    let reaction = base.reaction_message.as_option().map(|reaction| Reaction {
        emoji: reaction.text.as_deref().unwrap_or_default(),
        to: reaction.key.as_option().and_then(|key| key.id.as_deref()),
    });
    let text = match base.text_content() {
        Some(text) => text,
        None => base.get_caption().unwrap_or_default(),
    };
    let event = Event {
        id: event_id(bot, row),
        r#type: "message",
        bot,
        message: Message {
            id: &row.id,
            chat: &row.chat,
            sender: &row.sender,
            push_name: &row.push_name,
            group: row.chat.ends_with("@g.us"),
            at: row.at,
            kind,
            text,
            file,
            quoted,
            reaction,
        },
    };
    serde_json::to_vec(&event).unwrap_or_else(|_| unreachable!("strings and booleans are JSON"))
}

/// The word of a message's kind, and its file.
fn kind(message: &wa::Message) -> (&'static str, File<'_>) {
    // The five have the same fields, and share no type.
    macro_rules! file {
        ($medium:ident $(, $field:ident: $value:expr)*) => {
            File { mimetype: $medium.mimetype.as_deref(), size: $medium.file_length, $($field: $value,)* ..File::default() }
        };
    }
    if let Some(image) = message.image_message.as_option() {
        return ("image", file!(image));
    }
    if let Some(video) = message.video_message.as_option().or(message.ptv_message.as_option()) {
        return ("video", file!(video));
    }
    if let Some(audio) = message.audio_message.as_option() {
        return ("audio", file!(audio, voice: audio.ptt.unwrap_or(false)));
    }
    if let Some(document) = message.document_message.as_option() {
        return ("document", file!(document, file_name: document.file_name.as_deref()));
    }
    if let Some(sticker) = message.sticker_message.as_option() {
        return ("sticker", file!(sticker));
    }
    let kind = if message.reaction_message.is_set() {
        "reaction"
    } else if message.location_message.is_set() || message.live_location_message.is_set() {
        "location"
    } else if message.contact_message.is_set() || message.contacts_array_message.is_set() {
        "contact"
    } else if message.text_content().is_some() {
        "text"
    } else {
        "other"
    };
    (kind, File::default())
}

/// Names an event for ever, so that a receiver knows one that comes twice.
fn event_id(bot: &str, message: &InboxMessage) -> String {
    let mut hash = Sha256::new();
    for part in [bot, &message.chat, &message.sender, &message.id] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize()[..16].iter().fold(String::with_capacity(32), |mut id, byte| {
        // Writing to a string cannot fail.
        let _ = write!(id, "{byte:02x}");
        id
    })
}

/// The id of an event, from its body.
pub fn id_of(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Id {
        id: String,
    }
    serde_json::from_slice::<Id>(body).map(|found| found.id).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::Value;
    use wacore::proto_helpers::MessageBuilderExt;
    use wacore::types::message::MessageInfo;
    use whatsapp_rust::buffa::MessageField;

    use super::*;

    fn json(message: wa::Message) -> Value {
        let row = InboxMessage {
            chat: "123-456@g.us".into(),
            sender: "4915550001@s.whatsapp.net".into(),
            id: "A1".into(),
            at: chrono::DateTime::from_timestamp(1_700_000_000, 0).expect("a time"),
            push_name: "Ada".into(),
            text: String::new(),
        };
        let inbound = InboundMessage::builder()
            .message(Arc::new(message))
            .info(Arc::new(MessageInfo::default()))
            .build();
        let bytes = body("main", &row, &inbound, None);
        let json: Value = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!(json["id"], id_of(&bytes));
        json
    }

    #[test]
    fn a_text_says_who_where_and_what() {
        let json = json(wa::Message::text("hello"));
        assert_eq!((&json["type"], &json["bot"]), (&"message".into(), &"main".into()));
        let message = &json["message"];
        assert_eq!(message["kind"], "text");
        assert_eq!((&message["text"], &message["group"]), (&"hello".into(), &true.into()));
        assert_eq!(message["at"], "2023-11-14T22:13:20Z");
        assert!(message.get("mimetype").is_none() && message.get("quoted").is_none(), "{json}");
    }

    #[test]
    fn a_picture_has_its_caption_and_a_reaction_its_message() {
        let image = wa::message::ImageMessage {
            caption: Some("look".into()),
            mimetype: Some("image/png".into()),
            file_length: Some(1234),
            ..Default::default()
        };
        let message = wa::Message { image_message: MessageField::some(image), ..Default::default() };
        let json_ = json(message);
        assert_eq!(json_["message"]["kind"], "image");
        assert_eq!(json_["message"]["text"], "look");
        assert_eq!(json_["message"]["mimetype"], "image/png");
        assert_eq!(json_["message"]["size"], 1234);
        assert!(json_["message"].get("voice").is_none(), "{json_}");
        let document =
            wa::message::DocumentMessage { file_name: Some("bill.pdf".into()), ..Default::default() };
        let message = wa::Message { document_message: MessageField::some(document), ..Default::default() };
        assert_eq!(json(message)["message"]["file_name"], "bill.pdf");
        let audio = wa::message::AudioMessage { ptt: Some(true), ..Default::default() };
        let message = wa::Message { audio_message: MessageField::some(audio), ..Default::default() };
        assert_eq!(json(message)["message"]["voice"], true);
        let reaction = wa::message::ReactionMessage { text: Some("👍".into()), ..Default::default() };
        let message = wa::Message { reaction_message: MessageField::some(reaction), ..Default::default() };
        let json = json(message);
        assert_eq!(json["message"]["kind"], "reaction");
        assert_eq!(json["message"]["reaction"]["emoji"], "👍");
    }
}
