//! The shapes of the API; the OpenAPI document is made from them.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::bot::call::{Call, Typing};
use crate::bot::outgoing::{Content, Medium, Quoted, Source, What};
use crate::config::ChatAddress;
use crate::media::Kind;
use crate::runtime::status::BotStatus;
use crate::store::{Chat, OutgoingStatus};

/// Longest text, in characters; WhatsApp cuts longer ones.
const LONGEST_TEXT: usize = 65_536;
/// Longest caption, in characters.
const LONGEST_CAPTION: usize = 4_096;
/// Longest name of a document, in characters.
const LONGEST_NAME: usize = 255;
/// Longest emoji, in characters: some are made of many parts.
const LONGEST_EMOJI: usize = 64;

/// A phone number with country code, as people write it.
const NUMBER: &str = r"^\+?[1-9]([-. ()/]*[0-9]){6,14}$";
/// The same, or the address of a person.
const PERSON: &str = r"^\+?[1-9]([-. ()/]*[0-9]){6,14}$|^[0-9-]{3,40}@(s\.whatsapp\.net|lid)$";
/// The same, or the address of a group.
const CHAT: &str = r"^\+?[1-9]([-. ()/]*[0-9]){6,14}$|^[0-9-]{3,40}@(s\.whatsapp\.net|lid|g\.us)$";
/// The id of a message.
const ID: &str = r"^[A-Za-z0-9._-]{1,128}$";
/// Not blank, and no control characters but tabs and line breaks.
const TEXT: &str = concat!(
    r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*",
    r"[^\s\x00-\x1f\x7f-\x9f]",
    r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"
);

/// A message to be sent: a `text`, `media`, or a `reaction` to another message.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend(
    "oneOf" = [
        {
            "required": ["text"],
            "properties": { "text": { "type": "string" }, "media": { "type": "null" }, "reaction": { "type": "null" } },
        },
        {
            "required": ["media"],
            "properties": { "media": { "type": "object" }, "text": { "type": "null" }, "reaction": { "type": "null" } },
        },
        {
            "required": ["reaction"],
            "properties": {
                "reaction": { "type": "object" }, "text": { "type": "null" }, "media": { "type": "null" },
                "reply_to": { "type": "null" },
            },
        },
    ],
    // In a group somebody must have written it.
    "if" = { "properties": { "to": { "pattern": "@g\\.us$" } } },
    "then" = { "properties": {
        "reply_to": { "anyOf": [{ "type": "null" }, { "required": ["from"], "properties": { "from": { "type": "string" } } }] },
        "reaction": { "anyOf": [
            { "type": "null" },
            { "required": ["own"], "properties": { "own": { "const": true } } },
            { "properties": { "to": { "required": ["from"], "properties": { "from": { "type": "string" } } } } },
        ] },
    } },
))]
pub struct NewMessage {
    /// A phone number with country code ("+4915112345678"), or the address of a chat ("…@g.us").
    #[schemars(length(max = 64), regex(pattern = CHAT))]
    pub to: String,
    /// The text.
    #[schemars(length(min = 1, max = 65_536), regex(pattern = TEXT))]
    pub text: Option<String>,
    /// A file in place of a text.
    #[serde(default, deserialize_with = "object")]
    pub media: Option<NewMedia>,
    /// The message that `text` or `media` answers.
    #[serde(default, deserialize_with = "object")]
    pub reply_to: Option<Reference>,
    /// A reaction in place of a text.
    #[serde(default, deserialize_with = "object")]
    pub reaction: Option<Reaction>,
}

/// Another message of the chat.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Its id, as webhooks and this API give it.
    #[schemars(regex(pattern = ID))]
    pub id: String,
    /// Who wrote it: number or address. Not set: the other side of the chat.
    #[schemars(length(max = 64), regex(pattern = PERSON))]
    pub from: Option<String>,
    /// Its text, for the quote.
    #[schemars(length(max = 4_096))]
    pub text: Option<String>,
}

