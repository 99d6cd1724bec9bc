//! One record as one line that no log collector splits.
//!
//! Heroku's cuts a line at 10,000 bytes and knows nothing of JSON. So a line that would be longer is made shorter
//! here: its longest fields are cut, marked with how long they were, and the line stays whole.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use crate::config::LogFormat;

/// Longest line in bytes, its end included.
pub const LONGEST: usize = 9_500;
/// What names, numbers and punctuation may take of it; fields beyond are left out.
const FRAME: usize = LONGEST / 2;
/// Kept of a text before it is known how much of it fits.
const KEEP: usize = LONGEST;
/// Stands where something was cut off.
const MARK: char = '…';

/// A value of a field.
#[derive(Debug, Clone)]
pub enum Value {
    /// A number or a truth value, as JSON has it.
    Plain(String),
    /// A text.
    Text(Text),
    /// What `Debug` or `Display` wrote: in a text line it stands without quotes.
    Written(Text),
}

/// The beginning of a text, and how long all of it is.
#[derive(Debug, Clone, Default)]
pub struct Text {
    kept: String,
    bytes: usize,
}

impl fmt::Write for Text {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let room = KEEP - self.kept.len();
        // Once something was left out, what follows it does not count as its continuation.
        if self.bytes == self.kept.len() {
            self.kept.push_str(&more[..more.floor_char_boundary(room)]);
        }
        self.bytes = self.bytes.saturating_add(more.len());
        Ok(())
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        let mut all = Self::default();
        // Writing to it does not fail.
        let _ = all.write_str(text);
        all
    }
}

impl Value {
    /// A text.
    pub fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    /// What `Debug` writes.
    pub fn written(value: &dyn fmt::Debug) -> Self {
        let mut text = Text::default();
        // A value that cannot be written is shown as far as it was.
        let _ = write!(text, "{value:?}");
        Self::Written(text)
    }

    /// A number of JSON, which has no infinite ones.
    pub fn float(value: f64) -> Self {
        if value.is_finite() { Self::Plain(value.to_string()) } else { Self::text(&value.to_string()) }
    }
}

/// A record, ready to be written.
#[derive(Debug)]
pub struct Record<'r> {
    pub at: String,
    pub level: &'static str,
    pub message: Value,
    /// In order; names do not repeat.
    pub fields: Vec<(Cow<'r, str>, Value)>,
    /// Which part of the program speaks.
    pub target: &'r str,
    pub dyno: Option<&'r str>,
}

/// The names that each line of JSON has by itself.
const RESERVED: [&str; 5] = ["timestamp", "level", "message", "target", "dyno"];

impl Record<'_> {
    /// The line, with its end.
    pub fn line(self, format: LogFormat) -> String {
        match format {
            LogFormat::Json => self.json(),
            LogFormat::Text => self.plain(),
        }
    }

    fn json(self) -> String {
        let mut parts = vec![
            Part::new("{\"timestamp\":", Value::text(&self.at), true),
            Part::new(",\"level\":", Value::text(self.level), true),
            Part::new(",\"message\":", self.message, true),
        ];
        for (name, value) in self.fields {
            let taken = if RESERVED.contains(&&*name) { "_" } else { "" };
            let name = escaped(&name, usize::MAX, true).0;
            parts.push(Part::new(format!(",\"{name}{taken}\":"), value, true));
        }
        let target = Part::new(",\"target\":", Value::text(self.target), true);
        let dyno = self.dyno.map(|dyno| Part::new(",\"dyno\":", Value::text(dyno), true));
        together(parts, [Some(target), dyno], "}\n")
    }

    fn plain(self) -> String {
        let message = match self.message {
            Value::Text(text) => Value::Written(text),
            other => other,
        };
        let mut parts = vec![Part::new(format!("{} {:>5} ", self.at, self.level), message, false)];
        for (name, value) in self.fields {
            let quoted = matches!(value, Value::Text(_));
            parts.push(Part::new(format!(" {}=", escaped(&name, usize::MAX, true).0), value, quoted));
        }
        together(parts, [None, None], "\n")
    }
}

/// A value with what stands before it.
struct Part {
    before: Cow<'static, str>,
    /// Escaped as far as it may be needed.
    value: String,
    /// `None` for what is never cut.
    bytes: Option<usize>,
    quoted: bool,
    /// `value` is all of it.
    whole: bool,
}

