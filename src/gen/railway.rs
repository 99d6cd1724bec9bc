//! .railway/railway.ts: Railway's "Infrastructure as Code", which its command line evaluates and applies.
//!
//! railway.json is not made: Railway takes it for no new service, and for none at all from 2026-12-01 on.

use std::fmt::Write as _;

use crate::config::{Config, ProcessType};

use super::target::{GRACE_SECONDS, slug};

/// The file.
pub const PATH: &str = ".railway/railway.ts";

/// How long the old deployment stays once the new one answers: enough for the new one to be registered as ready to
/// take the link.
const OVERLAP_SECONDS: u32 = 10;

/// The text of the file.
pub fn text(config: &Config) -> String {
    let name = slug(config);
    let repository = on_github(config);
    let mut imports = vec!["defineRailway", "postgres", "preserve", "project", "service"];
    if repository.is_some() {
        imports.insert(1, "github");
    }
    let mut text = format!(
        "// Made by `blacksky gen --target railway`. `railway config plan` shows what it would change.\n\
         import {{ {} }} from \"railway/iac\";\n\n\
         export default defineRailway(() => {{\n\
         \x20 const database = postgres(\"Postgres\");\n\n\
         \x20 const bot = service(\"{name}\", {{\n",
        imports.join(", ")
    );
    // Writing to a String cannot fail, here and below.
    if let Some(repository) = repository {
        let _ = writeln!(text, "    source: github(\"{repository}\"),");
    }
    text.push_str("    build: { builder: \"DOCKERFILE\", dockerfilePath: \"Dockerfile\" },\n");
    if config.heroku.process == ProcessType::Web {
        text.push_str("    healthcheck: \"/healthz\",\n");
    }
    if config.heroku.quantity > 1 {
        let _ = writeln!(
            text,
            "    // One keeps the link, the others stand by.\n    replicas: {},",
            config.heroku.quantity
        );
    }
    let _ = write!(
        text,
        "    deploy: {{\n\
         \x20     // A bot that sleeps is offline.\n\
         \x20     sleepApplication: false,\n\
         \x20     // The new deployment is ready before the old one is told to end; that one then has time to store\n\
         \x20     // everything.\n\
         \x20     overlapSeconds: {OVERLAP_SECONDS},\n\
         \x20     drainingSeconds: {GRACE_SECONDS},\n\
         \x20   }},\n\
         \x20   env: {{\n\
         \x20     DATABASE_URL: database.env.DATABASE_URL,\n\
         \x20     BLACKSKY_SECRET_KEY: preserve(),\n\
         \x20     BLACKSKY_ADMIN_TOKEN: preserve(),\n\
         \x20   }},\n\
         \x20 }});\n\n\
         \x20 return project(\"{name}\", {{ resources: [database, bot] }});\n\
         }});\n"
    );
    text
}

/// The repository as Railway names it, "owner/name".
fn on_github(config: &Config) -> Option<String> {
    let url = config.app.repository.as_ref().filter(|url| url.host_str() == Some("github.com"))?;
    let path = url.path().trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    (path.split('/').count() == 2 && path.chars().all(plain)).then(|| path.to_owned())
}

/// Sets what the file leaves to Railway, and deploys.
pub(super) fn commands(config: &Config) -> Vec<String> {
    let name = slug(config);
    let mut lines = vec![
        "# With Railway's command line (https://docs.railway.com/cli) and Node.js 22:".to_owned(),
        format!("railway status || railway init --name {name}"),
        "npm install --no-save railway".to_owned(),
        "railway config apply".to_owned(),
    ];
    for (variable, bytes) in [("BLACKSKY_SECRET_KEY", 32), ("BLACKSKY_ADMIN_TOKEN", 24)] {
        lines.push(format!(
            "if there=$(railway variable list --service {name} --kv) && ! echo \"$there\" | grep -q ^{variable}=; then \
             railway variable set --service {name} {variable}=$(openssl rand -hex {bytes}); fi"
        ));
    }
    if on_github(config).is_none() {
        lines.push(format!("railway up --service {name}"));
    }
    if config.heroku.process == ProcessType::Web {
        lines.push(format!("railway domain --service {name}"));
    }
    lines
}
