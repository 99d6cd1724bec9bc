//! Reads keys one by one from file and Config Vars, so that every problem is found in one run and
//! every value knows its source.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::document::Document;
use super::environment::{self, Environment};
use super::problem::{Place, Problem};
use super::source::Source;
use super::values::{self, Value, Wrong};
use super::{schema, suggest};

/// Where a value was set.
#[derive(Debug, Clone)]
pub enum Origin {
    /// Bytes of the file.
    File(Range<usize>),
    /// A Config Var.
    Variable(String),
}

/// A key of a layer: absent, wrong (and already reported), or found.
#[derive(Debug, Clone, Default)]
pub enum Setting<T> {
    /// Not set.
    #[default]
    Absent,
    /// Set and refused: no check across keys may build on it.
    Wrong,
    /// Set.
    Found(T, Origin),
}

impl<T> Setting<T> {
    /// The value, if one was set.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Found(value, _) => Some(value),
            Self::Absent | Self::Wrong => None,
        }
    }

    /// Where the value was set.
    pub fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Found(_, origin) => Some(origin),
            Self::Absent | Self::Wrong => None,
        }
    }

    /// The key was set to something that was refused.
    pub fn is_wrong(&self) -> bool {
        matches!(self, Self::Wrong)
    }
}

/// In the schema a key is just its value.
impl<T: JsonSchema> JsonSchema for Setting<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// State of one run over file and environment.
pub struct Reader<'a> {
    document: &'a Document,
    env: &'a dyn Environment,
    /// Found so far, in no order.
    pub problems: Vec<Problem>,
    /// By key; a key that is not here has its default.
    pub sources: BTreeMap<String, Source>,
    /// Every Config Var that a key of this file could have.
    variables: BTreeSet<String>,
    /// The file has a single bot, so SESSION_ID is its session.
    pub only_bot: bool,
    /// The folder of the file.
    pub folder: &'a Path,
}

impl<'a> Reader<'a> {
    /// A reader that has seen nothing.
    pub fn new(document: &'a Document, env: &'a dyn Environment, folder: &'a Path) -> Self {
        Self {
            document,
            env,
            problems: Vec::new(),
            sources: BTreeMap::new(),
            variables: BTreeSet::new(),
            only_bot: true,
            folder,
        }
    }

