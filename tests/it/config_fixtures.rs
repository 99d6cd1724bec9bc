//! Every file of tests/fixtures/config: the JSON schema and the loader accept and refuse the same ones,
//! and each wrong one is refused for the right reason at the right place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use blacksky::config::{Config, NoEnvironment, Problem, schema};
use serde_json::{Map, Value, json};

/// Why the loader refuses what the schema accepts: nothing else may be on this list.
const LOADER_ONLY: [(&str, &str); 6] = [
    ("cron", "a pattern that knows the range of every field could not be read by anybody"),
    ("zone", "the names of time zones are a list of hundreds that grows"),
    ("credential", "a pattern that knows every form of a credential would refuse plain names too"),
    ("cross", "a schema does not compare one key with another"),
    ("disk", "a schema does not look at files"),
    ("date", "JSON has no dates: editors hand a string to the schema"),
];

struct Expected<'t> {
    /// `both`, `warning`, or one of [`LOADER_ONLY`].
    who: &'t str,
    key: &'t str,
    /// `line:column`.
    at: &'t str,
    words: &'t str,
}

/// What is expected of each file that is not simply good; the head of expected.txt says how.
fn expected(text: &str) -> BTreeMap<&str, Vec<Expected<'_>>> {
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let parts: Vec<&str> = line.splitn(5, " | ").collect();
        let [name, who, key, at, words] = parts[..] else { panic!("five columns: {line}") };
        all.entry(name).or_default().push(Expected { who, key, at, words });
    }
    all
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config")
}

fn fixtures() -> Vec<(String, PathBuf)> {
    let mut list: Vec<_> = std::fs::read_dir(folder())
        .expect("the fixtures")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| (path.file_stem().expect("a name").to_string_lossy().into_owned(), path))
        .collect();
    list.push(("the repo's own".to_owned(), Path::new(env!("CARGO_MANIFEST_DIR")).join("blacksky.toml")));
    list.sort();
    list
}

/// The file as an editor gives it to the schema; `None` when it is no TOML at all.
pub fn to_json(bytes: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(bytes).ok()?;
    let table: toml::Table = toml::from_str(text.strip_prefix('\u{feff}').unwrap_or(text)).ok()?;
    Some(json(toml::Value::Table(table)))
}

fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::from(text),
        toml::Value::Integer(number) => Value::from(number),
        // JSON has neither infinity nor NaN: they become null.
        toml::Value::Float(number) => Value::from(number),
        toml::Value::Boolean(flag) => Value::from(flag),
        toml::Value::Datetime(date) => Value::from(date.to_string()),
        toml::Value::Array(items) => items.into_iter().map(json).collect(),
        toml::Value::Table(table) => {
            Value::Object(table.into_iter().map(|(key, value)| (key, json(value))).collect::<Map<_, _>>())
        }
    }
}

/// The schema that `blacksky schema` prints.
pub fn validator() -> jsonschema::Validator {
    let schema: Value = serde_json::from_str(schema::EMBEDDED).expect("the schema is JSON");
    jsonschema::validator_for(&schema).expect("the schema is a schema")
}

fn at(problem: &Problem) -> String {
    problem.position().map_or_else(|| "-".to_owned(), |(line, column)| format!("{line}:{column}"))
}

/// The rows of expected.txt that these problems would need.
fn rows(name: &str, who: &str, problems: &[Problem]) -> String {
    let row = |problem: &Problem| {
        let who = if problem.is_warning { "warning" } else { who };
        let key = if problem.key.is_empty() { "-" } else { &problem.key };
        format!("{name} | {who} | {key} | {} | {}\n", at(problem), problem.what)
    };
    problems.iter().map(row).collect()
}

