//! What happened when, in a file.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

/// A file with a line for everything that was done or seen; cheap to clone.
#[derive(Clone)]
pub struct Journal(Arc<Mutex<File>>, Instant);

impl Journal {
    /// `journal.txt` in this folder.
    pub fn new(folder: &Path) -> std::io::Result<Self> {
        Ok(Self(Arc::new(Mutex::new(File::create(folder.join("journal.txt"))?)), Instant::now()))
    }

    /// A line with the seconds since the beginning, and the time of day that the logs have.
    pub fn note(&self, line: &str) {
        let now = blacksky::runtime::clock::now().format("%H:%M:%S%.3f");
        let mut file = self.0.lock().expect("not poisoned");
        // A full disk is seen by whoever reads it.
        let _ = writeln!(file, "{:9.3} {now} {line}", self.1.elapsed().as_secs_f64());
    }
}