    /// The environment.
    pub fn env(&self) -> &'a dyn Environment {
        self.env
    }

    /// Opens a section: the value of `name` in the root table must be a table.
    pub fn section(&mut self, root: &'a DeTable<'a>, name: &'static str) -> Table<'_, 'a> {
        let found = root.get_key_value(name);
        self.open(name.to_owned(), found.map(|(key, value)| (key.span(), value)), true)
    }

    /// Opens the table at `path`. Anything but a table is a problem, and reads as an empty one.
    pub fn open(
        &mut self,
        path: String,
        found: Option<(Range<usize>, &'a Spanned<DeValue<'a>>)>,
        has_variables: bool,
    ) -> Table<'_, 'a> {
        let table = found.and_then(|(key, value)| match value.get_ref() {
            DeValue::Table(table) => Some(table),
            other => {
                let found = values::kind_of(other);
                let help = if found == values::ARRAY_OF_TABLES {
                    format!("write [{path}] with single brackets, once")
                } else {
                    format!("write [{path}] and the keys below it")
                };
                let place = self.key_place(&key);
                self.push(Problem::error(
                    place,
                    &path,
                    format!("{path} must be a table, not {found}"),
                    Some(help),
                ));
                None
            }
        });
        Table { reader: self, path, table, has_variables, seen: Vec::new() }
    }

    /// Line and column of a span, counted from 1.
    pub fn position(&self, span: &Range<usize>) -> (usize, usize) {
        self.document.position(span.start)
    }

    /// The place of a key: the key itself may be seen unless it looks like a pasted credential.
    pub fn key_place(&self, span: &Range<usize>) -> Place {
        let key = &self.document.text()[span.clone()];
        let show = suggest::showable(key.trim_matches(['"', '\''])) != "***";
        Place::Line(self.document.excerpt(span, show))
    }

    /// The place of a value; `show` when it is no secret.
    pub fn place(&self, origin: &Origin, show: bool) -> Place {
        match origin {
            Origin::File(span) => Place::Line(self.document.excerpt(span, show)),
            Origin::Variable(name) => Place::Variable(name.clone()),
        }
    }

    /// Reports a problem.
    pub fn push(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Reports a problem with a value that was read.
    pub fn refuse(&mut self, key: &str, origin: &Origin, show: bool, what: String, help: &str) {
        let place = self.place(origin, show);
        self.push(Problem::error(place, key, what, Some(help.to_owned())));
    }

    /// Reports something at the root that is no section.
    pub fn unknown_section(&mut self, name: &str, span: &Range<usize>, is_table: bool) {
        let shown = suggest::showable(name);
        let place = self.key_place(span);
        let near = suggest::nearest(name, super::SECTIONS.into_iter());
        let home = schema::home_of(name, "");
        let (what, help) = match (is_table, near, home) {
            (false, _, Some(home)) => {
                (format!("\"{shown}\" stands outside of any section"), format!("it belongs into [{home}]"))
            }
            (false, Some(near), _) => {
                (format!("\"{shown}\" is not a section of blacksky.toml"), format!("did you mean [{near}]?"))
            }
            (true, Some(near), _) => {
                (format!("[{shown}] is not a section of blacksky.toml"), format!("did you mean [{near}]?"))
            }
            (is_table, ..) => {
                let what = if is_table { format!("[{shown}]") } else { format!("\"{shown}\"") };
                let sections = super::SECTIONS.map(|section| format!("[{section}]")).join(", ");
                (format!("{what} is not a section of blacksky.toml"), format!("the sections are {sections}"))
            }
        };
        self.push(Problem::error(place, shown, what, Some(help)));
    }

    /// Reports unknown `BLACKSKY_*` variables, as warnings: an old one may linger on the app.
    pub fn unknown_variables(&mut self) {
        for short in &environment::SHORT_NAMES {
            self.variables.insert(short.variable.to_owned());
        }
        self.variables.extend(environment::OF_THE_BUILDPACK.map(str::to_owned));
        let mut names: Vec<String> =
            self.env.names().into_iter().filter(|name| name.starts_with("BLACKSKY_")).collect();
        names.sort();
        for name in names {
            if self.variables.contains(&name) {
                continue;
            }
            let help = match suggest::nearest(&name, self.variables.iter().map(String::as_str)) {
                Some(near) => format!("did you mean {near}?"),
                None => "docs/config.md lists the Config Vars; `heroku config:unset` removes one".to_owned(),
            };
            let shown = suggest::showable(&name).to_owned();
            self.push(Problem::warning(
                Place::Variable(shown.clone()),
                "",
                format!("{shown} is not a Config Var of blacksky and is ignored"),
                Some(help),
            ));
        }
    }

    fn wrong(&mut self, key: &str, wrong: Wrong, value: &str, origin: &Origin, sensitive: bool) {
        let show = !sensitive;
        let what = if wrong.about_key || sensitive {
            format!("{key} {}", wrong.what)
        } else if value.chars().count() > 60
            || values::web_url::looks_like_token(value)
            || value.contains('@')
        {
            format!("{key}: the value {}", wrong.what)
        } else {
            format!("{key}: {value} {}", wrong.what)
        };
        let origin = match (&wrong.span, origin) {
            (Some(span), Origin::File(_)) => &Origin::File(span.clone()),
            _ => origin,
        };
        let place = self.place(origin, show);
        self.push(Problem::error(place, key, what, wrong.help));
    }

    /// Reads the Config Vars of a key: its path name and perhaps a short one.
    fn variable<T: Value>(&mut self, key: &str) -> Setting<T> {
        let path_name = environment::variable_of(key);
        self.variables.insert(path_name.clone());
        let by_path = environment::value(self.env, &path_name).map(|text| (path_name, text));
        let short = environment::short_name_of(key, self.only_bot);
        let by_short =
            short.and_then(|short| environment::short_value(self.env, short).map(|text| (short, text)));
        let (name, text) = match (by_path, by_short) {
            (None, None) => return Setting::Absent,
            (Some(by_path), None) => by_path,
            (None, Some((short, text))) => (short.variable.to_owned(), text),
            (Some((path_name, path_text)), Some((short, text))) => {
                if path_text != text && !short.wins {
                    self.push(Problem::error(
                        Place::Variable(path_name.clone()),
                        key,
                        format!("{key} is set by {} and by {path_name} to different values", short.variable),
                        Some(format!("unset one of them: heroku config:unset {path_name}")),
                    ));
                    return Setting::Wrong;
                }
                (short.variable.to_owned(), text)
            }
        };
        let origin = Origin::Variable(name);
        let parsed = if text.contains('\u{fffd}') {
            Err(Wrong::key("is not UTF-8", Some("set it again".to_owned())))
        } else {
            T::from_text(&text)
        };
        match parsed {
            Ok(value) => Setting::Found(value, origin),
            Err(wrong) => {
                self.wrong(key, wrong, &format!("\"{text}\""), &origin, T::SENSITIVE);
                Setting::Wrong
            }
        }
    }
}

