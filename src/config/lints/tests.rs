//! Lints of `check --heroku`, one file each.

use std::path::Path;

use super::*;
use crate::config::{Config, NoEnvironment};

fn lints(file: &str) -> Lints {
    let loaded = Config::parse(Path::new("blacksky.toml"), file.as_bytes().to_vec(), &NoEnvironment);
    heroku(&loaded.expect("a good file"), Starts::Unknown)
}

fn keys(lints: &Lints) -> Vec<(bool, &str)> {
    lints.problems.iter().map(|problem| (problem.is_warning, problem.key.as_str())).collect()
}

fn noted(lints: &Lints, words: &str) -> bool {
    lints.notes.iter().any(|note| note.text.contains(words))
}

#[test]
fn the_default_is_good_and_says_how_to_get_a_standby() {
    let lints = lints("");
    assert_eq!(keys(&lints), []);
    assert!(noted(&lints, "one basic dyno per process type"), "{lints:?}");
    assert!(noted(&lints, "BLACKSKY_SECRET_KEY and BLACKSKY_ADMIN_TOKEN are not set here"));
    assert!(!noted(&lints, "Preboot"));
}

#[test]
fn two_dynos_fit_essential_0_and_are_explained() {
    let lints = lints("[heroku]\ndyno = \"standard-1x\"\nquantity = 2\n[lease]\nttl = \"20s\"\n");
    assert_eq!(keys(&lints), []);
    assert!(noted(&lints, "the other stands by") && noted(&lints, "within 20s"), "{lints:?}");
    assert!(noted(&lints, "Preboot"));
    assert!(noted(&lints, "only the holder's own page"));
}

#[test]
fn dynos_times_connections_are_held_against_the_plan_also_during_a_deploy() {
    let file = |dynos: u32, each: u32, plan: &str| {
        format!(
            "[heroku]\ndyno = \"standard-1x\"\nquantity = {dynos}\naddons = [\"heroku-postgresql:{plan}\"]\n\
             [database]\nmax_connections = {each}\n"
        )
    };
    let key = "database.max_connections";
    for (dynos, each, plan, expected) in [
        (2, 4, "essential-0", vec![]),
        (3, 4, "essential-0", vec![(true, key)]),
        (5, 4, "essential-1", vec![(true, key)]),
        (6, 4, "essential-0", vec![(false, key)]),
        (3, 4, "essential-2", vec![]),
        (9, 20, "standard-0", vec![(false, key)]),
        (2, 20, "standard-0", vec![]),
    ] {
        assert_eq!(keys(&lints(&file(dynos, each, plan))), expected, "{dynos} × {each} on {plan}");
    }
    let problem = lints(&file(3, 4, "essential-0")).problems.remove(0);
    assert!(problem.what.contains("27 connections (2 × 3 × 4, and 3 for migrate)"), "{}", problem.what);
    assert!(problem.help.as_deref().is_some_and(|help| help.contains("max_connections = 2")), "{problem:?}");
    assert_eq!(problem.position(), Some((6, 19)), "where the file says it");
}

#[test]
fn what_sleeps_or_forgets_is_told() {
    let eco = lints("[heroku]\ndyno = \"eco\"\n");
    assert_eq!(keys(&eco), []);
    assert!(noted(&eco, "744 of the 1000 hours"), "{eco:?}");
    let sleeper = "[heroku]\ndyno = \"eco\"\n[anti_idle]\nenabled = false\n";
    assert_eq!(keys(&lints(sleeper)), [(true, "anti_idle.enabled")]);
    let pointless = "[anti_idle]\nenabled = true\n";
    assert_eq!(keys(&lints(pointless)), [(true, "anti_idle.enabled")]);
    let elsewhere = "[anti_idle]\nenabled = true\ntargets = [\"https://example.com/\"]\n";
    assert_eq!(keys(&lints(elsewhere)), []);
    let nowhere = "[heroku]\nprocess = \"worker\"\n[anti_idle]\nenabled = true\n";
    assert_eq!(keys(&lints(nowhere)), [(true, "heroku.process"), (true, "anti_idle.targets")]);
    let worker = lints("[heroku]\nprocess = \"worker\"\ndyno = \"eco\"\n");
    assert_eq!(keys(&worker), [(true, "heroku.process")]);
    assert!(noted(&worker, "never falls asleep by itself"));
    let on_disk = "[database]\nallow_ephemeral = true\n";
    assert_eq!(keys(&lints(on_disk)), [(true, "database.allow_ephemeral")]);
    let two = format!("[heroku]\ndyno = \"standard-1x\"\nquantity = 2\n{on_disk}");
    assert_eq!(keys(&lints(&two)), [(false, "database.allow_ephemeral")]);
    assert_eq!(keys(&lints("[database]\nurl = \"sqlite:bot.db\"\n")), [(true, "database.url")]);
    assert_eq!(keys(&lints("[heroku]\naddons = []\n")), [(true, "heroku.addons")]);
}

