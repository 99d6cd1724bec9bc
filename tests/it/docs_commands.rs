//! Every command in README.md and docs/*.md is run, or at least read as the command line that it is.
//!
//! Commands in blocks are whole: each is run in a copy of a folder with a linked bot, or the table below says which
//! test runs it. What stands in running text may leave arguments out, but must name what there is. `heroku` and
//! `git` need an account and are left alone; a command that they run on a dyno is not.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use blacksky::cli::Cli;
use blacksky::config::{Config, NoEnvironment};
use clap::Parser;
use clap::error::ErrorKind;

use crate::support::blacksky::{Blacksky, Process};
use crate::support::webhook::Receiver;
use crate::support::{linked, sim};

const PATIENCE: Duration = Duration::from_secs(30);
const TOKEN: &str = "the admin token of this test";
const PASSPHRASE: &str = "the passphrase of this test";

/// What begins like a JPEG.
const PICTURE: &[u8] = b"\xff\xd8\xff\xe0 a picture";

/// A folder in which all commands of the docs make sense.
const FILE: &str = "[bots.main]\nprefix = \"!\"\n[jobs.nightly]\ncron = \"@daily\"\nbackup = true\n";

fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = fs::read_dir(root.join("docs")).expect("docs").map(|entry| entry.expect("readable").path());
    let mut paths: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    paths.push(root.join("README.md"));
    paths.sort();
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root).expect("below").display().to_string();
        (name, fs::read_to_string(&path).expect("text"))
    };
    paths.into_iter().map(read).collect()
}

/// Texts of the blocks of these languages.
fn blocks<'t>(text: &'t str, languages: &[&str]) -> Vec<Vec<&'t str>> {
    let mut found = Vec::new();
    let mut open: Option<Vec<&str>> = None;
    for line in text.lines() {
        match (line.trim().strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => found.extend(open.take().filter(|lines| !lines.is_empty())),
            (Some(language), None) => open = languages.contains(&language).then(Vec::new),
            (None, Some(lines)) => lines.push(line),
            (None, None) => {}
        }
    }
    // A block of another language never opened, so its end looked like a beginning of none.
    found
}

/// The command lines of a document: whole ones.
fn commands(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for block in blocks(text, &["console"]) {
        let mut goes_on = false;
        for line in block {
            let command = line.trim().strip_prefix("$ ").or(goes_on.then_some(line.trim()));
            goes_on = command.is_some_and(|command| command.ends_with('\\'));
            lines.extend(command.map(str::to_owned));
        }
    }
    for block in blocks(text, &["sh", "bash"]) {
        lines.extend(block.iter().map(|line| line.trim().to_owned()));
    }
    // Blocks by indent, outside of fences.
    let mut fenced = false;
    for line in text.lines() {
        fenced ^= line.trim().starts_with("```");
        let is_command = ["blacksky ", "heroku ", "curl ", "DATABASE_URL=", "BLACKSKY_"];
        // "blacksky 0.1.0, on web.1" is what a command wrote.
        if !fenced
            && !line.trim().starts_with("blacksky 0")
            && line.starts_with("    ")
            && is_command.iter().any(|start| line.trim().starts_with(start))
        {
            lines.push(line.trim().to_owned());
        }
    }
    let mut whole: Vec<String> = Vec::new();
    for line in lines.into_iter().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let line = line.split("  #").next().unwrap_or(&line).trim().to_owned();
        match whole.last_mut() {
            Some(last) if last.ends_with('\\') => {
                *last = format!("{} {line}", last.trim_end_matches('\\').trim())
            }
            _ => whole.push(line),
        }
    }
    whole
}

/// What stands between backticks, outside of blocks, and begins with `blacksky`.
fn mentions(text: &str) -> Vec<String> {
    let mut fenced = false;
    let prose: Vec<&str> = text
        .lines()
        .filter(|line| {
            let is_fence = line.trim().starts_with("```");
            fenced ^= is_fence;
            !fenced && !is_fence
        })
        .collect();
    let prose = prose.join("\n");
    let spans = prose.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " "));
    spans.filter(|span| span.starts_with("blacksky ") || span.starts_with("heroku run blacksky ")).collect()
}

/// The words after `blacksky`, however it is started; `None` when it is another program.
fn words(line: &str) -> Option<Vec<String>> {
    let mut rest = line;
    // X=y and X=$(…) before it.
    while let Some((name, after)) = rest.split_once('=')
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    {
        let end = if after.starts_with("$(") { after.find(')').map(|at| at + 1) } else { after.find(' ') };
        rest = after.get(end?..)?.trim_start();
    }
    let rest = rest.strip_prefix("heroku run ").unwrap_or(rest);
    let rest = match rest.strip_prefix("cargo run ") {
        Some(cargo) => cargo.split_once("-- ").map(|(_, rest)| rest)?,
        None => rest.strip_prefix("blacksky ").or_else(|| rest.strip_prefix("./target/release/blacksky "))?,
    };
    let is_job = rest.starts_with("job ");
    let known = |word: &str| match word {
        "NAME" if is_job => "nightly".to_owned(),
        "NAME" => "main".to_owned(),
        "COMMAND" => "run".to_owned(),
        "CODE" => "H12".to_owned(),
        other => other.to_owned(),
    };
    Some(rest.split_whitespace().map(known).collect())
}

