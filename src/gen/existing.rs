//! For an app that exists already: Heroku reads app.json only when it creates one, so what it says has to be
//! done by commands. A pure function of Config, like the files.
//!
//! The lines can be run again and again: an add-on that is there is not added twice, and a secret that is set is
//! never replaced, since the sessions could not be read afterwards; neither when Heroku does not answer.

use super::app_json;
use crate::config::{Config, ProcessType};

const INTRODUCTION: &str = "\
# Heroku reads app.json only when it creates an app. In the folder of one that exists already
# (else add -a APP to each heroku), these lines do the same, and can be run again:";

/// The commands, one a line, for a shell.
pub fn script(config: &Config) -> String {
    let mut lines = vec![INTRODUCTION.to_owned()];
    lines.extend(commands(config));
    lines.join("\n")
}

fn commands(config: &Config) -> Vec<String> {
    let heroku = &config.heroku;
    let mut lines = vec![format!("heroku stack:set {}", quoted(app_json::stack(config)))];
    if !heroku.buildpacks.is_empty() {
        lines.push("heroku buildpacks:clear".to_owned());
    }
    for buildpack in &heroku.buildpacks {
        lines.push(format!("heroku buildpacks:add {}", quoted(buildpack)));
    }
    for addon in &heroku.addons {
        let service = addon.split(':').next().unwrap_or(addon);
        lines.push(format!(
            "if there=$(heroku addons) && ! echo \"$there\" | grep -q {}; then heroku addons:create {}; fi",
            quoted(service),
            quoted(addon)
        ));
    }
    for (name, bytes) in [("BLACKSKY_SECRET_KEY", 32), ("BLACKSKY_ADMIN_TOKEN", 24)] {
        lines.push(format!(
            "if there=$(heroku config:get {name}) && [ -z \"$there\" ]; then heroku config:set {name}=$(openssl rand \
             -hex {bytes}); fi"
        ));
    }
    if heroku.process == ProcessType::Web && heroku.url.is_none() {
        lines.push(
            "heroku config:set HEROKU_APP_URL=$(heroku info -s | grep ^web_url= | cut -d= -f2-)".to_owned(),
        );
    }
    lines.push("git push heroku HEAD:main".to_owned());
    // Only now: before, the app may not know the process type.
    lines.push(format!("heroku ps:scale {}={}:{}", heroku.process, heroku.quantity, heroku.dyno));
    lines
}

/// For a POSIX shell.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@=+,%".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::NoEnvironment;

    fn script_of(toml: &str) -> String {
        let loaded = Config::parse(Path::new("blacksky.toml"), toml.as_bytes().to_vec(), &NoEnvironment);
        script(&loaded.unwrap_or_else(|problems| panic!("{problems}")).config)
    }

    #[test]
    fn the_lines_say_what_app_json_says() {
        insta::assert_snapshot!(script_of(
            "[heroku]\ndyno = \"standard-1x\"\nquantity = 2\nbuildpacks = [\"heroku/nodejs\", \
             \"https://example.com/it's;one\"]\naddons = [\"heroku-postgresql:essential-1\", \"papertrail\"]\n"
        ));
    }

    #[test]
    fn a_container_has_its_own_stack_and_no_buildpacks() {
        let lines = script_of("[heroku]\nbuild = \"container\"\n");
        assert!(lines.contains("\nheroku stack:set container\n") && !lines.contains("buildpacks"), "{lines}");
    }

    #[test]
    fn no_secret_of_the_file_is_in_them() {
        let toml = "[database]\nurl = \"postgres://u:hunter2@h/n\"\nsecret_key = \"hunter2hunter2hunter2\"\n\
                    [web]\nadmin_token = \"hunter2hunter2\"";
        assert!(!script_of(toml).contains("hunter2"));
    }
}
