//! `[bots.NAME.commands]`: trigger → reply.

use std::borrow::Cow;
use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::de::DeValue;

use super::listing::Listing;
use super::problem::{Place, Problem};
use super::reader::{Origin, Reader, Setting, Table};
use super::reply_media::{self, MediaLayer, MediaReply};
use super::suggest;
use super::values::choice::choice;
use super::values::form::{Contact, Emoji, Trigger};
use super::values::list::List;
use super::values::number::Whole;
use super::values::period::PeriodIn;
use super::values::template::{self, Template};
use super::values::text::Text;
use super::values::{Period, Value as _, kind_of};

/// The commands of a bot.
#[derive(Debug, Clone, Default)]
pub struct Commands {
    /// In front of every trigger, e.g. "!"; may be empty.
    pub prefix: String,
    /// Who may use the commands: phone numbers (digits only) or chat ids; empty means everybody.
    pub allow: Vec<String>,
    /// Who may use what only owners may.
    pub owners: Vec<String>,
    /// The trigger `help` lists the commands.
    pub help: bool,
    /// Most answers a minute in one chat.
    pub per_minute: Option<u32>,
    /// By trigger, without the prefix.
    pub replies: BTreeMap<String, Reply>,
}

/// What a trigger answers.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// With `{uptime}`, `{sender}`, `{args}` and captures filled in; empty when nothing is said.
    pub text: String,
    /// A file in place of a text.
    pub media: Option<MediaReply>,
    /// Narrows the bot's allow-list for this trigger; `None` means the bot's own.
    pub allow: Option<Vec<String>>,
    /// Which messages it is for.
    pub matching: Match,
    /// The emoji that the message gets.
    pub react: Option<String>,
    /// What writes the reply.
    pub run: Option<Program>,
    /// Most uses a minute in one chat.
    pub per_minute: Option<u32>,
    /// Only the bot's owners may use it.
    pub owners_only: bool,
    /// Where it may be used.
    pub place: Where,
    /// What help says of it.
    pub description: Option<String>,
}

/// Which messages a command is for.
#[derive(Debug, Clone, Default)]
pub enum Match {
    /// The bot's prefix and the trigger are the first word.
    #[default]
    Word,
    /// The whole text is this.
    Exact(String),
    /// The text begins with this.
    Prefix(String),
    /// This is found in the text.
    Regex(Regex),
}

/// A program that writes a reply.
#[derive(Debug, Clone)]
pub struct Program {
    /// The program and its arguments; no shell is involved.
    pub command: Vec<String>,
    /// It is ended when it takes longer.
    pub timeout: Period,
}

choice! {
    /// How the pattern of a command is compared.
    enum MatchKind { Word = "word", Exact = "exact", Prefix = "prefix", Regex = "regex" }
}

choice! {
    /// Where a command may be used.
    #[derive(Default)]
    pub enum Where {
        /// In every chat.
        #[default]
        Anywhere = "anywhere",
        /// Where nobody else reads.
        Private = "private",
        /// In groups.
        Groups = "groups",
    }
}

/// Memory that a compiled expression may take.
const REGEX_SIZE: usize = 1 << 20;

/// Phone numbers without "+", so that they compare with what WhatsApp sends.
pub(super) fn numbers<const MIN: usize>(list: List<Contact, MIN>) -> Vec<String> {
    list.0.into_iter().map(|contact| contact.0.trim_start_matches('+').to_owned()).collect()
}

/// What the bot's section says about all of its commands.
#[derive(Debug, Default)]
pub(super) struct Common {
    pub prefix: String,
    pub allow: Vec<String>,
    pub owners: Vec<String>,
    /// Not set: with a prefix.
    pub help: Option<bool>,
    pub per_minute: Option<u32>,
}

/// Replies by trigger, with the place of the trigger.
#[derive(Debug, Default)]
pub(super) struct CommandsLayer(BTreeMap<String, (Origin, ReplyLayer)>);

#[derive(Debug, Default)]
struct ReplyLayer {
    reply: Setting<Template>,
    media: Option<MediaLayer>,
    allow: Setting<List<Contact, 1>>,
    matching: Setting<MatchKind>,
    pattern: Setting<Text<1, 500>>,
    react: Setting<Emoji>,
    run: Setting<List<Text<1, 4096>, 1>>,
    timeout: Setting<PeriodIn<1_000, 60_000>>,
    per_minute: Setting<Whole<1, 600>>,
    owners_only: Setting<bool>,
    place: Setting<Where>,
    description: Setting<Text<1, 200>>,
}

