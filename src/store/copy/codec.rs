//! The encoded form of a copy.
//!
//! ```text
//! "blacksky" · version (1 byte) · deflate( header · rows · messages · SHA-256 of all of these )
//! ```
//!
//! Numbers are big-endian; bytes and texts are preceded by their length in four bytes. It is written and
//! read from front to end. What a reader is given may be anything: no length is believed before so many
//! bytes were there.

use std::io::{self, BufReader, Read, Write};

use chrono::DateTime;
use flate2::Compression;
use flate2::bufread::DeflateDecoder;
use flate2::write::DeflateEncoder;
use sha2::{Digest as _, Sha256};

use super::{CopyRow, Digest, Header, SessionCopy};
use crate::store::engine::{InboxRow, version_of, version_text};
use crate::store::kind::{Name, Row};

#[cfg(any(test, fuzzing))]
pub(in crate::store) mod fuzz;

const MAGIC: &[u8; 8] = b"blacksky";
/// The form written, and the newest one read.
const VERSION: u8 = 1;
/// Most bytes one field may have; PostgreSQL's own limit for a value is 1 GB.
const LONGEST: u32 = 256 << 20;
/// Most bytes a copy may have when inflated, so that a small file cannot fill the memory.
const LARGEST: u64 = 1 << 30;

/// Why bytes are not a copy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Something else.
    #[error("it is not a copy of a session")]
    Foreign,
    /// Of a form that this blacksky does not know.
    #[error("it is of form {found}, this blacksky reads up to {VERSION}: use a newer blacksky")]
    Newer {
        /// Its form.
        found: u8,
    },
    /// The end is missing.
    #[error("it is incomplete: its end is missing")]
    Truncated,
    /// Changed after it was written.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
}

impl SessionCopy {
    /// The encoded form. It holds the keys of the session: seal it before it goes anywhere.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        out.extend_from_slice(MAGIC);
        out.push(VERSION);
        // Most of a session is keys, which do not get smaller: a higher level costs time for nothing.
        let deflate = DeflateEncoder::new(out, Compression::fast());
        let mut writer = Writer { to: deflate, sum: Sha256::new() };
        // Writing to memory does not fail.
        let _ = writer.header(self).and_then(|()| writer.content(self));
        let Writer { to: mut deflate, sum } = writer;
        let _ = deflate.write_all(&sum.finalize());
        deflate.finish().unwrap_or_default()
    }

    /// The copy of an encoded form.
    ///
    /// # Errors
    /// The bytes are not exactly what [`encode`](Self::encode) wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let Some((magic, rest)) = bytes.split_at_checked(MAGIC.len()) else {
            let begins = !bytes.is_empty() && MAGIC.starts_with(bytes);
            return Err(if begins { DecodeError::Truncated } else { DecodeError::Foreign });
        };
        if magic != MAGIC {
            return Err(DecodeError::Foreign);
        }
        let (version, body) = rest.split_first().ok_or(DecodeError::Truncated)?;
        match *version {
            VERSION => {}
            0 => return Err(DecodeError::Foreign),
            found => return Err(DecodeError::Newer { found }),
        }
        let inflate = BufReader::new(DeflateDecoder::new(body).take(LARGEST));
        let mut reader = Reader { from: inflate, sum: Sha256::new() };
        let copy = reader.copy()?;
        let Reader { from: mut inflate, sum } = reader;
        let mut stored = [0; 32];
        inflate.read_exact(&mut stored).map_err(|error| problem(&error))?;
        if sum.finalize().as_slice() != stored {
            return Err(DecodeError::Damaged("its checksum does not match"));
        }
        match inflate.read(&mut [0]) {
            Ok(0) => {}
            Ok(_) => return Err(DecodeError::Damaged("there is more after its end")),
            Err(error) => return Err(problem(&error)),
        }
        let inflate = inflate.into_inner().into_inner();
        if inflate.total_in() != body.len() as u64 {
            return Err(DecodeError::Damaged("there is more after its end"));
        }
        Ok(copy)
    }

    /// The digest of what the session holds.
    pub fn digest(&self) -> Digest {
        let mut writer = Writer { to: io::sink(), sum: Sha256::new() };
        // Writing to nowhere does not fail.
        let _ = writer.content(self);
        Digest(writer.sum.finalize().into())
    }
}

struct Writer<W> {
    to: W,
    sum: Sha256,
}

