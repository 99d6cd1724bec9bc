//! How much is used of what there is: memory, and the database.

use super::page::size_text;
use super::words::Tone;
use crate::runtime::status::Snapshot;

/// One of them.
pub struct Gauge {
    pub name: &'static str,
    /// "38.2 MB of 512 MB".
    pub words: String,
    /// The part that is used, in percent; `None` where the whole is not known.
    pub width: Option<u64>,
    pub tone: Tone,
}

impl Gauge {
    fn new(name: &'static str, used: u64, whole: Option<u64>, tight: bool, of: &str) -> Self {
        let size = |bytes: u64| size_text(&bytes).replace(".0 ", " ");
        let words = match whole {
            Some(whole) => format!("{} of {}{of}", size(used), size(whole)),
            None => size(used),
        };
        let width = whole.filter(|whole| *whole > 0);
        // What is used is seen.
        let width = width.map(|whole| (used.min(whole).saturating_mul(100) / whole).clamp(2, 100));
        Self { name, words, width, tone: if tight { Tone::Act } else { Tone::Good } }
    }
}

/// Those that were measured.
pub fn gauges(snapshot: &Snapshot) -> Vec<Gauge> {
    let memory = snapshot.memory.map(|memory| {
        let used = memory.used_bytes + memory.programs_bytes;
        Gauge::new("Memory", used, Some(memory.quota_bytes), memory.tight, "")
    });
    let size = snapshot.database_size.as_ref().map(|size| {
        let of = size.plan.as_ref().map(|plan| format!(" ({plan})")).unwrap_or_default();
        Gauge::new("Database", size.bytes, size.limit_bytes, size.tight, &of)
    });
    memory.into_iter().chain(size).collect()
}
