//! What is wrong with the file or the environment, where, and what to do; all of it at once.

use std::fmt;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use serde::Serialize;

use super::document::Excerpt;

/// Where a problem is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The file as a whole.
    File,
    /// A place in the file of which nothing can be shown.
    Position { line: usize, column: usize },
    /// A part of a line.
    Line(Excerpt),
    /// A Config Var.
    Variable(String),
    /// A part of a line of another file beside blacksky.toml.
    Other {
        /// Its name.
        file: &'static str,
        /// The part.
        excerpt: Excerpt,
    },
}

/// One problem. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Dotted path of the key; empty for the file as a whole.
    pub key: String,
    /// What is wrong, with the key in it.
    pub what: String,
    /// What to do.
    pub help: Option<String>,
    /// Where.
    pub place: Place,
    /// A warning does not stop blacksky.
    pub is_warning: bool,
}

impl Problem {
    /// A problem that stops blacksky.
    pub fn error(
        place: Place,
        key: impl Into<String>,
        what: impl Into<String>,
        help: Option<String>,
    ) -> Self {
        Self { key: key.into(), what: what.into(), help, place, is_warning: false }
    }

    /// A problem that does not.
    pub fn warning(
        place: Place,
        key: impl Into<String>,
        what: impl Into<String>,
        help: Option<String>,
    ) -> Self {
        Self { is_warning: true, ..Self::error(place, key, what, help) }
    }

    /// Line and column in blacksky.toml, counted from 1.
    pub fn position(&self) -> Option<(usize, usize)> {
        match &self.place {
            Place::Position { line, column } => Some((*line, *column)),
            Place::Line(excerpt) => Some((excerpt.line, excerpt.column)),
            Place::File | Place::Variable(_) | Place::Other { .. } => None,
        }
    }

    /// Renders it as rustc does, with the colours of a terminal if wanted.
    pub fn render(&self, path: &Path, colour: bool) -> String {
        let path = path.display().to_string();
        let level = if self.is_warning { Level::WARNING } else { Level::ERROR };
        let group = level.primary_title(self.what.as_str());
        let mut group = match &self.place {
            Place::File => group.element(Origin::path(path)),
            Place::Variable(name) => group.element(Origin::path(format!("Config Var {name}"))),
            Place::Position { line, column } => {
                group.element(Origin::path(path).line(*line).char_column(*column))
            }
            Place::Line(excerpt) => group.element(snippet(excerpt, path)),
            Place::Other { file, excerpt } => group.element(snippet(excerpt, beside(&path, file))),
        };
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&[group]).to_string()
    }

    /// The problem for a program.
    pub fn to_json(&self) -> serde_json::Value {
        #[derive(Serialize)]
        struct Json<'p> {
            severity: &'static str,
            key: &'p str,
            message: &'p str,
            help: Option<&'p str>,
            line: Option<usize>,
            column: Option<usize>,
            variable: Option<&'p str>,
            /// Where it is not blacksky.toml.
            #[serde(skip_serializing_if = "Option::is_none")]
            file: Option<&'static str>,
        }
        let (file, position) = match &self.place {
            Place::Other { file, excerpt } => (Some(*file), Some((excerpt.line, excerpt.column))),
            _ => (None, self.position()),
        };
        serde_json::json!(Json {
            severity: if self.is_warning { "warning" } else { "error" },
            key: &self.key,
            message: &self.what,
            help: self.help.as_deref(),
            line: position.map(|(line, _)| line),
            column: position.map(|(_, column)| column),
            variable: match &self.place {
                Place::Variable(name) => Some(name),
                _ => None,
            },
            file,
        })
    }
}

fn snippet(excerpt: &Excerpt, path: String) -> Snippet<'_, annotate_snippets::Annotation<'_>> {
    Snippet::source(excerpt.text.as_str())
        .path(path)
        .line_start(excerpt.line)
        .annotation(AnnotationKind::Primary.span(excerpt.highlight.clone()))
}

/// A file in the folder of another.
fn beside(path: &str, file: &str) -> String {
    Path::new(path).with_file_name(file).display().to_string()
}

/// Everything that is wrong with one file and its environment; at least one error.
#[derive(Debug, Clone)]
pub struct Problems {
    /// The file.
    pub path: PathBuf,
    /// In the order of the file, Config Vars last; warnings among them.
    pub list: Vec<Problem>,
}

impl Problems {
    /// Renders all of them, an empty line between two.
    pub fn render(&self, colour: bool) -> String {
        render_all(&self.path, &self.list, colour)
    }

    /// How many are errors.
    pub fn errors(&self) -> usize {
        self.list.iter().filter(|problem| !problem.is_warning).count()
    }

    /// "blacksky.toml: 2 problems".
    pub fn summary(&self) -> String {
        let count = self.errors();
        let noun = if count == 1 { "problem" } else { "problems" };
        format!("{} and the environment: {count} {noun}", self.path.display())
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}

/// Renders problems, an empty line between two.
pub fn render_all(path: &Path, list: &[Problem], colour: bool) -> String {
    let all: Vec<String> = list.iter().map(|problem| problem.render(path, colour)).collect();
    all.join("\n\n")
}
