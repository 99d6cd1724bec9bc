//! What was gathered: one JSON object a line.

use std::collections::HashMap;

use serde_json::Value;

/// Figures by row, whose they are, and which of them it is.
pub struct Figures(HashMap<(String, String, String), f64>);

impl Figures {
    /// Of two figures of the same name the later one counts.
    pub fn read(text: &str) -> Self {
        let mut all = HashMap::new();
        for line in text.lines() {
            let figure: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            let word = |name: &str| figure[name].as_str().unwrap_or_default().to_owned();
            if let Some(value) = figure["value"].as_f64() {
                all.insert((word("row"), word("of"), word("stat")), value);
            }
        }
        Self(all)
    }

    pub fn get(&self, row: &str, of: &str, stat: &str) -> Option<f64> {
        self.0.get(&(row.to_owned(), of.to_owned(), stat.to_owned())).copied()
    }

    /// The greatest of those of a row whose name satisfies `whose`.
    pub fn most(&self, row: &str, stat: &str, whose: impl Fn(&str) -> bool) -> Option<f64> {
        let found = self.0.iter().filter(|((r, of, s), _)| r == row && s == stat && whose(of));
        found.map(|(_, value)| *value).reduce(f64::max)
    }

    /// Their sum.
    pub fn sum(&self, row: &str, stat: &str) -> Option<f64> {
        let found = self.0.iter().filter(|((r, _, s), _)| r == row && s == stat);
        found.map(|(_, value)| *value).reduce(|a, b| a + b)
    }
}
