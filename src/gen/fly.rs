//! fly.toml: the app on Fly.io.

use std::fmt::Write as _;

use crate::config::{Config, ProcessType};

use super::target::{GRACE_SECONDS, megabytes, slug};

/// The file.
pub const PATH: &str = "fly.toml";

/// Where it listens within the machine.
const PORT: u16 = 8080;

/// The text of the file.
///
/// A deploy is "bluegreen": the new machine stands by before the old one is told to end, which is what a hand-over
/// needs. `rolling` would take the only machine down first. The release command keeps the image's entry point.
pub fn text(config: &Config) -> String {
    let (size, memory) = machine(megabytes(config));
    let mut text = format!(
        "# Made by `blacksky gen --target fly`.\n\
         app = \"{}\"\n\
         # Time to close the link and to store everything.\n\
         kill_signal = \"SIGTERM\"\n\
         kill_timeout = \"{GRACE_SECONDS}s\"\n\n\
         [build]\n\
         dockerfile = \"Dockerfile\"\n\n\
         [deploy]\n\
         release_command = \"migrate\"\n\
         # The new machine stands by before the old one ends.\n\
         strategy = \"bluegreen\"\n\n\
         [env]\n\
         PORT = \"{PORT}\"\n\n",
        slug(config)
    );
    // Writing to a String cannot fail, here and below.
    let _ = match config.heroku.process {
        ProcessType::Web => write!(
            text,
            "[http_service]\n\
             internal_port = {PORT}\n\
             force_https = true\n\
             # A bot that sleeps is offline, and one that was stopped by hand stays so.\n\
             auto_stop_machines = \"off\"\n\
             auto_start_machines = false\n\n\
             [[http_service.checks]]\n"
        ),
        ProcessType::Worker => write!(text, "[checks.alive]\ntype = \"http\"\nport = {PORT}\n"),
    };
    let _ = write!(
        text,
        "method = \"GET\"\n\
         path = \"/healthz\"\n\
         grace_period = \"10s\"\n\
         interval = \"15s\"\n\
         timeout = \"5s\"\n\n\
         [[restart]]\n\
         policy = \"always\"\n\n\
         [[vm]]\n\
         size = \"{size}\"\n\
         memory = \"{memory}mb\"\n"
    );
    text
}

/// The smallest shared machine with that much memory, and its memory: 256 to 2048 MB for each processor.
fn machine(megabytes: u64) -> (&'static str, u64) {
    let (size, processors) = match megabytes {
        0..=2048 => ("shared-cpu-1x", 1),
        2049..=4096 => ("shared-cpu-2x", 2),
        4097..=8192 => ("shared-cpu-4x", 4),
        _ => ("shared-cpu-8x", 8),
    };
    (size, megabytes.next_multiple_of(256).clamp(256 * processors, 2048 * processors))
}

/// Makes app, database and secrets where they are missing, and deploys.
pub(super) fn commands(config: &Config) -> Vec<String> {
    let name = slug(config);
    let database = format!("{name}-database");
    let mut lines = vec![
        "# With Fly.io's command line (https://fly.io/docs/flyctl):".to_owned(),
        format!("fly status --app {name} || fly apps create {name}"),
        format!("fly mpg create --name {database}"),
        "# Sets DATABASE_URL. The pooler before it must be in session mode, which is its default.".to_owned(),
        format!("fly mpg attach CLUSTER --app {name}"),
        "# Fly.io shows no secret again: keep what these lines print.".to_owned(),
    ];
    for (variable, bytes) in [("BLACKSKY_SECRET_KEY", 32), ("BLACKSKY_ADMIN_TOKEN", 24)] {
        lines.push(format!(
            "if there=$(fly secrets list --app {name}) && ! echo \"$there\" | grep -q {variable}; then new=$(openssl \
             rand -hex {bytes}) && fly secrets set --stage --app {name} {variable}=$new && echo {variable}=$new; fi"
        ));
    }
    lines.push("fly deploy --ha=false".to_owned());
    if config.heroku.quantity > 1 {
        lines.push(format!("fly scale count {} --app {name}", config.heroku.quantity));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::machine;

    #[test]
    fn a_machine_has_at_least_the_memory_of_the_dyno() {
        for (megabytes, found) in [
            (1, ("shared-cpu-1x", 256)),
            (512, ("shared-cpu-1x", 512)),
            (2560, ("shared-cpu-2x", 2560)),
            (14 * 1024, ("shared-cpu-8x", 14 * 1024)),
            (100_000, ("shared-cpu-8x", 16_384)),
        ] {
            assert_eq!(machine(megabytes), found, "{megabytes}");
        }
    }
}
