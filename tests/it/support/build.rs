//! What Heroku does with a push: the tree is exported, buildpacks work on it under an account without rights, and
//! what they leave becomes the slug.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::time::Instant;

use super::dyno::{account, base, give};
use super::release;

/// Heroku refuses a slug that is larger.
const LARGEST_SLUG: u64 = 500 << 20;

/// A build under way: `build`, `cache`, `env`, `tmp` and `buildpack` in a folder of its own.
pub struct Build {
    folder: tempfile::TempDir,
    user: Option<u32>,
    begun: Instant,
}

/// What a build leaves.
pub struct Built {
    pub slug: PathBuf,
    /// Bytes of the packed slug.
    pub size: u64,
    /// Process type → command line.
    pub procfile: BTreeMap<String, String>,
    pub took: Duration,
    _build: Build,
}

impl Build {
    /// Exports the committed tree of a repository, with these Config Vars.
    pub fn of(repository: &Path, config_vars: &[(&str, &str)]) -> Self {
        let folder = tempfile::Builder::new().prefix("build-").tempdir_in(base()).expect("a folder");
        let user = account(Path::new("bash"));
        let build = Self { folder, user, begun: Instant::now() };
        fs::set_permissions(build.folder.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
        for name in ["build", "cache", "env", "tmp", "home"] {
            fs::create_dir(build.at(name)).expect("a folder");
        }
        let export = "git -C \"$0\" archive --format=tar HEAD | tar -xf - -C \"$1\"";
        release::run(
            Command::new("bash")
                .args(["-o", "pipefail", "-c", export])
                .arg(repository)
                .arg(build.at("build")),
        );
        for (name, value) in config_vars {
            fs::write(build.at("env").join(name), value).expect("a Config Var");
        }
        give(build.folder.path(), build.user);
        build
    }

    /// A part of it.
    pub fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command in the app's folder under the build's account.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.at("build"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.at("home"))
            .env("TMPDIR", self.at("tmp"))
            .env("STACK", "heroku-24")
            .env("REQUEST_ID", "a-build");
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    /// blacksky's own buildpack, as it is cloned: with its sources' Cargo.toml, and without a repository around it.
    pub fn own_buildpack(&self) -> PathBuf {
        let buildpack = self.at("buildpack");
        fs::create_dir_all(buildpack.join("bin")).expect("a folder");
        for file in ["bin/detect", "bin/compile", "bin/release", "Cargo.toml"] {
            fs::copy(release::root().join(file), buildpack.join(file)).expect("a file of the buildpack");
        }
        buildpack
    }

    /// `bin/compile` of a buildpack.
    pub fn compile(&self, buildpack: &Path) -> Command {
        let mut command = self.command(buildpack.join("bin/compile"));
        command.args([self.at("build"), self.at("cache"), self.at("env")]);
        command
    }

    /// All steps of a buildpack; what they print.
    pub fn by(&self, buildpack: &Path) -> String {
        let mut log = release::run(self.command(buildpack.join("bin/detect")).arg(self.at("build")));
        log += &release::run(&mut self.compile(buildpack));
        log + &release::run(self.command(buildpack.join("bin/release")).arg(self.at("build")))
    }

    /// Packs the slug.
    pub fn pack(self) -> Built {
        let slug = self.at("slug.tgz");
        // Fast rather than small: what Heroku packs is not larger.
        release::run(
            Command::new("tar")
                .args(["-I", "gzip -1", "-cf"])
                .arg(&slug)
                .arg("-C")
                .arg(self.at("build"))
                .arg("."),
        );
        let size = slug.metadata().expect("the slug").len();
        assert!(size < LARGEST_SLUG, "the slug has {size} bytes");
        let procfile = fs::read_to_string(self.at("build").join("Procfile")).expect("the Procfile");
        Built { slug, size, procfile: processes(&procfile), took: self.begun.elapsed(), _build: self }
    }
}

/// As Heroku reads a Procfile: `name: command line` each.
pub fn processes(procfile: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let (name, command) = line.split_once(':')?;
        let plain =
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        plain.then(|| (name.to_owned(), command.trim().to_owned()))
    };
    procfile.lines().filter_map(line).collect()
}
