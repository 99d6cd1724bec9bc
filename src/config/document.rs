//! The file as text: spans to lines, and which part of a line a problem may show.

use std::ops::Range;
use std::path::Path;

use super::problem::{Place, Problem};
use super::schema;
use super::suggest;
use super::values::web_url::looks_like_token;

/// Larger files are no blacksky.toml.
const LARGEST: u64 = 1024 * 1024;

/// The text of blacksky.toml.
#[derive(Debug)]
pub struct Document {
    text: String,
    /// Offset of the first byte of each line.
    lines: Vec<usize>,
}

/// One line of the file as a problem shows it: nothing secret in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// The line, cut after the part that is wrong.
    pub text: String,
    /// The part of `text` that is wrong, in bytes.
    pub highlight: Range<usize>,
}

impl Document {
    /// Reads the file. A problem when it is not there, not a file, too large or not UTF-8.
    pub fn read(path: &Path) -> Result<Self, Box<Problem>> {
        let whole =
            |what: String, help: &str| Box::new(Problem::error(Place::File, "", what, Some(help.to_owned())));
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(whole(
                    "the file does not exist".to_owned(),
                    "create it (or name another with --config FILE); the smallest useful one is:\n\n\
                     [bots.main.commands]\nping = \"pong\"\n",
                ));
            }
            Err(error) => {
                return Err(whole(format!("the file cannot be opened: {error}"), "check its permissions"));
            }
        };
        let mut bytes = Vec::new();
        match std::io::Read::read_to_end(&mut std::io::Read::take(file, LARGEST + 1), &mut bytes) {
            Ok(_) if bytes.len() as u64 > LARGEST => {
                Err(whole("the file is larger than 1 MiB".to_owned(), "is this the right file?"))
            }
            Ok(_) => Self::from_bytes(bytes),
            Err(error) => {
                Err(whole(format!("the file cannot be read: {error}"), "name a file with --config FILE"))
            }
        }
    }

    /// The text of a file's bytes; a UTF-8 byte order mark is dropped.
    pub fn from_bytes(mut bytes: Vec<u8>) -> Result<Self, Box<Problem>> {
        if bytes.starts_with(b"\xef\xbb\xbf") {
            bytes.drain(..3);
        }
        let utf16 = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self::new(text)),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let valid = String::from_utf8_lossy(&error.as_bytes()[..at]).into_owned();
                let document = Self::new(valid);
                let (line, column) = document.position(at);
                let encoding = if utf16 { " (it looks like UTF-16)" } else { "" };
                Err(Box::new(Problem::error(
                    Place::Position { line, column },
                    "",
                    format!("the file is not UTF-8{encoding}"),
                    Some("save it as UTF-8".to_owned()),
                )))
            }
        }
    }

    fn new(text: String) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, lines }
    }

    /// The text without byte order mark.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line and column (in characters) of a byte offset, both counted from 1.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let offset = self.floor(offset);
        let line = self.lines.partition_point(|start| *start <= offset);
        let start = self.lines[line - 1];
        (line, self.text[start..offset].chars().count() + 1)
    }

    /// The nearest character boundary at or before `offset`.
    fn floor(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }

    /// The text of one line (counted from 1) without its end, and where it begins.
    fn line(&self, line: usize) -> (usize, &str) {
        let start = self.lines[line - 1];
        let end = self.lines.get(line).copied().unwrap_or(self.text.len());
        (start, self.text[start..end].trim_end_matches(['\n', '\r']))
    }

    /// The text of the line at a byte offset.
    pub(super) fn line_at(&self, offset: usize) -> &str {
        self.line(self.position(offset).0).1
    }

    /// The line itself; for a table's header also the lines of its keys.
    pub(super) fn lines_under(&self, line: usize) -> Range<usize> {
        let is_header = |line: &usize| self.line(*line).1.trim_start().starts_with('[');
        let mut end = line + 1;
        if is_header(&line) {
            while end <= self.lines.len() && !is_header(&end) {
                end += 1;
            }
        }
        line..end
    }

    /// The line of a key or value that was understood. What stands before it on the line keeps its
    /// length but not its strings; what stands after it is cut. `show`: the part itself may be seen.
    pub(super) fn excerpt(&self, span: &Range<usize>, show: bool) -> Excerpt {
        let (line, column) = self.position(span.start);
        let (start, whole) = self.line(line);
        let from = (self.floor(span.start) - start).min(whole.len());
        let to = (self.floor(span.end).max(start) - start).clamp(from, whole.len());
        let part = &whole[from..to];
        let mut text = veil(&whole[..from]);
        let begin = text.len();
        text.push_str(if show && !holds_secret(part) { part } else { "***" });
        let highlight = begin..text.len();
        let rest = &whole[to..];
        if rest.chars().all(|c| "]}, \t".contains(c)) {
            text.push_str(rest);
        } else {
            text.push_str(" …");
        }
        Excerpt { line, column, text, highlight }
    }

    /// The line of a syntax error. Its value is shown only when its key is one that holds no secret.
    pub(super) fn broken_line(&self, span: &Range<usize>) -> Excerpt {
        let (line, column) = self.position(span.start);
        let (start, whole) = self.line(line);
        if shows_in_full(whole) {
            let from = (self.floor(span.start) - start).min(whole.len());
            let to = (self.floor(span.end).max(start) - start).clamp(from, whole.len());
            return Excerpt { line, column, text: whole.to_owned(), highlight: from..to };
        }
        let key = match whole.split_once('=') {
            // A secret that stands in the key's place is one.
            Some((key, _)) if is_key_like(key) && suggest::showable(bare(key)) != "***" => {
                format!("{key}= ")
            }
            _ => String::new(),
        };
        let highlight = key.len()..key.len() + 3;
        // Where in the value the error is says something about the value.
        let column = key.chars().count() + 1;
        Excerpt { line, column, text: format!("{key}***"), highlight }
    }
}

