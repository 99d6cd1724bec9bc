//! `[bots.NAME]`: one WhatsApp account each.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use schemars::JsonSchema;

use super::commands::{Commands, CommandsLayer, Common, numbers};
use super::listing::Listing;
use super::problem::Problem;
use super::reader::{Origin, Reader, Setting, Table};
use super::suggest;
use super::values::choice::choice;
use super::values::form::{BotName, Contact, SessionPath};
use super::values::list::List;
use super::values::number::Whole;
use super::values::period::PeriodIn;
use super::values::session::blob::Blob;
use super::values::session::{self, SessionId};
use super::values::size::SizeIn;
use super::values::text::{SecretText, Text};
use super::values::web_url::SecretUrl;
use super::values::{Period, Size, Value as _, Wrong};
use super::webhook::{self, Webhook};
use super::{Environment, environment, values};

/// `[bots.NAME]`.
#[derive(Debug, Clone)]
pub struct Bot {
    /// SESSION_ID: the name of the stored session.
    pub session: String,
    pub enabled: bool,
    /// Who is the client of WhatsApp.
    pub client: Client,
}

/// Who is the client of WhatsApp, and what only that kind needs.
#[derive(Debug, Clone)]
pub enum Client {
    /// blacksky itself.
    Native(NativeBot),
    /// A program that blacksky runs.
    Hosted(HostedBot),
}

/// What a native bot has of its own.
#[derive(Debug, Clone, Default)]
pub struct NativeBot {
    /// Overrides the WhatsApp Web version, e.g. 2.3000.1023.
    pub wa_version: Option<WaVersion>,
    pub push_name: Option<String>,
    pub commands: Commands,
    /// Where its messages are posted.
    pub webhook: Option<Webhook>,
}

/// What a hosted bot has of its own.
#[derive(Debug, Clone)]
pub struct HostedBot {
    /// The program and its arguments; no shell is involved.
    pub command: Vec<String>,
    /// Where the bot keeps its session, from the folder of the file: a folder, or a single SQLite file.
    pub session_dir: PathBuf,
    /// The bot is restarted when all of its processes use more. By the dyno's memory when it is not set.
    pub max_memory: Option<Size>,
    /// Its WebSocket goes through blacksky.
    pub relay: bool,
    /// From SIGTERM to SIGKILL.
    pub stop_grace: Period,
    /// A login that SESSION_ID carries, for a session that is still empty.
    pub login: Option<Blob>,
}

/// A version of WhatsApp Web, e.g. 2.3000.1023.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaVersion(pub u32, pub u32, pub u32);

choice! {
    /// Who is the client of WhatsApp.
    pub(super) enum Kind { Native = "native", Hosted = "hosted" }
}