#[test]
fn schema_and_loader_agree_and_each_problem_is_the_right_one_in_the_right_place() {
    let text = std::fs::read_to_string(folder().join("expected.txt")).expect("readable");
    let (validator, mut expected) = (validator(), expected(&text));
    let fixtures = fixtures();
    assert!(fixtures.len() >= 60, "{} fixtures", fixtures.len());
    let mut wrong = String::new();
    for (name, path) in &fixtures {
        let bytes = std::fs::read(path).expect("readable");
        let json = to_json(&bytes);
        let schema_accepts = json.as_ref().is_some_and(|json| validator.is_valid(json));
        let (loader_accepts, problems) = match Config::load(path, &NoEnvironment) {
            Ok(loaded) => (true, loaded.warnings),
            Err(problems) => (false, problems.list),
        };
        let expected = expected.remove(name.as_str()).unwrap_or_default();
        let who = expected.iter().find(|row| row.who != "warning").map_or("both", |row| row.who);
        let loader_only = LOADER_ONLY.iter().any(|(reason, _)| *reason == who);
        assert!(loader_only || who == "both", "{name}: {who} is no reason");
        if schema_accepts != (loader_accepts || loader_only) {
            let complaints: Vec<String> =
                json.iter().flat_map(|json| validator.iter_errors(json)).map(|e| e.to_string()).collect();
            wrong += &format!(
                "{name}: schema {schema_accepts}, loader {loader_accepts}, said to be refused by {who}; schema: {complaints:?}\n"
            );
        }
        let same = expected.len() == problems.len()
            && expected.iter().zip(&problems).all(|(row, problem)| {
                (row.who == "warning") == problem.is_warning
                    && row.key == if problem.key.is_empty() { "-" } else { &problem.key }
                    && row.at == at(problem)
                    && problem.what == row.words
            });
        if !same {
            wrong += &rows(name, who, &problems);
        }
    }
    for name in expected.keys() {
        wrong += &format!("{name}: no such file\n");
    }
    assert!(wrong.is_empty(), "these are not as expected.txt says:\n{wrong}");
}

#[test]
fn the_exhaustive_file_sets_every_key() {
    let bytes = std::fs::read(folder().join("exhaustive.toml")).expect("readable");
    let json = to_json(&bytes).expect("TOML");
    for key in schema::keys() {
        let pointer =
            |bot: &str| format!("/{}/{}", key.section.replace("NAME", bot).replace('.', "/"), key.name);
        // A key belongs to one kind of bot or to both; a job has one action.
        let there = ["main", "shop", "ping", "send", "run", "backup", "restart"]
            .iter()
            .any(|bot| json.pointer(&pointer(bot)).is_some());
        assert!(there, "{} is not in it", pointer("main"));
    }
}

#[test]
fn a_missing_file_and_a_folder_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = Config::load(&folder.path().join("blacksky.toml"), &NoEnvironment).expect_err("missing");
    assert_eq!(missing.list[0].what, "the file does not exist");
    assert!(missing.list[0].help.as_ref().is_some_and(|help| help.contains("[bots.main.commands]")));
    let unreadable = Config::load(folder.path(), &NoEnvironment).expect_err("a folder");
    assert!(unreadable.list[0].what.starts_with("the file cannot be read"), "{unreadable}");
}

/// What no problem may print: the made-up secrets of the fixtures.
#[test]
fn no_secret_of_a_fixture_is_printed() {
    for (name, path) in fixtures() {
        let Err(problems) = Config::load(&path, &NoEnvironment) else { continue };
        let printed = format!(
            "{problems}{:?}{}",
            problems,
            json!(problems.list.iter().map(Problem::to_json).collect::<Vec<_>>())
        );
        for secret in
            ["hunter2", "eyJ", "H4sI", "bm90IGEga2V5", "aBcDeFgH", "0123456789abcdef", "170 1234567"]
        {
            assert!(!printed.contains(secret), "{name} shows {secret}:\n{problems}");
        }
    }
}

#[test]
fn the_worst_file_says_all_at_once() {
    let path = folder().join("worst.toml");
    let problems =
        Config::parse(Path::new("worst.toml"), std::fs::read(path).expect("readable"), &NoEnvironment)
            .expect_err("it is the worst");
    insta::assert_snapshot!(problems.render(false));
}

fn vars(vars: &[(&str, &str)]) -> BTreeMap<String, String> {
    vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The file, the Config Vars, the variable that is blamed, the key, words of the message.
type Row<'t> = (&'t str, &'t [(&'t str, &'t str)], &'t str, &'t str, &'t str);

