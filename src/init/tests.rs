use proptest::prelude::*;

use super::*;
use crate::config::{Client, Config, NoEnvironment};
use crate::init::sources::Source;

fn snapshot(package: &str, files: &[(&str, &str)]) -> Snapshot {
    let mut snapshot = Snapshot { name: "folder".to_owned(), ..Snapshot::default() };
    if !package.is_empty() {
        snapshot.package_json = Some(package.as_bytes().to_vec());
    }
    for (path, text) in files {
        snapshot.files.insert((*path).to_owned());
        if *path == "Procfile" {
            snapshot.procfile = Some((*text).to_owned());
        } else {
            snapshot.sources.push(Source { path: (*path).to_owned(), text: (*text).to_owned() });
        }
    }
    snapshot
}

fn command(found: &Found) -> String {
    found
        .start
        .as_ref()
        .map_or("none".to_owned(), |start| format!("{} ({})", words::line(&start.command), start.from))
}

#[test]
fn an_ordinary_bot_is_recognised() {
    let found = recognise(
        &snapshot(
            r#"{"name":"@me/knight-bot","description":"A bot","main":"index.js","scripts":{"start":"node --optimize_for_size index.js"},
                "repository":{"url":"git+https://github.com/me/knight-bot.git"},
                "dependencies":{"@whiskeysockets/baileys":"^6.7.9"}}"#,
            &[(
                "index.js",
                "useMultiFileAuthState('./session'); process.env.SESSION_ID; app.listen(process.env.PORT)",
            )],
        ),
        None,
    );
    assert_eq!(command(&found), "node --optimize_for_size index.js (package.json's start script)");
    assert_eq!((found.session_dir.as_str(), found.session_from), ("session", SessionFrom::Sources));
    assert_eq!(
        found.baileys,
        Some(Baileys { package: "@whiskeysockets/baileys".into(), version: "^6.7.9".into() })
    );
    assert_eq!((found.app.name.as_str(), found.app.description.as_deref()), ("knight-bot", Some("A bot")));
    assert_eq!(found.app.repository.as_deref(), Some("https://github.com/me/knight-bot"));
    assert!(
        found.node && found.reads_port && found.reads_session_id && found.notes.is_empty(),
        "{:?}",
        found.notes
    );
    insta::assert_snapshot!(file::text(&found));
}

#[test]
fn what_heroku_runs_today_comes_first() {
    let files =
        [("Procfile", "release: x\nworker: node runner.js --fast\n"), ("runner.js", ""), ("index.js", "")];
    let package = r#"{"scripts":{"start":"node index.js"}}"#;
    let found = recognise(&snapshot(package, &files), None);
    assert_eq!(command(&found), "node runner.js --fast (the Procfile's worker line)");
    assert!(found.notes.iter().any(|note| note.contains("node index.js")), "{:?}", found.notes);
    // A file that is not there, and our own Procfile, are passed over.
    let files = [("Procfile", "web: node gone.js\nworker: blacksky run"), ("index.js", "")];
    let found = recognise(&snapshot(package, &files), None);
    assert_eq!(command(&found), "node index.js (package.json's start script)");
    let npm = [("Procfile", "worker: npm start"), ("index.js", "")];
    assert_eq!(
        command(&recognise(&snapshot(package, &npm), None)),
        "node index.js (the Procfile's worker line)"
    );
}

