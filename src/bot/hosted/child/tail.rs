//! The last lines of a bot, for its owner.

use std::collections::VecDeque;

/// Lines that are kept.
const LINES: usize = 50;

/// The last lines, each without QR codes and credentials.
#[derive(Debug, Default)]
pub struct Tail(VecDeque<String>);

impl Tail {
    pub fn push(&mut self, line: String) {
        if self.0.len() == LINES {
            self.0.pop_front();
        }
        self.0.push_back(line);
    }

    pub fn lines(&self) -> Vec<String> {
        self.0.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{LINES, Tail};

    #[test]
    fn only_the_last_lines_stay() {
        let mut tail = Tail::default();
        (0..120).for_each(|number| tail.push(number.to_string()));
        let lines = tail.lines();
        assert_eq!((lines.len(), lines[0].as_str(), lines[LINES - 1].as_str()), (LINES, "70", "119"));
    }
}
