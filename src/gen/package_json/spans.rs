//! Where the values of a JSON text stand. Strict: what `JSON.parse` refuses is refused, with its place.

use std::ops::Range;

use super::Broken;

/// Deeper nesting than any package.json has.
const DEEPEST: usize = 128;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub struct Value {
    pub span: Range<usize>,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Object(Vec<Member>),
    Text(Option<String>),
    Other,
}

#[derive(Debug, Clone)]
struct Member {
    key: Range<usize>,
    /// `None` for a lone surrogate, which no key of ours has.
    name: Option<String>,
    value: Value,
}

/// An object and where it stands.
#[derive(Debug, Clone)]
pub struct Object {
    span: Range<usize>,
    members: Vec<Member>,
}

impl Value {
    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => text.as_deref(),
            Kind::Object(_) | Kind::Other => None,
        }
    }

    /// The members of an object.
    pub fn object(self) -> Option<Object> {
        match self.kind {
            Kind::Object(members) => Some(Object { span: self.span, members }),
            Kind::Text(_) | Kind::Other => None,
        }
    }
}

impl Object {
    /// The value of a key, the last when there are several.
    pub fn last(&self, name: &str) -> Option<&Value> {
        self.members
            .iter()
            .rev()
            .find(|member| member.name.as_deref() == Some(name))
            .map(|member| &member.value)
    }

    /// What stands between the first key and its value; as npm writes it when there is none.
    pub fn colon<'t>(&self, text: &'t str) -> &'t str {
        self.members.first().map_or(": ", |first| &text[first.key.end..first.value.span.start])
    }

    /// Line end and indent of the first member, if it stands on a line of its own.
    pub fn indent<'t>(&self, text: &'t str) -> Option<(&'t str, &'t str)> {
        let Some(first) = self.members.first() else { return Some((line_end(text), "  ")) };
        let before = &text[self.span.start + 1..first.key.start];
        let at = before.rfind('\n')?;
        Some((line_end(text), &before[at + 1..]))
    }

    /// The edit that adds a member at the end, laid out as its neighbour; `depth` is how deep the members of this
    /// object stand.
    pub fn with(&self, text: &str, name: &str, value: &str, depth: usize) -> (Range<usize>, String) {
        if let Some(last) = self.members.last() {
            let from = match self.members.len() {
                1 => self.span.start + 1,
                count => self.members[count - 2].value.span.end,
            };
            // White space before the last key, without the comma in front of it.
            let before = &text[from..last.key.start];
            let before = before.rfind(',').map_or(before, |comma| &before[comma + 1..]);
            let at = last.value.span.end;
            return (at..at, format!(",{before}\"{name}\"{}{value}", self.colon(text)));
        }
        let inside = &text[self.span.start + 1..self.span.end - 1];
        let at = self.span.start + 1;
        if !text.trim_start_matches('\u{feff}').trim().contains('\n') && depth > 1 {
            return (at..at, format!("\"{name}\": {value}"));
        }
        let (end, unit) = (line_end(text), root_indent(text));
        let close =
            if inside.contains('\n') { String::new() } else { format!("{end}{}", unit.repeat(depth - 1)) };
        (at..at, format!("{end}{}\"{name}\": {value}{close}", unit.repeat(depth)))
    }
}

/// The line end of the text.
fn line_end(text: &str) -> &'static str {
    match text.find('\n') {
        Some(at) if at > 0 && text.as_bytes()[at - 1] == b'\r' => "\r\n",
        _ => "\n",
    }
}

/// The white space before the first key of the text.
fn root_indent(text: &str) -> &str {
    let Some(key) = text.find('"') else { return "  " };
    let unit = text[..key].rsplit('\n').next().unwrap_or_default();
    if !unit.is_empty() && unit.chars().all(|c| c == ' ' || c == '\t') { unit } else { "  " }
}

/// A problem at an offset.
pub fn broken(text: &str, at: usize, what: &str) -> Broken {
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let column =
        before.rsplit('\n').next().unwrap_or_default().trim_start_matches('\u{feff}').chars().count() + 1;
    Broken { line, column, what: what.to_owned() }
}