/// A file: uploaded before (`id`), or fetched now (`url`).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    { "required": ["id"], "properties": { "id": { "type": "string" }, "url": { "type": "null" } } },
    { "required": ["url"], "properties": { "url": { "type": "string" }, "id": { "type": "null" } } },
]))]
pub struct NewMedia {
    /// How it is shown. What is in the file must fit.
    pub kind: Kind,
    /// As the upload gave it.
    #[schemars(regex(pattern = r"^[A-Za-z0-9]{1,64}$"))]
    pub id: Option<String>,
    /// An https address on the public internet. It is fetched before the answer, within 20 s, without redirects.
    #[schemars(length(min = 9, max = 2_048))]
    pub url: Option<String>,
    /// The text with an image, a video or a document.
    #[schemars(length(min = 1, max = 4_096))]
    pub caption: Option<String>,
    /// Name of a document, as whoever gets it sees it.
    #[schemars(length(min = 1, max = 255))]
    pub file_name: Option<String>,
    /// An audio is shown as a voice message; it must be Opus in Ogg.
    #[serde(default)]
    pub voice: bool,
}

/// A file that was uploaded. It stays for a day after that or after its last use, and as long as a message waits for
/// it; any number of messages may be sent with it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Uploaded {
    /// For `media.id` of messages of this bot.
    pub id: String,
    /// What the file itself says it is.
    pub mimetype: String,
    /// In bytes.
    pub size: u64,
    /// In hexadecimal.
    pub sha256: String,
}

/// A reaction.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reaction {
    /// One emoji; empty takes an earlier reaction back.
    #[schemars(length(max = 64), regex(pattern = r"^\S*$"))]
    pub emoji: String,
    /// The message it is for.
    #[serde(deserialize_with = "only_object")]
    pub to: Reference,
    /// The bot itself wrote that message.
    #[serde(default)]
    pub own: bool,
}

/// How a message stands.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Sent {
    /// Its id, here and at WhatsApp.
    pub id: String,
    pub status: SendState,
    /// Why it was given up.
    pub detail: Option<String>,
    pub accepted_at: DateTime<Utc>,
    /// When WhatsApp had it, or when it was given up.
    pub ended_at: Option<DateTime<Utc>>,
}

/// Where a message is.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SendState {
    /// Stored; it goes out when the link is open.
    Queued,
    /// WhatsApp has it.
    Sent,
    /// Given up.
    Failed,
}

/// What a chat shows of the bot.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTyping {
    /// A phone number with country code, or the address of a chat.
    #[schemars(length(max = 64), regex(pattern = CHAT))]
    pub to: String,
    pub state: Typing,
}

/// Messages that were read.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend(
    "if" = { "properties": { "chat": { "pattern": "@g\\.us$" } } },
    "then" = { "required": ["from"], "properties": { "from": { "type": "string" } } },
))]
pub struct NewRead {
    /// The chat: number or address.
    #[schemars(length(max = 64), regex(pattern = CHAT))]
    pub chat: String,
    /// Who wrote them; needed in a group.
    #[schemars(length(max = 64), regex(pattern = PERSON))]
    pub from: Option<String>,
    /// Their ids.
    #[schemars(length(min = 1, max = 256), inner(regex(pattern = ID)))]
    pub ids: Vec<String>,
}

/// Numbers to look for on WhatsApp.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContactQuery {
    /// Phone numbers with country code.
    #[schemars(length(min = 1, max = 50), inner(length(max = 64), regex(pattern = PERSON)))]
    pub numbers: Vec<String>,
}

/// The number of the phone that is to be linked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PairingCodeQuery {
    /// With country code.
    #[schemars(length(max = 64), regex(pattern = NUMBER))]
    pub phone: String,
}

/// A code to type into the phone.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct PairingCode {
    /// Eight letters and digits: WhatsApp, Linked devices, Link a device, Link with phone number instead.
    pub code: String,
}

/// How the pairing stands.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Pairing {
    /// The state of the link, as in the list of bots.
    pub state: &'static str,
    /// The QR code that waits to be scanned.
    pub qr: Option<Qr>,
}

/// A QR code.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Qr {
    /// What the code says.
    pub payload: String,
    pub expires_at: DateTime<Utc>,
}

/// The groups of the account.
#[derive(Debug, Serialize, JsonSchema)]
pub struct GroupList {
    pub groups: Vec<Group>,
}

/// A group.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    /// What to send to.
    pub address: String,
    pub subject: String,
    pub description: Option<String>,
    pub participants: u32,
    /// Only admins may write.
    pub announcement: bool,
}

/// What WhatsApp says about numbers, in the order asked.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ContactList {
    pub contacts: Vec<Contact>,
}

