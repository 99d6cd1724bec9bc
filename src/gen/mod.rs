//! Config → Procfile, app.json, Dockerfile, package.json's start script, and what other hosts read: pure functions of
//! Config.
//!
//! Not every such file can hold a mark that says who wrote it (a Procfile has no comments, JSON neither), so
//! `.blacksky-gen` keeps the SHA-256 of what was written, in the form of `sha256sum`. A file whose
//! digest is not there was edited by hand and is left alone. Of package.json only one value is ours, so its
//! digest is of that value. The digests of all hosts' files are in one file.

pub mod app_json;
pub mod compose;
pub mod container;
pub mod existing;
pub mod fly;
#[cfg(test)]
mod heroku_tests;
#[cfg(test)]
mod host_tests;
#[cfg(test)]
mod known_keys;
pub mod package_json;
pub mod procfile;
pub mod railway;
pub mod render;
pub mod target;
pub mod write;

use sha2::{Digest, Sha256};

use crate::config::{Build, Config};

pub use target::{Target, artifacts};
pub use write::{Force, Refusal, Report, check, edited, replace, wanted, write};

/// A file that is made from blacksky.toml.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Relative to the folder of blacksky.toml.
    pub path: &'static str,
    /// The whole text, with `\n` line ends; of package.json when there is none yet.
    pub text: String,
}

/// Where the digests are kept.
pub const DIGESTS: &str = ".blacksky-gen";

/// What Heroku reads.
fn of_heroku(config: &Config) -> Vec<Artifact> {
    let is_container = config.heroku.build == Build::Container;
    let mut files = Vec::new();
    let mut add = |path, text| files.push(Artifact { path, text });
    if !is_container {
        add("Procfile", procfile::text(config));
    }
    add(app_json::PATH, app_json::text(config));
    if is_container {
        add("heroku.yml", container::heroku_yml(config));
        files.extend(container::files(config));
    }
    if package_json::concerns(config) {
        let text = package_json::created(config, package_json::depends(config));
        files.push(Artifact { path: package_json::PATH, text });
    }
    files
}

/// The lines of [`DIGESTS`] for these files, in the order of their names.
fn digest_lines(files: &[Artifact]) -> String {
    let line = |file: &Artifact| match file.path {
        package_json::PATH => package_json::digest_line(package_json::START),
        path => format!("{}  {path}", digest(&file.text)),
    };
    sorted(files.iter().map(line).collect())
}

/// The digests of one host's files beside those that are there, which other hosts' files may have.
fn with_others(ours: &str, on_disk: &str) -> String {
    let path = |line: &str| line.split_once("  ").map(|(_, path)| path.to_owned());
    let is_ours = |line: &str| ours.lines().any(|our| path(our) == path(line));
    let others = on_disk.lines().filter(|line| path(line).is_some() && !is_ours(line));
    sorted(ours.lines().chain(others).map(str::to_owned).collect())
}

