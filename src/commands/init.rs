//! `blacksky init`: blacksky.toml and the deploy files for the bot of this folder.

use std::fs;
use std::io::{BufRead, ErrorKind, IsTerminal};
use std::path::Path;

use anyhow::Context;
use serde_json::json;

use crate::cli::{Cli, Init};
use crate::config::{Config, NoEnvironment};
use crate::exit::{Exit, Failure};
use crate::r#gen::{self, Force, Target};
use crate::init::{self, Found, SessionFrom, StartFound, ignore, look::Snapshot, sources, tracked, words};

use super::output;

/// A file that was there before, beside the one that is written.
const ASIDE: &str = "before-blacksky";

/// What was written.
#[derive(Default)]
struct Written {
    files: Vec<String>,
    /// Copies of what was there.
    kept: Vec<String>,
}

/// Nothing is written unless everything can be.
pub fn run(cli: &Cli, args: &Init) -> Result<Exit, Failure> {
    let folder =
        cli.config.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = cli.config.display();
    if args.interactive && !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        let why =
            anyhow::anyhow!("nobody can be asked here, since there is no terminal: leave --interactive out");
        return Err(Failure::new(Exit::Usage, why));
    }
    let exists = cli.config.try_exists().with_context(|| format!("{name} cannot be read"))?;
    if exists && !args.force {
        return Err(anyhow::anyhow!("{name} is there already: edit it, or replace it with --force").into());
    }
    let snapshot =
        init::look::look(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    let mut found = init::recognise(&snapshot, exists.then(|| command_of(&cli.config)).flatten());
    if let Some(line) = &args.command {
        let start = init::behind(&snapshot, line).map_err(|why| {
            Failure::new(Exit::Usage, anyhow::anyhow!("`{line}` is no start command: {why}"))
        })?;
        found.set_start(Some(StartFound { command: start.command, from: "as you say".to_owned() }));
    }
    if args.interactive {
        ask(&mut found, &snapshot)?;
    }
    if found.start.is_none() && found.unknown {
        let why: Vec<String> = found.notes.iter().map(|note| format!("\n  - {note}")).collect();
        return Err(anyhow::anyhow!(
            "there is a program in this folder, and how it is started could not be found out: say it with --command \
             \"node index.js\"{}",
            why.concat()
        )
        .into());
    }
    let session_dir = found.start.is_some().then_some(found.session_dir.as_str());
    let tracked = tracked::tracked(folder, session_dir);
    if !tracked.is_empty() {
        return Err(anyhow::anyhow!(tracked::refusal(&tracked, session_dir)).into());
    }
    let written = write(cli, folder, &found)?;
    let next = next_steps(&found, &snapshot);
    if args.json {
        output::print_json(&json!({
            "found": found,
            "written": written.files,
            "kept": written.kept,
            "next": next,
        }))?;
    } else {
        output::print(&report(&found, &written, &next))?;
    }
    Ok(Exit::Ok)
}

/// The command of the hosted bot in a file that is to be replaced.
fn command_of(path: &Path) -> Option<Vec<String>> {
    let loaded = Config::load(path, &NoEnvironment).ok()?;
    loaded.config.bots.into_values().find_map(|bot| match bot.client {
        crate::config::Client::Hosted(hosted) => Some(hosted.command),
        crate::config::Client::Native(_) => None,
    })
}

fn write(cli: &Cli, folder: &Path, found: &Found) -> Result<Written, Failure> {
    let text = init::file::text(found);
    let loaded =
        Config::parse(&cli.config, text.clone().into_bytes(), &NoEnvironment).map_err(|problems| {
            let text = format!("what was found makes no good file, and nothing was written\n{problems}");
            Failure::new(Exit::BadConfig, anyhow::anyhow!(text))
        })?;
    let files = r#gen::artifacts(&loaded.config, Target::Heroku);
    let mut written = Written::default();
    // package.json loses nothing: its start script is the command in blacksky.toml now.
    let edited = r#gen::edited(folder, &files)?;
    let aside: Vec<&str> = edited.into_iter().filter(|path| *path != r#gen::package_json::PATH).collect();
    for path in &aside {
        let copy = format!("{path}.{ASIDE}");
        if folder.join(&copy).exists() {
            let why = "nothing was written, so that it is not lost: move it away first";
            return Err(anyhow::anyhow!("{copy} is there already; {why}").into());
        }
    }
    let ignores = ignores(folder, found)?;
    for path in aside {
        let copy = format!("{path}.{ASIDE}");
        fs::copy(folder.join(path), folder.join(&copy))
            .with_context(|| format!("{copy} cannot be written"))?;
        written.kept.push(copy);
    }
    r#gen::replace(folder, &cli.config, text.as_bytes())
        .with_context(|| format!("{} cannot be written", cli.config.display()))?;
    written.files.push(cli.config.display().to_string());
    let report = r#gen::write(folder, &files, Force::Yes)?;
    written.files.extend(report.written.into_iter().map(str::to_owned));
    for (name, text) in ignores {
        r#gen::replace(folder, &folder.join(name), text.as_bytes())
            .with_context(|| format!("{name} cannot be written"))?;
        written.files.push(name.to_owned());
    }
    Ok(written)
}

/// The ignore files that lack a line, with their new texts.
fn ignores(folder: &Path, found: &Found) -> Result<Vec<(&'static str, String)>, Failure> {
    let session_dir = found.start.is_some().then_some(found.session_dir.as_str());
    let mut due = Vec::new();
    for (name, slug) in [(".gitignore", false), (".slugignore", true)] {
        let text = match fs::read_to_string(folder.join(name)) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                let why = "is not UTF-8, so git does not understand it: save it as UTF-8 first";
                return Err(anyhow::anyhow!("{name} {why}").into());
            }
            Err(error) => {
                return Err(anyhow::Error::from(error).context(format!("{name} cannot be read")).into());
            }
        };
        if let Some(text) = ignore::with(&text, &ignore::lines(session_dir, found.node, slug)) {
            due.push((name, text));
        }
    }
    Ok(due)
}

