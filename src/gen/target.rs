//! For which host the files are.

use std::fmt;

use clap::ValueEnum;

use crate::config::Config;

use super::{Artifact, DIGESTS, digest_lines, of_heroku};
use super::{app_json, compose, container, existing, fly, package_json, railway, render};

/// A host that `gen` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// Procfile and app.json, or heroku.yml
    Heroku,
    /// A machine of one's own: Dockerfile, compose.yaml
    Docker,
    /// Dockerfile, .railway/railway.ts
    Railway,
    /// Dockerfile, render.yaml
    Render,
    /// Dockerfile, fly.toml
    Fly,
}

/// How long a host waits between SIGTERM and SIGKILL, in seconds. blacksky ends within 30 s whatever happens; what is
/// above that is for a host that counts from a little earlier.
pub(super) const GRACE_SECONDS: u32 = 40;

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Heroku => "heroku",
            Self::Docker => "docker",
            Self::Railway => "railway",
            Self::Render => "render",
            Self::Fly => "fly",
        })
    }
}

impl Target {
    /// The command that makes the files of this host.
    pub fn command(self) -> String {
        match self {
            Self::Heroku => "blacksky gen".to_owned(),
            other => format!("blacksky gen --target {other}"),
        }
    }

    /// The file that no other host has.
    pub fn own_file(self) -> &'static str {
        match self {
            Self::Heroku => app_json::PATH,
            Self::Docker => compose::PATH,
            Self::Railway => railway::PATH,
            Self::Render => render::PATH,
            Self::Fly => fly::PATH,
        }
    }

    /// What a person does next: lines for a shell that can be run again.
    pub fn script(self, config: &Config) -> String {
        let lines = match self {
            Self::Heroku => return existing::script(config),
            Self::Docker => compose::commands(),
            Self::Railway => railway::commands(config),
            Self::Render => render::commands(config),
            Self::Fly => fly::commands(config),
        };
        let mut all = Vec::new();
        if container::dockerfile(config).is_none() {
            all.push(container::WRITE_IT_YOURSELF.to_owned());
        } else if package_json::comes_by_npm(config) {
            all.push("# The Dockerfile takes blacksky from package.json:\nnpm install".to_owned());
        }
        all.extend(lines);
        all.join("\n")
    }
}

/// The deploy files of a configuration; the digests come last.
pub fn artifacts(config: &Config, target: Target) -> Vec<Artifact> {
    let mut files = match target {
        Target::Heroku => of_heroku(config),
        Target::Docker => in_a_container(config, compose::PATH, compose::text(config)),
        Target::Railway => in_a_container(config, railway::PATH, railway::text(config)),
        Target::Render => in_a_container(config, render::PATH, render::text(config)),
        Target::Fly => in_a_container(config, fly::PATH, fly::text(config)),
    };
    let text = digest_lines(&files);
    files.push(Artifact { path: DIGESTS, text });
    files
}

/// All hosts but Heroku build the Dockerfile.
fn in_a_container(config: &Config, path: &'static str, text: String) -> Vec<Artifact> {
    let mut files = vec![Artifact { path, text }];
    files.extend(container::files(config));
    if package_json::comes_by_npm(config) {
        files.push(Artifact { path: package_json::PATH, text: package_json::created(config, true) });
    }
    files
}

/// A name that hosts accept for an app: small letters, digits and dashes.
pub(super) fn slug(config: &Config) -> String {
    let name = config.app.name.to_lowercase();
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    match name.trim_matches('-') {
        "" => "blacksky".to_owned(),
        name => name.to_owned(),
    }
}

/// Memory of one process in megabytes.
pub(super) fn megabytes(config: &Config) -> u64 {
    config.heroku.memory.get() >> 20
}
