//! `reply = { image = "menu.jpg", caption = "…" }`: a command that answers with a file.

use std::fs::File;
use std::io::Read as _;
use std::ops::Range;
use std::path::Path;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::Spanned;
use toml::de::DeValue;

use super::problem::Problem;
use super::reader::{Origin, Reader, Setting, Table};
use super::values::template::Template;
use super::values::text::Text;
use crate::media::{HEAD, Kind, LARGEST, type_of};

/// A file that a command answers with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaReply {
    pub kind: Kind,
    /// As the file has it; it counts from the folder of blacksky.toml.
    pub file: String,
    /// What is in it.
    pub mimetype: String,
    /// With the variables of a reply; empty when there is none.
    pub caption: String,
    /// Of a document: how it is called.
    pub file_name: Option<String>,
    /// Of an audio: as recorded on the phone.
    pub voice: bool,
}

/// The same as it was read.
#[derive(Debug)]
pub(super) struct MediaLayer {
    path: String,
    /// The key `reply`.
    origin: Origin,
    file: Option<(Kind, Setting<Text<1, 1024>>)>,
    caption: Setting<Template>,
    file_name: Setting<Text<1, 255>>,
    voice: Setting<bool>,
}

/// The keys that name a file, in the order of [`Kind::ALL`].
const KINDS: [&str; 5] =
    [Kind::Image.word(), Kind::Video.word(), Kind::Audio.word(), Kind::Document.word(), Kind::Sticker.word()];

impl MediaLayer {
    /// Reads the table of the key `reply` in a command's table.
    pub(super) fn read<'a>(
        command: &mut Table<'_, 'a>,
        key: Range<usize>,
        value: &'a Spanned<DeValue<'a>>,
    ) -> Self {
        let path = format!("{}.reply", command.path());
        let reader = command.reader();
        let origin = Origin::File(key.clone());
        let (line, column) = reader.position(&key);
        reader.sources.insert(path.clone(), super::Source::File { line, column });
        let mut table = reader.open(path.clone(), Some((key, value)), false);
        let named: Vec<&str> = table.entries().into_iter().map(|(name, ..)| name).collect();
        let mut kinds = Kind::ALL.into_iter().zip(KINDS).filter(|(_, word)| named.contains(word));
        let found = kinds.next();
        if let (Some((_, first)), Some((_, second))) = (found, kinds.next()) {
            let what = format!("{path} has both {first} and {second}: one reply has one file");
            table.reader().refuse(&path, &origin, false, what, "keep one of the two");
        }
        drop(kinds);
        let file = found.map(|(kind, word)| (kind, table.key(word)));
        if found.is_none() {
            let what = format!("{path} names no file");
            let help =
                "write one of image, video, audio, document and sticker: reply = { image = \"menu.jpg\" }";
            table.reader().refuse(&path, &origin, false, what, help);
        }
        let kind = found.map(|(kind, _)| kind);
        let is = |wanted: Kind| kind.is_none_or(|kind| kind == wanted);
        let caption = kind.is_none_or(Kind::has_caption);
        let layer = Self {
            path,
            origin,
            file,
            caption: if caption { table.key("caption") } else { Setting::Absent },
            file_name: if is(Kind::Document) { table.key("file_name") } else { Setting::Absent },
            voice: if is(Kind::Audio) { table.key("voice") } else { Setting::Absent },
        };
        // Of the others it was said that they are too many, or that there is none.
        for word in KINDS {
            table.raw(word);
        }
        table.finish();
        layer
    }

    /// Where it is.
    pub(super) const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The caption, and where it is.
    pub(super) fn caption(&self) -> Option<(&str, &Origin)> {
        match &self.caption {
            Setting::Found(Template(text), origin) => Some((text, origin)),
            Setting::Absent | Setting::Wrong => None,
        }
    }

    /// Looks at the file.
    pub(super) fn resolve(self, reader: &mut Reader<'_>) -> Option<MediaReply> {
        let (kind, Setting::Found(Text(file), origin)) = self.file? else { return None };
        let voice = self.voice.value().unwrap_or(false);
        let key = format!("{}.{}", self.path, kind.word());
        let mimetype = match look(&reader.folder.join(&file), kind, voice) {
            Ok(mimetype) => mimetype,
            Err(problem) => {
                let help = "the path counts from the folder of blacksky.toml; the file must be there when blacksky starts";
                let place = reader.place(&origin, true);
                let what = format!("{key}: \"{file}\": {problem}");
                reader.push(Problem::error(place, key, what, Some(help.to_owned())));
                return None;
            }
        };
        Some(MediaReply {
            kind,
            file,
            mimetype,
            caption: self.caption.value().map(|text| text.0).unwrap_or_default(),
            file_name: self.file_name.value().map(|text| text.0),
            voice,
        })
    }
}

/// What is in a file that can be sent.
fn look(path: &Path, kind: Kind, voice: bool) -> Result<String, String> {
    let unread = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => format!("the file cannot be read: {error}"),
    };
    let about = std::fs::metadata(path).map_err(unread)?;
    // Opening a pipe would wait for whoever writes it.
    if !about.is_file() {
        return Err("it is no file".to_owned());
    }
    if about.len() > LARGEST {
        return Err(format!("the file has {} bytes, and at most {LARGEST} are sent", about.len()));
    }
    let mut head = Vec::with_capacity(HEAD);
    File::open(path).map_err(unread)?.take(HEAD as u64).read_to_end(&mut head).map_err(unread)?;
    let mimetype = type_of(&head, None);
    kind.take(&mimetype, about.len(), voice).map_err(|unfit| unfit.to_string())?;
    Ok(mimetype)
}

impl MediaReply {
    /// As the file has it.
    pub(super) fn shown(&self) -> serde_json::Value {
        let mut shown = serde_json::Map::new();
        shown.insert(self.kind.word().to_owned(), self.file.as_str().into());
        if !self.caption.is_empty() {
            shown.insert("caption".to_owned(), self.caption.as_str().into());
        }
        if let Some(name) = &self.file_name {
            shown.insert("file_name".to_owned(), name.as_str().into());
        }
        if self.voice {
            shown.insert("voice".to_owned(), true.into());
        }
        shown.into()
    }
}

/// One of five tables, a file in each.
pub(super) fn schema(generator: &mut SchemaGenerator) -> Schema {
    let file = Text::<1, 1024>::json_schema(generator);
    let caption = Template::json_schema(generator);
    let name = Text::<1, 255>::json_schema(generator);
    let voice = bool::json_schema(generator);
    let tables = Kind::ALL.map(|kind| {
        let mut properties = serde_json::Map::new();
        properties.insert(kind.word().to_owned(), file.clone().into());
        if kind.has_caption() {
            properties.insert("caption".to_owned(), caption.clone().into());
        }
        if kind == Kind::Document {
            properties.insert("file_name".to_owned(), name.clone().into());
        }
        if kind == Kind::Audio {
            properties.insert("voice".to_owned(), voice.clone().into());
        }
        serde_json::json!({
            "type": "object",
            "additionalProperties": false,
            "required": [kind.word()],
            "properties": properties,
        })
    });
    json_schema!({ "anyOf": tables })
}