impl<W: Write> Writer<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.update(bytes);
        self.to.write_all(bytes)
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.put(&length.to_be_bytes())?;
        self.put(bytes)
    }

    fn header(&mut self, copy: &SessionCopy) -> io::Result<()> {
        let header = &copy.header;
        self.bytes(header.session.as_bytes())?;
        self.put(&header.generation.to_be_bytes())?;
        self.put(&header.taken_at.timestamp_micros().to_be_bytes())
    }

    /// What a session holds; the digest is over this.
    fn content(&mut self, copy: &SessionCopy) -> io::Result<()> {
        let version = copy.header.wa_version.map(version_text).unwrap_or_default();
        self.bytes(version.as_bytes())?;
        self.put(&(copy.rows.len() as u64).to_be_bytes())?;
        self.put(&(copy.inbox.len() as u64).to_be_bytes())?;
        for CopyRow { kind, row } in &copy.rows {
            self.put(&kind.to_be_bytes())?;
            self.bytes(&row.name.key)?;
            self.bytes(&row.name.sub)?;
            self.put(&row.at.to_be_bytes())?;
            match row.mark {
                None => self.put(&[0])?,
                Some(mark) => {
                    self.put(&[1])?;
                    self.put(&mark.to_be_bytes())?;
                }
            }
            self.bytes(&row.value)?;
        }
        for message in &copy.inbox {
            self.bytes(&message.chat)?;
            self.bytes(&message.sender)?;
            self.bytes(&message.id)?;
            self.put(&message.at.to_be_bytes())?;
            self.bytes(&message.value)?;
        }
        Ok(())
    }
}

struct Reader<R> {
    from: R,
    sum: Sha256,
}

impl<R: Read> Reader<R> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes).map_err(|error| problem(&error))?;
        self.sum.update(bytes);
        Ok(bytes)
    }

    fn number(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_be_bytes)
    }

    fn count(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    fn bytes(&mut self) -> Result<Vec<u8>, DecodeError> {
        let length = u32::from_be_bytes(self.array()?);
        if length > LONGEST {
            return Err(DecodeError::Damaged("a field is too long"));
        }
        // Grows with what is there.
        let mut bytes = Vec::with_capacity(length.min(4096) as usize);
        let read = (&mut self.from).take(length.into()).read_to_end(&mut bytes);
        if read.map_err(|error| problem(&error))? as u64 != u64::from(length) {
            return Err(DecodeError::Truncated);
        }
        self.sum.update(&bytes);
        Ok(bytes)
    }

    fn text(&mut self) -> Result<String, DecodeError> {
        String::from_utf8(self.bytes()?).map_err(|_| DecodeError::Damaged("a text is not UTF-8"))
    }

    fn copy(&mut self) -> Result<SessionCopy, DecodeError> {
        let session = self.text()?;
        let generation = self.number()?;
        let taken_at = DateTime::from_timestamp_micros(self.number()?)
            .ok_or(DecodeError::Damaged("its time is out of range"))?;
        let wa_version = match self.text()?.as_str() {
            "" => None,
            text => Some(version_of(text).ok_or(DecodeError::Damaged("its WhatsApp version does not read"))?),
        };
        let (rows, messages) = (self.count()?, self.count()?);
        let mut copy = SessionCopy {
            header: Header { session, generation, taken_at, wa_version },
            rows: Vec::new(),
            inbox: Vec::new(),
        };
        for _ in 0..rows {
            let row = self.row()?;
            if copy.rows.last().is_some_and(|last| (last.kind, &last.row.name) >= (row.kind, &row.row.name)) {
                return Err(DecodeError::Damaged("its rows are out of order"));
            }
            copy.rows.push(row);
        }
        for _ in 0..messages {
            copy.inbox.push(InboxRow {
                chat: self.bytes()?,
                sender: self.bytes()?,
                id: self.bytes()?,
                at: self.number()?,
                value: self.bytes()?,
            });
        }
        Ok(copy)
    }

    fn row(&mut self) -> Result<CopyRow, DecodeError> {
        let kind = i16::from_be_bytes(self.array()?);
        let name = Name { key: self.bytes()?, sub: self.bytes()? };
        let at = self.number()?;
        let mark = match self.array()? {
            [0] => None,
            [1] => Some(self.number()?),
            _ => return Err(DecodeError::Damaged("a mark does not read")),
        };
        Ok(CopyRow { kind, row: Row { name, value: self.bytes()?, at, mark } })
    }
}