fn report(found: &Found, written: &Written, next: &[String]) -> String {
    let mut lines = Vec::new();
    let mut say = |what: &str, text: String| lines.push(format!("{what:<15} {text}"));
    match &found.start {
        Some(start) => {
            say("start command", format!("{}   ({})", words::line(&start.command), start.from));
            let from = match found.session_from {
                SessionFrom::Sources => "named in the sources",
                SessionFrom::Disk => "holds a login",
                SessionFrom::Default => "a guess",
            };
            say("session", format!("{}   ({from})", found.session_dir));
            let baileys = found.baileys.as_ref();
            say("Baileys", baileys.map_or("none".to_owned(), |it| format!("{} {}", it.package, it.version)));
            let ports: Vec<String> = found.ports.iter().map(u16::to_string).collect();
            say(
                "its own port",
                match (found.reads_port, ports.is_empty()) {
                    (true, _) => "PORT: blacksky passes its pages on".to_owned(),
                    (false, true) => "none".to_owned(),
                    (false, false) => ports.join(", "),
                },
            );
            if found.reads_session_id {
                say("SESSION_ID", "read by the bot; blacksky can import it".to_owned());
            }
        }
        None => say("bot", "none in this folder: blacksky is the bot itself".to_owned()),
    }
    for note in &found.notes {
        say("note", note.clone());
    }
    for kept in &written.kept {
        say("kept", format!("{kept}, a copy of what was there"));
    }
    for file in &written.files {
        say("wrote", file.clone());
    }
    lines.push("\nNext:".to_owned());
    lines.extend(next.iter().enumerate().map(|(number, step)| format!("  {}. {step}", number + 1)));
    lines.join("\n")
}

fn next_steps(found: &Found, snapshot: &Snapshot) -> Vec<String> {
    let login = format!("{}/creds.json", found.session_dir);
    let linked = snapshot.files.contains(&login) || snapshot.files.contains(&found.session_dir);
    let scan = if found.start.is_some() && linked {
        format!("the login in {} is taken over, so there is no new QR", found.session_dir)
    } else {
        "scan the QR on http://localhost:3000/ with WhatsApp, Linked devices".to_owned()
    };
    let commit = "git add -A && git commit -m \"blacksky keeps the bot linked\"".to_owned();
    let (commit, program) = match &found.start {
        Some(_) if found.node => (format!("npm install && {commit}"), ""),
        Some(_) => (
            commit,
            "; the program blacksky must be on the PATH there: name blacksky's buildpack in heroku.buildpacks",
        ),
        None => (commit, ""),
    };
    vec![
        format!("blacksky run: {scan}"),
        commit,
        format!(
            "heroku create && heroku addons:create heroku-postgresql:essential-0 && heroku config:set \
             BLACKSKY_SECRET_KEY=$(openssl rand -hex 32) BLACKSKY_ADMIN_TOKEN=$(openssl rand -hex 16) && git push \
             heroku HEAD:main{program}"
        ),
    ]
}

/// Asks for each value; Enter keeps what was found.
fn ask(found: &mut Found, snapshot: &Snapshot) -> Result<(), Failure> {
    found.app.name = question("Name of the app", &found.app.name, |answer| {
        if (1..=30).contains(&answer.chars().count()) {
            Ok(answer.to_owned())
        } else {
            Err("at most 30 letters".to_owned())
        }
    })?;
    let command = found.start.as_ref().map_or(String::new(), |start| words::line(&start.command));
    let (before, start) = (found.start.clone(), |answer: &str| {
        if answer.is_empty() {
            return Ok(None);
        }
        if answer == command && before_is(found.start.as_ref(), answer) {
            return Ok(found.start.clone());
        }
        let start = init::behind(snapshot, answer)?;
        Ok(Some(StartFound { command: start.command, from: "as you say".to_owned() }))
    });
    let start = question("Start command of the bot (- if blacksky is the bot itself)", &command, |answer| {
        start(if answer == "-" { "" } else { answer })
    })?;
    if before != start {
        found.set_start(start);
    }
    found.unknown = false;
    if found.start.is_some() {
        found.session_dir = question("Where the bot keeps its session", &found.session_dir, |answer| {
            sources::normal(".", answer)
                .ok_or_else(|| "a path below this folder, such as sessions".to_owned())
        })?;
    }
    Ok(())
}

fn before_is(start: Option<&StartFound>, line: &str) -> bool {
    start.is_some_and(|start| words::line(&start.command) == line)
}

/// Asks until the answer holds.
fn question<T>(what: &str, default: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<T, Failure> {
    loop {
        output::print_error(&format!("{what} [{default}]:"))?;
        let mut answer = String::new();
        if std::io::stdin().lock().read_line(&mut answer)? == 0 {
            return Err(anyhow::anyhow!("nothing was written: the questions were not answered").into());
        }
        let answer = answer.trim();
        match read(if answer.is_empty() { default } else { answer }) {
            Ok(value) => return Ok(value),
            Err(why) => output::print_error(&why)?,
        }
    }
}
