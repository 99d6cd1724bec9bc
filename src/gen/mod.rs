//! Config → Procfile, app.json, Dockerfile, package.json's start script: pure functions of Config.
//!
//! No such file can hold a mark that says who wrote it (a Procfile has no comments, JSON neither), so
//! `.blacksky-gen` keeps the SHA-256 of what was written, in the form of `sha256sum`. A file whose
//! digest is not there was edited by hand and is left alone. Of package.json only one value is ours, so its
//! digest is of that value.

pub mod app_json;
pub mod container;
pub mod existing;
#[cfg(test)]
mod heroku_tests;
pub mod package_json;
pub mod procfile;
pub mod write;

use sha2::{Digest, Sha256};

use crate::config::{Build, Config};

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

/// The deploy files of a configuration; the digests come last.
pub fn artifacts(config: &Config) -> Vec<Artifact> {
    let mut files = Vec::new();
    let mut add = |path, text| files.push(Artifact { path, text });
    if config.heroku.build != Build::Container {
        add("Procfile", procfile::text(config));
    }
    add("app.json", app_json::text(config));
    if config.heroku.build == Build::Container {
        add("heroku.yml", container::heroku_yml(config));
        if let Some(text) = container::dockerfile(config) {
            add("Dockerfile", text);
        }
        add(".dockerignore", container::dockerignore(config));
    }
    let mut digests: String =
        files.iter().map(|file| format!("{}  {}\n", digest(&file.text), file.path)).collect();
    if package_json::concerns(config) {
        files.push(Artifact { path: package_json::PATH, text: package_json::created(config) });
        digests.push_str(&package_json::digest_line(package_json::START));
        digests.push('\n');
    }
    files.push(Artifact { path: DIGESTS, text: digests });
    files
}

/// SHA-256 in hex.
fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{NoEnvironment, generated};

    fn made_from(toml: &str) -> String {
        let loaded = Config::parse(Path::new("blacksky.toml"), toml.as_bytes().to_vec(), &NoEnvironment)
            .unwrap_or_else(|problems| panic!("{problems}"));
        let files = artifacts(&loaded.config);
        files.iter().map(|file| format!("== {}\n{}", file.path, file.text)).collect()
    }

    #[test]
    fn of_an_empty_file() {
        insta::assert_snapshot!(made_from(""));
    }

    #[test]
    fn of_a_full_file() {
        insta::assert_snapshot!(made_from(
            r#"
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
            "#
        ));
    }

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
        assert!(!made_from(toml).contains("hunter2"));
    }

    #[test]
    fn drift_of_the_deploy_files() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let loaded =
            Config::load(&root.join("blacksky.toml"), &NoEnvironment).unwrap_or_else(|p| panic!("{p}"));
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        for file in artifacts(&loaded.config) {
            generated::assert_no_drift(file.path, &file.text);
        }
    }
}