/// One WhatsApp account that is kept linked. Without any bot in the file there is one, `main`.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Bot")]
#[schemars(extend(
    "if" = { "properties": { "kind": { "const": "hosted" } }, "required": ["kind"] },
    "then" = {
        "required": ["command"],
        "properties": {
            "wa_version": false, "push_name": false, "prefix": false, "allow": false, "commands": false,
            "webhook": false, "webhook_secret": false, "webhook_give_up": false, "owners": false, "help": false,
            "per_minute": false,
        },
    },
    "else" = {
        "properties": {
            "command": false, "session_dir": false, "max_memory": false, "relay": false, "stop_grace": false,
        },
    },
))]
pub(super) struct BotLayer {
    /// Who is the client of WhatsApp: `native` is blacksky itself, `hosted` a program that blacksky runs.
    kind: Setting<Kind>,
    /// Name of the stored session, the bot's own name if not set. Two bots cannot share one. A plain
    /// name and never a credential: the session itself is kept in the database. Only the Config Var of a hosted
    /// bot may carry a login of Baileys instead, which is imported once; the session is then called as the bot.
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
    /// Who may use the commands with `owners_only`: phone numbers with country code, or chat ids.
    owners: Setting<List<Contact>>,
    /// The trigger `help` answers with the commands that its sender may use, unless there is a command of that
    /// name. Not set: only with a prefix.
    help: Setting<bool>,
    /// Most answers of commands a minute in one chat; more messages get none.
    per_minute: Setting<Whole<1, 600>>,
    /// Trigger and reply. The trigger is the first word of a message, without the prefix; docs/commands.md has all
    /// that a command can do.
    commands: CommandsLayer,
    /// Address that each inbound message is posted to as JSON, at least once and in order within a chat. It may
    /// be on this machine, but not blacksky's own port.
    webhook: Setting<SecretUrl>,
    /// Signs each post: the header `X-Blacksky-Signature` is `sha256=` and the HMAC-SHA256, in hex, of
    /// the header `X-Blacksky-Timestamp`, a full stop and the body. At least 16 characters.
    webhook_secret: Setting<SecretText<16>>,
    /// A message that the webhook has not taken for so long becomes a dead letter: it is kept, and holds up
    /// its chat no longer.
    webhook_give_up: Setting<PeriodIn<1_000, 604_800_000>>,
    /// Of a hosted bot: the program and its arguments, started without a shell.
    command: Setting<List<Text<1, 4096>, 1>>,
    /// Of a hosted bot: where it keeps its session, from the folder of the file. A folder, or a single SQLite
    /// file.
    session_dir: Setting<SessionPath>,
    /// Of a hosted bot: it is restarted when all of its processes together use more. Not set: 1.6
    /// times what the dyno has, before Heroku ends the dyno at twice of it.
    max_memory: Setting<SizeIn<16_777_216, 1_099_511_627_776>>,
    /// Of a hosted bot: its WebSocket goes through blacksky, which sees a dead link and spaces its dials.
    relay: Setting<bool>,
    /// Of a hosted bot: time between SIGTERM and SIGKILL when it is stopped.
    stop_grace: Setting<PeriodIn<0, 15_000>>,
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
            owners: table.key("owners"),
            help: table.key("help"),
            per_minute: table.key("per_minute"),
            commands: CommandsLayer::read(&mut table),
            webhook: table.key("webhook"),
            webhook_secret: table.key("webhook_secret"),
            webhook_give_up: table.key("webhook_give_up"),
            command: table.key("command"),
            session_dir: table.key("session_dir"),
            max_memory: table.key("max_memory"),
            relay: table.key("relay"),
            stop_grace: table.key("stop_grace"),
        };
        table.finish();
        layer
    }

    fn resolve(self, name: &str, reader: &mut Reader<'_>) -> Bot {
        let session_origin = self.session.origin().cloned();
        let (session, login, unreadable) = match self.session.value() {
            None => (name.to_owned(), None, None),
            Some(SessionId::Name(session)) => (session, None, None),
            Some(SessionId::Login(login)) => (name.to_owned(), Some(login), None),
            Some(SessionId::Unreadable(why)) => (name.to_owned(), None, Some(why)),
        };
        let enabled = self.enabled.value().unwrap_or(true);
        let kind = self.kind.value().unwrap_or(Kind::Native);
        let (native, hosted) = (
            vec![
                ("wa_version", self.wa_version.origin()),
                ("push_name", self.push_name.origin()),
                ("prefix", self.prefix.origin()),
                ("allow", self.allow.origin()),
                ("owners", self.owners.origin()),
                ("help", self.help.origin()),
                ("per_minute", self.per_minute.origin()),
                ("commands", self.commands.first()),
                ("webhook", self.webhook.origin()),
                ("webhook_secret", self.webhook_secret.origin()),
                ("webhook_give_up", self.webhook_give_up.origin()),
            ],
            vec![
                ("command", self.command.origin()),
                ("session_dir", self.session_dir.origin()),
                ("max_memory", self.max_memory.origin()),
                ("relay", self.relay.origin()),
                ("stop_grace", self.stop_grace.origin()),
            ],
        );
        let (foreign, other) = match kind {
            Kind::Native => (hosted, Kind::Hosted),
            Kind::Hosted => (native, Kind::Native),
        };
        for (key, origin) in foreign {
            if let Some(origin) = origin {
                reader.refuse(
                    &format!("bots.{name}.{key}"),
                    origin,
                    false,
                    format!("bots.{name}.{key} is a key of {other} bots, and bots.{name} is {kind}"),
                    &format!("leave it out, or write kind = \"{other}\""),
                );
            }
        }
        let sqlite = matches!(&self.session_dir, Setting::Found(path, _) if is_sqlite(&path.0));
        let wrong = match (kind, &login, unreadable) {
            (_, None, None) => None,
            (Kind::Native, ..) => Some(session::refused_login()),
            (Kind::Hosted, _, Some(why)) => Some(session::refused_pointer(why)),
            (Kind::Hosted, Some(_), None) => sqlite.then(|| {
                Wrong::value(
                    "carries a login of Baileys, and session_dir is an SQLite file (its value is not shown)",
                    "unset it and link the phone once by QR; or name Baileys' folder in session_dir",
                )
            }),
        };
        if let (Some(Wrong { what, help, .. }), Some(origin)) = (wrong, &session_origin) {
            let key = format!("bots.{name}.session");
            reader.refuse(&key, origin, false, format!("{key} {what}"), &help.unwrap_or_default());
        }
        let others = (reader.only_bot && !sqlite).then(|| login_of_others(reader.env())).flatten();
        if let (Some(origin), Setting::Absent, Kind::Native) =
            (self.webhook_secret.origin(), &self.webhook, kind)
        {
            let key = format!("bots.{name}.webhook_secret");
            let what = format!("{key} signs nothing: bots.{name} has no webhook");
            let help = format!("set bots.{name}.webhook too, or leave the secret out");
            let place = reader.place(origin, false);
            reader.push(Problem::warning(place, key, what, Some(help)));
        }
        let give_up = self.webhook_give_up.value().map_or(webhook::GIVE_UP, |period| period.0);
        let secret = self.webhook_secret.value().map(|secret| secret.0);
        let webhook = self.webhook.value().map(|url| Webhook { url: url.0, secret, give_up });
        let client = match kind {
            Kind::Native => {
                let prefix = self.prefix.value().map_or_else(|| "!".to_owned(), |text| text.0);
                let common = Common {
                    prefix,
                    allow: self.allow.value().map_or_else(Vec::new, numbers),
                    owners: self.owners.value().map_or_else(Vec::new, numbers),
                    help: self.help.value(),
                    per_minute: self.per_minute.value().map(|most| most.0),
                };
                let path = format!("bots.{name}.commands");
                Client::Native(NativeBot {
                    wa_version: self.wa_version.value(),
                    push_name: self.push_name.value().map(|text| text.0),
                    commands: self.commands.resolve(&path, common, reader),
                    webhook,
                })
            }
            Kind::Hosted => Client::Hosted(HostedBot {
                command: self
                    .command
                    .value()
                    .map_or_else(Vec::new, |list| list.0.into_iter().map(|text| text.0).collect()),
                session_dir: self.session_dir.value().map_or_else(|| "sessions".into(), |path| path.0.into()),
                max_memory: self.max_memory.value().map(|size| size.0),
                relay: self.relay.value().unwrap_or(true),
                stop_grace: self.stop_grace.value().map_or(Period::seconds(10), |period| period.0),
                login: login.or(others),
            }),
        };
        Bot { session, enabled, client }
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
    // Where a bot's kind was set, and whether its command was refused already.
    let kinds: HashMap<String, (Origin, bool)> = layers
        .iter()
        .filter_map(|(name, layer)| {
            Some((name.clone(), (layer.kind.origin().cloned()?, layer.command.is_wrong())))
        })
        .collect();
    let commands: HashMap<String, Origin> = layers
        .iter()
        .filter_map(|(name, layer)| Some((name.clone(), layer.command.origin().cloned()?)))
        .collect();
    let refused: Vec<String> =
        layers.iter().filter(|(_, layer)| layer.session.is_wrong()).map(|(name, _)| name.clone()).collect();
    let bots: BTreeMap<String, Bot> = layers
        .into_iter()
        .map(|(name, layer)| {
            let bot = layer.resolve(&name, reader);
            (name, bot)
        })
        .collect();
    for (name, bot) in &bots {
        let Client::Hosted(hosted) = &bot.client else { continue };
        if hosted.command.is_empty()
            && let Some((origin, false)) = kinds.get(name)
        {
            reader.refuse(
                &format!("bots.{name}.command"),
                origin,
                true,
                format!("bots.{name} is hosted and has no command"),
                "name the program that starts it, for example command = [\"node\", \"index.js\"]",
            );
        }
        if is_npm_start(&hosted.command)
            && let Some(origin) = commands.get(name)
        {
            reader.refuse(
                &format!("bots.{name}.command"),
                origin,
                true,
                format!("bots.{name}.command: package.json's start script is `blacksky run`, which would start itself"),
                "name the program that the script ran, for example command = [\"node\", \"index.js\"]",
            );
        }
        let shares = |other: &Bot| matches!(&other.client, Client::Hosted(other) if other.session_dir == hosted.session_dir);
        if let Some((origin, _)) = kinds.get(name)
            && bots.range(..name.clone()).any(|(_, other)| shares(other))
        {
            reader.refuse(
                &format!("bots.{name}.session_dir"),
                origin,
                true,
                format!(
                    "bots.{name}.session_dir: another bot keeps its session in {} too",
                    hosted.session_dir.display()
                ),
                "give each hosted bot a session_dir of its own",
            );
        }
    }
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

/// Variables by which other bots of this family take a login. What does not read is the bot's own business.
pub const LOGINS_OF_OTHERS: [&str; 2] = ["SESSION_STRING", "CREDS_DATA"];

/// By its name.
fn is_sqlite(path: &str) -> bool {
    [".db", ".sqlite", ".sqlite3"].iter().any(|kind| path.ends_with(kind))
}

fn login_of_others(env: &dyn Environment) -> Option<Blob> {
    LOGINS_OF_OTHERS.iter().find_map(|name| Blob::read(&environment::value(env, name)?))
}

/// `npm start`, in the words of any package manager. `gen` makes it start blacksky.
fn is_npm_start(command: &[String]) -> bool {
    let mut words = command.iter().map(String::as_str).filter(|word| !word.starts_with('-'));
    let program = words.next().and_then(|program| program.rsplit('/').next());
    let script = words.find(|word| !matches!(*word, "run" | "run-script"));
    program.is_some_and(|program| ["npm", "yarn", "pnpm", "bun"].contains(&program))
        && script == Some("start")
}

impl Bot {
    pub(super) fn list(&self, section: &str, to: &mut Listing) {
        let kind = match &self.client {
            Client::Native(_) => Kind::Native,
            Client::Hosted(_) => Kind::Hosted,
        };
        to.add(section, "kind", kind.as_str());
        to.add(section, "session", self.session.as_str());
        to.add(section, "enabled", self.enabled);
        match &self.client {
            Client::Native(native) => {
                to.add(section, "wa_version", native.wa_version.map(|version| version.to_string()));
                to.add(section, "push_name", native.push_name.as_deref());
                native.commands.list(section, to);
                let webhook = native.webhook.as_ref();
                to.add_secret(section, "webhook", webhook.is_some());
                to.add_secret(section, "webhook_secret", webhook.is_some_and(|hook| hook.secret.is_some()));
                let give_up = webhook.map_or(webhook::GIVE_UP, |hook| hook.give_up);
                to.add(section, "webhook_give_up", give_up.to_string());
            }
            Client::Hosted(hosted) => {
                to.add(section, "command", hosted.command.clone());
                to.add(section, "session_dir", hosted.session_dir.display().to_string());
                to.add(section, "max_memory", hosted.max_memory.map(|size| size.to_string()));
                to.add(section, "relay", hosted.relay);
                to.add(section, "stop_grace", hosted.stop_grace.to_string());
            }
        }
    }
}
