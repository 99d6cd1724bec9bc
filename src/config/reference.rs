//! docs/config.md: the reference of the file, from the schema, the real defaults and the table of
//! Config Vars.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::environment::{self, SHORT_NAMES};
use super::schema::{self, Key};

/// Where it is committed.
pub const PATH: &str = "docs/config.md";

const INTRODUCTION: &str = "\
# blacksky.toml

Made from the source by `BLACKSKY_UPDATE=1 cargo test --features simulator --lib drift`; do not edit.

- `blacksky check` validates the file and the Config Vars, `blacksky config` prints every value and
  where it came from, `blacksky schema` prints the JSON schema.
- An unknown key is an error. No key has to be set: an empty file runs one bot called `main`.
- Durations are one whole number and its unit: `\"250ms\"`, `\"30s\"`, `\"5m\"`, `\"1d\"`.
- Every key except `commands` can be set by a Config Var, which wins over the file. Lists are separated
  by commas. An empty Config Var counts as not set.
- With `#:schema ./schema/blacksky.schema.json`
  in its first line editors complete and check the file.
";

/// The text of the committed file.
pub fn text() -> String {
    let mut text = INTRODUCTION.to_owned();
    let schema = schema::schema();
    let defaults = schema::defaults();
    let keys = schema::keys();
    for section in super::SECTIONS {
        let about = schema.pointer(&format!("/properties/{section}/description")).and_then(Value::as_str);
        let table =
            if schema::NAMED.contains(&section) { format!("{section}.NAME") } else { section.to_owned() };
        // Writing to a String cannot fail.
        let _ = write!(text, "\n## `[{table}]`\n\n{}\n", paragraph(about.unwrap_or_default()));
        for key in keys.iter().filter(|key| key.is_in(&table)) {
            key_entry(&mut text, key, &defaults);
        }
    }
    variables(&mut text);
    text
}

fn key_entry(text: &mut String, key: &Key, defaults: &Map<String, Value>) {
    let path = key.path();
    let default = match defaults.get(&path) {
        _ if path == "bots.NAME.session" => "the name of the bot".to_owned(),
        None | Some(Value::Null) => "not set".to_owned(),
        Some(value) => format!("`{value}`"),
    };
    let _ = write!(text, "\n### `{path}`\n\n{}", kind(&key.schema));
    if key.has_variable() {
        let _ = write!(text, " · default: {default} · Config Var: `{}`", variable(&path));
        for short in SHORT_NAMES.iter().filter(|short| short.key == path) {
            let _ = write!(text, " or `{}`", short.variable);
        }
    }
    let about = key.schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let _ = write!(text, "\n\n{}\n", paragraph(about));
    if key.name == "commands" {
        text.push_str(COMMANDS);
    }
}

const COMMANDS: &str = r#"
In a reply `{uptime}` is the time since the bot's link opened, `{sender}` who wrote, `{args}` the rest of the
message; `{{` and `}}` write braces.

```toml
[bots.main.commands]
ping = "pong"
up = "running for {uptime}"
say = { reply = "{sender} says: {args}", allow = ["+491701234567"] }
```
"#;

/// NAME stays readable in the name of the variable.
fn variable(path: &str) -> String {
    environment::variable_of(path)
}

fn paragraph(text: &str) -> String {
    text.split("\n\n").map(|part| part.replace('\n', " ")).collect::<Vec<_>>().join("\n\n")
}

/// What a value looks like, in words.
fn kind(schema: &Map<String, Value>) -> String {
    let text = |name: &str| schema.get(name).and_then(Value::as_str);
    let number = |name: &str| schema.get(name).and_then(Value::as_u64);
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    }
    if let (Some(from), Some(to)) = (text("x-from"), text("x-to")) {
        let what = if from.ends_with('B') { "size" } else { "duration" };
        return format!("{what}, `\"{from}\"` to `\"{to}\"`");
    }
    match text("type") {
        Some("integer") | Some("number") => {
            let whole = if text("type") == Some("integer") { "whole number" } else { "number" };
            format!("{whole}, {} to {}", number("minimum").unwrap_or(0), number("maximum").unwrap_or(0))
        }
        Some("boolean") => "`true` or `false`".to_owned(),
        Some("array") => "list of strings".to_owned(),
        Some("object") => "table".to_owned(),
        _ => match (number("minLength"), number("maxLength")) {
            (Some(from), Some(to)) => format!("string, {from} to {to} characters"),
            (Some(from), None) => format!("string, at least {from} characters"),
            (None, Some(to)) => format!("string, at most {to} characters"),
            (None, None) => "string".to_owned(),
        },
    }
}

fn variables(text: &mut String) {
    text.push_str(
        "\n## Config Vars with a name of their own\n\n\
         Order: default, file, Config Var. A short name and the `BLACKSKY_…` name of the same key with different\n\
         values are an error unless the short one wins.\n\n\
         | Config Var | key | wins | |\n|---|---|---|---|\n",
    );
    for short in &SHORT_NAMES {
        let wins = if short.wins { "yes" } else { "" };
        let _ = writeln!(text, "| `{}` | `{}` | {wins} | {} |", short.variable, short.key, short.about);
    }
    let _ = writeln!(text, "| `{}` | | | Set by Heroku: this process runs on a dyno. |", environment::DYNO);
    text.push_str(
        "| `RAILWAY_ENVIRONMENT_ID`, `RENDER`, `FLY_APP_NAME` | | | Set by Railway, Render and Fly.io: files do not \
         outlive a deploy here. The public address comes from RAILWAY_PUBLIC_DOMAIN, RENDER_EXTERNAL_HOSTNAME, \
         FLY_APP_NAME. |\n",
    );
}

#[cfg(test)]
mod tests {
    #[test]
    fn drift_of_the_reference() {
        crate::config::generated::assert_no_drift(super::PATH, &super::text());
    }
}
