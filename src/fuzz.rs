//! What is fuzzed: a body for each target of `fuzz/`, and the replay of their corpora.
//!
//! A body takes any bytes, reads them as the room does whose bytes they are, and asserts what must hold whatever they
//! say. It stands in its room. All of this is only in test builds and in those of cargo-fuzz (`cfg(fuzzing)`).

pub use crate::bot::hosted::fuzz::{bot_output, preload, session_id};
pub use crate::bot::native::fuzz::message;
pub use crate::config::fuzz::{config, environment};
pub use crate::init::fuzz::bot_folder;
pub use crate::jobs::fuzz::cron;
pub use crate::link::relay::fuzz::relay_frames;
pub use crate::runtime::fuzz::dyno;
pub use crate::sim::fuzz::{noise, stanza};
pub use crate::store::fuzz::export;
pub use crate::web::fuzz::api;

/// A target.
pub struct Target {
    /// Its name: that of its file in `fuzz/fuzz_targets`, and of its folder in `fuzz/corpus`.
    pub name: &'static str,
    /// What it does with an input. A panic is a finding.
    pub body: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 15] = [
    Target { name: "api", body: api },
    Target { name: "bot_folder", body: bot_folder },
    Target { name: "bot_output", body: bot_output },
    Target { name: "config", body: config },
    Target { name: "cron", body: cron },
    Target { name: "dyno", body: dyno },
    Target { name: "environment", body: environment },
    Target { name: "export", body: export },
    Target { name: "http_head", body: http_head },
    Target { name: "message", body: message },
    Target { name: "noise", body: noise },
    Target { name: "preload", body: preload },
    Target { name: "relay_frames", body: relay_frames },
    Target { name: "session_id", body: session_id },
    Target { name: "stanza", body: stanza },
];

/// The head of an HTTP request or answer: as the relay takes it from a bot and from WhatsApp's side, and its headers
/// as they pass between a client and a bot's own port.
pub fn http_head(bytes: &[u8]) {
    let headers = crate::link::relay::fuzz::head(bytes);
    crate::web::fuzz::proxy_headers(bytes.first().copied().unwrap_or_default(), &headers);
}

/// Stands for a secret that somebody pasted: in the inputs of some targets every byte 1 becomes it. Nothing else is
/// like it, so where it is seen it was shown.
pub(crate) const SECRET: &str = "hunter2Kq94mmT7eZx81hunter2";

/// The input with the secret in the places of byte 1.
pub(crate) fn pasted(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len() + SECRET.len());
    for byte in bytes {
        match byte {
            1 => text.extend_from_slice(SECRET.as_bytes()),
            other => text.push(*other),
        }
    }
    text
}

/// Runs what needs a runtime, on this thread. Its clock stands still while there is work, so that a fuzzer that was
/// stopped for minutes finds nothing late.
pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().expect("a runtime").block_on(work)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::{Path, PathBuf};

    use super::TARGETS;

    /// Most files of a corpus.
    const MOST: usize = 60;
    /// Most bytes of all corpora together.
    const LARGEST: usize = 200_000;

    fn folder(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
    }

    fn entries(folder: &Path) -> Vec<PathBuf> {
        let found = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut found: Vec<PathBuf> = found.map(|entry| entry.expect("an entry").path()).collect();
        found.sort();
        found
    }

    fn names(folder: &Path) -> BTreeSet<String> {
        entries(folder)
            .iter()
            .map(|path| path.file_stem().expect("a name").to_string_lossy().into())
            .collect()
    }

    #[test]
    fn every_target_has_a_corpus_and_every_corpus_a_target() {
        let targets: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
        assert_eq!(targets.len(), TARGETS.len(), "a name is there twice");
        assert_eq!(names(&folder("corpus")), targets, "fuzz/corpus");
        assert_eq!(names(&folder("fuzz_targets")), targets, "fuzz/fuzz_targets");
        let manifest = std::fs::read_to_string(folder("Cargo.toml")).expect("fuzz/Cargo.toml");
        let manifest: toml::Table = manifest.parse().expect("TOML");
        let programs = manifest["bin"].as_array().expect("a list");
        let programs: BTreeMap<&str, &str> = programs
            .iter()
            .map(|program| {
                (program["name"].as_str().expect("a name"), program["path"].as_str().expect("a path"))
            })
            .collect();
        let wanted: Vec<String> =
            TARGETS.iter().map(|target| format!("fuzz_targets/{}.rs", target.name)).collect();
        assert_eq!(programs.keys().copied().collect::<Vec<_>>(), targets.iter().collect::<Vec<_>>());
        assert_eq!(programs.values().copied().collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn corpora_are_small() {
        let mut bytes = 0;
        for target in &TARGETS {
            let files = entries(&folder("corpus").join(target.name));
            assert!((1..=MOST).contains(&files.len()), "{}: {} files", target.name, files.len());
            bytes += files.iter().map(|file| file.metadata().expect("a file").len() as usize).sum::<usize>();
        }
        assert!(bytes <= LARGEST, "{bytes} bytes");
    }

    #[test]
    fn every_input_of_every_corpus_holds() {
        let mut failed = Vec::new();
        for target in &TARGETS {
            (target.body)(&[]);
            for file in entries(&folder("corpus").join(target.name)) {
                let input = std::fs::read(&file).expect("reads");
                if catch_unwind(AssertUnwindSafe(|| (target.body)(&input))).is_err() {
                    failed.push(file);
                }
            }
        }
        assert!(failed.is_empty(), "{failed:#?}");
    }
}
