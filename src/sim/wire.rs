//! What lies between the WebSocket's bytes and stanzas: the preamble, frames with a
//! three-byte length, the transport ciphers and the binary encoding.
//!
//! Wire: optional `"ED" 00 01 len[3] routing_info`, then `"WA" 06 03`, then frames of
//! `len[3] body`. A WebSocket message may hold several of them or a part of one.

use wacore_binary::consts::WA_CONN_HEADER;
use wacore_binary::marshal::{marshal_to_vec, unmarshal_ref};
use wacore_binary::node::Node;
use wacore_noise::framing::encode_frame;

use super::handshake::Ciphers;

/// Longest frame that a client may send, in bytes; a pre-key upload is about 60 kB.
pub const MAX_FRAME: usize = 1024 * 1024;
/// Longest frame before the handshake is over.
pub const MAX_HANDSHAKE_FRAME: usize = 64 * 1024;
/// Longest routing info in the preamble.
const MAX_ROUTING_INFO: usize = 4096;

/// Why a client's bytes are refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The first bytes are neither `ED` nor the WhatsApp header.
    #[error("the stream does not begin with the WhatsApp header")]
    Preamble,
    /// A length above the limit of this phase.
    #[error("a part of {0} bytes is longer than the limit of {1}")]
    TooLong(usize, usize),
    /// The frame does not open with the key and counter that are due.
    #[error("a frame does not decrypt: {0}")]
    Cipher(#[from] wacore_noise::NoiseError),
    /// The frame's content is not a stanza.
    #[error("a frame holds no stanza: {0}")]
    Stanza(#[from] wacore_binary::BinaryError),
    /// A stanza too large for one frame.
    #[error("a stanza does not fit a frame")]
    Oversized,
}

/// Cuts the byte stream into frames.
#[derive(Default)]
pub struct Reader {
    buffer: Vec<u8>,
    begun: bool,
}

impl Reader {
    /// Adds what arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame of at most `limit` bytes, or `None` until more bytes arrive.
    pub fn frame(&mut self, limit: usize) -> Result<Option<Vec<u8>>, Error> {
        if !self.begun && !self.preamble()? {
            return Ok(None);
        }
        let Some(length) = length(&self.buffer) else { return Ok(None) };
        if length > limit {
            return Err(Error::TooLong(length, limit));
        }
        if self.buffer.len() < 3 + length {
            return Ok(None);
        }
        let frame = self.buffer[3..3 + length].to_vec();
        self.buffer.drain(..3 + length);
        Ok(Some(frame))
    }

    /// Skips the preamble; `false` while it is incomplete.
    fn preamble(&mut self) -> Result<bool, Error> {
        const ROUTED: &[u8] = b"ED\0\x01";
        let starts = |prefix: &[u8], buffer: &[u8]| {
            let n = prefix.len().min(buffer.len());
            prefix[..n] == buffer[..n]
        };
        let mut skip = 0;
        if self.buffer.first() == Some(&b'E') {
            if !starts(ROUTED, &self.buffer) {
                return Err(Error::Preamble);
            }
            let Some(info) = length(self.buffer.get(ROUTED.len()..).unwrap_or_default()) else {
                return Ok(false);
            };
            if info > MAX_ROUTING_INFO {
                return Err(Error::TooLong(info, MAX_ROUTING_INFO));
            }
            skip = ROUTED.len() + 3 + info;
        }
        let rest = self.buffer.get(skip..).unwrap_or_default();
        if !starts(&WA_CONN_HEADER, rest) {
            return Err(Error::Preamble);
        }
        if rest.len() < WA_CONN_HEADER.len() {
            return Ok(false);
        }
        self.buffer.drain(..skip + WA_CONN_HEADER.len());
        self.begun = true;
        Ok(true)
    }
}

fn length(bytes: &[u8]) -> Option<usize> {
    let [a, b, c] = bytes.get(..3)?.try_into().ok()?;
    Some(usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c))
}

/// A frame around `body`.
pub fn frame(body: &[u8]) -> Result<Vec<u8>, Error> {
    encode_frame(body, None).map_err(|_| Error::Oversized)
}

/// The transport phase of one connection.
pub struct Transport {
    ciphers: Ciphers,
    read: u32,
    written: u32,
}

impl Transport {
    /// Both counters at zero.
    pub fn new(ciphers: Ciphers) -> Self {
        Self { ciphers, read: 0, written: 0 }
    }

    /// The stanza in a frame.
    pub fn open(&mut self, mut frame: Vec<u8>) -> Result<Node, Error> {
        self.ciphers.read.decrypt_in_place_with_counter(self.read, &mut frame)?;
        self.read = self.read.wrapping_add(1);
        let plain = wacore_binary::util::unpack(&frame)?;
        Ok(unmarshal_ref(&plain)?.to_owned())
    }

    /// The frame for a stanza.
    pub fn seal(&mut self, node: &Node) -> Result<Vec<u8>, Error> {
        let mut plain = Vec::new();
        marshal_to_vec(node, &mut plain)?;
        let sealed = self.ciphers.write.encrypt_with_counter(self.written, &plain)?;
        self.written = self.written.wrapping_add(1);
        frame(&sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_all(reader: &mut Reader) -> Result<Vec<Vec<u8>>, Error> {
        let mut frames = Vec::new();
        while let Some(frame) = reader.frame(MAX_FRAME)? {
            frames.push(frame);
        }
        Ok(frames)
    }

    fn stream(routing: Option<&[u8]>, frames: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(info) = routing {
            bytes.extend_from_slice(b"ED\0\x01");
            bytes.extend_from_slice(&(info.len() as u32).to_be_bytes()[1..]);
            bytes.extend_from_slice(info);
        }
        bytes.extend_from_slice(&WA_CONN_HEADER);
        for body in frames {
            bytes.extend(frame(body).unwrap());
        }
        bytes
    }

    #[test]
    fn a_foreign_protocol_is_refused_at_its_first_byte() {
        for start in [&b"GET / HTTP/1.1"[..], b"\x16\x03\x01", b"EX", b"WB"] {
            let mut reader = Reader::default();
            reader.feed(start);
            assert!(matches!(reader.frame(MAX_FRAME), Err(Error::Preamble)), "{start:?}");
        }
    }

    #[test]
    fn a_claimed_length_above_the_limit_is_refused_before_its_bytes_arrive() {
        let mut reader = Reader::default();
        reader.feed(&WA_CONN_HEADER);
        reader.feed(&[0xff, 0xff, 0xff]);
        assert!(matches!(reader.frame(MAX_HANDSHAKE_FRAME), Err(Error::TooLong(0xff_ffff, _))));
    }

    proptest! {
        #[test]
        fn frames_survive_any_cut(
            routing in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
            frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..5),
            cut in 1usize..50,
        ) {
            let mut reader = Reader::default();
            let mut seen = Vec::new();
            for piece in stream(routing.as_deref(), &frames).chunks(cut) {
                reader.feed(piece);
                seen.extend(read_all(&mut reader).unwrap());
            }
            prop_assert_eq!(seen, frames);
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::default();
            reader.feed(&bytes);
            let _ = read_all(&mut reader);
            let mut after_header = Reader::default();
            after_header.feed(&WA_CONN_HEADER);
            after_header.feed(&bytes);
            let _ = read_all(&mut after_header);
            if let Ok(plain) = wacore_binary::util::unpack(&bytes) {
                let _ = unmarshal_ref(&plain);
            }
        }
    }
}
