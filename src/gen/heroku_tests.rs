//! app.json as Heroku and blacksky read it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::known_keys::{Known, unknown};
use crate::config::{Config, NoEnvironment};

fn config(toml: &str) -> Config {
    let path = Path::new("blacksky.toml");
    Config::parse(path, toml.into(), &NoEnvironment).expect("a good file").config
}

fn app_json(config: &Config) -> Value {
    serde_json::from_str(&super::app_json::text(config)).expect("JSON")
}

const WORKER: &str = r#"
[heroku]
process = "worker"
dyno = "standard-1x"
quantity = 2
buildpacks = ["heroku/nodejs"]
addons = []
"#;

const SEVERAL: &str = r#"
[app]
name = "two-bots"
description = "Says \"hello\""
keywords = ["bot", "whatsapp"]
website = "https://user:hunter2secret@example.com/home"
repository = "https://github.com/example/two-bots"
logo = "https://example.com/logo.png"
success_url = "https://user:hunter2secret@example.com/thanks"

[database]
url = "postgres://user:hunter2secret@localhost/db"
secret_key = "hunter2secret-hunter2secret"

[web]
admin_token = "hunter2secret"

[bots.shop]
allow = ["+15550001005"]

[bots.team2]
enabled = false
"#;

#[test]
fn no_secret_and_no_phone_number_is_written() {
    let text = super::app_json::text(&config(SEVERAL));
    for secret in ["hunter2secret", "15550001005"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

/// The keys of Heroku's schema.
const KNOWN: &Known = &[
    (
        "",
        &[
            "name",
            "description",
            "keywords",
            "website",
            "repository",
            "logo",
            "success_url",
            "scripts",
            "env",
            "formation",
            "addons",
            "buildpacks",
            "environments",
            "stack",
            "image",
        ],
    ),
    ("env.*", &["description", "value", "required", "generator"]),
    ("formation.*", &["quantity", "size"]),
    ("addons", &["plan", "as", "options"]),
    ("buildpacks", &["url"]),
    ("environments", &["test", "review", "production"]),
    ("environments.review", &["env", "formation", "addons", "buildpacks", "scripts", "stack"]),
    ("environments.review.env.*", &["description", "value", "required", "generator"]),
];

#[test]
fn app_json_holds_only_what_heroku_knows() {
    for toml in ["", WORKER, SEVERAL, "[heroku]\nbuild = \"npm\"", "[heroku]\nbuild = \"container\""] {
        let app_json = app_json(&config(toml));
        assert_eq!(unknown(&app_json, KNOWN), [""; 0]);
        assert!(app_json["name"].as_str().unwrap().len() <= 30);
        let env = app_json["env"].as_object().unwrap();
        let review = app_json["environments"]["review"]["env"].as_object().unwrap();
        for (name, variable) in env.iter().chain(review) {
            let form = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
            assert!(name.starts_with(|c: char| c.is_ascii_uppercase()) && name.bytes().all(form), "{name}");
            assert!(variable["value"].is_null() || variable["value"].is_string(), "{name}: {variable}");
            assert!(variable["description"].as_str().is_some_and(|text| text.len() <= 120), "{name}");
        }
    }
    let wrong =
        serde_json::json!({ "nme": 1, "env": { "X": { "vale": "" } }, "buildpacks": [{ "name": 1 }] });
    assert_eq!(unknown(&wrong, KNOWN), ["nme", "env.*.vale", "buildpacks.name"]);
}

/// The variables as Heroku sets them: fields left as they are, secrets made up.
fn set_by_heroku(env: &Value) -> BTreeMap<String, String> {
    let value = |variable: &Value| match variable["value"].as_str() {
        Some(value) => value.to_owned(),
        None if variable["generator"] == "secret" => "0123456789abcdef".repeat(4),
        None => String::new(),
    };
    let variables = env.as_object().unwrap().iter();
    variables.map(|(name, variable)| (name.clone(), value(variable))).collect()
}

#[test]
fn blacksky_understands_what_app_json_sets() {
    for toml in ["", WORKER, &SEVERAL.replace("[web]\nadmin_token = \"hunter2secret\"\n", "")] {
        let app_json = app_json(&config(toml));
        let mut env = set_by_heroku(&app_json["env"]);
        assert_eq!(env["BLACKSKY_SECRET_KEY"].len(), 64);
        let load = |env: &BTreeMap<String, String>| {
            Config::parse(Path::new("blacksky.toml"), toml.into(), env).expect("good variables")
        };
        let loaded = load(&env);
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        assert!(loaded.config.bots.values().any(|bot| bot.enabled));
        assert!(loaded.config.database.secret_key.is_some());
        env.extend(set_by_heroku(&app_json["environments"]["review"]["env"]));
        let review = load(&env);
        assert!(review.warnings.is_empty(), "{:?}", review.warnings);
        assert!(review.config.bots.values().all(|bot| !bot.enabled), "a review app links a bot");
    }
}
