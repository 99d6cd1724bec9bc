//! What a bot's sources say: where its session is, which port it listens on, whether it reads SESSION_ID.
//!
//! No parser of JavaScript: literal arguments and the usual ways to write a path are understood, the rest is left to
//! a person.

use std::cell::Cell;
use std::sync::LazyLock;

use regex::Regex;

use crate::config::values::Value as _;
use crate::config::values::form::SessionPath;

/// A source file.
#[derive(Debug, Clone)]
pub struct Source {
    /// Relative to the bot's folder, with `/`.
    pub path: String,
    /// Without comments.
    pub text: String,
}

/// What the sources say.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Session places, the most likely first.
    pub sessions: Vec<String>,
    /// A session place that could not be read, as it is written.
    pub unread: Option<String>,
    /// The session is kept where blacksky cannot look after it: MongoDB, a browser's profile, one JSON file.
    pub elsewhere: Option<&'static str>,
    /// It listens on PORT.
    pub reads_port: bool,
    /// It listens on these, whatever PORT says.
    pub ports: Vec<u16>,
    /// It answers `/` itself.
    pub has_home: bool,
    pub reads_session_id: bool,
}

macro_rules! patterns {
    ($($name:ident = $text:literal;)*) => { $(static $name: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new($text).ok());)* };
}

patterns! {
    MULTI_FILE = r"useMultiFileAuthState\s*\)?\s*\(";
    SQLITE = r#"(?:sqlstore\.New\(|SqliteStore::new\(|NewClient\(|NewAClient\()[^;\n]*?["'](?:sqlite:|file:)?(?://)?([A-Za-z0-9_./-]+\.(?:db|sqlite3?))"#;
    READS_PORT = r#"process\.env\.PORT\b|process\.env\[\s*["']PORT["']|\{[^{}]*\bPORT\b[^{}]*\}\s*=\s*process\.env|environ(?:\.get\(|\[)\s*["']PORT["']|Getenv\(\s*"PORT""#;
    LISTENS = r"\.listen\(\s*(\d{2,5})\b";
    HOME = r#"\.(?:get|all|use)\(\s*["'`]/["'`]|\.url\s*===?\s*["'`]/["'`]|express\.static\("#;
    SESSION_ID = r#"process\.env\.(?:SESSION_ID|SESSION_STRING|CREDS_DATA)\b|["'](?:SESSION_ID|SESSION_STRING|CREDS_DATA)["']|\{[^{}]*\bSESSION_ID\b[^{}]*\}\s*=\s*process\.env"#;
    MONGO = r"use(?:Mongo\w*|Redis\w*|MySQL\w*|Postgres\w*)AuthState|\bRemoteAuth\b";
    BROWSER = r"new\s+LocalAuth\b|puppeteer";
    SINGLE_FILE = r"useSingleFileAuthState\s*\(";
}

fn says(pattern: &Option<Regex>, text: &str) -> bool {
    pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
}

fn captured<'t>(pattern: &'t Option<Regex>, text: &'t str) -> impl Iterator<Item = regex::Captures<'t>> {
    pattern.iter().flat_map(move |pattern| pattern.captures_iter(text))
}

/// Names whose definitions are looked for, in all: names that are defined by each other would be followed for minutes.
const MOST_NAMES: u32 = 1000;

/// The sources, and how many names may still be followed.
struct Names<'s> {
    all: &'s [Source],
    left: Cell<u32>,
}

