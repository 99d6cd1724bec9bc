//! `[bots.NAME.commands]`: trigger → reply.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::de::DeValue;

use super::listing::Listing;
use super::problem::Problem;
use super::reader::{Origin, Reader, Setting, Table};
use super::suggest;
use super::values::form::{Contact, Trigger};
use super::values::list::List;
use super::values::template::{self, Template};
use super::values::{Value as _, kind_of};

/// Trigger → reply.
#[derive(Debug, Clone, Default)]
pub struct Commands {
    /// In front of every trigger, e.g. "!"; may be empty.
    pub prefix: String,
    /// Who may use the commands: phone numbers (digits only) or chat ids; empty means everybody.
    pub allow: Vec<String>,
    /// By trigger, without the prefix.
    pub replies: BTreeMap<String, Reply>,
}

/// What a trigger answers.
#[derive(Debug, Clone)]
pub struct Reply {
    /// With `{uptime}`, `{sender}`, `{args}` filled in; see [`Reply::fill`].
    pub text: String,
    /// Narrows the bot's allow-list for this trigger; `None` means the bot's own.
    pub allow: Option<Vec<String>>,
}

impl Reply {
    /// The text with `{uptime}`, `{sender}` and `{args}` filled in and `{{`, `}}` made braces.
    pub fn fill(&self, uptime: &str, sender: &str, args: &str) -> String {
        template::fill(&self.text, |name| match name {
            "uptime" => Some(uptime.into()),
            "sender" => Some(sender.into()),
            "args" => Some(args.into()),
            _ => None,
        })
    }
}

/// Phone numbers without "+", so that they compare with what WhatsApp sends.
pub(super) fn numbers<const MIN: usize>(list: List<Contact, MIN>) -> Vec<String> {
    list.0.into_iter().map(|contact| contact.0.trim_start_matches('+').to_owned()).collect()
}

/// Replies by trigger, with the place of the trigger.
#[derive(Debug, Default)]
pub(super) struct CommandsLayer(BTreeMap<String, (Origin, ReplyLayer)>);

#[derive(Debug, Default)]
struct ReplyLayer {
    reply: Setting<Template>,
    allow: Setting<List<Contact, 1>>,
}

impl CommandsLayer {
    pub(super) fn read(bot: &mut Table<'_, '_>) -> Self {
        let path = format!("{}.commands", bot.path());
        let found = bot.raw("commands");
        let reader = bot.reader();
        let mut table = reader.open(path.clone(), found, false);
        let entries = table.entries();
        let reader = table.reader();
        let mut commands = BTreeMap::new();
        for (trigger, key, value) in entries {
            if let Err(wrong) = Trigger::from_text(trigger) {
                let place = reader.key_place(&key);
                let what = format!("{path}: \"{}\" {}", suggest::showable(trigger), wrong.what);
                reader.push(Problem::error(place, &path, what, wrong.help));
                continue;
            }
            let path = format!("{path}.{}", suggest::showable(trigger));
            let layer = match value.get_ref() {
                DeValue::String(_) => {
                    ReplyLayer { reply: reader.file_value(&path, value), allow: Setting::Absent }
                }
                DeValue::Table(_) => {
                    let mut table = reader.open(path.clone(), Some((key.clone(), value)), false);
                    let layer = ReplyLayer { reply: table.key("reply"), allow: table.key("allow") };
                    table.finish();
                    if matches!(layer.reply, Setting::Absent) {
                        let place = reader.key_place(&key);
                        let help = format!("{trigger} = {{ reply = \"…\" }}");
                        let what = format!("{path} has no key \"reply\"");
                        reader.push(Problem::error(place, &path, what, Some(help)));
                    }
                    layer
                }
                other => {
                    let place = reader.place(&Origin::File(value.span()), false);
                    let what = format!("{path} must be a string or a table, not {}", kind_of(other));
                    let help = "write trigger = \"reply\" or trigger = { reply = \"…\", allow = [\"…\"] }";
                    reader.push(Problem::error(place, &path, what, Some(help.to_owned())));
                    continue;
                }
            };
            let (line, column) = reader.position(&key);
            reader.sources.insert(path, super::Source::File { line, column });
            commands.insert(trigger.to_owned(), (Origin::File(key), layer));
        }
        Self(commands)
    }

    /// Where the first of them is.
    pub(super) fn first(&self) -> Option<&Origin> {
        self.0.values().map(|(origin, _)| origin).next()
    }

    pub(super) fn resolve(
        self,
        path: &str,
        prefix: String,
        allow: Vec<String>,
        reader: &mut Reader<'_>,
    ) -> Commands {
        let mut replies = BTreeMap::new();
        for (trigger, (origin, layer)) in self.0 {
            if !prefix.is_empty() && trigger.starts_with(&prefix) {
                let place = reader.place(&origin, true);
                let what = format!("{path}: the trigger begins with the prefix \"{prefix}\"");
                let help =
                    format!("people would have to write \"{prefix}{trigger}\"; leave the prefix out here");
                reader.push(Problem::warning(place, path, what, Some(help)));
            }
            if let Some(text) = layer.reply.value() {
                replies.insert(trigger, Reply { text: text.0, allow: layer.allow.value().map(numbers) });
            }
        }
        Commands { prefix, allow, replies }
    }
}

impl Commands {
    pub(super) fn list(&self, section: &str, to: &mut Listing) {
        to.add(section, "prefix", self.prefix.as_str());
        to.add(section, "allow", self.allow.clone());
        for (trigger, reply) in &self.replies {
            let value = match &reply.allow {
                None => serde_json::Value::from(reply.text.as_str()),
                Some(allow) => serde_json::json!({ "reply": reply.text, "allow": allow }),
            };
            to.add(section, &format!("commands.{trigger}"), value);
        }
    }
}

impl JsonSchema for CommandsLayer {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Commands".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let text = Template::json_schema(generator);
        let mut reply = text.clone();
        reply.insert(
            "description".to_owned(),
            "Text of the reply; {uptime}, {sender} and {args} are filled in, {{ and }} write braces.".into(),
        );
        let mut allow = List::<Contact, 1>::json_schema(generator);
        allow.insert(
            "description".to_owned(),
            "Who may use this command, in place of the bot's own list.".into(),
        );
        json_schema!({
            "type": "object",
            "additionalProperties": false,
            "patternProperties": {
                Trigger::PATTERN: {
                    "anyOf": [
                        text,
                        {
                            "type": "object",
                            "additionalProperties": false,
                            "required": ["reply"],
                            "properties": { "reply": reply, "allow": allow },
                        },
                    ],
                },
            },
        })
    }
}
