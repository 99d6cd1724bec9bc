//! compose.yaml: blacksky and its PostgreSQL on a machine of one's own.

use std::fmt::Write as _;

use crate::config::{Config, ProcessType};

use super::app_json;
use super::target::{GRACE_SECONDS, slug};

/// The file.
pub const PATH: &str = "compose.yaml";

/// Where it listens within the container.
const PORT: u16 = 3000;

/// The text of the file. Secrets come from `.env`, which compose reads and `gen` never writes.
pub fn text(config: &Config) -> String {
    let name = slug(config);
    let mut text = format!(
        "# Made by `blacksky gen --target docker`. Lines of your own go into compose.override.yaml, secrets into .env.\n\
         name: {name}\n\
         services:\n\
         \x20 blacksky:\n\
         \x20   build: .\n\
         \x20   restart: unless-stopped\n\
         \x20   # It closes the link and stores everything within 30 s. Without this it is killed after 10.\n\
         \x20   stop_grace_period: {GRACE_SECONDS}s\n\
         \x20   init: true\n\
         \x20   depends_on:\n\
         \x20     - database\n"
    );
    if config.heroku.process == ProcessType::Web {
        // Writing to a String cannot fail, here and below.
        let _ = write!(
            text,
            "    # For this machine only: over plain http nobody else should send the admin token.\n    \
             ports:\n      - \"127.0.0.1:${{PORT:-{PORT}}}:{PORT}\"\n"
        );
    }
    let _ = write!(
        text,
        "    environment:\n\
         \x20     PORT: \"{PORT}\"\n\
         \x20     DATABASE_URL: postgres://blacksky:${{POSTGRES_PASSWORD:?is missing in .env}}@database/blacksky\n\
         \x20     # The way to the database does not leave this machine.\n\
         \x20     BLACKSKY_DATABASE_TLS: disable\n\
         \x20     BLACKSKY_SECRET_KEY: ${{BLACKSKY_SECRET_KEY:?is missing in .env}}\n\
         \x20     BLACKSKY_ADMIN_TOKEN: ${{BLACKSKY_ADMIN_TOKEN:?is missing in .env}}\n\
         \x20     # Not needed; from .env when they are there.\n"
    );
    for variable in app_json::optional_variables(config) {
        let _ = writeln!(text, "      {variable}: ${{{variable}:-}}");
    }
    let _ = write!(
        text,
        "    # Healthy means linked. With a QR that waits to be scanned it is not; Docker does nothing about it.\n\
         \x20   healthcheck:\n\
         \x20     test: [\"CMD\", \"/blacksky\", \"status\", \"--url\", \"http://localhost:{PORT}\"]\n\
         \x20     interval: 30s\n\
         \x20     timeout: 15s\n\
         \x20     start_period: 60s\n\
         \x20 database:\n\
         \x20   image: postgres:17\n\
         \x20   restart: unless-stopped\n\
         \x20   environment:\n\
         \x20     POSTGRES_USER: blacksky\n\
         \x20     POSTGRES_DB: blacksky\n\
         \x20     POSTGRES_PASSWORD: ${{POSTGRES_PASSWORD:?is missing in .env}}\n\
         \x20   volumes:\n\
         \x20     - database:/var/lib/postgresql/data\n\
         volumes:\n\
         \x20 database:\n"
    );
    text
}

/// Makes the secrets once, and starts it.
pub(super) fn commands() -> Vec<String> {
    let line = |text: &str| text.to_owned();
    let mut lines = vec![line("# Secrets are made once and stay in .env, which git must not see:")];
    lines.push(line("touch .env && chmod 600 .env"));
    for (name, bytes) in
        [("BLACKSKY_SECRET_KEY", 32), ("BLACKSKY_ADMIN_TOKEN", 24), ("POSTGRES_PASSWORD", 24)]
    {
        lines.push(format!("grep -q ^{name}= .env || echo {name}=$(openssl rand -hex {bytes}) >> .env"));
    }
    lines.push(line("grep -qxF .env .gitignore 2> /dev/null || echo .env >> .gitignore"));
    lines.push(line("docker compose up --build --detach"));
    lines.push(line("# The page is http://localhost:3000/, its token:"));
    lines.push(line("grep ^BLACKSKY_ADMIN_TOKEN= .env"));
    lines
}
