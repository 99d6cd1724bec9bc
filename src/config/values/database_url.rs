//! Where the sessions live, as a URL.

use std::borrow::Cow;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use url::Url;

use super::{Secret, Value, Wrong};

/// `postgres://…` or `sqlite:FILE`.
#[derive(Debug, Clone)]
pub enum DatabaseUrl {
    /// With user and password: a secret as a whole.
    Postgres(Secret),
    /// A file, relative to the working directory.
    Sqlite(PathBuf),
}

impl DatabaseUrl {
    /// The form as a regular expression (ECMA 262): a server with user, host, port and the rest; a
    /// server on a Unix socket; a file. What only the URL parser knows is not in it.
    pub const PATTERN: &'static str = concat!(
        r"^postgres(ql)?://",
        r"(([^\s/?#]*@)?(\[[0-9A-Fa-f:.]+\]|[^\s/?#@:\[\]<>|^]+)",
        r"(:(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[0-9]{1,4})?)?",
        r"([/?#]\S*)?|(/[^\s?#]*)?\?([^\s#]*&)?host=\S*)$",
        r"|^sqlite:(?!(//)?(:memory:|$))[^?\u0000]+$"
    );
}

impl Value for DatabaseUrl {
    const SENSITIVE: bool = true;

    fn from_text(text: &str) -> Result<Self, Wrong> {
        if let Some(file) = text.strip_prefix("sqlite:") {
            return sqlite(file);
        }
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(Wrong::key(
                "is not a PostgreSQL or SQLite URL",
                Some("write \"postgres://USER:PASSWORD@HOST/NAME\" or \"sqlite:FILE\"".to_owned()),
            ));
        }
        if text.contains(super::is_space) {
            return Err(Wrong::key(
                "contains white space",
                Some("percent-encode it (a space is \"%20\"), or remove it".to_owned()),
            ));
        }
        let url = Url::parse(text).map_err(|problem| {
            Wrong::key(
                format!("is not a valid URL: {problem}"),
                Some(
                    "special characters of the password must be percent-encoded (\"@\" is \"%40\")"
                        .to_owned(),
                ),
            )
        })?;
        // A Unix socket is named by `host` in the query.
        if url.host_str().is_none_or(str::is_empty) && !url.query_pairs().any(|(name, _)| name == "host") {
            return Err(Wrong::key(
                "names no host",
                Some("write \"postgres://USER:PASSWORD@HOST/NAME\"".to_owned()),
            ));
        }
        Ok(Self::Postgres(Secret::new(text)))
    }
}

fn sqlite(file: &str) -> Result<DatabaseUrl, Wrong> {
    let file = file.strip_prefix("//").unwrap_or(file);
    let help =
        || Some("write a file, for example \"sqlite:blacksky.db\" or \"sqlite:/var/lib/blacksky.db\"".into());
    if file.is_empty() {
        return Err(Wrong::key("names no file", help()));
    }
    if file.starts_with(":memory:") {
        return Err(Wrong::key("is in memory: the session would be lost with the process", help()));
    }
    if file.contains('?') || file.contains('\0') {
        return Err(Wrong::key("has options or a zero byte, only a file name is allowed", help()));
    }
    Ok(DatabaseUrl::Sqlite(PathBuf::from(file)))
}

impl JsonSchema for DatabaseUrl {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "DatabaseUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": Self::PATTERN })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_forms() {
        for (text, path) in [
            ("sqlite:file.db", "file.db"),
            ("sqlite://file.db", "file.db"),
            ("sqlite:///var/file.db", "/var/file.db"),
            ("sqlite:/var/file.db", "/var/file.db"),
        ] {
            match DatabaseUrl::from_text(text) {
                Ok(DatabaseUrl::Sqlite(found)) => assert_eq!(found, PathBuf::from(path), "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        for text in ["sqlite:", "sqlite://", "sqlite::memory:", "sqlite:a.db?mode=ro"] {
            assert!(DatabaseUrl::from_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn postgres_forms() {
        for text in [
            "postgres://u:p@db.example:5432/name",
            "postgresql://u@localhost/name",
            "postgres:///name?host=/run/postgresql",
            "postgres://u@%2Frun%2Fpostgresql/name",
        ] {
            assert!(matches!(DatabaseUrl::from_text(text), Ok(DatabaseUrl::Postgres(_))), "{text}");
        }
        for text in
            ["postgres://", "postgres:///name", "mysql://u:p@h/n", "mongodb://h", "postgres://u:p@h:99999/n"]
        {
            let wrong = DatabaseUrl::from_text(text).unwrap_err();
            assert!(!wrong.what.contains("u:p"), "{wrong:?}");
        }
    }
}