#[test]
fn main_and_usual_names_are_the_last_resort() {
    let of = |package: &str, files: &[(&str, &str)]| command(&recognise(&snapshot(package, files), None));
    assert_eq!(of(r#"{"main":"./lib/bot"}"#, &[("lib/bot.js", "")]), "node lib/bot.js (package.json's main)");
    assert_eq!(of("{}", &[("main.js", "")]), "node main.js (the file's name)");
    assert_eq!(
        of(r#"{"scripts":{"start":"blacksky run"}}"#, &[("index.js", "")]),
        "node index.js (package.json's main)"
    );
    assert_eq!(of("", &[("index.js", "")]), "none");
    assert_eq!(of("{}", &[]), "none");
    let unknown = |package: &str, files: &[(&str, &str)]| recognise(&snapshot(package, files), None).unknown;
    assert!(unknown("{}", &[]) && unknown("", &[("Procfile", "web: node gone.js")]));
    assert!(
        !unknown("", &[]) && !unknown("", &[("Procfile", "web: blacksky run\nrelease: blacksky migrate")])
    );
    assert!(!unknown(r#"{"scripts":{"start":"blacksky run"}}"#, &[]));
    let again = recognise(&snapshot("{}", &[]), Some(vec!["node".into(), "x.js".into()]));
    assert_eq!(command(&again), "node x.js (the blacksky.toml that was there)");
}

#[test]
fn a_session_is_found_on_the_disk() {
    let of = |files: &[(&str, &str)]| {
        let found = recognise(&snapshot("{}", files), None);
        (found.session_dir, found.session_from)
    };
    let index = ("index.js", "");
    assert_eq!(of(&[index, ("auth/creds.json", "")]), ("auth".to_owned(), SessionFrom::Disk));
    assert_eq!(of(&[index, ("wa.db", ""), ("blacksky.db", "")]), ("wa.db".to_owned(), SessionFrom::Disk));
    assert_eq!(of(&[index]), ("sessions".to_owned(), SessionFrom::Default));
    let two = ("index.js", "useMultiFileAuthState('a'); useMultiFileAuthState('b')");
    assert_eq!(of(&[two, ("b/creds.json", "")]), ("b".to_owned(), SessionFrom::Sources));
    let go = recognise(&snapshot("", &[("Procfile", "worker: ./bot"), ("bot.db", "")]), None);
    assert_eq!(
        (command(&go).as_str(), go.session_dir.as_str()),
        ("./bot (the Procfile's worker line)", "bot.db")
    );
    assert!(!go.node);
}

#[test]
fn forks_of_baileys_are_known() {
    let of = |dependencies: &str| {
        let found =
            recognise(&snapshot(&format!(r#"{{"dependencies":{dependencies}}}"#), &[("index.js", "")]), None);
        found.baileys.map(|it| format!("{} {}", it.package, it.version))
    };
    assert_eq!(of(r#"{"@fizz/baileys-pro":"1"}"#).unwrap(), "@fizz/baileys-pro 1");
    assert_eq!(of(r#"{"wa":"npm:@x/Baileys@2","pino":"9"}"#).unwrap(), "wa npm:@x/Baileys@2");
    assert_eq!(of(r#"{"@x/baileys-mod":"1","baileys":"7.0.0-rc14"}"#).unwrap(), "baileys 7.0.0-rc14");
    assert_eq!(of(r#"{"pino":"9"}"#), None);
}

#[test]
fn a_folder_without_a_bot_gets_a_native_one() {
    let found = recognise(&snapshot("", &[]), None);
    let text = file::text(&found);
    let loaded = Config::parse("blacksky.toml".as_ref(), text.clone().into_bytes(), &NoEnvironment)
        .unwrap_or_else(|problems| panic!("{problems}"));
    assert!(matches!(loaded.config.bots["main"].client, Client::Native(_)) && loaded.warnings.is_empty());
    insta::assert_snapshot!(text);
}

proptest! {
    /// Whatever was found, the file is good and says the same.
    #[test]
    fn the_file_is_always_good(
        name in "\\PC{0,40}", description in "\\PC{0,10}", word in "\\PC{1,10}", session in "\\PC{1,10}",
    ) {
        let package = serde_json::json!({
            "name": name, "description": description, "repository": word, "scripts": {"start": words::line(&["x".to_owned(), word.clone()])},
        });
        let source = format!("useMultiFileAuthState('{session}')");
        let found = recognise(&snapshot(&package.to_string(), &[("index.js", &source)]), None);
        let loaded = Config::parse("blacksky.toml".as_ref(), file::text(&found).into_bytes(), &NoEnvironment);
        let config = loaded.unwrap_or_else(|problems| panic!("{problems}")).config;
        prop_assert_eq!(&config.app.name, &found.app.name);
        let Client::Hosted(hosted) = &config.bots["main"].client else { panic!("not hosted") };
        prop_assert_eq!(Some(&hosted.command), found.start.as_ref().map(|start| &start.command));
        prop_assert_eq!(hosted.session_dir.to_string_lossy().into_owned(), found.session_dir);
    }
}