/// A number.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Contact {
    pub address: String,
    pub on_whatsapp: bool,
    pub business: bool,
    /// Its hidden address, when WhatsApp tells it.
    pub lid: Option<String>,
}

/// The chats that wrote, the latest first.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ChatList {
    pub chats: Vec<SeenChat>,
}

/// A chat that wrote in the last days.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SeenChat {
    pub address: String,
    pub group: bool,
    pub last_message_at: DateTime<Utc>,
    /// Inbound messages that are still in the database.
    pub messages: u64,
}

impl From<Chat> for SeenChat {
    fn from(chat: Chat) -> Self {
        let group = chat.address.ends_with("@g.us");
        Self { address: chat.address, group, last_message_at: chat.last_at, messages: chat.messages }
    }
}

impl NewTyping {
    pub fn call(self) -> Result<Call, String> {
        Ok(Call::Typing { chat: address(&self.to, "to")?, state: self.state })
    }
}

impl NewRead {
    pub fn call(self) -> Result<Call, String> {
        let chat = address(&self.chat, "chat")?;
        if !(1..=256).contains(&self.ids.len()) {
            return Err("ids must have 1 to 256 ids".to_owned());
        }
        for id in &self.ids {
            message_id(id)?;
        }
        let sender = self.from.map(|from| person(&from, "from")).transpose()?;
        match sender {
            None if chat.ends_with("@g.us") => {
                Err("in a group, from must say who wrote the messages".to_owned())
            }
            // In a chat of two the chat says it.
            sender => {
                Ok(Call::Read { sender: sender.filter(|_| chat.ends_with("@g.us")), chat, ids: self.ids })
            }
        }
    }
}

impl ContactQuery {
    pub fn call(self) -> Result<Call, String> {
        if !(1..=50).contains(&self.numbers.len()) {
            return Err("numbers must have 1 to 50 numbers".to_owned());
        }
        let addresses = self.numbers.iter().map(|number| person(number, "each of numbers"));
        Ok(Call::Contacts { addresses: addresses.collect::<Result<_, _>>()? })
    }
}

impl PairingCodeQuery {
    pub fn call(self) -> Result<Call, String> {
        match ChatAddress::digits_of(&self.phone).filter(|_| self.phone.len() <= 64) {
            Some(phone) => Ok(Call::PairingCode { phone }),
            None => {
                Err("phone must be a phone number with country code, such as \"+4915112345678\"".to_owned())
            }
        }
    }
}

/// The bots.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BotList {
    pub bots: Vec<Bot>,
}

/// A bot and its link.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Bot {
    pub name: String,
    /// "native" or "hosted".
    pub kind: &'static str,
    /// "open", "pairing", "connecting", "backing_off", "parked", "standby" and so on, as in /status.
    pub state: &'static str,
    pub since: DateTime<Utc>,
    pub open_since: Option<DateTime<Utc>>,
}

impl Bot {
    pub fn of(name: &str, bot: &BotStatus) -> Self {
        let bot = bot.shown();
        Self {
            name: name.to_owned(),
            kind: if bot.hosted.is_some() { "hosted" } else { "native" },
            state: bot.state.name(),
            since: bot.since,
            open_since: bot.open_since,
        }
    }
}

impl Sent {
    /// One that was just accepted.
    pub fn queued(id: String, at: DateTime<Utc>) -> Self {
        Self { id, status: SendState::Queued, detail: None, accepted_at: at, ended_at: None }
    }

    pub fn of(id: String, status: OutgoingStatus) -> Self {
        Self {
            id,
            status: match status.sent {
                None => SendState::Queued,
                Some(true) => SendState::Sent,
                Some(false) => SendState::Failed,
            },
            detail: Some(status.detail).filter(|detail| !detail.is_empty()),
            accepted_at: status.created_at,
            ended_at: status.ended_at,
        }
    }
}

