//! A length of time written with its unit: "30s", "5m".

use std::time::Duration;

/// A duration of the file, such as "30s" or "5m".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

impl Period {
    /// The duration.
    pub const fn get(self) -> Duration {
        self.0
    }
}