#[test]
fn eco_without_an_address_is_told_how_it_is_learned() {
    let file = "[heroku]\ndyno = \"eco\"\n";
    assert!(noted(&lints(file), "learns its address from the first visit"));
    let known = format!("{file}url = \"https://my-app-1234567890ab.herokuapp.com\"\n");
    assert!(!noted(&lints(&known), "learns its address"));
    assert_eq!(keys(&lints(&known)), []);
}

#[test]
fn preboot_without_a_lease_of_both_is_told() {
    let file = |dyno: &str| format!("[heroku]\ndyno = \"{dyno}\"\n[database]\nallow_ephemeral = true\n");
    let standard = lints(&file("standard-1x"));
    assert!(standard.problems[0].what.contains("with preboot"), "{standard:?}");
    assert!(!noted(&standard, "Preboot"));
    assert!(!lints(&file("basic")).problems[0].what.contains("preboot"), "basic knows no preboot");
}

fn problem(file: &str) -> Option<(String, Option<(usize, usize)>)> {
    lints(file).problems.into_iter().next().map(|problem| (problem.what.clone(), problem.position()))
}

#[test]
fn addresses_that_are_not_the_apps_are_told_with_their_place() {
    for (url, words) in [
        ("https://my-app-1234567890ab.herokuapp.com", None),
        ("https://bot.example.com/", None),
        ("https://my-app.herokuapp.com", Some("no random suffix")),
        ("https://my-app-1234.herokuapp.com", Some("no random suffix")),
        ("https://dashboard.heroku.com/apps/my-app", Some("no address of an app")),
        ("https://my-app-1234567890ab.heroku.com", Some("no address of an app")),
        ("https://localhost", Some("this machine")),
        ("https://127.0.0.1", Some("IP address")),
        ("http://my-app-1234567890ab.herokuapp.com", Some("in the clear")),
        ("https://my-app-1234567890ab.herokuapp.com/status", Some("without a path")),
    ] {
        let found = problem(&format!("[heroku]\nurl = \"{url}\"\n"));
        match words {
            None => assert_eq!(found, None, "{url}"),
            Some(words) => {
                let (what, position) = found.unwrap_or_else(|| panic!("nothing about {url}"));
                assert!(what.contains(words), "{url}: {what}");
                assert_eq!(position, Some((2, 7)), "{url}");
            }
        }
    }
}

#[test]
fn heroku_knows_the_address_better() {
    let lints = |url: &str| {
        let env = std::collections::BTreeMap::from([
            ("HEROKU_APP_URL".to_owned(), url.to_owned()),
            ("HEROKU_APP_DEFAULT_DOMAIN_NAME".to_owned(), "my-app-1234567890ab.herokuapp.com".to_owned()),
        ]);
        let loaded = Config::parse(Path::new("blacksky.toml"), Vec::new(), &env).expect("good");
        heroku(&loaded, Starts::Unknown).problems
    };
    assert_eq!(lints("https://my-app-1234567890ab.herokuapp.com"), []);
    assert_eq!(lints("https://bot.example.com"), [], "an own domain");
    let problems = lints("https://my-app-ba0987654321.herokuapp.com");
    assert!(problems[0].what.contains("this app is my-app-1234567890ab.herokuapp.com"), "{problems:?}");
    assert_eq!(problems[0].place, Place::Variable("HEROKU_APP_URL".into()));
    assert!(
        problems[0].help.as_deref().is_some_and(|help| help.starts_with("heroku config:set")),
        "{problems:?}"
    );
}