#[test]
fn config_vars_that_contradict_or_do_not_fit() {
    let two = "[bots.one]\n[bots.two]\n";
    let rows: [Row<'_>; 12] = [
        (
            "",
            &[("SESSION_ID", "a"), ("BLACKSKY_BOTS_MAIN_SESSION", "b")],
            "BLACKSKY_BOTS_MAIN_SESSION",
            "bots.main.session",
            "is set by SESSION_ID and by BLACKSKY_BOTS_MAIN_SESSION to different values",
        ),
        (
            "",
            &[("HEROKU_APP_URL", "https://a.example"), ("BLACKSKY_HEROKU_URL", "https://b.example")],
            "BLACKSKY_HEROKU_URL",
            "heroku.url",
            "to different values",
        ),
        (
            "",
            &[
                ("BLACKSKY_SECRET_KEY", "0123456789 hunter2"),
                ("BLACKSKY_DATABASE_SECRET_KEY", "hunter2 0123456789"),
            ],
            "BLACKSKY_DATABASE_SECRET_KEY",
            "database.secret_key",
            "to different values",
        ),
        (
            "",
            &[("BLACKSKY_ADMIN_TOKEN", "hunter2 one"), ("BLACKSKY_WEB_ADMIN_TOKEN", "hunter2 two")],
            "BLACKSKY_WEB_ADMIN_TOKEN",
            "web.admin_token",
            "to different values",
        ),
        (
            "",
            &[("DEBUG", "true"), ("BLACKSKY_LOG_LEVEL", "warn")],
            "BLACKSKY_LOG_LEVEL",
            "log.level",
            "is set by DEBUG",
        ),
        (two, &[("SESSION_ID", "main")], "SESSION_ID", "bots", "SESSION_ID is set, but the file has 2 bots"),
        (
            two,
            &[("BLACKSKY_BOTS_ONE_SESSION", "two")],
            "BLACKSKY_BOTS_ONE_SESSION",
            "bots.one.session",
            "the bots one and two use the same session",
        ),
        (
            "",
            &[("SESSION_ID", "KnightBot!H4sIAAAAAAAAA5VUaBcDeFgH")],
            "SESSION_ID",
            "bots.main.session",
            "is a credential, not a name (its value is not shown)",
        ),
        (
            "",
            &[("DATABASE_URL", "mysql://root:hunter2@db/x")],
            "DATABASE_URL",
            "database.url",
            "is not a PostgreSQL or SQLite URL",
        ),
        (
            "[lease]\nttl = \"30s\"\n",
            &[("BLACKSKY_LEASE_RENEW", "20s")],
            "BLACKSKY_LEASE_RENEW",
            "lease.renew",
            "more than a third of lease.ttl (30s)",
        ),
        (
            "",
            &[("BLACKSKY_HEROKU_ADDONS", "a:b, Not One")],
            "BLACKSKY_HEROKU_ADDONS",
            "heroku.addons",
            "is not an add-on",
        ),
        ("", &[("BLACKSKY_APP_NAME", "\u{fffd}")], "BLACKSKY_APP_NAME", "app.name", "is not UTF-8"),
    ];
    for (file, env, variable, key, words) in rows {
        let problems = Config::parse(Path::new("blacksky.toml"), file.into(), &vars(env)).expect_err(words);
        assert_eq!(problems.list.len(), 1, "{problems}");
        let problem = &problems.list[0];
        assert_eq!(problem.key, key, "{problems}");
        assert!(problem.what.contains(words) && problem.help.is_some(), "{problems}");
        assert_eq!(problem.to_json()["variable"], variable, "{problems}");
        assert!(!problems.to_string().contains("hunter2") && !problems.to_string().contains("H4sI"));
    }
}

#[test]
fn config_vars_that_win_agree_or_are_unknown() {
    let load = |file: &str, env: &[(&str, &str)]| {
        Config::parse(Path::new("blacksky.toml"), file.into(), &vars(env)).expect("good")
    };
    let loaded = load("[web]\nport = 1\n", &[("PORT", "5000"), ("BLACKSKY_WEB_PORT", "4000")]);
    assert_eq!((loaded.config.web.port, loaded.warnings.len()), (5000, 0));
    assert_eq!(loaded.source("web.port").to_string(), "Config Var PORT");
    let loaded =
        load("", &[("SESSION_ID", "a"), ("BLACKSKY_BOTS_MAIN_SESSION", "a"), ("DEBUG", "express:*")]);
    assert_eq!(loaded.config.bots["main"].session, "a");
    assert_eq!(loaded.source("log.level").to_string(), "default");

    for (variable, help) in [
        ("BLACKSKY_LEASE_TLL", "did you mean BLACKSKY_LEASE_TTL?"),
        ("BLACKSKY_BOTS_MIAN_SESSION", "did you mean BLACKSKY_BOTS_MAIN_SESSION?"),
        ("BLACKSKY_COLOUR_OF_THE_SKY", "docs/config.md lists the Config Vars"),
    ] {
        let loaded = load("", &[(variable, "x")]);
        let [warning] = &loaded.warnings[..] else { panic!("{:?}", loaded.warnings) };
        assert_eq!(warning.what, format!("{variable} is not a Config Var of blacksky and is ignored"));
        assert!(warning.help.as_ref().is_some_and(|found| found.contains(help)), "{warning:?}");
    }
}
