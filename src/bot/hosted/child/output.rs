//! What a bot writes, line by line, bounded in length and rate.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

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

/// The last lines of a flood are kept for when it is over: they say why a bot ended.
const LAST: usize = 50;
/// A flood is over when nothing came for this long.
const QUIET: Duration = Duration::from_millis(100);

/// Reads until the end, or until nobody wants the lines any more.
pub async fn read(from: Option<impl AsyncRead + Unpin>, error: bool, lines: mpsc::Sender<Line>) {
    let Some(mut from) = from else { return };
    let mut splitter = Splitter::default();
    let mut gate = Gate::new(Instant::now());
    let mut held = Held::default();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = if held.lines.is_empty() {
            Some(from.read(&mut buffer).await.unwrap_or(0))
        } else {
            timeout(QUIET, from.read(&mut buffer)).await.ok().map(|read| read.unwrap_or(0))
        };
        let mut passed = Vec::new();
        let mut take = |raw: String| {
            // In their order: what is held goes first.
            held.push(raw);
            if gate.pass(Instant::now()) {
                passed.extend(held.pop());
            }
        };
        match read {
            Some(1..) => splitter.push(&buffer[..read.unwrap_or_default()], &mut take),
            Some(0) => {
                splitter.rest().map(&mut take);
            }
            None => {}
        }
        // The flood is over, for now or for good.
        if read.unwrap_or_default() == 0 {
            gate.charge(held.lines.len());
            passed.extend(std::iter::from_fn(|| held.pop()));
        }
        for (raw, left_out) in passed {
            if lines.send(Line { raw, error, left_out }).await.is_err() {
                return;
            }
        }
        if read == Some(0) {
            return;
        }
    }
}

/// The last lines that did not pass.
#[derive(Debug, Default)]
struct Held {
    lines: VecDeque<String>,
    left_out: u64,
}

impl Held {
    fn push(&mut self, line: String) {
        if self.lines.len() == LAST {
            self.lines.pop_front();
            self.left_out += 1;
        }
        self.lines.push_back(line);
    }

    /// The first of them, with the number of those before it that are lost.
    fn pop(&mut self) -> Option<(String, u64)> {
        Some((self.lines.pop_front()?, std::mem::take(&mut self.left_out)))
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
}

impl Gate {
    fn new(now: Instant) -> Self {
        Self { tokens: f64::from(BURST), filled: now }
    }

    /// Whether a line may pass.
    fn pass(&mut self, now: Instant) -> bool {
        let passed: Duration = now.saturating_duration_since(self.filled);
        self.tokens = (self.tokens + passed.as_secs_f64() * f64::from(RATE)).min(f64::from(BURST));
        self.filled = now;
        let passes = self.tokens >= 1.0;
        if passes {
            self.tokens -= 1.0;
        }
        passes
    }

    /// So many passed without being asked for.
    fn charge(&mut self, lines: usize) {
        self.tokens -= lines as f64;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_passes_as_a_burst_and_then_at_its_rate() {
        let mut gate = Gate::new(Instant::now());
        let passed = (0..1_000_000).filter(|_| gate.pass(Instant::now())).count();
        assert_eq!(passed, BURST as usize);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((0..1000).filter(|_| gate.pass(Instant::now())).count(), RATE as usize);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_lines_of_a_flood_are_told_when_it_is_over() {
        let (sender, mut lines) = mpsc::channel(4096);
        let (mut bot, output) = tokio::io::duplex(1 << 20);
        let reading = tokio::spawn(read(Some(output), true, sender));
        let flood: String = (0..5000).map(|number| format!("{number}\n")).collect();
        tokio::io::AsyncWriteExt::write_all(&mut bot, flood.as_bytes()).await.expect("writes");
        // The bot does not end.
        let mut seen = Vec::new();
        while seen.last().is_none_or(|line: &Line| line.raw != "4999") {
            seen.push(lines.recv().await.expect("a line"));
        }
        let numbers: Vec<u64> = seen.iter().map(|line| line.raw.parse().expect("a number")).collect();
        assert!(numbers.is_sorted() && numbers.ends_with(&(4950..5000).collect::<Vec<_>>()));
        let left_out: u64 = seen.iter().map(|line| line.left_out).sum();
        assert_eq!(seen.len() as u64 + left_out, 5000);
        drop(bot);
        reading.await.expect("ends");
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