fn sorted(mut lines: Vec<String>) -> String {
    lines.sort_by_cached_key(|line| line.split_once("  ").map(|(_, path)| path.to_owned()));
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// SHA-256 in hex.
fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::ValueEnum as _;

    use super::*;
    use crate::config::{NoEnvironment, generated};

    fn made_from(toml: &str) -> String {
        made_for(Target::Heroku, toml)
    }

    fn made_for(target: Target, toml: &str) -> String {
        let loaded = Config::parse(Path::new("blacksky.toml"), toml.as_bytes().to_vec(), &NoEnvironment)
            .unwrap_or_else(|problems| panic!("{problems}"));
        let files = artifacts(&loaded.config, target);
        files.iter().map(|file| format!("== {}\n{}", file.path, file.text)).collect()
    }

    #[test]
    fn of_an_empty_file() {
        insta::assert_snapshot!(made_from(""));
    }

    #[test]
    fn of_a_full_file() {
        insta::assert_snapshot!(made_from(FULL));
    }

    /// The files of a host without what another test shows: .dockerignore and the digests.
    fn of_host(target: Target, toml: &str) -> String {
        let made = made_for(target, toml);
        let end = made.find("== .dockerignore").expect("an image");
        made[..end].to_owned()
    }

    #[test]
    fn for_docker() {
        insta::assert_snapshot!(of_host(Target::Docker, ""));
    }

    #[test]
    fn for_docker_with_several_bots_of_a_worker() {
        insta::assert_snapshot!(of_host(
            Target::Docker,
            "[heroku]\nprocess = \"worker\"\n[bots.one]\n[bots.two]\nkind = \"hosted\"\ncommand = [\"node\", \"two.js\"]"
        ));
    }

    #[test]
    fn for_railway() {
        insta::assert_snapshot!(of_host(Target::Railway, FULL));
    }

    #[test]
    fn for_render() {
        insta::assert_snapshot!(of_host(Target::Render, FULL));
    }

    #[test]
    fn for_fly() {
        insta::assert_snapshot!(of_host(Target::Fly, FULL));
    }

    #[test]
    fn for_fly_as_a_worker() {
        insta::assert_snapshot!(of_host(
            Target::Fly,
            "[heroku]\nprocess = \"worker\"\ndyno = \"performance-m\"\nbuild = \"npm\""
        ));
    }

    #[test]
    fn the_lines_for_other_hosts() {
        let of = |target: Target, toml: &str| {
            let loaded = Config::parse(Path::new("blacksky.toml"), toml.as_bytes().to_vec(), &NoEnvironment);
            target.script(&loaded.unwrap_or_else(|problems| panic!("{problems}")).config)
        };
        let all: Vec<String> = [
            (Target::Docker, ""),
            (Target::Docker, "[bots.main]\nkind = \"hosted\"\ncommand = [\"node\", \"index.js\"]"),
            (Target::Railway, ""),
            (Target::Railway, FULL),
            (Target::Render, ""),
            (Target::Render, FULL),
            (Target::Fly, ""),
            (Target::Fly, FULL),
            (Target::Fly, "[bots.main]\nkind = \"hosted\"\ncommand = [\"python3\", \"bot.py\"]"),
        ]
        .into_iter()
        .map(|(target, toml)| format!("== {target}\n{}\n", of(target, toml)))
        .collect();
        insta::assert_snapshot!(all.concat());
    }

    #[test]
    fn the_digests_of_other_hosts_stay() {
        let ours = "1  Dockerfile\n2  fly.toml\n";
        let on_disk = "9  Dockerfile\n8  Procfile\n7  package.json#scripts.start\nnonsense\n";
        let all = "1  Dockerfile\n8  Procfile\n2  fly.toml\n7  package.json#scripts.start\n";
        assert_eq!(with_others(ours, on_disk), all);
        assert_eq!(with_others(ours, all), all, "a second time changes nothing");
        assert_eq!(with_others(ours, ""), ours);
    }

    const FULL: &str = r#"
            [app]
            name = "shop-bot"
            description = "Answers our customers"
            repository = "https://github.com/example/shop-bot"
            keywords = ["shop", "bot"]
            logo = "https://example.com/logo.svg"
            website = "https://example.com"
            success_url = "/status"
            [heroku]
            dyno = "standard-1x"
            quantity = 2
            stack = "heroku-22"
            buildpacks = ["heroku/nodejs"]
            addons = ["heroku-postgresql:essential-1", "papertrail"]
            url = "https://shop-bot-1234567890ab.herokuapp.com"
            [database]
            url = "postgres://user:hunter2@db.example/shop"
            secret_key = "hunter2hunter2hunter2"
            [web]
            admin_token = "hunter2hunter2"
            [bots.sales]
            [bots.support]
            session = "help"
            "#;

    #[test]
    fn of_a_worker() {
        insta::assert_snapshot!(made_from("[heroku]\nprocess = \"worker\"\ndyno = \"eco\"\naddons = []"));
    }

    #[test]
    fn of_a_bot_by_npm() {
        insta::assert_snapshot!(made_from(
            "[heroku]\nbuild = \"npm\"\n[bots.main]\nkind = \"hosted\"\ncommand = [\"node\", \"index.js\"]"
        ));
    }

    #[test]
    fn of_a_container() {
        insta::assert_snapshot!(made_from("[heroku]\nbuild = \"container\"\nprocess = \"worker\""));
    }

    #[test]
    fn of_a_container_with_a_node_program() {
        insta::assert_snapshot!(made_from(
            "[heroku]\nbuild = \"container\"\n[bots.main]\nkind = \"hosted\"\ncommand = [\"node\", \"index.js\"]\nsession_dir = \"data/auth\""
        ));
    }

    #[test]
    fn a_container_with_another_program_has_a_dockerfile_of_its_own() {
        let made = made_from(
            "[heroku]\nbuild = \"container\"\n[bots.main]\nkind = \"hosted\"\ncommand = [\"python3\", \"bot.py\"]",
        );
        assert!(made.contains("== heroku.yml") && !made.contains("== Dockerfile"), "{made}");
    }

    #[test]
    fn no_secret_of_the_file_is_written() {
        let toml = "[database]\nurl = \"postgres://u:hunter2@h/n\"\nsecret_key = \"hunter2hunter2hunter2\"\n\
                    [web]\nadmin_token = \"hunter2hunter2\"";
        for target in Target::value_variants() {
            assert!(!made_for(*target, toml).contains("hunter2"), "{target}");
        }
    }

    #[test]
    fn drift_of_the_deploy_files() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let loaded =
            Config::load(&root.join("blacksky.toml"), &NoEnvironment).unwrap_or_else(|p| panic!("{p}"));
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        for file in artifacts(&loaded.config, Target::Heroku) {
            generated::assert_no_drift(file.path, &file.text);
        }
    }
}