/// Reads all sources.
pub fn read(sources: &[Source]) -> Said {
    let names = Names { all: sources, left: Cell::new(MOST_NAMES) };
    let mut said = Said::default();
    let mut found: Vec<(String, usize)> = Vec::new();
    let mut note = |path: String| match found.iter_mut().find(|(known, _)| *known == path) {
        Some((_, count)) => *count += 1,
        None => found.push((path, 1)),
    };
    for source in sources {
        let text = &source.text;
        for call in captured(&MULTI_FILE, text).filter_map(|call| call.get(0)) {
            let Some(argument) = argument(&text[call.end()..]) else { continue };
            match place(argument, source, &names) {
                Some(path) => note(path),
                // Its definition or its export, not a call.
                None if argument.trim().is_empty() || argument.trim() == "folder" => {}
                None => {
                    said.unread = said.unread.or_else(|| Some(argument.trim().chars().take(60).collect()))
                }
            }
        }
        for call in captured(&SQLITE, text) {
            if let Some(path) = normal(".", &call[1]) {
                note(path);
            }
        }
        said.reads_port |= says(&READS_PORT, text);
        said.has_home |= says(&HOME, text);
        said.reads_session_id |= says(&SESSION_ID, text);
        let ports = captured(&LISTENS, text).filter_map(|call| call[1].parse::<u16>().ok());
        said.ports.extend(ports);
        let elsewhere = [
            (&MONGO, "a database of its own"),
            (&SINGLE_FILE, "a single JSON file"),
            (&BROWSER, "a browser's profile"),
        ];
        let elsewhere = elsewhere.into_iter().find(|(pattern, _)| says(pattern, text));
        said.elsewhere = said.elsewhere.or(elsewhere.map(|(_, what)| what));
    }
    // The first of the most frequent.
    found.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    said.sessions = found.into_iter().map(|(path, _)| path).collect();
    said.ports.sort_unstable();
    said.ports.dedup();
    said
}

/// The first argument of a call whose bracket has been opened.
fn argument(text: &str) -> Option<&str> {
    let end = end_of(text, &[',', ')'])?;
    Some(&text[..end])
}

/// Where an expression ends: at one of `marks` outside of brackets and strings. At most 300 bytes are looked at.
fn end_of(text: &str, marks: &[char]) -> Option<usize> {
    let (mut depth, mut string) = (0_u32, None);
    let mut escaped = false;
    for (at, c) in text.char_indices().take_while(|(at, _)| *at < 300) {
        match string {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(quote) if c == quote => string = None,
            Some(_) => {}
            None if depth == 0 && marks.contains(&c) => return Some(at),
            None => match c {
                '\'' | '"' | '`' => string = Some(c),
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth = depth.checked_sub(1)?,
                _ => {}
            },
        }
    }
    None
}

/// A path below the bot's folder that an expression stands for, as `session_dir` takes it.
fn place(expression: &str, source: &Source, names: &Names<'_>) -> Option<String> {
    normal(".", &value(expression, source, names, 0)?)
}

/// The text that an expression stands for; `__dirname` as the folder of its file.
fn value(expression: &str, source: &Source, names: &Names<'_>, depth: usize) -> Option<String> {
    let expression = expression.trim();
    if depth > 6 || expression.is_empty() {
        return None;
    }
    let within = |expression: &str| value(expression, source, names, depth + 1);
    for fallback in ["||", "??"] {
        if let Some((first, second)) = split_at(expression, fallback) {
            return within(first).or_else(|| within(second));
        }
    }
    if let Some((first, second)) = split_at(expression, "+") {
        return Some(format!("{}{}", within(first)?, within(second)?));
    }
    let folder = source.path.rsplit_once('/').map_or(".", |(folder, _)| folder);
    match expression {
        "__dirname" | "import.meta.dirname" => return Some(folder.to_owned()),
        "process.cwd()" => return Some(".".to_owned()),
        _ => {}
    }
    let quote = expression.chars().next()?;
    if ['\'', '"', '`'].contains(&quote) {
        let inside = expression.strip_prefix(quote)?.strip_suffix(quote)?;
        if inside.contains(quote) || inside.contains('\\') {
            return None;
        }
        return if quote == '`' { template(inside, within) } else { Some(inside.to_owned()) };
    }
    if let Some((function, arguments)) = expression.strip_suffix(')').and_then(|call| call.split_once('(')) {
        let function = function.trim().rsplit('.').next().unwrap_or_default();
        if !["join", "resolve", "normalize"].contains(&function) {
            return None;
        }
        let mut rest = arguments;
        let mut parts = Vec::new();
        loop {
            let end = end_of(rest, &[',']).unwrap_or(rest.len());
            if !rest[..end].trim().is_empty() {
                parts.push(within(&rest[..end])?);
            }
            match rest.get(end + 1..) {
                Some(more) => rest = more,
                None => return Some(parts.join("/")),
            }
        }
    }
    let name = expression.rsplit('.').next().unwrap_or_default();
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$') {
        return None;
    }
    definition(name, source, names, depth)
}

