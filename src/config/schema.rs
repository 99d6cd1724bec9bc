//! The JSON schema of blacksky.toml, from the doc comments and types of the layers.

use std::path::Path;
use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::{Config, File, NoEnvironment};

/// The schema as it is committed, for `blacksky schema`.
pub const EMBEDDED: &str = include_str!("../../schema/blacksky.schema.json");

/// Where it is committed.
pub const PATH: &str = "schema/blacksky.schema.json";

/// One key of the file as the schema knows it.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its table: "backoff", or "bots.NAME" for a bot.
    pub section: String,
    /// Its name in the table.
    pub name: String,
    /// Its part of the schema.
    pub schema: Map<String, Value>,
}

impl Key {
    /// Dotted path.
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// Whether it is in this table or in one inside of it.
    pub fn is_in(&self, table: &str) -> bool {
        self.section.strip_prefix(table).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    /// `commands` is a table and has no Config Var.
    pub fn has_variable(&self) -> bool {
        self.schema.get("type").and_then(Value::as_str) != Some("object")
    }
}

/// The schema (draft-07, which editors understand), with defaults.
pub fn schema() -> Value {
    let mut schema = bare();
    let defaults = defaults();
    for (section, properties) in sections_mut(&mut schema) {
        each_key(&section, properties, &mut |section, name, key| {
            let default = defaults.get(&format!("{section}.{name}"));
            if let Some(default) = default.filter(|default| !default.is_null()) {
                key.insert("default".to_owned(), default.clone());
            }
        });
    }
    schema
}

/// The text of the committed file.
pub fn text() -> String {
    // Serialising a Value cannot fail.
    let mut text = serde_json::to_string_pretty(&schema()).unwrap_or_default();
    text.push('\n');
    text
}

/// Values of an empty file, and of a hosted bot; the bot is called NAME.
pub fn defaults() -> Map<String, Value> {
    let mut all = Map::new();
    let jobs = "[jobs.main]\ncron = \"@daily\"\nbackup = true";
    for file in ["", "[bots.main]\nkind = \"hosted\"\ncommand = [\"node\"]", jobs] {
        let parsed = Config::parse(Path::new("blacksky.toml"), file.into(), &NoEnvironment);
        let Ok(loaded) = parsed else { continue };
        for (key, value) in loaded.config.listing() {
            let key = key.replacen("jobs.main.", "jobs.NAME.", 1);
            if ["jobs.NAME.cron", "jobs.NAME.backup"].contains(&key.as_str()) {
                all.insert(key, Value::Null);
                continue;
            }
            let (key, value) = match key.strip_prefix("bots.main.") {
                // The session of a bot is called as the bot; a command has no default.
                Some(key @ ("session" | "command")) => (format!("bots.NAME.{key}"), Value::Null),
                Some(rest) => (format!("bots.NAME.{rest}"), value),
                None => (key, value),
            };
            all.entry(key).or_insert(value);
        }
    }
    all
}

/// All keys, in the order of the sections.
pub fn keys() -> Vec<Key> {
    let mut schema = bare();
    let mut keys = Vec::new();
    for (section, properties) in sections_mut(&mut schema) {
        each_key(&section, properties, &mut |section, name, key| {
            keys.push(Key { section: section.to_owned(), name: name.to_owned(), schema: key.clone() });
        });
    }
    keys
}

/// Takes table, name and schema of a key.
type EachKey<'a> = dyn FnMut(&str, &str, &mut Map<String, Value>) + 'a;

/// Calls `then` with the table, the name and the schema of every key, those of tables inside included.
/// Every key is optional there, which the derive cannot know of our own `Setting`.
fn each_key(table: &str, properties: &mut Map<String, Value>, then: &mut EachKey<'_>) {
    for (name, key) in properties.iter_mut() {
        let Some(key) = key.as_object_mut() else { continue };
        if key.contains_key("properties") {
            key.remove("required");
            if let Some(inner) = key.get_mut("properties").and_then(Value::as_object_mut) {
                each_key(&format!("{table}.{name}"), inner, then);
            }
        } else {
            then(table, name, key);
        }
    }
}

/// The section in which a key of this name exists, when there is just one and it is not `here`.
pub(super) fn home_of(name: &str, here: &str) -> Option<String> {
    let lower = name.to_lowercase();
    let mut homes = KEYS.iter().filter(|key| key.name == lower && key.section != here);
    match (homes.next(), homes.next()) {
        (Some(home), None) => Some(home.section.replace("NAME", "main")),
        _ => None,
    }
}

/// A key of this name exists and holds nothing secret or personal.
pub(super) fn is_open_key(name: &str) -> bool {
    const CLOSED: [&str; 5] = ["url", "secret_key", "admin_token", "session", "allow"];
    !CLOSED.contains(&name) && KEYS.iter().any(|key| key.name == name)
}

static KEYS: LazyLock<Vec<Key>> = LazyLock::new(keys);

/// The schema without defaults.
fn bare() -> Value {
    let generator =
        SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true).into_generator();
    let mut schema = generator.into_root_schema_for::<File>().to_value();
    // Every key of a layer is optional, which the derive cannot know of our own `Setting`.
    if let Some(root) = schema.as_object_mut() {
        root.remove("required");
    }
    for section in super::SECTIONS {
        let pointer =
            if NAMED.contains(&section) { named_pointer(section) } else { format!("/properties/{section}") };
        if let Some(table) = schema.pointer_mut(&pointer).and_then(Value::as_object_mut) {
            table.remove("required");
        }
    }
    schema
}