impl ReplyLayer {
    fn read(table: &mut Table<'_, '_>) -> Self {
        let media = match table.raw("reply") {
            Some((key, value)) if value.get_ref().is_table() => Some(MediaLayer::read(table, key, value)),
            _ => None,
        };
        Self {
            reply: if media.is_none() { table.key("reply") } else { Setting::Absent },
            media,
            allow: table.key("allow"),
            matching: table.key("match"),
            pattern: table.key("pattern"),
            react: table.key("react"),
            run: table.key("run"),
            timeout: table.key("timeout"),
            per_minute: table.key("per_minute"),
            owners_only: table.key("owners_only"),
            place: table.key("in"),
            description: table.key("description"),
        }
    }

    fn resolve(self, path: &str, trigger: &str, reader: &mut Reader<'_>) -> Option<Reply> {
        let said = self.reply.origin().or(self.media.as_ref().map(MediaLayer::origin));
        if let (Some(origin), Some(_)) = (self.run.origin(), said) {
            let what = format!("{path} has both reply and run: the reply is what the program writes");
            reader.refuse(&format!("{path}.run"), origin, false, what, "keep one of the two");
        }
        let kind = self.matching.value().unwrap_or(MatchKind::Word);
        let key = format!("{path}.pattern");
        let origin = self.pattern.origin().cloned();
        if let (MatchKind::Word, Some(origin)) = (kind, &origin) {
            let what = format!("{key} is not for match = \"word\", which compares the trigger");
            reader.refuse(
                &key,
                origin,
                false,
                what,
                "write match = \"exact\", \"prefix\" or \"regex\" beside it",
            );
        }
        let pattern = self.pattern.value().map_or_else(|| trigger.to_owned(), |text| text.0);
        let matching = match kind {
            MatchKind::Word => Match::Word,
            MatchKind::Exact => Match::Exact(pattern),
            MatchKind::Prefix => Match::Prefix(pattern),
            MatchKind::Regex => match expression(&pattern) {
                Ok(regex) => Match::Regex(regex),
                Err(problem) => {
                    let what = format!("{key} is not a regular expression: {problem}");
                    let help = "see https://docs.rs/regex/latest/regex/#syntax; write it between single quotes, so \
                                that TOML leaves backslashes alone";
                    match &origin {
                        Some(origin) => reader.refuse(&key, origin, false, what, help),
                        None => reader.push(Problem::error(Place::File, &key, what, Some(help.to_owned()))),
                    }
                    return None;
                }
            },
        };
        let groups = match &matching {
            Match::Regex(regex) => regex.captures_len() - 1,
            Match::Word | Match::Exact(_) | Match::Prefix(_) => 0,
        };
        let origin = self.reply.origin().cloned();
        let text = self.reply.value().map(|text| text.0).unwrap_or_default();
        let said = origin.as_ref().map(|origin| ("reply", text.as_str(), origin));
        let caption = self.media.as_ref().and_then(MediaLayer::caption);
        let said = said.into_iter().chain(caption.map(|(text, origin)| ("reply.caption", text, origin)));
        for (key, text, origin) in said {
            if let Some(wanted) = template::highest_capture(text)
                && wanted > groups
            {
                let key = format!("{path}.{key}");
                let what = format!("{key} names {{{wanted}}}, and the pattern captures {groups}");
                let help = "{1} is what the first pair of parentheses of a match = \"regex\" found";
                reader.refuse(&key, origin, false, what, help);
            }
        }
        let timeout = self.timeout.value().map_or(Period::seconds(10), |period| period.0);
        let words = |list: List<Text<1, 4096>, 1>| list.0.into_iter().map(|text| text.0).collect();
        Some(Reply {
            text,
            media: self.media.and_then(|media| media.resolve(reader)),
            allow: self.allow.value().map(numbers),
            matching,
            react: self.react.value().map(|emoji| emoji.0),
            run: self.run.value().map(|command| Program { command: words(command), timeout }),
            per_minute: self.per_minute.value().map(|most| most.0),
            owners_only: self.owners_only.value().unwrap_or(false),
            place: self.place.value().unwrap_or_default(),
            description: self.description.value().map(|text| text.0),
        })
    }
}