fn template(inside: &str, within: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut text = String::new();
    let mut rest = inside;
    while let Some((before, after)) = rest.split_once("${") {
        let (hole, after) = after.split_once('}')?;
        text.push_str(before);
        text.push_str(&within(hole)?);
        rest = after;
    }
    text.push_str(rest);
    Some(text)
}

/// What a name was set to, in this file or else in another one.
fn definition(name: &str, source: &Source, names: &Names<'_>, depth: usize) -> Option<String> {
    names.left.set(names.left.get().checked_sub(1)?);
    let set = Regex::new(&format!(r"(?:^|[^\w$]){}\s*(?:=|:)\s*", regex::escape(name))).ok()?;
    let others = names.all.iter().filter(|other| other.path != source.path);
    for file in std::iter::once(source).chain(others) {
        for found in set.find_iter(&file.text).take(20) {
            let rest = &file.text[found.end()..];
            if rest.starts_with(['=', '>']) {
                continue;
            }
            let end = end_of(rest, &[';', '\n', ',', '}', ')']).unwrap_or_else(|| rest.len().min(200));
            let Some(expression) = rest.get(..end) else { continue };
            if let Some(text) = value(expression, file, names, depth + 1) {
                return Some(text);
            }
        }
    }
    None
}

/// Splits at an operator outside of brackets and strings.
fn split_at<'t>(expression: &'t str, operator: &str) -> Option<(&'t str, &'t str)> {
    let mark = operator.chars().next()?;
    let mut from = 0;
    loop {
        let at = from + end_of(&expression[from..], &[mark])?;
        if expression[at..].starts_with(operator) {
            return Some((&expression[..at], &expression[at + operator.len()..]));
        }
        from = at + mark.len_utf8();
    }
}

/// A path below the folder without `.` and `..`; `None` when it leads out or is no place for a session.
pub fn normal(folder: &str, path: &str) -> Option<String> {
    if path.starts_with(['/', '~']) {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split(['/', '\\'])) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    let path = parts.join("/");
    SessionPath::from_text(&path).is_ok().then_some(path)
}