fn problem(error: &io::Error) -> DecodeError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => DecodeError::Truncated,
        _ => DecodeError::Damaged("it does not inflate"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::WaVersion;

    fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), 0..most)
    }

    prop_compose! {
        fn row()(
            kind in 1i16..20, key in bytes(20), sub in bytes(9), value in bytes(90), at: i64, mark: Option<i64>,
        ) -> CopyRow {
            CopyRow { kind, row: Row { name: Name { key, sub }, value, at, mark } }
        }
    }

    prop_compose! {
        fn message()(chat in bytes(20), sender in bytes(20), id in bytes(9), at: i64, value in bytes(60)) -> InboxRow {
            InboxRow { chat, sender, id, at, value }
        }
    }

    prop_compose! {
        fn copy()(
            session in "[a-z]{1,9}",
            generation: i64,
            taken_at in 0i64..4_000_000_000_000_000,
            version: Option<(u32, u32, u32)>,
            rows in proptest::collection::vec(row(), 0..12),
            inbox in proptest::collection::vec(message(), 0..4),
        ) -> SessionCopy {
            let mut rows = rows;
            rows.sort_by(|a, b| (a.kind, &a.row.name).cmp(&(b.kind, &b.row.name)));
            rows.dedup_by(|a, b| (a.kind, &a.row.name) == (b.kind, &b.row.name));
            let header = Header {
                session,
                generation,
                taken_at: DateTime::from_timestamp_micros(taken_at).expect("in range"),
                wa_version: version.map(|(a, b, c)| WaVersion(a, b, c)),
            };
            SessionCopy { header, rows, inbox }
        }
    }

    /// Deflates a body of the test's own making.
    fn around(body: &[u8]) -> Vec<u8> {
        let mut deflate = DeflateEncoder::new([&MAGIC[..], &[VERSION]].concat(), Compression::fast());
        deflate.write_all(body).expect("writes");
        deflate.finish().expect("finishes")
    }

    proptest! {
        #[test]
        fn what_was_encoded_decodes_to_the_same(copy in copy()) {
            prop_assert_eq!(SessionCopy::decode(&copy.encode()), Ok(copy));
        }

        #[test]
        fn every_changed_byte_is_seen(copy in copy(), at in any::<prop::sample::Index>(), change in 1u8..) {
            let mut bytes = copy.encode();
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            // A few bits of deflate mean nothing, such as padding.
            prop_assert!(SessionCopy::decode(&bytes).is_err() || SessionCopy::decode(&bytes) == Ok(copy));
        }

        #[test]
        fn every_cut_is_seen(copy in copy(), at in any::<prop::sample::Index>()) {
            let bytes = copy.encode();
            let cut = &bytes[..at.index(bytes.len())];
            let found = SessionCopy::decode(cut);
            match cut {
                [] => prop_assert_eq!(found, Err(DecodeError::Foreign)),
                // The last bits of deflate may say nothing but that it ends.
                _ => prop_assert!(found == Err(DecodeError::Truncated) || found == Ok(copy)),
            }
        }

        #[test]
        fn no_bytes_make_it_panic(body in bytes(300)) {
            let _ = SessionCopy::decode(&body);
            let _ = SessionCopy::decode(&[&MAGIC[..], &[VERSION], &body].concat());
            let _ = SessionCopy::decode(&around(&body));
        }

        #[test]
        fn the_digest_is_of_what_is_held(copy in copy(), added in row()) {
            let mut later = copy.clone().renamed("other");
            later.header.generation = later.header.generation.wrapping_add(1);
            later.header.taken_at = DateTime::UNIX_EPOCH;
            prop_assert_eq!(later.digest(), copy.digest());
            later.rows.push(added);
            prop_assert_ne!(later.digest(), copy.digest());
        }
    }

    #[test]
    fn foreign_newer_and_extended_ones_are_told_apart() {
        let copy = SessionCopy {
            header: Header {
                session: "main".into(),
                generation: 1,
                taken_at: DateTime::UNIX_EPOCH,
                wa_version: None,
            },
            rows: Vec::new(),
            inbox: Vec::new(),
        };
        assert_eq!(SessionCopy::decode(b"PK\x03\x04 something else"), Err(DecodeError::Foreign));
        let mut newer = copy.encode();
        newer[8] = 2;
        assert_eq!(SessionCopy::decode(&newer), Err(DecodeError::Newer { found: 2 }));
        let mut longer = copy.encode();
        longer.push(0);
        assert!(matches!(SessionCopy::decode(&longer), Err(DecodeError::Damaged(_))));
    }

    #[test]
    fn a_length_is_not_believed() {
        let mut body = u32::MAX.to_be_bytes().to_vec();
        assert_eq!(SessionCopy::decode(&around(&body)), Err(DecodeError::Damaged("a field is too long")));
        body = LONGEST.to_be_bytes().to_vec();
        assert_eq!(SessionCopy::decode(&around(&body)), Err(DecodeError::Truncated));
    }
}
