//! `blacksky config`: every value and where it came from.

use serde_json::{Value, json};

use crate::cli::{Cli, Json};
use crate::exit::{Exit, Failure};

use super::{load, output};

/// Prints every key with its value (secrets as `***`) and its source.
pub fn run(cli: &Cli, args: &Json) -> Result<Exit, Failure> {
    let loaded = load::load(cli)?;
    let listing = loaded.config.listing().into_iter();
    if args.json {
        let values: Vec<Value> = listing
            .map(|(key, value)| {
                let source = loaded.source(&key);
                json!({ "key": key, "value": value, "source": source })
            })
            .collect();
        output::print_json(&Value::from(values))?;
    } else {
        let rows: Vec<[String; 3]> = listing
            .map(|(key, value)| {
                let source = loaded.source(&key).to_string();
                [key, shown(&value), source]
            })
            .collect();
        output::print(&table(&rows))?;
    }
    Ok(Exit::Ok)
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "(not set)".to_owned(),
        Value::String(text) if text == crate::config::listing::HIDDEN => text.clone(),
        value => value.to_string(),
    }
}

/// Columns that line up; a long value pushes only its own source aside.
fn table(rows: &[[String; 3]]) -> String {
    const WIDEST: usize = 40;
    let width = |column: usize| {
        let lengths = rows.iter().map(|row| row[column].chars().count());
        lengths.filter(|length| *length <= WIDEST).max().unwrap_or(0)
    };
    let (keys, values) = (width(0), width(1));
    let lines: Vec<String> =
        rows.iter().map(|[key, value, source]| format!("{key:keys$}  {value:values$}  {source}")).collect();
    lines.join("\n")
}