impl NewMessage {
    /// What is stored, or what is wrong.
    pub fn content(self) -> Result<Content, String> {
        let to = address(&self.to, "to")?;
        let what = match (self.text, self.media, self.reaction) {
            (Some(text), None, None) => {
                let length = text.chars().count();
                if text.trim().is_empty() || length > LONGEST_TEXT {
                    return Err(format!("text must have 1 to {LONGEST_TEXT} characters and not only blanks"));
                }
                if text.chars().any(|c| c.is_control() && !"\n\r\t".contains(c)) {
                    return Err(
                        "text must be without control characters, line breaks and tabs aside".to_owned()
                    );
                }
                let quotes = self.reply_to.map(|reference| reference.quoted(&to, false)).transpose()?;
                What::Text { text, quotes }
            }
            (None, Some(media), None) => {
                let quotes = self.reply_to.map(|reference| reference.quoted(&to, false)).transpose()?;
                What::Media(media.medium(quotes)?)
            }
            (None, None, Some(_)) if self.reply_to.is_some() => {
                return Err(
                    "reply_to belongs to a text or media; a reaction names its message in reaction.to".into(),
                );
            }
            (None, None, Some(Reaction { emoji, to: of, own })) => {
                if emoji.chars().count() > LONGEST_EMOJI || emoji.chars().any(char::is_whitespace) {
                    return Err("reaction.emoji must be one emoji, or empty".to_owned());
                }
                What::Reaction { emoji, of: of.quoted(&to, own)? }
            }
            (None, None, None) => return Err("nothing to send: set text, media or reaction".to_owned()),
            _ => return Err("one of text, media and reaction, not both".to_owned()),
        };
        Ok(Content { to, what })
    }
}

impl NewMedia {
    fn medium(self, quotes: Option<Quoted>) -> Result<Medium, String> {
        let Self { kind, id, url, caption, file_name, voice } = self;
        let source = match (id, url) {
            (Some(id), None)
                if (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric()) =>
            {
                Source::Upload(id)
            }
            (Some(_), None) => return Err("media.id is not one that an upload gave".to_owned()),
            (None, Some(url)) => Source::Url(url),
            (Some(_), Some(_)) => return Err("media has an id or a url, not both".to_owned()),
            (None, None) => {
                return Err("media needs the id of an upload (POST …/media), or a url".to_owned());
            }
        };
        let plain = |text: &str| !text.chars().any(|c| c.is_control() && !"\n\r\t".contains(c));
        if let Some(caption) = &caption {
            if !kind.has_caption() {
                return Err(format!("WhatsApp shows no caption with media.kind {:?}", kind.word()));
            }
            if caption.trim().is_empty() || caption.chars().count() > LONGEST_CAPTION || !plain(caption) {
                return Err(format!(
                    "media.caption must have 1 to {LONGEST_CAPTION} characters, not only blanks, and no control characters"
                ));
            }
        }
        if let Some(name) = &file_name {
            if kind != Kind::Document {
                return Err("media.file_name belongs to a document".to_owned());
            }
            let bad = |c: char| c.is_control() || "/\\".contains(c);
            if name.trim().is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(bad) {
                return Err(format!(
                    "media.file_name must have 1 to {LONGEST_NAME} characters and be a name without a path"
                ));
            }
        }
        if voice && kind != Kind::Audio {
            return Err("media.voice belongs to an audio".to_owned());
        }
        Ok(Medium { kind, source, caption, file_name, voice, quotes })
    }
}

impl Reference {
    fn quoted(self, chat: &str, own: bool) -> Result<Quoted, String> {
        message_id(&self.id)?;
        let text = self.text.unwrap_or_default();
        if text.chars().count() > 4096 {
            return Err("the text of the quote must have at most 4096 characters".to_owned());
        }
        let from = match self.from.map(|from| person(&from, "from")).transpose()? {
            _ if own => None,
            Some(from) => Some(from),
            None if chat.ends_with("@g.us") => {
                return Err("in a group, from must say who wrote the other message".to_owned());
            }
            None => Some(chat.to_owned()),
        };
        Ok(Quoted { id: self.id, from, text })
    }
}

/// Read from an object only: what is derived reads from a list of its fields as well.
pub fn only_object<'de, T: DeserializeOwned, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let object = Map::deserialize(deserializer)?;
    serde_json::from_value(Value::Object(object)).map_err(de::Error::custom)
}

fn object<'de, T: DeserializeOwned, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    let Some(object) = Option::<Map<String, Value>>::deserialize(deserializer)? else { return Ok(None) };
    serde_json::from_value(Value::Object(object)).map_err(de::Error::custom)
}

fn message_id(id: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match (1..=128).contains(&id.len()) && id.chars().all(plain) {
        true => Ok(()),
        false => Err("the id of the other message is not one of WhatsApp's".to_owned()),
    }
}

