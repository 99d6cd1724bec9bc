//! No bytes make the loader panic, and for any value of any key the schema says what the loader says.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use blacksky::config::{Config, NoEnvironment, schema};
use proptest::prelude::*;

use crate::config_fixtures::{to_json, validator};

const EXHAUSTIVE: &str = include_str!("../fixtures/config/exhaustive.toml");
const WORST: &[u8] = include_bytes!("../fixtures/config/worst.toml");

static VALIDATOR: LazyLock<jsonschema::Validator> = LazyLock::new(validator);

/// Loads, prints and lists: each must end without a panic.
fn load(bytes: &[u8], env: &BTreeMap<String, String>) -> Result<(), String> {
    match Config::parse(Path::new("blacksky.toml"), bytes.to_vec(), env) {
        Ok(loaded) => {
            let listing: Vec<_> = loaded.config.listing().into_iter().collect();
            assert!(!listing.is_empty());
            Ok(())
        }
        Err(problems) => {
            assert!(problems.errors() > 0);
            assert!(problems.render(true).len() >= problems.render(false).len());
            let json: Vec<_> = problems.list.iter().map(|problem| problem.to_json()).collect();
            assert_eq!(json.len(), problems.list.len());
            Err(problems.to_string())
        }
    }
}

fn key() -> impl Strategy<Value = String> {
    let keys: Vec<String> = schema::keys().iter().map(|key| key.path().replace("NAME", "main")).collect();
    prop_oneof![9 => proptest::sample::select(keys), 1 => "[a-z]{1,8}(\\.[a-z\"]{1,8}){0,3}"]
}

/// A value as a person might write it.
fn value() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        "[0-9]{1,5}(ms|s|m|h|d)?",
        "(postgres|https?|sqlite)://?[a-z:@/?=.0-9 #\\[\\]]{0,20}",
        "(web|worker|eco|basic|require|debug|info|json|text|native|heroku-24|/status|main|\\+491701234567)",
        "[A-Za-z0-9._:/ -]{0,40}",
        "\\PC{0,30}",
    ];
    let string = text.prop_map(|text| toml::Value::String(text).to_string());
    let number = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        (-3i64..70_000).prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| toml::Value::Float(number).to_string()),
        (-2i32..30).prop_map(|number| format!("{:?}", f64::from(number) / 2.0)),
    ];
    let scalar =
        prop_oneof![6 => string, 3 => number, 1 => Just("true".to_owned()), 1 => Just("false".to_owned())];
    scalar.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3)
                .prop_map(|items| format!("[{}]", items.join(", "))),
            ("[a-z]{1,6}", inner).prop_map(|(key, value)| format!("{{ {key} = {value} }}")),
        ]
    })
}

/// What the loader may refuse although the schema accepts it.
const LOADER_ONLY: [&str; 7] = [
    "is a credential, not a name",
    "is below backoff.initial",
    "is more than a third of lease.ttl",
    "Heroku runs only one",
    // Only a URL parser knows each bad host.
    "is not an http or https URL",
    "is not a URL or a path",
    "is not a valid URL",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = load(&bytes, &BTreeMap::new());
    }

    #[test]
    fn any_text(text in "(\\PC|[\\[\\]{}=\"'\n\r.# ]){0,80}") {
        let _ = load(text.as_bytes(), &BTreeMap::new());
    }

    #[test]
    fn a_file_with_slips(
        worst in any::<bool>(),
        slips in proptest::collection::vec((any::<proptest::sample::Index>(), 0usize..6, any::<u8>()), 1..8),
    ) {
        let mut bytes = if worst { WORST.to_vec() } else { EXHAUSTIVE.as_bytes().to_vec() };
        for (at, length, byte) in slips {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match byte % 4 {
                0 => drop(bytes.drain(at..(at + length * length).min(bytes.len()))),
                1 => bytes[at] = byte,
                2 => bytes.insert(at, b"\"'[]={}\n\r#\\"[usize::from(byte) % 11]),
                _ => bytes.truncate(at.max(bytes.len() / 2)),
            }
        }
        let _ = load(&bytes, &BTreeMap::new());
    }

    #[test]
    fn any_toml(entries in proptest::collection::vec((key(), value()), 0..6)) {
        let lines: Vec<String> = entries.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        let _ = load(lines.concat().as_bytes(), &BTreeMap::new());
    }

    #[test]
    fn any_config_var(key in key(), value in "\\PC{0,40}") {
        let name = format!("BLACKSKY_{}", key.replace('.', "_").to_uppercase());
        let _ = load(b"", &BTreeMap::from([(name, value)]));
    }

    #[test]
    fn the_schema_says_what_the_loader_says(key in key(), value in value()) {
        let file = format!("{key} = {value}\n");
        let Some(json) = to_json(file.as_bytes()) else { return Ok(()) };
        let schema = VALIDATOR.is_valid(&json);
        match Config::parse(Path::new("blacksky.toml"), file.clone().into(), &NoEnvironment) {
            Ok(_) => prop_assert!(schema, "only the schema refuses {file}"),
            Err(problems) if schema => {
                let text = problems.to_string();
                prop_assert!(LOADER_ONLY.iter().any(|words| text.contains(words)), "only the loader refuses {file}{text}");
            }
            Err(_) => {}
        }
    }
}