fn parse(words: &[String]) -> Result<(), clap::Error> {
    let line = std::iter::once("blacksky").chain(words.iter().map(String::as_str));
    match Cli::try_parse_from(line) {
        Err(error) if error.kind() != ErrorKind::DisplayHelp => Err(error),
        Err(_) | Ok(_) => Ok(()),
    }
}

#[test]
fn what_the_docs_name_is_there() {
    let mut seen = 0;
    for (name, text) in documents() {
        for command in commands(&text) {
            if let Some(words) = words(&command) {
                seen += 1;
                parse(&words).unwrap_or_else(|error| panic!("{name}: {command}\n{error}"));
            }
        }
        for mention in mentions(&text) {
            let words = words(&mention).unwrap_or_else(|| panic!("{name}: {mention}"));
            if words.iter().any(|word| word.contains('…')) {
                continue;
            }
            seen += 1;
            match parse(&words) {
                // Named, and not written out.
                Err(error) if error.kind() == ErrorKind::MissingRequiredArgument => {}
                Err(error) if error.to_string().contains("none was supplied") => {}
                other => other.unwrap_or_else(|error| panic!("{name}: `{mention}`\n{error}")),
            }
        }
    }
    assert!(seen > 60, "only {seen} commands were found: are the docs read at all?");
}

#[test]
fn files_in_the_docs_hold() {
    let mut seen = 0;
    // What they name beside them.
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("menu.jpg"), PICTURE).expect("written");
    let path = folder.path().join("blacksky.toml");
    for (name, text) in documents() {
        for block in blocks(&text, &["toml"]) {
            seen += 1;
            // With the indent of a list.
            let indent =
                block.iter().filter(|line| !line.is_empty()).map(|line| line.len() - line.trim_start().len());
            let indent = indent.min().unwrap_or(0);
            let file: Vec<&str> = block.iter().map(|line| line.get(indent..).unwrap_or_default()).collect();
            let file = file.join("\n");
            if let Err(problems) = Config::parse(&path, file.clone().into_bytes(), &NoEnvironment) {
                panic!("{name}:\n{file}\n{problems}");
            }
        }
    }
    assert!(seen > 5, "only {seen} files were found");
}

/// How a command is run here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It ends by itself, well.
    Ends,
    /// It fails where nothing is wrong but that: exit 1.
    Says,
    /// It runs until it is stopped.
    Starts,
    /// In a folder with a bot of Node and without blacksky.toml.
    InABot,
    /// Without the session that is there.
    Anew,
    /// This test of the binary runs it.
    Elsewhere(&'static str),
}

fn way(words: &[&str]) -> Way {
    match words {
        ["run", ..] => Way::Starts,
        ["sim", ..] => Way::Elsewhere("sim_command"),
        ["init", ..] => Way::InABot,
        ["session", "import", ..] => Way::Anew,
        // The files of this folder were never made.
        ["gen", "--check"] => Way::Says,
        _ => Way::Ends,
    }
}

struct World {
    template: tempfile::TempDir,
    server: blacksky::sim::Server,
    live: Process,
    _live_folder: tempfile::TempDir,
    receiver: Receiver,
}

fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().expect("a folder");
    for entry in fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        if entry.path().is_file() {
            fs::copy(entry.path(), to.path().join(entry.file_name())).expect("copied");
        }
    }
    to
}

impl World {
    async fn made() -> Self {
        let (server, receiver) = (sim::simulator(), Receiver::start(&[]).await);
        let template = tempfile::tempdir().expect("a folder");
        fs::write(template.path().join("blacksky.toml"), FILE).expect("written");
        let bot = Blacksky::in_folder(template.path());
        let mut process = linked::linked(&server, bot, &server.url(), "491700000002").await;
        process.term();
        process.ended(PATIENCE).await;
        let export = Blacksky::in_folder(template.path());
        let export = ["session", "export", "main", "--out", "main.export"]
            .iter()
            .fold(export, |all, word| all.arg(*word));
        let (code, text) = run(&export);
        assert_eq!(code, 0, "{text}");
        // The same session; the bot of the template does not run any more.
        let live_folder = copy(template.path());
        let live =
            Blacksky::in_folder(live_folder.path()).env("BLACKSKY_ADMIN_TOKEN", TOKEN).run(&server.url());
        live.until("open", PATIENCE).await;
        Self { template, server, live, _live_folder: live_folder, receiver }
    }

    /// What stands for a running app in the docs is the one that runs here.
    fn here(&self, text: &str) -> String {
        let live = self.live.url("");
        ["APP", "your-app", "my-app"].iter().fold(text.to_owned(), |text, app| {
            text.replace(&format!("https://{app}.herokuapp.com"), live.trim_end_matches('/'))
        })
    }

