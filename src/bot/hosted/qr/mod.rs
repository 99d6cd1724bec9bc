//! Finds the pairing QR in what a bot prints, so that it can be shown on the page: as text, or drawn with
//! blocks or colours as terminals show it.

use std::time::Duration;

use tokio::time::Instant;

mod cells;
mod payload;
mod rows;

use rows::Rows;

/// The rows of one code come at once; after such a pause they belong to another one.
const PAUSE: Duration = Duration::from_secs(3);
/// Other lines in a row that may come between two rows of a code, such as those of another process.
const OTHER_LINES: usize = 8;

/// Looks at the lines of one bot, in the order in which they come.
#[derive(Debug, Default)]
pub struct QrFinder {
    rows: Rows,
    last_row: Option<Instant>,
    other_lines: usize,
}

impl QrFinder {
    /// The payload of a pairing QR that ends with this line. Secret: whoever has it links the account. Codes of
    /// anything else are not told. A line costs time linear in its length.
    pub fn line(&mut self, text: &str, now: Instant) -> Option<String> {
        if let Some(payload) = payload::find(text) {
            return Some(payload.to_owned());
        }
        let Some(row) = cells::cells(text) else {
            self.other_lines += 1;
            if self.other_lines > OTHER_LINES {
                self.forget();
            }
            return None;
        };
        if self.last_row.is_some_and(|last| now.saturating_duration_since(last) > PAUSE) {
            self.forget();
        }
        self.last_row = Some(now);
        self.other_lines = 0;
        let payload = self.rows.push(row).into_iter().find(|text| payload::is_one(text))?;
        self.forget();
        Some(payload)
    }

    fn forget(&mut self) {
        self.rows.clear();
        self.last_row = None;
    }
}

#[cfg(test)]
mod tests;
