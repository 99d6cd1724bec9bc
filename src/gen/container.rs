//! Dockerfile and .dockerignore, for Heroku's `heroku.build = "container"` and for every other host; heroku.yml.
//!
//! The last stage has neither a shell nor a package manager, and runs as nobody in particular. Heroku runs a
//! command of heroku.yml through `/bin/sh`, which is not there: so heroku.yml has no `run`, and Heroku takes the
//! Dockerfile's exec form, and no `release`: `blacksky run` brings the database up to date by itself.

use std::fmt::Write as _;

use crate::config::{Build, Client, Config};

use super::{Artifact, package_json};

/// What Heroku builds.
pub fn heroku_yml(config: &Config) -> String {
    format!("build:\n  docker:\n    {}: Dockerfile\n", config.heroku.process)
}

/// What makes the image.
pub(super) fn files(config: &Config) -> Vec<Artifact> {
    let dockerfile = dockerfile(config).map(|text| Artifact { path: "Dockerfile", text });
    let ignored = Artifact { path: ".dockerignore", text: dockerignore(config) };
    dockerfile.into_iter().chain([ignored]).collect()
}

/// What a person has to know when there is none.
pub(super) const WRITE_IT_YOURSELF: &str = "\
# A bot that is no Node.js program needs a Dockerfile of your own, with the bot and the program blacksky in it, and
# with the last lines: ENTRYPOINT [\"/blacksky\"] and CMD [\"run\"]";

/// The stages; `None` for bots in another language than JavaScript, whose Dockerfile blacksky cannot know.
pub fn dockerfile(config: &Config) -> Option<String> {
    let all = |fits: fn(&[String]) -> bool| {
        config.bots.values().all(|bot| match &bot.client {
            Client::Hosted(hosted) => fits(&hosted.command),
            Client::Native(_) => true,
        })
    };
    if all(|_| false) && config.heroku.build == Build::Npm {
        Some(of_npm(ONLY_BLACKSKY))
    } else if all(|_| false) {
        Some(of_rust())
    } else if all(package_json::is_node) {
        Some(of_npm(WITH_NODE))
    } else {
        None
    }
}

/// blacksky's own sources are in the folder.
fn of_rust() -> String {
    format!(
        r#"# Made by `blacksky gen`. First stage: the program is built from the sources of this folder.
FROM rust:{}-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin blacksky
# Heroku chooses the account that runs it, so that /app is writable for all.
RUN mkdir -p /image/app && chmod 777 /image/app && cp target/release/blacksky /image/ && cp blacksky.toml /image/app/

# What is deployed: the program, the C library and certificates.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /image/ /
WORKDIR /app
USER 65532:65532
ENTRYPOINT ["/blacksky"]
CMD ["run"]
"#,
        env!("CARGO_PKG_RUST_VERSION")
    )
}

/// The program comes with the package `blacksky`.
fn of_npm(last_stage: &str) -> String {
    format!(
        r"# Made by `blacksky gen`. First stage: the packages of package.json, blacksky's among them.
FROM node:22-bookworm AS build
WORKDIR /image/app
COPY . .
RUN if [ -f package-lock.json ]; then npm ci --omit=dev; else npm install --omit=dev; fi
# Heroku chooses the account that runs it, so that /app is writable for all.
RUN cp node_modules/blacksky-linux-*/bin/blacksky /image/blacksky && chmod -R a+rwX /image/app

{last_stage}"
    )
}

const WITH_NODE: &str = r#"# What is deployed: blacksky, Node.js and the bot.
FROM gcr.io/distroless/nodejs22-debian12:nonroot
COPY --from=build /image/ /
WORKDIR /app
ENV PATH=/nodejs/bin:/usr/local/bin:/usr/bin:/bin NODE_ENV=production
USER 65532:65532
ENTRYPOINT ["/blacksky"]
CMD ["run"]
"#;

const ONLY_BLACKSKY: &str = r#"# What is deployed: the program, blacksky.toml, the C library and certificates.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /image/blacksky /blacksky
COPY --from=build /image/app/blacksky.toml /app/
WORKDIR /app
USER 65532:65532
ENTRYPOINT ["/blacksky"]
CMD ["run"]
"#;

/// What does not belong into an image: what is made anew in it, and what is secret.
pub fn dockerignore(config: &Config) -> String {
    let mut text = String::from(
        "# Made by `blacksky gen`.\n.git\n**/node_modules\ntarget\n**/.env*\n**/*.db*\n**/*.sqlite*\n**/*.before-blacksky\n**/*.export\n",
    );
    for bot in config.bots.values() {
        let Client::Hosted(hosted) = &bot.client else { continue };
        let path = &hosted.session_dir;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let beside = path.with_file_name(format!(".{name}.blacksky-*"));
        let _ = writeln!(text, "{}\n{}", path.display(), beside.display());
    }
    text
}
