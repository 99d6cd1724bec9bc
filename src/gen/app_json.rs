//! app.json: how Heroku creates the app from its deploy button, and its review apps.
//!
//! Only keys of Heroku's schema (Dev Center, "app.json Schema"). Heroku reads the file when it creates
//! an app, not at later deploys.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::config::environment::variable_of;
use crate::config::values::web_url;
use crate::config::{Build, Client, Config, ProcessType};

/// The file.
pub const PATH: &str = "app.json";

#[derive(Serialize)]
struct AppJson<'c> {
    name: &'c str,
    description: &'c str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    keywords: &'c [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    website: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logo: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    success_url: Option<&'c str>,
    stack: &'c str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    addons: &'c [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    buildpacks: Vec<Buildpack<'c>>,
    env: BTreeMap<String, Variable>,
    formation: BTreeMap<&'c str, Formation>,
    environments: BTreeMap<&'static str, Environment>,
}

#[derive(Serialize)]
struct Buildpack<'c> {
    url: &'c str,
}

#[derive(Serialize)]
struct Variable {
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'static str>,
    /// Heroku makes a random value of 64 hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    generator: Option<&'static str>,
    /// True where it is missing, so only false is ever written.
    #[serde(skip_serializing_if = "Clone::clone")]
    required: bool,
}

#[derive(Serialize)]
struct Formation {
    quantity: u32,
    size: &'static str,
}

/// What differs in one kind of app.
#[derive(Serialize)]
struct Environment {
    env: BTreeMap<String, Variable>,
}

const DESCRIPTION: &str = "A WhatsApp bot kept linked by blacksky";

/// The text of app.json.
pub fn text(config: &Config) -> String {
    let app = &config.app;
    let app_json = AppJson {
        name: &app.name,
        description: app.description.as_deref().unwrap_or(DESCRIPTION),
        keywords: &app.keywords,
        website: public(app.website.as_ref()),
        repository: public(app.repository.as_ref()),
        logo: public(app.logo.as_ref()),
        success_url: success_url(config),
        stack: stack(config),
        addons: &config.heroku.addons,
        buildpacks: config.heroku.buildpacks.iter().map(|url| Buildpack { url }).collect(),
        env: variables(config),
        formation: BTreeMap::from([(
            config.heroku.process.as_str(),
            Formation { quantity: config.heroku.quantity, size: config.heroku.dyno.as_str() },
        )]),
        environments: BTreeMap::from([("review", Environment { env: of_review_apps(config) })]),
    };
    // Strings, numbers and maps with string keys always serialise.
    let mut text = serde_json::to_string_pretty(&app_json).unwrap_or_default();
    text.push('\n');
    text
}

/// What the app runs on.
pub(super) fn stack(config: &Config) -> &str {
    match config.heroku.build {
        Build::Container => "container",
        Build::Buildpack | Build::Npm => &config.heroku.stack,
    }
}

/// A file that is published holds no address with a password or token.
fn public(url: Option<&url::Url>) -> Option<&str> {
    url.filter(|url| !web_url::is_secret(url)).map(url::Url::as_str)
}

/// Where Heroku sends a person after the first deploy. A worker has no page to go to.
fn success_url(config: &Config) -> Option<&str> {
    let url = config.app.success_url.as_str();
    let secret = url::Url::parse(url).is_ok_and(|url| web_url::is_secret(&url));
    (config.heroku.process == ProcessType::Web && !secret).then_some(url)
}

fn generated(description: &str) -> Variable {
    Variable { description: description.to_owned(), value: None, generator: Some("secret"), required: true }
}

fn optional(description: String) -> Variable {
    Variable { description, value: None, generator: None, required: false }
}

fn secrets() -> BTreeMap<String, Variable> {
    BTreeMap::from([
        (
            "BLACKSKY_SECRET_KEY".to_owned(),
            generated("Seals the stored sessions. Keep it: without it the phone has to be linked again."),
        ),
        (
            "BLACKSKY_ADMIN_TOKEN".to_owned(),
            generated(
                "Opens the QR and the actions of the page. Shown by: heroku config:get BLACKSKY_ADMIN_TOKEN",
            ),
        ),
    ])
}

/// What a person who deploys should see; everything else has its place in the file.
fn variables(config: &Config) -> BTreeMap<String, Variable> {
    let mut variables = secrets();
    let mut add = |name: String, description: String| variables.insert(name, optional(description));
    let only_one = config.bots.len() == 1;
    for (bot, values) in &config.bots {
        let variable =
            if only_one { "SESSION_ID".to_owned() } else { variable_of(&format!("bots.{bot}.session")) };
        let what = match &values.client {
            Client::Native(_) => "a plain name, never a credential",
            Client::Hosted(_) => "or a session string with a login of Baileys, which is imported once",
        };
        let empty = &values.session;
        add(variable, format!("Name of the stored session of bot {bot}; {what}. Empty: {empty}"));
    }
    if config.heroku.process == ProcessType::Web {
        add(
            "HEROKU_APP_URL".to_owned(),
            "Public address of this app, as heroku info shows it once it is created".to_owned(),
        );
    }
    add("DEBUG".to_owned(), "true logs more".to_owned());
    variables
}

/// The variables that need not be set, for hosts that want them named.
pub(super) fn optional_variables(config: &Config) -> Vec<String> {
    variables(config).into_iter().filter(|(_, variable)| !variable.required).map(|(name, _)| name).collect()
}

/// A review app shares nothing with the app and must not fight for its link: every bot is disabled.
/// The secrets stand here too, so that they exist whether Heroku merges `env` or replaces it.
fn of_review_apps(config: &Config) -> BTreeMap<String, Variable> {
    let mut variables = secrets();
    for bot in config.bots.keys() {
        variables.insert(
            variable_of(&format!("bots.{bot}.enabled")),
            Variable {
                description: format!("A review app leaves bot {bot} to the app itself"),
                value: Some("false"),
                generator: None,
                required: true,
            },
        );
    }
    variables
}
