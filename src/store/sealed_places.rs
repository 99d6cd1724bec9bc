//! Every place of the database that holds sealed values. A table that is not here keeps its values under
//! the old key for ever; a test below holds the list against the migrations.

use super::kind::{Name, SET_ASIDE};

/// A column of sealed values.
#[derive(Debug)]
pub(super) struct SealedPlace {
    pub table: &'static str,
    /// The column of the values. Empty values are stored as they are.
    pub value: &'static str,
    /// The columns of the primary key, in its order.
    pub key: &'static [(&'static str, PartKind)],
    /// Whose a row is.
    pub owner: OwnerColumn,
    /// Rows that stay as they are, as an SQL condition.
    pub except: Option<&'static str>,
    /// Most rows read and written at once.
    pub batch: i64,
    /// Kind and name that the value of a row with this key is bound to.
    pub bound: fn(&[Part]) -> Option<(i16, Name)>,
}

/// How a row tells its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnerColumn {
    /// By its column `generation`.
    Generation,
    /// By its column `session`.
    Session,
}

/// Type of a key column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PartKind {
    /// `bigint`.
    Big,
    /// `smallint`.
    Small,
    /// `bytea`.
    Bytes,
    /// `text`.
    Text,
}

/// Value of a key column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Number(i64),
    Bytes(Vec<u8>),
    Text(String),
}

/// A stored value with the key of its row, in a [`SealedPlace`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub key: Vec<Part>,
    pub value: Vec<u8>,
}

/// A value to take the place of another one, if that is still there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Swap {
    pub row: Stored,
    pub fresh: Vec<u8>,
}

/// How many values of a session begin with the same bytes: those that tell the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Share {
    pub session: String,
    pub prefix: Vec<u8>,
    pub count: u64,
}

/// Bytes that tell under which key a value is sealed.
pub(super) const PREFIX: i64 = 9;