/// Sections whose tables have names of the user's choice.
pub(super) const NAMED: [&str; 2] = ["bots", "jobs"];

/// Where one of their tables is.
fn named_pointer(section: &str) -> String {
    // In a JSON pointer "/" and "~" would have to be escaped; the pattern has neither.
    format!("/properties/{section}/patternProperties/{}", super::BotName::PATTERN)
}

/// Each section's name and its properties.
fn sections_mut(schema: &mut Value) -> Vec<(String, &mut Map<String, Value>)> {
    let mut sections = Vec::new();
    let Some(root) = schema.pointer_mut("/properties").and_then(Value::as_object_mut) else {
        return sections;
    };
    for (name, section) in root.iter_mut() {
        let (name, table) = if NAMED.contains(&name.as_str()) {
            let below = format!("/properties/{name}").len();
            (format!("{name}.NAME"), section.pointer_mut(&named_pointer(name)[below..]))
        } else {
            (name.clone(), Some(section))
        };
        if let Some(properties) =
            table.and_then(|table| table.get_mut("properties")).and_then(Value::as_object_mut)
        {
            sections.push((name, properties));
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn drift_of_the_schema() {
        crate::config::generated::assert_no_drift(PATH, &text());
    }

    #[test]
    fn every_key_has_a_description_and_a_listed_value() {
        let defaults = defaults();
        for key in keys() {
            assert!(key.schema.get("description").is_some(), "{} has no doc comment", key.path());
            if key.has_variable() {
                assert!(defaults.contains_key(&key.path()), "`blacksky config` does not list {}", key.path());
            }
        }
        assert_eq!(keys().iter().filter(|key| key.has_variable()).count(), defaults.len());
    }

    #[test]
    fn config_vars_are_unambiguous_and_cover_every_scalar_key() {
        use crate::config::environment::{SHORT_NAMES, short_name_of, variable_of};
        let mut owners: BTreeMap<String, String> = BTreeMap::new();
        for key in keys().iter().filter(|key| key.has_variable()) {
            // Names that come near other parts of a variable's name.
            for bot in ["main", "a", "a1", "session", "bots", "web", "lease"] {
                let path = key.path().replace("NAME", bot);
                let variable = variable_of(&path);
                let owner = owners.entry(variable.clone()).or_insert_with(|| path.clone());
                assert_eq!(*owner, path, "{variable} stands for two keys");
                let short = short_name_of(&path, true).map(|short| short.variable);
                for other in SHORT_NAMES {
                    assert!(
                        other.variable != variable || short == Some(other.variable),
                        "{variable} has two meanings"
                    );
                }
            }
        }
        for short in SHORT_NAMES {
            assert!(keys().iter().any(|key| key.path() == short.key), "{} names no key", short.variable);
        }
    }

    #[test]
    fn every_config_var_is_read() {
        let defaults = defaults();
        for key in keys().iter().filter(|key| key.has_variable()) {
            let path = key.path().replace("NAME", "main");
            let variable = crate::config::environment::variable_of(&path);
            // The default is a value that holds beside the other defaults.
            let value = match defaults.get(&key.path()) {
                Some(Value::String(text)) if !text.is_empty() => text.clone(),
                Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
                _ => sample(&key.schema),
            };
            let mut env = BTreeMap::from([(variable.clone(), value)]);
            let of_hosted = ["command", "session_dir", "max_memory", "relay", "stop_grace"];
            let native = Config::parse(Path::new("blacksky.toml"), Vec::new(), &NoEnvironment);
            let native: Map<String, Value> =
                native.expect("an empty file").config.listing().into_iter().collect();
            if let Some(key) = path.strip_prefix("jobs.main.") {
                let action = match key {
                    "ping" | "run" | "backup" | "restart" => "",
                    "expect_status" => "ping = \"https://example.com\"",
                    "send" => "to = \"+4915112345678\"",
                    "to" | "bot" => "send = \"hello\"",
                    _ => "backup = true",
                };
                let file = format!(
                    "[jobs.main]\n{}\n{action}\n",
                    if key == "cron" { "" } else { "cron = \"@daily\"" }
                );
                if key == "bot" {
                    env.insert("BLACKSKY_JOBS_MAIN_TO".to_owned(), "+4915112345678".to_owned());
                }
                if key == "backup" {
                    env.insert(variable.clone(), "true".to_owned());
                }
                let loaded = Config::parse(Path::new("blacksky.toml"), file.into(), &env)
                    .unwrap_or_else(|problems| panic!("{variable}: {problems}"));
                assert_eq!(loaded.source(&path), crate::config::Source::Env { variable });
                continue;
            }
            if path == "web.proxy" || (path.starts_with("bots.main.") && !native.contains_key(&path)) {
                assert!(path == "web.proxy" || of_hosted.iter().any(|key| path.ends_with(key)), "{path}");
                let hosted = [("KIND", "hosted"), ("COMMAND", "node,index.js")];
                for (key, value) in hosted {
                    env.entry(format!("BLACKSKY_BOTS_MAIN_{key}")).or_insert_with(|| value.to_owned());
                }
            }
            if path == "bots.main.webhook_secret" {
                env.insert("BLACKSKY_BOTS_MAIN_WEBHOOK".to_owned(), "https://example.com".to_owned());
            }
            let loaded = Config::parse(Path::new("blacksky.toml"), Vec::new(), &env)
                .unwrap_or_else(|problems| panic!("{variable}: {problems}"));
            assert!(loaded.warnings.is_empty(), "{variable}: {:?}", loaded.warnings);
            assert_eq!(loaded.source(&path), crate::config::Source::Env { variable });
        }
    }

    /// One of them fits each pattern.
    const SAMPLES: [&str; 10] = [
        "@daily",
        "heroku-24",
        "2.3000.1",
        "https://example.com",
        "sqlite:x.db",
        "heroku/rust",
        "12345",
        "main",
        "64MB",
        "+4915112345678",
    ];

    /// A text that the key accepts.
    fn sample(schema: &Map<String, Value>) -> String {
        let text = |name: &str| schema.get(name).and_then(Value::as_str);
        if let Some(word) = schema.get("enum").and_then(|words| words[0].as_str()) {
            return word.to_owned();
        }
        if let Some(word) = text("const") {
            return word.to_owned();
        }
        if let Some(first) = schema.get("anyOf").and_then(|any| any[0].as_object()) {
            return sample(first);
        }
        match (text("type"), text("pattern")) {
            (Some("integer"), _) => schema["minimum"].to_string(),
            (Some("array"), _) => schema["items"].as_object().map(sample).expect("items have a schema"),
            (_, Some(pattern)) => SAMPLES
                .into_iter()
                .find(|sample| {
                    let schema = serde_json::json!({ "type": "string", "pattern": pattern });
                    jsonschema::is_valid(&schema, &Value::from(*sample))
                })
                .unwrap_or_else(|| panic!("no sample for {pattern}"))
                .to_owned(),
            _ => "x".repeat(20),
        }
    }
}
