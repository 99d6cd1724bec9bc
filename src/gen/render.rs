//! render.yaml: Render's blueprint of the service and its database.
//!
//! No `preDeployCommand`: the image has no shell to run it with, and `blacksky run` brings the database up to date.

use std::fmt::Write as _;

use crate::config::values::web_url;
use crate::config::{Config, ProcessType};

use super::target::{GRACE_SECONDS, megabytes, slug};

/// The file.
pub const PATH: &str = "render.yaml";

/// The text of the file.
pub fn text(config: &Config) -> String {
    let name = slug(config);
    let process = config.heroku.process;
    let mut text = format!(
        "# Made by `blacksky gen --target render`.\n\
         services:\n\
         \x20 - type: {process}\n\
         \x20   name: {name}\n\
         \x20   runtime: docker\n\
         \x20   dockerfilePath: ./Dockerfile\n\
         \x20   # The free plan falls asleep after 15 minutes, and its database ends after 30 days.\n\
         \x20   plan: {}\n\
         \x20   numInstances: {}\n",
        plan(megabytes(config)),
        config.heroku.quantity
    );
    if process == ProcessType::Web {
        text.push_str("    healthCheckPath: /healthz\n");
    }
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "    # Time to close the link and to store everything.\n\
         \x20   maxShutdownDelaySeconds: {GRACE_SECONDS}\n\
         \x20   envVars:\n\
         \x20     - key: DATABASE_URL\n\
         \x20       fromDatabase:\n\
         \x20         name: {name}-database\n\
         \x20         property: connectionString\n\
         \x20     - key: BLACKSKY_SECRET_KEY\n\
         \x20       generateValue: true\n\
         \x20     - key: BLACKSKY_ADMIN_TOKEN\n\
         \x20       generateValue: true\n\
         databases:\n\
         \x20 - name: {name}-database\n\
         \x20   plan: basic-256mb\n\
         \x20   # Nobody outside of Render reaches it.\n\
         \x20   ipAllowList: []\n"
    );
    text
}

/// The smallest plan with that much memory.
fn plan(megabytes: u64) -> &'static str {
    match megabytes {
        0..=512 => "starter",
        513..=2048 => "standard",
        2049..=4096 => "pro",
        4097..=8192 => "pro plus",
        8193..=16_384 => "pro max",
        _ => "pro ultra",
    }
}

/// Render has no command for it: its page reads the file.
pub(super) fn commands(config: &Config) -> Vec<String> {
    let repository = config.app.repository.as_ref().filter(|url| !web_url::is_secret(url));
    let page = match repository {
        Some(repository) => format!("https://render.com/deploy?repo={repository}"),
        None => "https://dashboard.render.com/blueprints, New Blueprint Instance, and choose it".to_owned(),
    };
    vec![
        "# Commit the files, push them to GitHub, GitLab or Bitbucket, and open".to_owned(),
        format!("# {page}"),
        "# Render makes the database and both secrets. The page's token: the service, Environment, BLACKSKY_ADMIN_TOKEN."
            .to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::plan;

    #[test]
    fn a_plan_has_at_least_the_memory_of_the_dyno() {
        for (megabytes, name) in
            [(1, "starter"), (512, "starter"), (513, "standard"), (2560, "pro"), (14 * 1024, "pro max")]
        {
            assert_eq!(plan(megabytes), name, "{megabytes}");
        }
        assert_eq!(plan(u64::MAX), "pro ultra");
    }
}