    fn in_folder(&self, folder: &Path, words: &[String]) -> Blacksky {
        let command = Blacksky::in_folder(folder)
            .env("BLACKSKY_ALERTS_WEBHOOK", self.receiver.url())
            .env("HEROKU_APP_URL", self.live.url("/"));
        words.iter().fold(command, |command, word| command.arg(word.clone()))
    }

    async fn try_out(&self, line: &str, mut words: Vec<String>) {
        for word in &mut words {
            *word = self.here(word);
            // A day is too long for a test.
            if word.ends_with('h') && word[..word.len() - 1].parse::<u32>().is_ok() {
                *word = "1s".to_owned();
            }
        }
        let short: Vec<&str> = words.iter().map(String::as_str).collect();
        let way = way(&short);
        let is_export = matches!(short[..], ["session", "export", ..]);
        // Nobody can be asked here.
        if matches!(short[..], ["session", "restore" | "forget" | "import", ..]) {
            words.push("--yes".to_owned());
        }
        let folder = match way {
            Way::Elsewhere(_) => return,
            Way::InABot => copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/baileys-bot")),
            _ => copy(self.template.path()),
        };
        match way {
            Way::InABot => fs::remove_file(folder.path().join("blacksky.toml")).expect("the example has one"),
            Way::Anew | Way::Starts => {
                for name in ["blacksky.db", "blacksky.db-wal", "blacksky.db-shm"] {
                    // SQLite removes two of them by itself.
                    let _ = fs::remove_file(folder.path().join(name));
                }
            }
            _ => {}
        }
        if is_export {
            fs::remove_file(folder.path().join("main.export")).expect("made for import");
        }
        if way == Way::Starts {
            // The port of its ready line is what it is known by.
            let mut process = Blacksky::in_folder(folder.path()).run(&self.server.url());
            process.until("pairing", PATIENCE).await;
            process.term();
            assert!(process.ended(PATIENCE).await.success(), "{line}");
            return;
        }
        let command = self.in_folder(folder.path(), &words);
        let (code, text) = tokio::task::spawn_blocking(move || run(&command)).await.expect("ran");
        assert_eq!(code, i32::from(way == Way::Says), "{line}\n{text}");
    }
}

/// Exit code and all output; whoever asks for a passphrase gets it.
fn run(command: &Blacksky) -> (i32, String) {
    let mut command = command.command();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    // It may not read it at all.
    let _ = child.stdin.take().expect("piped").write_all(format!("{PASSPHRASE}\n").as_bytes());
    let output = child.wait_with_output().expect("it ends");
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.code().unwrap_or(-1), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_docs_works() {
    let world = World::made().await;
    let mut done = BTreeSet::new();
    for (name, text) in documents() {
        let lines = commands(&text).into_iter().chain(mentions(&text));
        for line in lines {
            let Some(words) = words(&line) else {
                other_program(&world, &name, &line);
                continue;
            };
            // Read above; named, and not written out.
            if parse(&words).is_err()
                || words.iter().any(|word| word.contains('…'))
                || !done.insert(words.clone())
            {
                continue;
            }
            world.try_out(&format!("{name}: {line}"), words).await;
        }
    }
    assert!(done.len() > 30, "only {} commands were run: {done:?}", done.len());
}

/// A command that is not blacksky's.
fn other_program(world: &World, name: &str, line: &str) {
    let program = line.split_whitespace().find(|word| !word.contains('=')).unwrap_or_default();
    match program {
        // They need an account at Heroku.
        "heroku" | "git" => {}
        // It needs a registry; tests/it/npm_package does it with the packed files.
        "npm" => {}
        // No engine runs where this does; tests/it/gen_hosts runs the lines that `gen` prints with one in its place.
        "docker" => {}
        // What a release is made with comes from a registry.
        "pip" => {}
        _ if program.starts_with("scripts/") => {
            use std::os::unix::fs::PermissionsExt;
            let script =
                fs::metadata(Path::new(env!("CARGO_MANIFEST_DIR")).join(program)).expect("it is there");
            assert_ne!(script.permissions().mode() & 0o100, 0, "{name}: {line} is not executable");
        }
        // With an id that only the reader has.
        "curl" if line.contains('…') => {}
        "curl" => {
            let folder = tempfile::tempdir().expect("a folder");
            fs::write(folder.path().join("menu.jpg"), PICTURE).expect("written");
            let line = world.here(&line.replacen("curl ", "curl -sSf ", 1));
            let shell = std::process::Command::new("sh")
                .args(["-c", &line])
                .current_dir(folder.path())
                .env("BLACKSKY_ADMIN_TOKEN", TOKEN)
                .env("TOKEN", TOKEN)
                .output();
            let output = shell.expect("a shell");
            assert!(output.status.success(), "{name}: {line}\n{}", String::from_utf8_lossy(&output.stderr));
        }
        other => panic!("{name}: {line}\nno rule of this test runs {other:?}"),
    }
}