/// One table of the file while it is read.
pub struct Table<'r, 'a> {
    reader: &'r mut Reader<'a>,
    path: String,
    table: Option<&'a DeTable<'a>>,
    has_variables: bool,
    seen: Vec<&'static str>,
}

impl<'a> Table<'_, 'a> {
    /// Reads one key from the file and from its Config Vars, which win.
    pub fn key<T: Value>(&mut self, name: &'static str) -> Setting<T> {
        self.see(name);
        let key = format!("{}.{name}", self.path);
        let from_file = match self.table.and_then(|table| table.get(name)) {
            Some(value) => self.reader.file_value::<T>(&key, value),
            None => Setting::Absent,
        };
        let from_env = if self.has_variables { self.reader.variable::<T>(&key) } else { Setting::Absent };
        let setting = match from_env {
            Setting::Absent => from_file,
            set => set,
        };
        if let Some(origin) = setting.origin() {
            let source = match origin {
                Origin::File(span) => {
                    let (line, column) = self.reader.document.position(span.start);
                    Source::File { line, column }
                }
                Origin::Variable(variable) => Source::Env { variable: variable.clone() },
            };
            self.reader.sources.insert(key, source);
        }
        setting
    }

    fn see(&mut self, name: &'static str) {
        if !self.seen.contains(&name) {
            self.seen.push(name);
        }
    }

    /// Hands over a key that the caller reads itself.
    pub fn raw(&mut self, name: &'static str) -> Option<(Range<usize>, &'a Spanned<DeValue<'a>>)> {
        self.see(name);
        let (key, value) = self.table?.get_key_value(name)?;
        Some((key.span(), value))
    }

    /// All entries, in the order of their names.
    pub fn entries(&self) -> Vec<(&'a str, Range<usize>, &'a Spanned<DeValue<'a>>)> {
        let Some(table) = self.table else { return Vec::new() };
        table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span(), value)).collect()
    }

    /// The reader, for problems and nested tables.
    pub fn reader(&mut self) -> &mut Reader<'a> {
        self.reader
    }

    /// Dotted path of this table.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Reports every key that was not asked for.
    pub fn finish(mut self) {
        let seen = std::mem::take(&mut self.seen);
        for (name, span, _) in self.entries() {
            if !seen.contains(&name) {
                unknown_key(self.reader, &self.path, name, &span, &seen);
            }
        }
    }
}

impl Reader<'_> {
    /// Reads one value of the file.
    pub fn file_value<T: Value>(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Setting<T> {
        let origin = Origin::File(value.span());
        match T::from_toml(value) {
            Ok(value) => Setting::Found(value, origin),
            Err(all) => {
                for wrong in all {
                    let span = wrong.span.clone().unwrap_or_else(|| value.span());
                    let shown = self.document.text().get(span).unwrap_or_default().to_owned();
                    self.wrong(key, wrong, &shown, &origin, T::SENSITIVE);
                }
                Setting::Wrong
            }
        }
    }
}

/// Reports a key that does not exist, with the key that was probably meant.
fn unknown_key(reader: &mut Reader<'_>, path: &str, name: &str, span: &Range<usize>, known: &[&str]) {
    let shown = suggest::showable(name);
    let help = if let Some(near) = suggest::nearest(name, known.iter().copied()) {
        format!("did you mean \"{near}\"?")
    } else if let Some(home) = schema::home_of(name, path) {
        format!("\"{shown}\" belongs into [{home}]")
    } else {
        let quoted: Vec<String> = known.iter().map(|key| format!("\"{key}\"")).collect();
        format!("known here: {}", quoted.join(", "))
    };
    let place = reader.key_place(span);
    reader.push(Problem::error(
        place,
        format!("{path}.{shown}"),
        format!("[{path}] has no key \"{shown}\""),
        Some(help),
    ));
}
