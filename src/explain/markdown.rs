//! docs/troubleshooting.md, from the entries.

use std::fmt::Write as _;

use super::{Entry, Group, all};

/// Where it is committed.
pub const PATH: &str = "docs/troubleshooting.md";

const INTRODUCTION: &str = "\
# Troubleshooting

Made from the source by `BLACKSKY_UPDATE=1 cargo test --features simulator --lib drift`; do not edit.

`blacksky explain CODE` prints each of these texts, `blacksky explain` lists them, and `blacksky doctor` looks for what
is wrong: database, port, address, disk, keys, Node, WhatsApp itself. On the app: `heroku run blacksky doctor`, where the Rust
buildpack built it `heroku run ./target/release/blacksky doctor`.
";

/// The text of the committed file.
pub fn text() -> String {
    let mut text = INTRODUCTION.to_owned();
    for group in Group::ALL {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n## {}\n\n{}\n", group.heading(), group.about());
        for entry in all().filter(|entry| entry.group == group) {
            text.push_str(&section(entry));
        }
    }
    text
}

fn section(entry: &Entry) -> String {
    let mut text = format!("\n### {}\n\n{}\n\n", heading(entry), entry.meaning);
    let _ = writeln!(text, "**blacksky:** {}", entry.blacksky);
    if !entry.todo.is_empty() {
        text.push('\n');
    }
    for step in entry.todo {
        let _ = writeln!(text, "- {step}");
    }
    text
}

/// A symptom is known by what is seen, everything else by its code.
fn heading(entry: &Entry) -> String {
    match entry.group {
        Group::Symptom => format!("{} (`{}`)", entry.title, entry.code),
        Group::Heroku | Group::Whatsapp => format!("{}: {}", entry.code, entry.title),
        Group::Exit => format!("Exit code {}: {}", entry.code, entry.title),
        Group::State | Group::Reason | Group::Warning => format!("`{}`: {}", entry.code, entry.title),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn drift_of_the_guide() {
        crate::config::generated::assert_no_drift(super::PATH, &super::text());
    }
}