/// The one value of a text.
pub fn parse(text: &str) -> Result<Value, Broken> {
    let start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut parser = Parser { text, at: start };
    let value = parser.value(0)?;
    parser.space();
    if parser.at < text.len() {
        Err(parser.wrong("is no longer JSON: the object ends before this"))
    } else {
        Ok(value)
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &[u8] {
        &self.text.as_bytes()[self.at..]
    }

    fn next(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    fn space(&mut self) {
        while matches!(self.next(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// Here the text is wrong.
    fn wrong(&self, what: &str) -> Broken {
        let mut at = self.at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        if self.rest().starts_with(b"//") || self.rest().starts_with(b"/*") {
            return broken(self.text, at, "JSON has no comments: remove this one");
        }
        broken(self.text, at, what)
    }

    fn value(&mut self, depth: usize) -> Result<Value, Broken> {
        if depth > DEEPEST {
            return Err(self.wrong("is nested too deeply"));
        }
        self.space();
        let start = self.at;
        let kind = match self.next() {
            Some(b'{') => Kind::Object(self.members(depth)?),
            Some(b'[') => {
                self.items(depth)?;
                Kind::Other
            }
            Some(b'"') => Kind::Text(self.string()?),
            Some(b'-' | b'0'..=b'9') => {
                self.number()?;
                Kind::Other
            }
            Some(_) => {
                let word = ["true", "false", "null"]
                    .into_iter()
                    .find(|word| self.rest().starts_with(word.as_bytes()));
                let Some(word) = word else {
                    return Err(self.wrong("is not JSON: a value must stand here"));
                };
                self.at += word.len();
                Kind::Other
            }
            None => return Err(self.wrong("is not JSON: it ends before the value")),
        };
        Ok(Value { span: start..self.at, kind })
    }

    fn members(&mut self, depth: usize) -> Result<Vec<Member>, Broken> {
        self.at += 1;
        let mut members = Vec::new();
        self.space();
        if self.next() == Some(b'}') {
            self.at += 1;
            return Ok(members);
        }
        loop {
            self.space();
            let start = self.at;
            match self.next() {
                Some(b'"') => {}
                Some(b'}') => return Err(self.wrong("JSON has no comma before }: remove the comma")),
                _ => return Err(self.wrong("is not JSON: a key in double quotes must stand here")),
            }
            let name = self.string()?;
            let key = start..self.at;
            self.space();
            if self.next() != Some(b':') {
                return Err(self.wrong("is not JSON: a : must stand after the key"));
            }
            self.at += 1;
            let value = self.value(depth + 1)?;
            members.push(Member { key, name, value });
            if self.ends(b'}', "is not JSON: a , or } is missing here")? {
                return Ok(members);
            }
        }
    }

    fn items(&mut self, depth: usize) -> Result<(), Broken> {
        self.at += 1;
        self.space();
        if self.next() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.space();
            if self.next() == Some(b']') {
                return Err(self.wrong("JSON has no comma before ]: remove the comma"));
            }
            self.value(depth + 1)?;
            if self.ends(b']', "is not JSON: a , or ] is missing here")? {
                return Ok(());
            }
        }
    }

    /// After a member or item: whether the bracket closes, or a comma goes on.
    fn ends(&mut self, bracket: u8, missing: &str) -> Result<bool, Broken> {
        self.space();
        let ended = match self.next() {
            Some(b',') => false,
            Some(byte) if byte == bracket => true,
            _ => return Err(self.wrong(missing)),
        };
        self.at += 1;
        Ok(ended)
    }

    fn string(&mut self) -> Result<Option<String>, Broken> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.next() {
                None => return Err(self.wrong("is not JSON: a string has no end")),
                Some(b'"') => break,
                Some(b'\\') => {
                    self.at += 1;
                    match self.next() {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
                        Some(b'u')
                            if self.rest().len() > 4
                                && self.rest()[1..5].iter().all(u8::is_ascii_hexdigit) =>
                        {
                            self.at += 5;
                        }
                        _ => return Err(self.wrong("is not JSON: a string has no such escape")),
                    }
                }
                Some(0..=0x1f) => return Err(self.wrong("is not JSON: a string must end on its line")),
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        Ok(serde_json::from_str(&self.text[start..self.at]).ok())
    }

    fn number(&mut self) -> Result<(), Broken> {
        let digits = |parser: &mut Self| {
            let start = parser.at;
            while matches!(parser.next(), Some(b'0'..=b'9')) {
                parser.at += 1;
            }
            parser.at - start
        };
        let wrong = "is not JSON: this is no number";
        if self.next() == Some(b'-') {
            self.at += 1;
        }
        let zero = self.next() == Some(b'0');
        let count = digits(self);
        if count == 0 || (zero && count > 1) {
            return Err(self.wrong(wrong));
        }
        if self.next() == Some(b'.') {
            self.at += 1;
            if digits(self) == 0 {
                return Err(self.wrong(wrong));
            }
        }
        if matches!(self.next(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.next(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if digits(self) == 0 {
                return Err(self.wrong(wrong));
            }
        }
        Ok(())
    }
}
