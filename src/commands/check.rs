//! `blacksky check`: file and Config Vars, all problems at once.

use serde_json::json;

use crate::cli::{Check, Cli};
use crate::config::{Config, DatabaseLocation, Loaded, ProcessEnvironment};
use crate::exit::{Exit, Failure};

use super::{load, output};

/// Exit 0 when blacksky could run with this file and these Config Vars, 78 otherwise.
pub fn run(cli: &Cli, args: &Check) -> Result<Exit, Failure> {
    if args.json {
        let (exit, list) = match Config::load(&cli.config, &ProcessEnvironment) {
            Ok(loaded) => (Exit::Ok, loaded.warnings),
            Err(problems) => (Exit::BadConfig, problems.list),
        };
        let problems: Vec<_> = list.iter().map(|problem| problem.to_json()).collect();
        let ok = exit == Exit::Ok;
        output::print_json(&json!({ "file": cli.config, "ok": ok, "problems": problems }))?;
        return Ok(exit);
    }
    let loaded = load::load(cli)?;
    output::print(&summary(cli, &loaded))?;
    Ok(Exit::Ok)
}

fn summary(cli: &Cli, loaded: &Loaded) -> String {
    let config = &loaded.config;
    let bots: Vec<String> = config
        .bots
        .iter()
        .map(|(name, bot)| {
            let off = if bot.enabled { "" } else { " (disabled)" };
            format!("{name}{off}")
        })
        .collect();
    let database = match &config.database.location {
        DatabaseLocation::Postgres(_) => "PostgreSQL".to_owned(),
        DatabaseLocation::Sqlite(file) => format!("SQLite in {}", file.display()),
        DatabaseLocation::Missing => {
            "none yet; heroku addons:create heroku-postgresql:essential-0".to_owned()
        }
    };
    let noun = if bots.len() == 1 { "bot" } else { "bots" };
    format!("{} is good\n{noun}: {}\ndatabase: {database}", cli.config.display(), bots.join(", "))
}
