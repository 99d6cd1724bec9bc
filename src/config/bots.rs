//! `[bots.NAME]`: one WhatsApp account each.

use std::collections::{BTreeMap, HashMap};

use schemars::JsonSchema;

use super::commands::{Commands, CommandsLayer, numbers};
use super::listing::Listing;
use super::problem::Problem;
use super::reader::{Origin, Reader, Setting, Table};
use super::suggest;
use super::values::Value as _;
use super::values::choice::choice;
use super::values::form::{BotName, Contact};
use super::values::list::List;
use super::values::session::SessionId;
use super::values::text::Text;
use super::{environment, values};

/// `[bots.NAME]` of kind native.
#[derive(Debug, Clone)]
pub struct Bot {
    /// SESSION_ID: the name of the stored session.
    pub session: String,
    pub enabled: bool,
    /// Overrides the WhatsApp Web version, e.g. 2.3000.1023.
    pub wa_version: Option<WaVersion>,
    pub push_name: Option<String>,
    pub commands: Commands,
}

/// A version of WhatsApp Web, e.g. 2.3000.1023.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaVersion(pub u32, pub u32, pub u32);

choice! {
    /// Who is the client of WhatsApp.
    pub(super) enum Kind { Native = "native" }
}

/// One WhatsApp account that is kept linked. Without any bot in the file there is one, `main`.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Bot")]
pub(super) struct BotLayer {
    /// Who is the client of WhatsApp: `native` is blacksky itself.
    #[allow(dead_code, reason = "only its check matters while there is one kind")]
    kind: Setting<Kind>,
    /// Name of the stored session, the bot's own name if not set. Two bots cannot share one. A plain
    /// name and never a credential: the session itself is kept in the database.
    session: Setting<SessionId>,
    /// `false` keeps the bot in the file without linking it.
    enabled: Setting<bool>,
    /// Version of WhatsApp Web that the client claims to be. Only needed when WhatsApp refuses the
    /// built-in one (405).
    wa_version: Setting<WaVersion>,
    /// Name that others see who do not have the number in their contacts.
    push_name: Setting<Text<1, 25>>,
    /// Stands in front of every trigger; may be empty.
    prefix: Setting<Text<0, 8>>,
    /// Who may use the commands: phone numbers with country code, or chat ids (`…@g.us`). Empty
    /// means everybody.
    allow: Setting<List<Contact>>,
    /// Trigger and reply. The trigger is the first word of a message, without the prefix.
    commands: CommandsLayer,
}

impl BotLayer {
    fn read(mut table: Table<'_, '_>) -> Self {
        let layer = Self {
            kind: table.key("kind"),
            session: table.key("session"),
            enabled: table.key("enabled"),
            wa_version: table.key("wa_version"),
            push_name: table.key("push_name"),
            prefix: table.key("prefix"),
            allow: table.key("allow"),
            commands: CommandsLayer::read(&mut table),
        };
        table.finish();
        layer
    }

    fn resolve(self, name: &str, reader: &mut Reader<'_>) -> Bot {
        let prefix = self.prefix.value().map_or_else(|| "!".to_owned(), |text| text.0);
        let allow = self.allow.value().map_or_else(Vec::new, numbers);
        Bot {
            session: self.session.value().map_or_else(|| name.to_owned(), |session| session.0),
            enabled: self.enabled.value().unwrap_or(true),
            wa_version: self.wa_version.value(),
            push_name: self.push_name.value().map(|text| text.0),
            commands: self.commands.resolve(&format!("bots.{name}.commands"), prefix, allow, reader),
        }
    }
}

/// Reads `[bots]`: its tables by name, or the one bot `main`.
pub(super) fn read(mut table: Table<'_, '_>) -> BTreeMap<String, BotLayer> {
    let entries = table.entries();
    let reader = table.reader();
    reader.only_bot = entries.len() <= 1;
    let mut bots = BTreeMap::new();
    for (name, key, value) in entries {
        if let Err(wrong) = BotName::from_text(name) {
            let place = reader.key_place(&key);
            let what = format!("bots: \"{}\" {}", suggest::showable(name), wrong.what);
            reader.push(Problem::error(place, "bots", what, wrong.help));
            continue;
        }
        if !value.get_ref().is_table() {
            let place = reader.key_place(&key);
            let found = values::kind_of(value.get_ref());
            // `[bots] session = "x"` is the usual way to get here.
            let help = if found == values::ARRAY_OF_TABLES {
                format!("write [bots.{name}] with single brackets, once")
            } else {
                format!("write [bots.main] and the keys of the bot below it, not {name} = … in [bots]")
            };
            reader.push(Problem::error(
                place,
                format!("bots.{name}"),
                format!("bots.{name} must be a table, not {found}"),
                Some(help),
            ));
            continue;
        }
        let table = reader.open(format!("bots.{name}"), Some((key, value)), true);
        bots.insert(name.to_owned(), BotLayer::read(table));
    }
    if bots.is_empty() {
        let table = reader.open("bots.main".to_owned(), None, true);
        bots.insert("main".to_owned(), BotLayer::read(table));
    }
    if !reader.only_bot && environment::value(reader.env(), "SESSION_ID").is_some() {
        let example = environment::variable_of(&format!(
            "bots.{}.session",
            bots.keys().next().map_or("main", String::as_str)
        ));
        reader.push(Problem::error(
            super::problem::Place::Variable("SESSION_ID".to_owned()),
            "bots",
            format!("SESSION_ID is set, but the file has {} bots", bots.len()),
            Some(format!("unset it and name each session by its own Config Var, for example {example}")),
        ));
    }
    bots
}

/// Applies the defaults and checks that no two bots share a session.
pub(super) fn resolve(layers: BTreeMap<String, BotLayer>, reader: &mut Reader<'_>) -> BTreeMap<String, Bot> {
    let origins: HashMap<String, Option<Origin>> =
        layers.iter().map(|(name, layer)| (name.clone(), layer.session.origin().cloned())).collect();
    let refused: Vec<String> =
        layers.iter().filter(|(_, layer)| layer.session.is_wrong()).map(|(name, _)| name.clone()).collect();
    let bots: BTreeMap<String, Bot> = layers
        .into_iter()
        .map(|(name, layer)| {
            let bot = layer.resolve(&name, reader);
            (name, bot)
        })
        .collect();
    let mut owner_of: HashMap<&str, &str> = HashMap::new();
    for (name, bot) in &bots {
        if refused.contains(name) {
            continue;
        }
        if let Some(other) = owner_of.insert(&bot.session, name) {
            // One of the two was set: two defaults cannot be equal.
            let (blamed, origin) = match (origins[name].as_ref(), origins[other].as_ref()) {
                (Some(origin), _) => (name.as_str(), origin),
                (None, Some(origin)) => (other, origin),
                (None, None) => continue,
            };
            reader.refuse(
                &format!("bots.{blamed}.session"),
                origin,
                false,
                format!("bots.{blamed}.session: the bots {other} and {name} use the same session"),
                "give each bot a session of its own, or leave the key out: it is the bot's name then",
            );
        }
    }
    bots
}

impl Bot {
    pub(super) fn list(&self, section: &str, to: &mut Listing) {
        to.add(section, "kind", Kind::Native.as_str());
        to.add(section, "session", self.session.as_str());
        to.add(section, "enabled", self.enabled);
        to.add(section, "wa_version", self.wa_version.map(|version| version.to_string()));
        to.add(section, "push_name", self.push_name.as_deref());
        self.commands.list(section, to);
    }
}
