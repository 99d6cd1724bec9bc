//! An entry, and the list of all, for a terminal.

use super::{Entry, Group, all};

const WIDTH: usize = 96;

/// One entry.
pub fn text(entry: &Entry) -> String {
    let mut lines = vec![format!("{}  {}", entry.code, entry.title), String::new()];
    lines.extend(wrapped(entry.meaning, "", ""));
    lines.push(String::new());
    lines.extend(wrapped(entry.blacksky, "blacksky: ", "          "));
    if !entry.todo.is_empty() {
        lines.push(String::new());
        lines.push("What to do:".to_owned());
        for step in entry.todo {
            lines.extend(wrapped(step, "  - ", "    "));
        }
    }
    lines.join("\n")
}

/// All codes with their titles.
pub fn list() -> String {
    let width = all().map(|entry| entry.code.len()).max().unwrap_or(0);
    let groups = Group::ALL.map(|group| {
        let mut lines = vec![group.heading().to_owned()];
        let of_group = all().filter(|entry| entry.group == group);
        lines.extend(of_group.map(|entry| format!("  {:<width$}  {}", entry.code, entry.title)));
        lines.join("\n")
    });
    format!("{}\n\nblacksky explain CODE tells what one of them means and what to do.", groups.join("\n\n"))
}

/// Words of a text in lines of at most [`WIDTH`] characters, where they can be broken.
fn wrapped(text: &str, first: &str, later: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in text.split_whitespace() {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(std::mem::replace(&mut line, later.to_owned()));
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_short_and_hold_every_word() {
        let long = "a".repeat(WIDTH + 10);
        let text = format!("{} {long} end", "word ".repeat(60));
        let lines = wrapped(&text, "- ", "  ");
        assert!(lines.iter().filter(|line| !line.contains(&long)).all(|line| line.chars().count() <= WIDTH));
        let words: Vec<&str> = lines.iter().flat_map(|line| line.split_whitespace()).skip(1).collect();
        assert_eq!(words, text.split_whitespace().collect::<Vec<_>>());
        assert!(lines.iter().skip(1).all(|line| line.starts_with("  ")));
    }
}
