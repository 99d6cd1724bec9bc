//! What a bot writes, line by line, bounded in length and rate.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// A longer line is cut.
const LONGEST: usize = 8 * 1024;
/// Lines in a row that pass whatever their rate: a QR code has up to 70, a crash some hundred.
const BURST: u32 = 500;
/// Lines a second that pass in the long run.
const RATE: u32 = 100;

/// A line of a bot's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Without the line's end; bytes that are not UTF-8 are replaced. May hold secrets and control characters.
    pub raw: String,
    /// Written to standard error.
    pub error: bool,
    /// Lines before this one that were left out, since there were too many.
    pub left_out: u64,
}

/// Reads until the end, or until nobody wants the lines any more.
pub async fn read(from: Option<impl AsyncRead + Unpin>, error: bool, lines: mpsc::Sender<Line>) {
    let Some(mut from) = from else { return };
    let mut splitter = Splitter::default();
    let mut gate = Gate::new(Instant::now());
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        let mut done = Vec::new();
        if read == 0 {
            done.extend(splitter.rest());
        } else {
            splitter.push(&buffer[..read], |line| done.push(line));
        }
        for raw in done {
            let Some(left_out) = gate.pass(Instant::now()) else { continue };
            if lines.send(Line { raw, error, left_out }).await.is_err() {
                return;
            }
        }
        if read == 0 {
            return;
        }
    }
}

/// Cuts bytes into lines; a carriage return ends one too.
#[derive(Debug, Default)]
struct Splitter {
    line: Vec<u8>,
    /// Of this line so much was cut.
    cut: usize,
}

impl Splitter {
    fn push(&mut self, bytes: &[u8], mut line: impl FnMut(String)) {
        for piece in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            let (text, ends) = match piece.split_last() {
                Some((b'\n' | b'\r', text)) => (text, true),
                _ => (piece, false),
            };
            let room = LONGEST.saturating_sub(self.line.len()).min(text.len());
            self.line.extend_from_slice(&text[..room]);
            self.cut += text.len() - room;
            if ends && let Some(done) = self.rest() {
                line(done);
            }
        }
    }

    /// What there is of the last line; `None` when that is nothing.
    fn rest(&mut self) -> Option<String> {
        let (bytes, cut) = (std::mem::take(&mut self.line), std::mem::take(&mut self.cut));
        if bytes.is_empty() && cut == 0 {
            return None;
        }
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        if cut > 0 {
            text.push_str(&format!(" … ({cut} bytes more)"));
        }
        Some(text)
    }
}

/// Lets a burst of lines pass, and so many a second after it.
#[derive(Debug)]
struct Gate {
    tokens: f64,
    filled: Instant,
    left_out: u64,
}

impl Gate {
    fn new(now: Instant) -> Self {
        Self { tokens: f64::from(BURST), filled: now, left_out: 0 }
    }

    /// Whether a line may pass: then, how many were left out before it.
    fn pass(&mut self, now: Instant) -> Option<u64> {
        let passed: Duration = now.saturating_duration_since(self.filled);
        self.tokens = (self.tokens + passed.as_secs_f64() * f64::from(RATE)).min(f64::from(BURST));
        self.filled = now;
        if self.tokens < 1.0 {
            self.left_out += 1;
            return None;
        }
        self.tokens -= 1.0;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_passes_as_a_burst_and_then_at_its_rate() {
        let mut gate = Gate::new(Instant::now());
        let passed = (0..1_000_000).filter(|_| gate.pass(Instant::now()).is_some()).count();
        assert_eq!(passed, BURST as usize);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(gate.pass(Instant::now()), Some(1_000_000 - u64::from(BURST)));
        assert_eq!((1..1000).filter(|_| gate.pass(Instant::now()).is_some()).count(), RATE as usize - 1);
    }

    #[tokio::test]
    async fn lines_are_cut_at_their_limit_and_the_last_needs_no_end() {
        let text = format!("one\r\n\ntwo\rthree{}\nlast", "x".repeat(LONGEST));
        let (sender, mut lines) = mpsc::channel(64);
        read(Some(text.as_bytes()), true, sender).await;
        let mut seen = Vec::new();
        while let Some(line) = lines.recv().await {
            assert!(line.error);
            seen.push(line.raw);
        }
        assert_eq!(seen.len(), 4);
        assert_eq!((seen[0].as_str(), seen[1].as_str(), seen[3].as_str()), ("one", "two", "last"));
        assert!(seen[2].ends_with(" … (5 bytes more)") && seen[2].len() < LONGEST + 40, "{}", seen[2].len());
    }

    proptest! {
        #[test]
        fn where_the_pieces_end_changes_nothing(bytes in prop::collection::vec(any::<u8>(), 0..400), cuts in prop::collection::vec(0..400_usize, 0..8)) {
            let lines = |pieces: &[&[u8]]| {
                let (mut splitter, mut lines) = (Splitter::default(), Vec::new());
                for piece in pieces {
                    splitter.push(piece, |line| lines.push(line));
                }
                lines.extend(splitter.rest());
                lines
            };
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut < bytes.len()).collect();
            cuts.sort_unstable();
            let (mut pieces, mut from) = (Vec::new(), 0);
            for cut in cuts {
                pieces.push(&bytes[from..cut]);
                from = cut;
            }
            pieces.push(&bytes[from..]);
            prop_assert_eq!(lines(&pieces), lines(&[&bytes]));
        }
    }
}