/// The list.
pub(super) const SEALED_PLACES: &[SealedPlace] = &[
    SealedPlace {
        table: "session_row",
        value: "value",
        key: &[
            ("generation", PartKind::Big),
            ("kind", PartKind::Small),
            ("key", PartKind::Bytes),
            ("sub", PartKind::Bytes),
        ],
        owner: OwnerColumn::Generation,
        // Damaged: no key opens them.
        except: Some("r.kind >= 1000"),
        batch: 100,
        bound: |key| match key {
            [_, Part::Number(kind), Part::Bytes(key), Part::Bytes(sub)] => {
                let kind = i16::try_from(*kind).ok().filter(|kind| *kind < SET_ASIDE)?;
                Some((kind, Name::pair(key.clone(), sub.clone())))
            }
            _ => None,
        },
    },
    SealedPlace {
        table: "inbox",
        value: "value",
        key: &[
            ("generation", PartKind::Big),
            ("chat", PartKind::Bytes),
            ("sender", PartKind::Bytes),
            ("id", PartKind::Bytes),
        ],
        owner: OwnerColumn::Generation,
        except: None,
        batch: 100,
        bound: |key| match key {
            [_, Part::Bytes(chat), Part::Bytes(sender), Part::Bytes(id)] => {
                let [chat, sender, id] = [chat, sender, id].map(|part| std::str::from_utf8(part).ok());
                Some((super::inbox::INBOX, Name::triple(chat?, sender?, id?)))
            }
            _ => None,
        },
    },
    SealedPlace {
        table: "outbox",
        value: "value",
        key: &[("session", PartKind::Text), ("id", PartKind::Text)],
        owner: OwnerColumn::Session,
        except: None,
        batch: 100,
        bound: |key| match key {
            [_, Part::Text(id)] => Some((super::outbox::OUTBOX, Name::of(id.as_bytes()))),
            _ => None,
        },
    },
    SealedPlace {
        table: "media_piece",
        value: "value",
        key: &[("session", PartKind::Text), ("id", PartKind::Text), ("part", PartKind::Big)],
        owner: OwnerColumn::Session,
        except: None,
        // A mebibyte.
        batch: 4,
        bound: |key| match key {
            [_, Part::Text(id), Part::Number(part)] => {
                let part = u32::try_from(*part).ok()?;
                Some((super::media::MEDIA, super::media::name(id, part)))
            }
            _ => None,
        },
    },
    SealedPlace {
        table: "delivery",
        value: "value",
        key: &[
            ("session", PartKind::Text),
            ("chat", PartKind::Bytes),
            ("sender", PartKind::Bytes),
            ("id", PartKind::Bytes),
        ],
        owner: OwnerColumn::Session,
        except: None,
        batch: 100,
        bound: |key| match key {
            [_, Part::Bytes(chat), Part::Bytes(sender), Part::Bytes(id)] => {
                let [chat, sender, id] = [chat, sender, id].map(|part| std::str::from_utf8(part).ok());
                Some((super::delivery::DELIVERY, Name::triple(chat?, sender?, id?)))
            }
            _ => None,
        },
    },
    SealedPlace {
        table: "backup",
        value: "value",
        key: &[("session", PartKind::Text), ("taken_at", PartKind::Big)],
        owner: OwnerColumn::Session,
        except: None,
        // Some have megabytes.
        batch: 1,
        bound: |key| match key {
            [_, Part::Number(taken_at)] => {
                Some((super::backup::BACKUP, super::backup::name_of_micros(*taken_at)))
            }
            _ => None,
        },
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{SEALED_PLACES, SET_ASIDE};
    use crate::store::migrate;

    /// Columns of bytes that hold no sealed value: names of rows, and a digest.
    const NAMES: [&str; 6] = ["key", "sub", "chat", "sender", "id", "digest"];
    /// Sealed values that are gone in a minute: the QR code on the page.
    const PASSING: [(&str, &str); 1] = [("status", "qr")];

    /// Columns of bytes in the migrations, as (table, column).
    fn columns(migrator: &sqlx::migrate::Migrator) -> BTreeSet<(String, String)> {
        let mut found = BTreeSet::new();
        let mut table = String::new();
        for migration in migrator.iter() {
            let sql = migration.sql.as_str().to_lowercase();
            for line in sql.lines().map(|line| line.split("--").next().unwrap_or_default()) {
                let words: Vec<&str> = line
                    .split(|c: char| c.is_whitespace() || "(),;".contains(c))
                    .filter(|word| !word.is_empty() && !["if", "not", "exists"].contains(word))
                    .collect();
                for (at, word) in words.iter().enumerate() {
                    if *word == "table" && at > 0 && ["create", "alter"].contains(&words[at - 1]) {
                        table = words[at + 1].trim_start_matches("blacksky.").to_owned();
                    }
                    if ["bytea", "blob"].contains(word) && at > 0 {
                        found.insert((table.clone(), words[at - 1].to_owned()));
                    }
                }
            }
        }
        found
    }

    #[test]
    fn every_column_of_bytes_is_a_name_or_on_the_list() {
        for migrator in [migrate::postgres(), migrate::sqlite()] {
            let found = columns(&migrator);
            assert!(found.contains(&("session_row".into(), "value".into())), "{found:?}");
            for place in SEALED_PLACES {
                assert!(found.contains(&(place.table.into(), place.value.into())), "{place:?} is not there");
            }
            for (table, column) in &found {
                let listed = SEALED_PLACES.iter().any(|p| p.table == table && p.value == column);
                assert!(
                    listed
                        || NAMES.contains(&column.as_str())
                        || PASSING.contains(&(table.as_str(), column.as_str())),
                    "{table}.{column} holds bytes: list it in SEALED_PLACES if they are sealed, so that a new \
                     BLACKSKY_SECRET_KEY reaches it"
                );
            }
        }
    }

    /// Every column of the migrations.
    fn all_columns(migrator: &sqlx::migrate::Migrator) -> BTreeSet<(String, String)> {
        let mut found = BTreeSet::new();
        for migration in migrator.iter() {
            let sql: String = migration
                .sql
                .as_str()
                .lines()
                .map(|line| line.split("--").next().unwrap_or_default())
                .fold(String::new(), |all, line| all + line + "\n");
            for statement in sql.split(';') {
                let table = statement.split_once("TABLE blacksky.").map(|(_, rest)| rest);
                let Some((table, rest)) = table.and_then(|rest| rest.split_once(char::is_whitespace)) else {
                    continue;
                };
                let added = rest.split_once("ADD COLUMN ").map(|(_, column)| column);
                let created =
                    rest.trim_start().starts_with('(').then_some(rest).into_iter().flat_map(str::lines);
                for line in created.chain(added) {
                    let name = line.split_whitespace().next().unwrap_or_default();
                    if !name.is_empty()
                        && name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_')
                    {
                        found.insert((table.to_owned(), name.to_owned()));
                    }
                }
            }
        }
        found
    }

    #[test]
    fn the_page_on_security_names_every_column_and_which_are_sealed() {
        let page = include_str!("../../docs/security.md");
        let found = all_columns(&migrate::postgres());
        for known in [("session", "epoch"), ("outbox", "media"), ("status", "qr"), ("traffic", "sent")] {
            assert!(found.contains(&(known.0.into(), known.1.into())), "{known:?}: {found:?}");
        }
        for (table, column) in &found {
            let row = page.lines().find(|line| line.starts_with(&format!("| `{table}` |")));
            let row = row.unwrap_or_else(|| panic!("docs/security.md does not name the table {table}"));
            let mut cells = row.split('|').skip(2);
            let (sealed, clear) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
            let named = |cell: &str| cell.contains(&format!("`{column}`"));
            let is_sealed = SEALED_PLACES.iter().any(|place| place.table == table && place.value == column)
                || PASSING.contains(&(table.as_str(), column.as_str()));
            let said = if is_sealed { sealed } else { clear };
            assert!(named(said), "docs/security.md does not say truly whether {table}.{column} is sealed");
        }
    }

    #[test]
    fn what_is_set_aside_is_left_out() {
        assert!(SEALED_PLACES[0].except.is_some_and(|sql| sql.ends_with(&SET_ASIDE.to_string())));
    }
}
