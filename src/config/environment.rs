//! Config Vars: the only reader of the environment, and THE table of names.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// Where Config Vars are read from.
pub trait Environment {
    /// The value of a variable; bytes that are no UTF-8 come as U+FFFD.
    fn get(&self, name: &str) -> Option<String>;

    /// Names of all variables that are set.
    fn names(&self) -> Vec<String>;
}

/// The environment of this process.
#[derive(Debug, Clone, Copy)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn get(&self, name: &str) -> Option<String> {
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }

    fn names(&self) -> Vec<String> {
        std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect()
    }
}

/// All of this process's environment, for a program that it starts.
pub fn inherited() -> Vec<(OsString, OsString)> {
    std::env::vars_os().collect()
}

impl Environment for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<String> {
        BTreeMap::get(self, name).cloned()
    }

    fn names(&self) -> Vec<String> {
        self.keys().cloned().collect()
    }
}

/// No variable at all: what `gen` uses, so that deploy files are the same on every machine.
#[derive(Debug, Clone, Copy)]
pub struct NoEnvironment;

impl Environment for NoEnvironment {
    fn get(&self, _: &str) -> Option<String> {
        None
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A short name that the platform or a person sets.
#[derive(Debug, Clone, Copy)]
pub struct ShortName {
    /// The variable.
    pub variable: &'static str,
    /// The key it sets; `bots.NAME.session` stands for the only bot.
    pub key: &'static str,
    /// It wins over the path name; any other pair of different values is an error.
    pub wins: bool,
    /// What a person should know.
    pub about: &'static str,
}

/// The short names.
pub const SHORT_NAMES: [ShortName; 7] = [
    ShortName {
        variable: "SESSION_ID",
        key: "bots.NAME.session",
        wins: false,
        about: "Only with a single bot; with several it is an error.",
    },
    ShortName {
        variable: "HEROKU_APP_URL",
        key: "heroku.url",
        wins: false,
        about: "`heroku config:set HEROKU_APP_URL=https://…`.",
    },
    ShortName {
        variable: "DATABASE_URL",
        key: "database.url",
        wins: true,
        about: "Set by the add-on heroku-postgresql; wins over everything else.",
    },
    ShortName {
        variable: "BLACKSKY_SECRET_KEY",
        key: "database.secret_key",
        wins: false,
        about: "app.json lets Heroku make one.",
    },
    ShortName {
        variable: "BLACKSKY_ADMIN_TOKEN",
        key: "web.admin_token",
        wins: false,
        about: "app.json lets Heroku make one.",
    },
    ShortName {
        variable: "PORT",
        key: "web.port",
        wins: true,
        about: "Set by the platform; wins over everything else.",
    },
    ShortName {
        variable: "DEBUG",
        key: "log.level",
        wins: false,
        about: "`true` stands for `debug`; every other value is ignored.",
    },
];

/// What bin/compile reads while a slug is built (docs/heroku.md); no key of blacksky.toml.
pub const OF_THE_BUILDPACK: [&str; 3] =
    ["BLACKSKY_BUILDPACK_ARCHIVE", "BLACKSKY_BUILDPACK_SHA256", "BLACKSKY_BUILDPACK_SOURCE"];

/// DYNO: set by Heroku, e.g. "web.1".
pub const DYNO: &str = "DYNO";
/// The app's own name on herokuapp.com, where dyno metadata is on.
pub const DEFAULT_DOMAIN: &str = "HEROKU_APP_DEFAULT_DOMAIN_NAME";

/// A host other than Heroku, known by what it sets in the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    pub name: &'static str,
    /// Its public name, where it has one: "shop-bot.fly.dev".
    pub domain: Option<String>,
}

/// The host of this process, if it says so (Railway "Variables Reference", Render "Default Environment Variables",
/// Fly.io "The Machine Runtime Environment").
pub(super) fn host(env: &dyn Environment) -> Option<Host> {
    // The name, what marks it, where the domain's first part is, and the rest of the domain.
    let hosts = [
        ("Railway", "RAILWAY_ENVIRONMENT_ID", "RAILWAY_PUBLIC_DOMAIN", ""),
        ("Render", "RENDER", "RENDER_EXTERNAL_HOSTNAME", ""),
        ("Fly.io", "FLY_APP_NAME", "FLY_APP_NAME", ".fly.dev"),
    ];
    hosts
        .into_iter()
        .find(|(_, mark, ..)| value(env, mark).is_some())
        .map(|(name, _, domain, rest)| Host { name, domain: value(env, domain).map(|first| first + rest) })
}

/// The Config Var of a key: `backoff.max` → `BLACKSKY_BACKOFF_MAX`.
pub fn variable_of(key: &str) -> String {
    format!("BLACKSKY_{}", key.replace('.', "_").to_uppercase())
}

/// The short name of a key, if it has one. `only_bot`: the file has a single bot.
pub(crate) fn short_name_of(key: &str, only_bot: bool) -> Option<&'static ShortName> {
    SHORT_NAMES.iter().find(|short| match short.key.strip_prefix("bots.NAME.") {
        Some(of_bot) => {
            only_bot
                && key
                    .strip_prefix("bots.")
                    .and_then(|rest| rest.split_once('.'))
                    .is_some_and(|(_, k)| k == of_bot)
        }
        None => short.key == key,
    })
}

/// A variable's value, trimmed; an empty one counts as not set.
pub(crate) fn value(env: &dyn Environment, name: &str) -> Option<String> {
    let value = env.get(name)?;
    let value = value.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// The value of a short name, in the words of its key; `None` when it says nothing.
pub(crate) fn short_value(env: &dyn Environment, short: &ShortName) -> Option<String> {
    let value = value(env, short.variable)?;
    match short.variable {
        // DEBUG is shared with other programs ("express:*"): only "true" is for us.
        "DEBUG" => value.eq_ignore_ascii_case("true").then(|| "debug".to_owned()),
        _ => Some(value),
    }
}