/// The address of a number, or the address itself.
fn address(text: &str, key: &str) -> Result<String, String> {
    ChatAddress::jid_of(text).filter(|_| text.len() <= 64).ok_or_else(|| {
        format!(
            "{key} must be a phone number with country code, such as \"+4915112345678\", or the address of a chat, such \
             as \"120363000000000000@g.us\""
        )
    })
}

/// The same of a person.
fn person(text: &str, key: &str) -> Result<String, String> {
    match address(text, key)? {
        group if group.ends_with("@g.us") => Err(format!("{key} must be a person's, not a group's")),
        person => Ok(person),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(json: &str) -> Result<Content, String> {
        let message: NewMessage = serde_json::from_str(json).map_err(|error| error.to_string())?;
        message.content()
    }

    #[test]
    fn numbers_and_addresses_are_understood() {
        for (text, expected) in [
            ("+49 151 1234-5678", "4915112345678@s.whatsapp.net"),
            ("4915112345678", "4915112345678@s.whatsapp.net"),
            ("120363000000000000@g.us", "120363000000000000@g.us"),
            ("99887766@lid", "99887766@lid"),
        ] {
            assert_eq!(address(text, "to").as_deref(), Ok(expected), "{text}");
        }
        for text in
            ["", "0151 234567", "hello", "1@s.whatsapp.net", "x@g.us", "491511@example.com", "+49151x"]
        {
            assert!(address(text, "to").is_err(), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused_with_its_reason() {
        for (json, part) in [
            (r#"{"to":"+4915112345678"}"#, "nothing to send"),
            (r#"{"to":"+4915112345678","text":"  "}"#, "text must have"),
            (r#"{"to":"x","text":"hi"}"#, "to must be"),
            (r#"{"to":"+4915112345678","text":"hi","reaction":{"emoji":"👍","to":{"id":"A"}}}"#, "not both"),
            (r#"{"to":"+4915112345678","text":"hi","dance":1}"#, "unknown field"),
            (r#"{"to":"+4915112345678","text":"hi","media":{"kind":"image","id":"a"}}"#, "not both"),
            (r#"{"to":"+4915112345678","media":{"kind":"gif","id":"a"}}"#, "unknown variant"),
            (r#"{"to":"+4915112345678","media":{"kind":"image"}}"#, "needs the id"),
            (r#"{"to":"+4915112345678","media":{"kind":"image","id":"a","url":"b"}}"#, "an id or a url"),
            (r#"{"to":"+4915112345678","media":{"kind":"image","id":"../x"}}"#, "not one that an upload"),
            (
                r#"{"to":"+4915112345678","media":{"kind":"image","id":"a","voice":true}}"#,
                "belongs to an audio",
            ),
            (
                r#"{"to":"+4915112345678","media":{"kind":"audio","id":"a","caption":"x"}}"#,
                "shows no caption",
            ),
            (r#"{"to":"+4915112345678","media":{"kind":"image","id":"a","caption":" "}}"#, "media.caption"),
            (r#"{"to":"+4915112345678","media":{"kind":"image","id":"a","file_name":"x"}}"#, "to a document"),
            (
                r#"{"to":"+4915112345678","media":{"kind":"document","id":"a","file_name":"a/b"}}"#,
                "without a path",
            ),
            (r#"{"to":"+4915112345678","text":"hi","reply_to":{"id":"A/B"}}"#, "not one of WhatsApp's"),
            (r#"{"to":"12036300@g.us","text":"hi","reply_to":{"id":"A"}}"#, "in a group"),
            (r#"{"to":"+4915112345678","reaction":{"emoji":"a b","to":{"id":"A"}}}"#, "one emoji"),
        ] {
            let refused = content(json).expect_err(json);
            assert!(refused.contains(part), "{json}: {refused}");
        }
    }

    #[test]
    fn a_reaction_to_ones_own_message_has_no_author() {
        let json = r#"{"to":"+4915112345678","reaction":{"emoji":"🎉","to":{"id":"3EB0AA"},"own":true}}"#;
        let What::Reaction { of, emoji, .. } = content(json).expect("good").what else {
            panic!("a reaction")
        };
        assert_eq!((of.from, emoji.as_str()), (None, "🎉"));
    }
}
