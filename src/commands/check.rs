//! `blacksky check`: file and Config Vars, all problems at once.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use serde_json::{Value, json};

use crate::cli::{Check, Cli};
use crate::config::lints::{self, Lints, Starts};
use crate::config::{Build, Client, Config, DatabaseLocation, Loaded, Problem, ProcessEnvironment, problem};
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
    let mut lints = if args.heroku { with_files(loaded) } else { Lints::default() };
    lints.problems.extend(committed_sessions(loaded));
    lints
}

/// What Heroku would start is told by the Procfile beside blacksky.toml, unless it is a container.
fn with_files(loaded: &Loaded) -> Lints {
    let folder = &loaded.config.folder;
    if loaded.config.heroku.build == Build::Container {
        return lints::heroku(loaded, Starts::Unknown);
    }
    let procfile = std::fs::read(folder.join("Procfile"));
    let text = procfile.as_ref().map(|bytes| String::from_utf8_lossy(bytes));
    let starts = match &text {
        Ok(text) => Starts::Procfile(text),
        Err(error) if error.kind() == ErrorKind::NotFound => Starts::Nothing,
        Err(_) => Starts::Unknown,
    };
    lints::heroku(loaded, starts)
}

/// Sessions in git: whoever can read the repository can be the bot.
fn committed_sessions(loaded: &Loaded) -> Vec<Problem> {
    let config = &loaded.config;
    let mut problems = Vec::new();
    // Wherever they are, credentials are found by their name: once is enough.
    let mut told = BTreeSet::new();
    let mut tell = |key: String, path: &str, mut files: Vec<String>| {
        files.retain(|file| told.insert(file.clone()));
        if files.is_empty() {
            return;
        }
        let what = format!("{key}: git has session files ({})", tracked::some(&files));
        let help = format!(
            "whoever can read the repository can be the bot: `{}`, and commit that. They stay in its history; if \
             anybody else could read it, log the bot out on the phone and link it anew",
            tracked::remedy(&files, Some(path))
        );
        problems.push(Problem::error(lints::place(loaded, &key), key, what, Some(help)));
    };
    for (name, bot) in &config.bots {
        if let Client::Hosted(hosted) = &bot.client {
            let path = hosted.session_dir.to_string_lossy();
            tell(format!("bots.{name}.session_dir"), &path, tracked::tracked(&config.folder, Some(&path)));
        }
    }
    if let DatabaseLocation::Sqlite(file) = &config.database.location
        && let Ok(file) = std::path::absolute(file)
        && let Ok(file) = file.strip_prefix(&config.folder)
    {
        let path = file.to_string_lossy();
        let mut files = tracked::tracked(&config.folder, Some(&path));
        files.retain(|file| *file == path);
        tell("database.url".to_owned(), &path, files);
    }
    problems
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
        DatabaseLocation::Missing(wiped) => format!("none yet; {}", wiped.todo()),
    };
    let noun = if bots.len() == 1 { "bot" } else { "bots" };
    format!("{} is good\n{noun}: {}\ndatabase: {database}", cli.config.display(), bots.join(", "))
}
