//! `blacksky check`: file and Config Vars, all problems at once.

use serde_json::{Value, json};

use crate::cli::{Check, Cli};
use crate::config::lints::{self, Lints};
use crate::config::{Client, Config, DatabaseLocation, Loaded, Place, Problem, ProcessEnvironment, problem};
use crate::exit::{Exit, Failure};
use crate::init::tracked;

use super::{load, output};

/// Exit 0 when blacksky could run with this file and these Config Vars, 78 otherwise. With `--heroku` also
/// 78 when it could not run so on Heroku.
pub fn run(cli: &Cli, args: &Check) -> Result<Exit, Failure> {
    if args.json {
        return print_json(cli, args);
    }
    let loaded = load::load(cli)?;
    let lints = found(&loaded, args);
    if !lints.problems.is_empty() {
        let colour = output::colour_on_stderr(&ProcessEnvironment);
        output::print_error(&format!("{}\n", problem::render_all(&cli.config, &lints.problems, colour)))?;
    }
    let errors = lints.problems.iter().filter(|problem| !problem.is_warning).count();
    if errors > 0 {
        let noun = if errors == 1 { "problem" } else { "problems" };
        let place = if args.heroku { " on Heroku" } else { "" };
        let error = anyhow::anyhow!("{}{place}: {errors} {noun}", cli.config.display());
        return Err(Failure::new(Exit::BadConfig, error));
    }
    output::print(&summary(cli, &loaded))?;
    for note in lints.notes {
        output::print(&format!("note: {}", note.text))?;
    }
    Ok(Exit::Ok)
}

fn found(loaded: &Loaded, args: &Check) -> Lints {
    let mut lints = if args.heroku { lints::heroku(loaded) } else { Lints::default() };
    lints.problems.extend(committed_sessions(&loaded.config));
    lints
}

/// Session files of hosted bots in git: whoever can read the repository can be the bot.
fn committed_sessions(config: &Config) -> Vec<Problem> {
    let hosted = config.bots.iter().filter_map(|(name, bot)| match &bot.client {
        Client::Hosted(hosted) => Some((name, hosted.session_dir.to_string_lossy())),
        Client::Native(_) => None,
    });
    let found = hosted.filter_map(|(name, session_dir)| {
        let files = tracked::tracked(&config.folder, Some(&session_dir));
        if files.is_empty() {
            return None;
        }
        let key = format!("bots.{name}.session_dir");
        let what = format!("{key}: git has session files ({})", tracked::some(&files));
        let help = format!(
            "whoever can read the repository can be the bot: `{}`, and commit that. They stay in its history; if \
             anybody else could read it, log the bot out on the phone and link it anew",
            tracked::remedy(&files, Some(&session_dir))
        );
        Some(Problem::error(Place::File, key, what, Some(help)))
    });
    found.collect()
}

fn print_json(cli: &Cli, args: &Check) -> Result<Exit, Failure> {
    let (mut list, notes) = match Config::load(&cli.config, &ProcessEnvironment) {
        Ok(loaded) => {
            let lints = found(&loaded, args);
            ([loaded.warnings, lints.problems].concat(), lints.notes)
        }
        Err(problems) => (problems.list, Vec::new()),
    };
    list.sort_by_key(|problem| problem.position().unwrap_or((usize::MAX, 0)));
    let ok = list.iter().all(|problem| problem.is_warning);
    let problems: Vec<Value> = list.iter().map(Problem::to_json).collect();
    let mut result = json!({ "file": cli.config, "ok": ok, "problems": problems });
    if args.heroku {
        result["notes"] = notes.iter().map(|note| json!({ "key": note.key, "message": note.text })).collect();
    }
    output::print_json(&result)?;
    Ok(if ok { Exit::Ok } else { Exit::BadConfig })
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