/// A line with bad syntax that holds nothing secret: a header, or a key of the schema that is open to see.
fn shows_in_full(line: &str) -> bool {
    if holds_secret(line) {
        return false;
    }
    let trimmed = line.trim();
    match trimmed.split_once('=') {
        None => {
            trimmed.len() <= 80
                && is_key_like(trimmed.trim_matches(['[', ']']))
                && suggest::showable(trimmed) != "***"
                || trimmed.starts_with('[')
        }
        Some((key, value)) => {
            let last = bare(key.rsplit('.').next().unwrap_or(key));
            is_key_like(key) && !value.contains('=') && schema::is_open_key(last)
        }
    }
}

/// A key without the quotes around it.
fn bare(key: &str) -> &str {
    key.trim().trim_matches(['"', '\''])
}

fn is_key_like(text: &str) -> bool {
    text.len() <= 80 && text.chars().all(|c| c.is_ascii_alphanumeric() || "._- \t\"'".contains(c))
}

/// Something that looks like a password or token, whatever its key.
fn holds_secret(text: &str) -> bool {
    (text.contains("://") && text.contains('@')) || looks_like_token(text)
}

/// The same text with the characters of every string replaced by `*`.
fn veil(text: &str) -> String {
    let mut quote = None;
    text.chars()
        .map(|c| match quote {
            Some(open) if c == open => {
                quote = None;
                c
            }
            Some(_) => '*',
            None => {
                if matches!(c, '"' | '\'') {
                    quote = Some(c);
                }
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document::from_bytes(text.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn positions_count_characters_from_one() {
        let document = document("\u{feff}a = 1\r\nü = 2\n");
        assert_eq!(document.position(0), (1, 1));
        assert_eq!(document.position(document.text().find('2').unwrap()), (2, 5));
        assert_eq!(document.position(usize::MAX), (3, 1));
    }

    #[test]
    fn strings_before_and_text_after_are_not_shown() {
        let text = "database = { secret_key = \"hunter2hunter2\", tls = \"on\" } # old: hunter3";
        let document = document(text);
        let at = text.find("\"on\"").unwrap();
        let excerpt = document.excerpt(&(at..at + 4), true);
        assert_eq!(excerpt.text, "database = { secret_key = \"**************\", tls = \"on\" …");
        assert_eq!(&excerpt.text[excerpt.highlight], "\"on\"");
    }

    #[test]
    fn bad_syntax_shows_only_open_keys() {
        for (text, shown) in [
            ("period = 30s", "period = 30s"),
            ("secret_key = hunter2", "secret_key = ***"),
            ("secrt = hunter2", "secrt = ***"),
            ("\"Kq94mmT7eZx81Kq94mmT7eZx\" = x", "***"),
            ("hunter2 hunter2", "hunter2 hunter2"),
            ("name = \"postgres://u:p@h/d", "name = ***"),
            ("[bots.main", "[bots.main"),
            ("x\" hunter;2", "***"),
        ] {
            assert_eq!(document(text).broken_line(&(text.len() - 1..text.len())).text, shown);
        }
    }
}
