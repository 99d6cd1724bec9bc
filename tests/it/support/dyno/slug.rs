//! What a dyno runs, and what the platform allows it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// What the platform allows.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Start → port bound.
    pub boot: Duration,
    /// SIGTERM → SIGKILL.
    pub grace: Duration,
    /// A second SIGTERM this long after the first, as the platform may send it.
    pub term_again: Option<Duration>,
    /// Bytes of resident memory.
    pub memory: u64,
    /// Between two looks at the memory.
    pub look: Duration,
    /// Wait before a dyno that crashed twice in a row is started again; it doubles each time. After the
    /// first crash there is none. `None`: a crashed dyno stays down.
    pub cool_off: Option<Duration>,
}

impl Default for Rules {
    /// Those of an Eco or Basic dyno.
    fn default() -> Self {
        Self {
            boot: Duration::from_secs(60),
            grace: Duration::from_secs(30),
            term_again: None,
            memory: 512 << 20,
            look: Duration::from_millis(250),
            cool_off: Some(Duration::from_secs(20 * 60)),
        }
    }
}

/// What a release consists of.
#[derive(Debug, Clone)]
pub struct Slug {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Config Vars.
    pub env: BTreeMap<String, String>,
    /// Files of the folder: name → text.
    pub files: BTreeMap<String, String>,
    /// A packed slug, unpacked into the folder before anything else.
    pub archive: Option<PathBuf>,
    /// What is too large to be copied into every dyno: name → where it is.
    pub links: BTreeMap<String, PathBuf>,
    /// `web` gets a PORT that it must bind; any other type does not.
    pub process: String,
    pub rules: Rules,
}

impl Slug {
    /// `blacksky run` with this file, linked to a simulator.
    pub fn blacksky(toml: &str, link_url: &str) -> Self {
        Self::new("web", [env!("CARGO_BIN_EXE_blacksky"), "run", "--link", link_url])
            .file("blacksky.toml", toml)
    }

    /// A shell script as a process of the type `worker`: no port.
    pub fn script(script: &str) -> Self {
        Self::new("worker", ["sh", "-c", script])
    }

    /// A line of a Procfile on a packed slug, as the dyno manager starts it: behind the scripts of `.profile.d`.
    /// `more` is appended to the line.
    pub fn packed(archive: PathBuf, process: &str, line: &str, more: &str) -> Self {
        let start = format!(
            "for script in .profile.d/*.sh; do [ -f \"$script\" ] && . \"$script\"; done; exec {line}{more}"
        );
        Self { archive: Some(archive), ..Self::new(process, ["bash", "-c", &start]) }
    }

    fn new<'a>(process: &str, command: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            command: command.into_iter().map(str::to_owned).collect(),
            env: BTreeMap::new(),
            files: BTreeMap::new(),
            archive: None,
            links: BTreeMap::new(),
            process: process.to_owned(),
            rules: Rules::default(),
        }
    }

    pub fn file(mut self, name: &str, text: &str) -> Self {
        self.files.insert(name.to_owned(), text.to_owned());
        self
    }

    pub fn link(mut self, name: &str, target: PathBuf) -> Self {
        self.links.insert(name.to_owned(), target);
        self
    }

    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.insert(name.to_owned(), value.into());
        self
    }

    /// DATABASE_URL, without TLS as the tests' PostgreSQL is reached, and a secret key.
    pub fn database(self, url: &str) -> Self {
        self.env("DATABASE_URL", url)
            .env("BLACKSKY_DATABASE_TLS", "disable")
            .env("BLACKSKY_SECRET_KEY", "a secret key for the dynos of the tests")
    }

    pub fn rules(mut self, change: impl FnOnce(&mut Rules)) -> Self {
        change(&mut self.rules);
        self
    }
}
