//! Files that are made from the code: write, compare or print.

use std::path::Path;

/// What to do with a generated file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Write it.
    Write,
    /// Write nothing; say how the file on disk differs.
    Check,
    /// Write nothing; hand the text over.
    Print,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The file on disk is the same.
    Same,
    /// The file was written.
    Written,
    /// The file on disk differs: a unified diff from it to what it should be.
    Differs(String),
    /// The text.
    Text(String),
}

/// Writes, compares or hands over one file. Line ends do not count in a comparison.
pub fn emit(path: &Path, text: &str, mode: Mode) -> std::io::Result<Outcome> {
    if mode == Mode::Print {
        return Ok(Outcome::Text(text.to_owned()));
    }
    let on_disk = match std::fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).replace("\r\n", "\n"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    if on_disk == text && path.exists() {
        return Ok(Outcome::Same);
    }
    if mode == Mode::Check {
        return Ok(Outcome::Differs(diff(&path.display().to_string(), &on_disk, text)));
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, text)?;
    Ok(Outcome::Written)
}

/// A unified diff from `old` to `new`.
pub fn diff(name: &str, old: &str, new: &str) -> String {
    similar::TextDiff::from_lines(old, new)
        .unified_diff()
        .header(&format!("{name} (on disk)"), &format!("{name} (as it should be)"))
        .to_string()
}

/// Fails a test when a committed file is not what the code makes, and says how to mend it.
/// With `BLACKSKY_UPDATE=1` it writes the file instead.
#[cfg(test)]
pub(crate) fn assert_no_drift(path: &str, text: &str) {
    let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let update = std::env::var_os("BLACKSKY_UPDATE").is_some_and(|value| value == "1");
    let mode = if update { Mode::Write } else { Mode::Check };
    match emit(&full, text, mode).expect("the file can be read and written") {
        Outcome::Differs(diff) => panic!(
            "{path} is not what the code makes:\n{diff}\n\
             mend it with: BLACKSKY_UPDATE=1 cargo test --features simulator --lib drift"
        ),
        Outcome::Same | Outcome::Written | Outcome::Text(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_differs_and_line_ends_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/file");
        assert!(matches!(emit(&path, "a\nb\n", Mode::Check).unwrap(), Outcome::Differs(_)));
        assert_eq!(emit(&path, "a\nb\n", Mode::Write).unwrap(), Outcome::Written);
        std::fs::write(&path, "a\r\nb\r\n").unwrap();
        assert_eq!(emit(&path, "a\nb\n", Mode::Check).unwrap(), Outcome::Same);
        let Outcome::Differs(diff) = emit(&path, "a\nc\n", Mode::Check).unwrap() else {
            panic!("no difference")
        };
        assert!(diff.contains("-b") && diff.contains("+c"), "{diff}");
    }
}
