//! A message that a program wants sent, as the outbox keeps it.

use serde::{Deserialize, Serialize};
use wacore::proto_helpers::{MessageBuilderExt, build_quote_context, build_reaction_message};
use waproto::whatsapp as wa;

use crate::media::Kind;

/// What is sent, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Address of the chat: `…@s.whatsapp.net`, `…@g.us` or `…@lid`.
    pub to: String,
    pub what: What,
}

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    Text {
        text: String,
        /// The message it answers.
        quotes: Option<Quoted>,
    },
    Reaction {
        /// Empty takes a reaction back.
        emoji: String,
        of: Quoted,
    },
    Media(Medium),
}

/// A file, and how it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Medium {
    pub kind: Kind,
    pub source: Source,
    pub caption: Option<String>,
    pub file_name: Option<String>,
    /// An audio is shown as recorded on the phone.
    pub voice: bool,
    /// The message it answers.
    pub quotes: Option<Quoted>,
}

/// Where a file came from. It is stored when the message is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// It was uploaded before, under this id.
    Upload(String),
    /// It was fetched for this message alone.
    Url(String),
}

/// A message on its way to WhatsApp.
#[derive(Debug)]
pub enum Made<'c> {
    /// It is whole.
    Whole(Box<wa::Message>),
    /// Its file has to be uploaded first.
    Needs(&'c Medium),
}

/// A message that another one is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quoted {
    pub id: String,
    /// Who wrote it; `None` for the bot itself.
    pub from: Option<String>,
    /// Its text, as the quote shows it.
    pub text: String,
}

/// An id for a new message, in the form of WhatsApp Web's.
pub fn message_id() -> String {
    let mut id = String::from("3EB0");
    for byte in rand::random::<[u8; 9]>() {
        id.push_str(&format!("{byte:02X}"));
    }
    id
}

impl Content {
    /// As it is stored.
    pub fn text(&self) -> String {
        // Strings and numbers only: it cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// From what is stored; `None` for what a later version wrote.
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// As WhatsApp has it, or what it still needs; `at` is when it was asked for, in milliseconds since 1970: the same each time it is sent.
    pub fn message(&self, at: i64) -> Made<'_> {
        let whole = match &self.what {
            What::Media(medium) => return Made::Needs(medium),
            What::Text { text, quotes: None } => wa::Message::text(text.as_str()),
            What::Text { text, quotes: Some(quoted) } => {
                wa::Message::text_with_context(text.as_str(), self.quote(quoted))
            }
            What::Reaction { emoji, of } => {
                let key = wa::MessageKey {
                    remote_jid: Some(self.to.clone()),
                    from_me: Some(of.from.is_none()),
                    id: Some(of.id.clone()),
                    participant: of.from.clone().filter(|_| self.to.ends_with("@g.us")),
                };
                build_reaction_message(key, emoji.as_str(), at)
            }
        };
        Made::Whole(Box::new(whole))
    }

    /// What makes a message an answer to another one.
    pub fn quote(&self, quoted: &Quoted) -> wa::ContextInfo {
        let sender = quoted.from.clone().unwrap_or_else(|| self.to.clone());
        build_quote_context(&quoted.id, sender, &wa::Message::text(quoted.text.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use wacore::proto_helpers::MessageExt as _;

    use super::*;

    fn whole(content: &Content) -> wa::Message {
        match content.message(5) {
            Made::Whole(message) => *message,
            Made::Needs(medium) => panic!("{medium:?}"),
        }
    }

    #[test]
    fn what_is_stored_reads_back_and_becomes_a_message() {
        let to = "4915550001@s.whatsapp.net".to_owned();
        let quoted = Quoted { id: "A1".into(), from: Some(to.clone()), text: "how are you?".into() };
        let plain = Content { to: to.clone(), what: What::Text { text: "hi".into(), quotes: None } };
        assert_eq!(whole(&plain).conversation.as_deref(), Some("hi"));
        let reply = What::Text { text: "fine".into(), quotes: Some(quoted.clone()) };
        let reply = Content { to: to.clone(), what: reply };
        let message = whole(&reply);
        assert_eq!(message.text_content(), Some("fine"));
        let extended = message.extended_text_message.as_option().expect("extended");
        let context = extended.context_info.as_option().expect("a quote");
        assert_eq!((context.stanza_id.as_deref(), context.participant.as_deref()), (Some("A1"), Some(&*to)));
        let reaction =
            Content { to: to.clone(), what: What::Reaction { emoji: "👍".into(), of: quoted.clone() } };
        let message = whole(&reaction);
        let sent = message.reaction_message.as_option().expect("a reaction");
        assert_eq!((sent.text.as_deref(), sent.sender_timestamp_ms), (Some("👍"), Some(5)));
        let medium = Medium {
            kind: Kind::Audio,
            source: Source::Upload("0f".into()),
            caption: None,
            file_name: None,
            voice: true,
            quotes: Some(quoted),
        };
        let medium = Content { to, what: What::Media(medium) };
        assert!(matches!(medium.message(5), Made::Needs(needed) if needed.kind == Kind::Audio));
        for content in [plain, reply, reaction, medium] {
            assert_eq!(Content::read(&content.text()), Some(content));
        }
        assert_eq!(Content::read("{\"to\":\"x\",\"what\":{\"dance\":{}}}"), None);
    }
}