impl Part {
    fn new(before: impl Into<Cow<'static, str>>, value: Value, quoted: bool) -> Self {
        let before = before.into();
        match value {
            Value::Plain(value) => Self { before, value, bytes: None, quoted: false, whole: true },
            Value::Text(text) | Value::Written(text) => {
                let (value, whole) = escaped(&text.kept, KEEP, quoted);
                let whole = whole && text.bytes == text.kept.len();
                Self { before, value, bytes: Some(text.bytes), quoted, whole }
            }
        }
    }

    /// Bytes that it takes at the least.
    fn frame(&self) -> usize {
        let fixed = if self.bytes.is_none() { self.value.len() } else { 0 };
        self.before.len() + fixed + if self.quoted { 2 } else { 0 }
    }

    fn write(&self, to: &mut String, most: usize) {
        to.push_str(&self.before);
        let quote = if self.quoted { "\"" } else { "" };
        to.push_str(quote);
        match self.bytes {
            Some(bytes) if !self.whole || self.value.len() > most => {
                let mark = format!("{MARK} (cut, {bytes} bytes)");
                let room = most.saturating_sub(mark.len());
                to.push_str(&self.value[..end_of_escape(&self.value, room)]);
                if mark.len() <= most {
                    to.push_str(&mark);
                } else if MARK.len_utf8() <= most {
                    to.push(MARK);
                }
            }
            _ => to.push_str(&self.value),
        }
        to.push_str(quote);
    }
}

/// Writes the parts, then those that must not be missing.
fn together(mut parts: Vec<Part>, last: [Option<Part>; 2], end: &str) -> String {
    let last: Vec<Part> = last.into_iter().flatten().collect();
    let fixed = |parts: &[Part]| parts.iter().map(Part::frame).sum::<usize>();
    let mut frame = fixed(&last) + end.len() + fixed(&parts);
    while frame > FRAME
        && let Some(gone) = parts.pop()
    {
        frame -= gone.frame();
    }
    parts.extend(last);
    let most = level(parts.iter().filter(|part| part.bytes.is_some()), LONGEST - frame);
    let mut line = String::with_capacity(256);
    for part in &parts {
        part.write(&mut line, most);
    }
    line.push_str(end);
    line
}

/// How much each text may take, so that all of them fit: short ones leave their share to the others.
fn level<'p>(texts: impl Iterator<Item = &'p Part>, mut room: usize) -> usize {
    // The mark of one that was already cut off comes on top of what is kept.
    let need = |part: &Part| if part.whole { part.value.len() } else { usize::MAX };
    let mut needs: Vec<usize> = texts.map(need).collect();
    needs.sort_unstable();
    let mut left = needs.len();
    for need in needs {
        let share = room / left;
        if need > share {
            return share;
        }
        room -= need;
        left -= 1;
    }
    usize::MAX
}

/// The text without what could end the line, the value or a person's trust in the terminal; at most about `most`
/// bytes, and whether that is all.
fn escaped(text: &str, most: usize, quoted: bool) -> (String, bool) {
    let mut safe = String::with_capacity(text.len().min(most) + 8);
    for letter in text.chars() {
        if safe.len() >= most {
            return (safe, false);
        }
        match letter {
            '"' | '\\' if quoted => {
                safe.push('\\');
                safe.push(letter);
            }
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            // Control characters, line ends of Unicode, and what changes the direction of what follows.
            '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                // Writing to a String does not fail.
                let _ = write!(safe, "\\u{:04x}", u32::from(letter));
            }
            _ => safe.push(letter),
        }
    }
    (safe, true)
}

/// The last place up to `most` that is inside neither a letter nor an escape.
fn end_of_escape(escaped: &str, most: usize) -> usize {
    let mut end = escaped.floor_char_boundary(most);
    // The longest escape has six bytes, so its backslash is among the last five.
    let tail = &escaped.as_bytes()[..end];
    for start in (end.saturating_sub(5)..end).rev() {
        if tail[start] != b'\\' {
            continue;
        }
        // An even number of backslashes before it: it begins an escape. Where the text is not quoted a backslash may
        // stand for itself, and then a few letters more are cut.
        let before = tail[..start].iter().rev().take_while(|byte| **byte == b'\\').count();
        let start = if before % 2 == 0 { start } else { start - 1 };
        let length =
            if tail.get(start + 1).or(escaped.as_bytes().get(start + 1)) == Some(&b'u') { 6 } else { 2 };
        if start + length > end {
            end = start;
        }
        break;
    }
    end
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
