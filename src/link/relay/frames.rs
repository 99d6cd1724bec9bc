//! Counts WebSocket frames in a stream of bytes (RFC 6455, section 5.2) without keeping their contents.

/// Longest header: two bytes, eight of length, four of mask.
const LONGEST: usize = 14;
const CLOSE: u8 = 0x8;

/// Follows one direction of a WebSocket. Payloads are skipped, but for the code of a close frame.
#[derive(Debug, Default)]
pub struct Frames {
    header: [u8; LONGEST],
    /// Bytes of the header that are there.
    filled: usize,
    /// Bytes of the payload that are still to come.
    left: u64,
    /// Bytes of a close frame's code that are still to come, after those that are in `code`.
    close: Option<Close>,
    count: u64,
    closed: bool,
    code: Option<u16>,
}

#[derive(Debug)]
struct Close {
    mask: [u8; 4],
    code: [u8; 2],
    seen: usize,
}

impl Frames {
    /// Takes the next bytes, however they are cut.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let skip = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
                self.see_close(&bytes[..skip]);
                self.left -= skip as u64;
                bytes = &bytes[skip..];
                continue;
            }
            self.header[self.filled] = bytes[0];
            self.filled += 1;
            bytes = &bytes[1..];
            if self.filled == self.wanted() {
                self.begin();
            }
        }
    }

    /// Frames whose header was seen.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether a close frame was seen.
    pub fn closed(&self) -> bool {
        self.closed
    }

    /// The code of the close frame, once that was seen.
    pub fn close_code(&self) -> Option<u16> {
        self.code
    }

    /// Length of the header as far as it is known.
    fn wanted(&self) -> usize {
        if self.filled < 2 {
            return 2;
        }
        let length = match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + if self.masked() { 4 } else { 0 }
    }

    fn masked(&self) -> bool {
        self.header[1] & 0x80 != 0
    }

    fn begin(&mut self) {
        let extended = |from: usize, to: usize| {
            self.header[from..to].iter().fold(0_u64, |length, byte| (length << 8) | u64::from(*byte))
        };
        let (length, at) = match self.header[1] & 0x7f {
            126 => (extended(2, 4), 4),
            127 => (extended(2, 10), 10),
            short => (u64::from(short), 2),
        };
        let mut mask = [0; 4];
        if self.masked() {
            mask.copy_from_slice(&self.header[at..at + 4]);
        }
        self.close = (self.header[0] & 0x0f == CLOSE).then_some(Close { mask, code: [0; 2], seen: 0 });
        self.closed |= self.close.is_some();
        (self.left, self.filled) = (length, 0);
        self.count += 1;
    }

    fn see_close(&mut self, payload: &[u8]) {
        let Some(close) = &mut self.close else { return };
        for byte in payload {
            if close.seen == 2 {
                break;
            }
            close.code[close.seen] = byte ^ close.mask[close.seen];
            close.seen += 1;
        }
        if close.seen == 2 {
            self.code = Some(u16::from_be_bytes(close.code));
            self.close = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(opcode: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
        let mut bytes = vec![0x80 | opcode];
        let flag = if mask.is_some() { 0x80 } else { 0 };
        match payload.len() {
            short @ 0..126 => bytes.push(flag | short as u8),
            middle @ 126..65_536 => {
                bytes.push(flag | 126);
                bytes.extend((middle as u16).to_be_bytes());
            }
            long => {
                bytes.push(flag | 127);
                bytes.extend((long as u64).to_be_bytes());
            }
        }
        bytes.extend(mask.iter().flatten());
        let mask = mask.unwrap_or_default();
        bytes.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
        bytes
    }

    #[test]
    fn the_code_of_a_close_is_read_masked_or_not() {
        for mask in [None, Some([1, 2, 3, 4])] {
            let mut frames = Frames::default();
            frames.push(&frame(2, &[7; 300], mask));
            assert_eq!(frames.close_code(), None);
            frames.push(&frame(8, &[0x03, 0xe8, b'b', b'y', b'e'], mask));
            assert_eq!((frames.count(), frames.close_code()), (2, Some(1000)));
        }
        let mut empty = Frames::default();
        empty.push(&frame(8, &[], None));
        assert_eq!((empty.count(), empty.close_code()), (1, None));
    }

    proptest! {
        #[test]
        fn every_frame_counts_once_wherever_the_bytes_are_cut(
            sizes in prop::collection::vec(prop_oneof![0..130_usize, 65_530..65_540_usize], 1..12),
            masked in any::<bool>(),
            piece in 1..5000_usize,
        ) {
            let mask = masked.then_some([9, 8, 7, 6]);
            let bytes: Vec<u8> = sizes.iter().flat_map(|size| frame(2, &vec![0x88; *size], mask)).collect();
            let mut frames = Frames::default();
            bytes.chunks(piece).for_each(|piece| frames.push(piece));
            prop_assert_eq!(frames.count(), sizes.len() as u64);
            prop_assert_eq!(frames.close_code(), None);
            prop_assert_eq!((frames.left, frames.filled), (0, 0));
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut frames = Frames::default();
            bytes.chunks(7).for_each(|piece| frames.push(piece));
        }
    }
}
