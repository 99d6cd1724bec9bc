//! Lists of the keys that a host knows, for its files: a key that it does not know is a mistake of ours.

use serde_json::Value;

/// Keys by their place; `*` is a name that the app chooses.
pub(super) type Known = [(&'static str, &'static [&'static str])];

/// Keys that are not in the list, by their place.
pub(super) fn unknown(value: &Value, known: &Known) -> Vec<String> {
    let mut unknown = Vec::new();
    below(value, "", known, &mut unknown);
    unknown
}

fn below(value: &Value, place: &str, known: &Known, unknown: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| below(item, place, known, unknown)),
        Value::Object(object) => {
            let here = known.iter().find(|(known, _)| *known == place).map(|(_, keys)| *keys);
            for (key, value) in object {
                let chosen = format!("{place}.*").trim_start_matches('.').to_owned();
                let named = format!("{place}.{key}").trim_start_matches('.').to_owned();
                match here {
                    Some(keys) if keys.contains(&key.as_str()) => below(value, &named, known, unknown),
                    None if known.iter().any(|(known, _)| *known == chosen) => {
                        below(value, &chosen, known, unknown);
                    }
                    _ => unknown.push(named),
                }
            }
        }
        _ => {}
    }
}