/// Compiles an expression that ignores case; its work and its memory have limits whatever it is.
fn expression(pattern: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(pattern).case_insensitive(true).size_limit(REGEX_SIZE).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
        // The last line says what; those before draw it.
        other => {
            other.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
        }
    })
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
                    ReplyLayer { reply: reader.file_value(&path, value), ..ReplyLayer::default() }
                }
                DeValue::Table(_) => {
                    let mut table = reader.open(path.clone(), Some((key.clone(), value)), false);
                    let layer = ReplyLayer::read(&mut table);
                    table.finish();
                    let nothing = matches!(layer.reply, Setting::Absent)
                        && layer.media.is_none()
                        && matches!(layer.run, Setting::Absent)
                        && matches!(layer.react, Setting::Absent);
                    if nothing {
                        let place = reader.key_place(&key);
                        let help = format!("{} = {{ reply = \"…\" }}", suggest::showable(trigger));
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

    pub(super) fn resolve(self, path: &str, common: Common, reader: &mut Reader<'_>) -> Commands {
        let Common { prefix, allow, owners, help, per_minute } = common;
        let mut replies = BTreeMap::new();
        for (trigger, (origin, layer)) in self.0 {
            let of_word = matches!(layer.matching, Setting::Absent | Setting::Found(MatchKind::Word, _));
            if of_word && !prefix.is_empty() && trigger.starts_with(&prefix) {
                let place = reader.place(&origin, true);
                let what = format!("{path}: the trigger begins with the prefix \"{prefix}\"");
                let trigger = suggest::showable(&trigger);
                let help =
                    format!("people would have to write \"{prefix}{trigger}\"; leave the prefix out here");
                reader.push(Problem::warning(place, path, what, Some(help)));
            }
            let path = format!("{path}.{}", suggest::showable(&trigger));
            if let Some(reply) = layer.resolve(&path, &trigger, reader) {
                replies.insert(trigger, reply);
            }
        }
        if owners.is_empty()
            && let Some(trigger) =
                replies.iter().find(|(_, reply)| reply.owners_only).map(|(trigger, _)| trigger)
        {
            let trigger = suggest::showable(trigger);
            let what =
                format!("{path}.{trigger} is for owners only, and the bot has none: nobody can use it");
            let help = "write owners = [\"+49…\"] in the bot's section".to_owned();
            reader.push(Problem::warning(Place::File, path, what, Some(help)));
        }
        Commands { help: help.unwrap_or(!prefix.is_empty()), prefix, allow, owners, per_minute, replies }
    }
}

impl Commands {
    pub(super) fn list(&self, section: &str, to: &mut Listing) {
        to.add(section, "prefix", self.prefix.as_str());
        to.add(section, "allow", self.allow.clone());
        to.add(section, "owners", self.owners.clone());
        to.add(section, "help", self.help);
        to.add(section, "per_minute", self.per_minute);
        for (trigger, reply) in &self.replies {
            to.add(section, &format!("commands.{trigger}"), reply.shown());
        }
    }
}

impl Reply {
    /// A text of it with its variables filled in; those that `value` does not know stay.
    pub fn fill<'v>(text: &str, value: impl Fn(&str) -> Option<Cow<'v, str>>) -> String {
        template::fill(text, value)
    }

    /// As the file has it; the text alone when there is nothing else.
    fn shown(&self) -> serde_json::Value {
        let (kind, pattern) = match &self.matching {
            Match::Word => (None, None),
            Match::Exact(text) => (Some("exact"), Some(text.as_str())),
            Match::Prefix(text) => (Some("prefix"), Some(text.as_str())),
            Match::Regex(regex) => (Some("regex"), Some(regex.as_str())),
        };
        let all = serde_json::json!({
            "match": kind,
            "pattern": pattern,
            "reply": self.media.as_ref().map(MediaReply::shown).or_else(|| {
                Some(self.text.as_str()).filter(|text| !text.is_empty()).map(Into::into)
            }),
            "react": self.react,
            "run": self.run.as_ref().map(|program| &program.command),
            "timeout": self.run.as_ref().map(|program| program.timeout.to_string()),
            "allow": self.allow,
            "owners_only": self.owners_only.then_some(true),
            "in": (self.place != Where::Anywhere).then_some(self.place.as_str()),
            "per_minute": self.per_minute,
            "description": self.description,
        });
        let serde_json::Value::Object(mut all) = all else { return all };
        all.retain(|_, value| !value.is_null());
        match (all.len(), all.get("reply")) {
            (1, Some(text)) if text.is_string() => text.clone(),
            _ => all.into(),
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
        let described = |schema: Schema, words: &str| {
            let mut schema = schema;
            schema.insert("description".to_owned(), words.into());
            schema
        };
        let reply = described(
            json_schema!({ "anyOf": [text.clone(), reply_media::schema(generator)] }),
            "Text of the reply; {uptime}, {sender}, {args} and what a regex captured, {1} to {9}, are filled in, \
             {{ and }} write braces. Or a file in the folder of blacksky.toml: { image = \"menu.jpg\", caption = \"…\" }, \
             with image, video, audio (voice), document (file_name) or sticker.",
        );
        let allow = described(
            List::<Contact, 1>::json_schema(generator),
            "Who may use this command: it narrows the bot's own list.",
        );
        let matching = described(
            MatchKind::json_schema(generator),
            "`word`: prefix and trigger are the first word. `exact`: the whole text is the pattern. `prefix`: the \
             text begins with it. `regex`: it is found in the text. Case never matters.",
        );
        let pattern = described(
            Text::<1, 500>::json_schema(generator),
            "What is compared with the text when `match` is not `word`; the trigger when it is not set.",
        );
        let react = described(Emoji::json_schema(generator), "The emoji that the message gets.");
        let run = described(
            List::<Text<1, 4096>, 1>::json_schema(generator),
            "A program and its arguments, started without a shell. It reads the message as JSON; what it writes is \
             the reply.",
        );
        let timeout = described(
            PeriodIn::<1_000, 60_000>::json_schema(generator),
            "The program is ended when it takes longer; 10s when it is not set.",
        );
        let per_minute = described(
            Whole::<1, 600>::json_schema(generator),
            "Most uses a minute in one chat; more are ignored.",
        );
        let owners_only =
            described(bool::json_schema(generator), "Only the `owners` of the bot may use this command.");
        let place = described(Where::json_schema(generator), "Where it may be used.");
        let description = described(Text::<1, 200>::json_schema(generator), "What `help` says of it.");
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
                            "anyOf": [{ "required": ["reply"] }, { "required": ["run"] }, { "required": ["react"] }],
                            "not": { "required": ["reply", "run"] },
                            "properties": {
                                "reply": reply, "allow": allow, "match": matching, "pattern": pattern,
                                "react": react, "run": run, "timeout": timeout, "per_minute": per_minute,
                                "owners_only": owners_only, "in": place, "description": description,
                            },
                        },
                    ],
                },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Config, NoEnvironment};

    #[test]
    fn a_secret_in_the_place_of_a_trigger_is_not_shown() {
        const SECRET: &str = "Kq94mmT7eZx81Kq94mmT7eZx";
        for (command, said) in [
            (
                format!("\"{SECRET}\" = {{ reply = \"x\", owners_only = true }}"),
                "commands.*** is for owners only",
            ),
            (format!("\"!{SECRET}\" = \"x\""), "begins with the prefix"),
            (format!("\"{SECRET}\" = {{ owners_only = true }}"), "commands.*** has no key \"reply\""),
        ] {
            let file = format!("[bots.main]\nprefix = \"!\"\n[bots.main.commands]\n{command}\n");
            let path = Path::new("blacksky.toml");
            let list = match Config::parse(path, file.clone().into_bytes(), &NoEnvironment) {
                Ok(loaded) => loaded.warnings,
                Err(problems) => problems.list,
            };
            let shown: String = list.iter().map(|problem| problem.render(path, false)).collect();
            assert!(shown.contains(said), "{file}: {shown}");
            assert!(!shown.contains(SECRET), "{shown}");
            assert!(list.iter().all(|problem| !problem.to_json().to_string().contains(SECRET)), "{shown}");
        }
    }
}