/// A source without its comments. What only looks like one inside a regular expression goes too.
pub fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut string = None;
    while let Some(c) = chars.next() {
        match string {
            Some(quote) => {
                out.push(c);
                if c == '\\' {
                    out.extend(chars.next());
                } else if c == quote || (c == '\n' && quote != '`') {
                    string = None;
                }
            }
            None if c == '/' && chars.peek() == Some(&'/') => {
                while chars.peek().is_some_and(|c| *c != '\n') {
                    chars.next();
                }
            }
            None if c == '/' && chars.peek() == Some(&'*') => {
                chars.next();
                let mut last = ' ';
                for c in chars.by_ref() {
                    if last == '*' && c == '/' {
                        break;
                    }
                    last = c;
                }
                out.push(' ');
            }
            None => {
                if ['\'', '"', '`'].contains(&c) {
                    string = Some(c);
                }
                out.push(c);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, &str)]) -> Said {
        let sources: Vec<Source> = files
            .iter()
            .map(|(path, text)| Source { path: (*path).to_owned(), text: without_comments(text) })
            .collect();
        read(&sources)
    }

    fn session(text: &str) -> String {
        let said = of(&[("src/main.js", text)]);
        said.sessions.first().cloned().or(said.unread).unwrap_or_else(|| "none".to_owned())
    }

    #[test]
    fn session_folders_are_found_as_they_are_written() {
        for (text, wanted) in [
            ("await useMultiFileAuthState('auth_info_baileys')", "auth_info_baileys"),
            ("await useMultiFileAuthState(\"./session/\")", "session"),
            ("(0, baileys_1.useMultiFileAuthState)(`sessions`)", "sessions"),
            ("useMultiFileAuthState(path.join(__dirname, '..', 'session'))", "session"),
            ("useMultiFileAuthState(path.join(__dirname, 'auth'))", "src/auth"),
            ("useMultiFileAuthState(path.resolve(process.cwd(), 'a', \"b\"))", "a/b"),
            ("useMultiFileAuthState(`${__dirname}/auth`)", "src/auth"),
            ("useMultiFileAuthState(__dirname + '/auth')", "src/auth"),
            ("useMultiFileAuthState('./' + name);\nconst name = 'x'", "x"),
            ("const dir = process.env.AUTH_DIR || './state';\nuseMultiFileAuthState(dir)", "state"),
            (
                "const dir = join(__dirname, '..', sub), x = 1; let sub = 'store'\nuseMultiFileAuthState(dir)",
                "store",
            ),
            (
                "global.authFile = `sessions`\nconst {state} = await useMultiFileAuthState(global.authFile)",
                "sessions",
            ),
            ("const config = { session: 'wa', other: 1 }; useMultiFileAuthState(config.session)", "wa"),
            (
                "// useMultiFileAuthState('old')\nuseMultiFileAuthState('new') /* useMultiFileAuthState('old') */",
                "new",
            ),
            (
                "useMultiFileAuthState('one'); useMultiFileAuthState('two'); useMultiFileAuthState('two')",
                "two",
            ),
            ("useMultiFileAuthState('/tmp/session')", "'/tmp/session'"),
            ("useMultiFileAuthState(`./${id}`)", "`./${id}`"),
            ("import { useMultiFileAuthState } from 'baileys'", "none"),
            ("const a = b; const b = a; useMultiFileAuthState(a)", "a"),
            (
                "container, err := sqlstore.New(ctx, \"sqlite3\", \"file:wa/store.db?_foreign_keys=on\", log)",
                "wa/store.db",
            ),
            ("let store = SqliteStore::new(\"whatsapp.db\").await?;", "whatsapp.db"),
        ] {
            assert_eq!(session(text), wanted, "{text}");
        }
        let said = of(&[
            ("a.js", "useMultiFileAuthState(global.authFile)"),
            ("config.js", "global.authFile = 'from-config'"),
        ]);
        assert_eq!(said.sessions, ["from-config"]);
    }

    #[test]
    fn names_that_lead_to_each_other_are_not_followed_for_ever() {
        let circle = "a = a || a || b; b = b + a; ".repeat(20);
        let text = format!("{circle} useMultiFileAuthState(a)");
        let source = Source { path: "a.js".to_owned(), text: text.clone() };
        let names = Names { all: std::slice::from_ref(&source), left: Cell::new(MOST_NAMES) };
        assert_eq!(place("a", &source, &names), None);
        assert_eq!(names.left.get(), 0, "without the limit it takes minutes");
        assert_eq!(session(&text), "a");
    }

    #[test]
    fn ports_and_session_ids_are_found() {
        let said = of(&[("a.js", "app.get('/', home); app.listen(process.env.PORT || 3000)")]);
        assert!(said.reads_port && said.has_home && said.ports.is_empty() && !said.reads_session_id);
        let said = of(&[("a.js", "const { PORT = 8000, SESSION_ID } = process.env; server.listen(PORT)")]);
        assert!(said.reads_port);
        let said = of(&[("a.js", "http.listen(8080); other.listen(8080, x); process.env.SESSION_ID")]);
        assert!(!said.reads_port && said.ports == [8080] && said.reads_session_id);
        assert_eq!(of(&[("a.js", "new LocalAuth()")]).elsewhere, Some("a browser's profile"));
    }

    proptest::proptest! {
        #[test]
        fn anything_is_answered(text in "(useMultiFileAuthState\\(|'|\"|`|\\$\\{|\\}|\\)|,|\\+|path.join\\(|a=|a|;|//|/\\*|\\n|ä){0,25}") {
            let said = of(&[("a.js", &text)]);
            for path in said.sessions {
                proptest::prop_assert!(SessionPath::from_text(&path).is_ok());
            }
        }
    }
}