#[test]
fn a_person_is_not_sent_to_where_nothing_answers() {
    let hosted = "[bots.main]\nkind = \"hosted\"\ncommand = [\"node\", \"index.js\"]\n";
    for (file, words) in [
        ("[app]\nsuccess_url = \"/\"\n", None),
        ("[app]\nsuccess_url = \"/status?x\"\n", None),
        ("[app]\nsuccess_url = \"/qr\"\n", Some("nothing answers there")),
        ("[app]\nsuccess_url = \"/\"\n[web]\nbase = \"/blacksky/\"\n", Some("the page is at /blacksky/")),
        ("[app]\nsuccess_url = \"/blacksky\"\n[web]\nbase = \"/blacksky/\"\n", None),
        ("[web]\nbase = \"/blacksky/\"\n", None),
        ("[app]\nsuccess_url = \"https://example.com/thanks\"\n", None),
        ("[app]\nsuccess_url = \"http://example.com/thanks\"\n", Some("over http")),
        (
            "[app]\nsuccess_url = \"https://my-app-1234567890ab.herokuapp.com/\"\n",
            Some("everybody who deploys"),
        ),
    ] {
        let found = problem(file);
        match words {
            None => assert_eq!(found, None, "{file}"),
            Some(words) => {
                let (what, position) = found.unwrap_or_else(|| panic!("nothing about {file}"));
                assert!(what.contains(words), "{file}: {what}");
                assert_eq!(position, Some((2, 15)), "{file}");
            }
        }
    }
    assert_eq!(problem(&format!("[app]\nsuccess_url = \"/shop\"\n{hosted}")), None, "the bot may answer");
    let worker = lints("[app]\nsuccess_url = \"/\"\n[heroku]\nprocess = \"worker\"\n");
    assert_eq!(keys(&worker), [(true, "heroku.process"), (true, "app.success_url")]);
}

fn with_procfile(file: &str, procfile: &str) -> Vec<(bool, String, Place)> {
    let loaded = Config::parse(Path::new("blacksky.toml"), file.as_bytes().to_vec(), &NoEnvironment);
    let lints = heroku(&loaded.expect("a good file"), Starts::Procfile(procfile));
    let about = lints.problems.into_iter().filter(|problem| problem.what.starts_with("Procfile"));
    about.map(|problem| (problem.is_warning, problem.what, problem.place)).collect()
}

fn line_of(place: &Place) -> Option<usize> {
    match place {
        Place::Other { file: "Procfile", excerpt } => Some(excerpt.line),
        _ => None,
    }
}

#[test]
fn what_gen_writes_is_good() {
    for file in ["", "[heroku]\nbuildpacks = [\"heroku/nodejs\"]\n", "[heroku]\nprocess = \"worker\"\n"] {
        let loaded = Config::parse(Path::new("blacksky.toml"), file.as_bytes().to_vec(), &NoEnvironment);
        let procfile = crate::r#gen::procfile::text(&loaded.expect("good").config);
        assert_eq!(with_procfile(file, &procfile), [], "{procfile}");
    }
}

#[test]
fn a_procfile_without_the_process_is_refused() {
    let file = "[heroku]\nprocess = \"web\"\n";
    for procfile in ["", "worker: blacksky run\n", "# web: blacksky run\n", "web:\n", "web blacksky run"] {
        let found = with_procfile(file, procfile);
        assert!(!found[0].0 && found[0].1.contains("no `web` process"), "{procfile:?}: {found:?}");
        assert_eq!(found[0].2, Place::Position { line: 2, column: 11 });
    }
}

#[test]
fn what_the_process_starts_is_looked_at() {
    let found = with_procfile("", "release: blacksky migrate\nweb: TOKEN=hunter2 node index.js\n");
    assert!(found[0].0 && found[0].1.contains("does not start blacksky"), "{found:?}");
    assert_eq!(line_of(&found[0].2), Some(2));
    assert!(!format!("{found:?}").contains("hunter2"), "a command may hold a secret");
    for wrapped in ["npm start", "sh -c \"blacksky run\"", "NODE_ENV=production npm run start"] {
        let found = with_procfile("", &format!("web: {wrapped}\n"));
        assert!(found[0].1.contains("may swallow SIGTERM"), "{wrapped}: {found:?}");
        assert_eq!(found.len(), 1, "{wrapped}");
    }
    let found = with_procfile("", "web: blacksky run\nworker: bin/blacksky run\n");
    assert!(found[0].1.contains("second blacksky"), "{found:?}");
    assert_eq!(with_procfile("", "web: blacksky run\nworker: node jobs.js\n"), []);
}

#[test]
fn eco_with_web_and_worker_takes_more_than_the_pool() {
    let found = with_procfile("[heroku]\ndyno = \"eco\"\n", "web: blacksky run\nworker: node jobs.js\n");
    assert!(found[0].0 && found[0].1.contains("1488 hours a month of the 1000"), "{found:?}");
    assert!(found[0].1.contains("falls asleep together"), "{found:?}");
    assert_eq!(line_of(&found[0].2), Some(2));
    assert_eq!(
        with_procfile("[heroku]\ndyno = \"eco\"\n", "web: blacksky run\nrelease: blacksky migrate\n"),
        []
    );
}

#[test]
fn without_a_procfile_nothing_would_start() {
    let loaded = Config::parse(Path::new("blacksky.toml"), Vec::new(), &NoEnvironment).expect("good");
    let lints = heroku(&loaded, Starts::Nothing);
    assert_eq!(keys(&lints), [(true, "heroku.process")]);
}
