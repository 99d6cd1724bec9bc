//! Proof without Heroku: a push is built as Heroku builds it, and its slug booted as Heroku boots it.
//!
//! The figures are printed with `--nocapture`. What takes long, or needs what is not in the repository, is asked for:
//!
//! - `BLACKSKY_PREBUILT=PROGRAM` deploys that program instead of the tests' own. A release build can link only hosted
//!   bots to the simulator.
//! - `BLACKSKY_OLD=PROGRAM` is what the dynos run that an update finds, so that its `release:` has migrations to run.
//! - `BLACKSKY_RUST_BUILDPACK=FOLDER` compiles this very repository with that buildpack, in minutes. The programs in a
//!   folder `tools` beside it come first: on a machine without a network one stands in for its downloads.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use blacksky::sim::{Handle, Server};
use tokio::time::Instant;

use crate::dyno_life::{FRIEND, PATIENCE, PHONE, TOKEN, pair};
use crate::support::blacksky::Blacksky;
use crate::support::build::{Build, Built};
use crate::support::dyno::{App, Dyno, Slug};
use crate::support::{postgres, release, sim};

pub const NATIVE: &str = "[heroku]\nbuildpacks = [\"https://github.com/octocat/blacksky\"]\n\
                      [bots.main]\nprefix = \"!\"\n[bots.main.commands]\nping = \"pong\"\n";

/// An app in a repository of its own, with what `blacksky gen` makes of its file.
pub fn app(toml: &str, files: impl FnOnce(&Path)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    files(folder.path());
    fs::write(folder.path().join("blacksky.toml"), toml).expect("written");
    // `npm start` of the example starts the bot itself.
    let (code, _, stderr) = Blacksky::in_folder(folder.path()).arg("gen").arg("--force").output();
    assert_eq!(code, 0, "{stderr}");
    release::commit(folder.path());
    folder
}

/// The example bot as it is in the repository, with other lines in `[heroku]`.
pub fn example(heroku: &str, files: impl FnOnce(&Path)) -> tempfile::TempDir {
    let source = release::root().join("examples/baileys-bot");
    let toml = fs::read_to_string(source.join("blacksky.toml")).expect("its file");
    let toml = format!("{}\n[heroku]\n{heroku}\n", toml.split("[heroku]").next().unwrap_or_default());
    app(&toml, |folder| {
        for name in ["index.js", "package.json", ".gitignore", ".slugignore"] {
            fs::copy(source.join(name), folder.join(name)).expect("a file of the example");
        }
        files(folder);
    })
}

/// Makes package.json depend on the packed packages, which are committed, and not on those of a registry.
pub fn with_packed_packages(folder: &Path) {
    let mut dependencies = Vec::new();
    for (package, file) in ["blacksky".to_owned(), format!("blacksky-{}", release::PLATFORM)]
        .into_iter()
        .zip(release::npm_packages())
    {
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        fs::copy(file, folder.join(&name)).expect("a package");
        dependencies.push(format!("\"{package}\": \"file:{name}\", "));
    }
    let path = folder.join("package.json");
    let text = fs::read_to_string(&path).expect("package.json");
    let added = format!("\"dependencies\": {{ {}", dependencies.concat());
    fs::write(path, text.replacen("\"dependencies\": {", &added, 1)).expect("written");
}

/// `npm` as Heroku's Node buildpack runs it.
fn npm_install(build: &Build) {
    // Where npm keeps what it has downloaded is of this machine; that it is asked as another account is the point.
    let cache = build.at("cache").join("npm");
    let args = ["install", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"];
    release::run(build.command("npm").args(args).env("npm_config_cache", &cache).envs(of_npm()));
}

/// Which registry this machine uses, and whose certificates, is in the configuration of who runs the tests.
pub fn of_npm() -> Vec<(&'static str, String)> {
    [("npm_config_registry", "registry"), ("npm_config_cafile", "cafile")]
        .into_iter()
        .map(|(variable, key)| {
            (variable, release::run(Command::new("npm").args(["config", "get", key])).trim().to_owned())
        })
        .filter(|(_, value)| value != "null" && value != "undefined" && !value.is_empty())
        .collect()
}

/// The own buildpack with the archive on a server; what it printed.
fn by_own_buildpack(repository: &Path, first: impl FnOnce(&Build)) -> (Built, String) {
    let archive = fs::read(release::archive()).expect("the archive");
    let (sum, name) = (release::sha256(&archive), "blacksky.tar.gz".to_owned());
    let address = release::serve(vec![(name.clone(), archive)]) + &name;
    let vars =
        [("BLACKSKY_BUILDPACK_ARCHIVE", address.as_str()), ("BLACKSKY_BUILDPACK_SHA256", sum.as_str())];
    let build = Build::of(repository, &vars);
    first(&build);
    let buildpack = build.own_buildpack();
    let log = build.by(&buildpack);
    (build.pack(), log)
}

/// A process of the Procfile as a slug, with what Heroku and its add-on set.
async fn slug_of(built: &Built, process: &str, database: &str, sim: Option<&Server>) -> Slug {
    let link = sim.map_or_else(String::new, |sim| format!(" --link {}", sim.url()));
    Slug::packed(built.slug.clone(), process, &built.procfile[process], &link)
        .database(database)
        .env("BLACKSKY_ADMIN_TOKEN", TOKEN)
        .env("BLACKSKY_LEASE_TTL", "2s")
}

/// The release phase: a one-off dyno that must end well.
async fn release_phase(built: &Built, database: &str) -> Duration {
    let dyno = Dyno::start(&slug_of(built, "release", database, None).await, "release.1");
    let end = dyno.ended(PATIENCE).await;
    assert!(end.status.success(), "{}", dyno.log());
    dyno.started.elapsed()
}

/// What the friend has read.
fn read_by_friend(phone: &Handle) -> Vec<String> {
    let received = phone.received().into_iter().filter(|got| got.to == FRIEND && got.copy_for.is_none());
    received.filter_map(|got| got.text).collect()
}

async fn answers(phone: &Handle, app: &App) {
    let before = read_by_friend(phone).len();
    phone.send_text(FRIEND, PHONE, "!ping").expect("sent");
    let deadline = Instant::now() + PATIENCE;
    while read_by_friend(phone).len() == before {
        assert!(Instant::now() < deadline, "no answer: {:?} {}", phone.counters(), app.logs());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(read_by_friend(phone).iter().all(|text| text.starts_with("pong")));
}

/// Releases, boots, links, updates: what a person does with a new app and then with a new version of it.
async fn lives(what: &str, built: Built) {
    let (sim, database) = (sim::simulator(), postgres::database().await);
    let phone = sim.handle();
    let mut slug = slug_of(&built, "web", &database, Some(&sim)).await;
    let mut first_release = None;
    if let Some(old) = std::env::var_os("BLACKSKY_OLD") {
        // It brings the database to its own version itself.
        slug = slug.link("old-blacksky", PathBuf::from(old));
        let line = slug.command[2].clone();
        let program = built.procfile["web"].split(' ').next().unwrap_or_default();
        slug.command[2] = line.replace(program, "./old-blacksky");
    } else {
        first_release = Some(release_phase(&built, &database).await);
    }
    let app = App::start(slug, 1).await;
    app.until_up().await;
    let port = app.dyno("web.1").started.elapsed();
    pair(&app, &sim).await;
    answers(&phone, &app).await;

    // The update: its release phase runs beside the old dyno, which goes on all through it and after it.
    let logins = phone.counters().logins;
    let migrating = tokio::spawn({
        let release = slug_of(&built, "release", &database, None).await;
        async move {
            let dyno = Dyno::start(&release, "release.2");
            let end = dyno.ended(PATIENCE).await;
            assert!(end.status.success(), "{}", dyno.log());
            (dyno.started.elapsed(), dyno.log())
        }
    });
    let mut answered = 0;
    while !migrating.is_finished() || answered == 0 {
        answers(&phone, &app).await;
        answered += 1;
    }
    let (release, said) = migrating.await.expect("it ends");
    answers(&phone, &app).await;
    assert_eq!(app.link().await, "open");
    assert_eq!(
        phone.counters().logins,
        logins,
        "the release phase cost the old dyno its link: {}",
        app.logs()
    );

    let new = slug_of(&built, "web", &database, Some(&sim)).await;
    let old = app.deploy(|slug| *slug = new);
    for old in old {
        let end = old.ended(PATIENCE).await;
        assert!(end.asked && end.status.success(), "{end:?} {}", old.log());
    }
    app.until("open", PATIENCE).await;
    answers(&phone, &app).await;
    // Nothing is there to take over from: an app that was scaled to none comes back.
    assert!(app.shut_down().await.iter().all(|end| end.asked && end.status.success()));
    app.scale(1);
    app.until("open", PATIENCE).await;
    let open = app.dyno("web.1").started.elapsed();
    assert_eq!(phone.counters().registrations, 1, "a new QR: {}", app.logs());
    assert!(app.codes().is_empty(), "{:?}", app.codes());

    println!(
        "{what}: build {:.1?}, slug {:.1} MB, first release {first_release:.0?}, boot → port {port:.0?}, \
         boot → link open {open:.0?}, release of the update {release:.0?} with {answered} answers of the old dyno \
         meanwhile ({})",
        built.took,
        built.size as f64 / 1e6,
        said.lines().last().unwrap_or_default()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_native_bot_by_the_own_buildpack() {
    if std::env::var_os("BLACKSKY_PREBUILT").is_some() {
        return;
    }
    let (built, log) = by_own_buildpack(app(NATIVE, |_| {}).path(), |_| {});
    assert!(log.contains(&format!("blacksky {} is in the app", release::VERSION)), "{log}");
    assert_eq!(built.procfile["web"], "blacksky run");
    lives("native bot, own buildpack", built).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_bot_by_the_own_buildpack() {
    let heroku = "buildpacks = [\"heroku/nodejs\", \"https://github.com/octocat/blacksky\"]";
    let (built, _) = by_own_buildpack(example(heroku, |_| {}).path(), npm_install);
    lives("example bot, own buildpack", built).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_bot_by_npm() {
    let repository = example("build = \"npm\"", with_packed_packages);
    let build = Build::of(repository.path(), &[]);
    npm_install(&build);
    let built = build.pack();
    assert_eq!(built.procfile["web"], "./node_modules/.bin/blacksky run");
    lives("example bot, npm", built).await;
}

/// This repository as it is committed, by a buildpack for Rust that is no part of it.
#[tokio::test(flavor = "multi_thread")]
async fn this_repository_by_a_rust_buildpack() {
    let Some(buildpack) = std::env::var_os("BLACKSKY_RUST_BUILDPACK").map(PathBuf::from) else { return };
    let build = Build::of(release::root(), &[]);
    let mut compile = build.compile(&buildpack);
    let path = std::env::var_os("PATH").expect("a PATH").into_string().expect("text");
    compile.env("PATH", format!("{}:{path}", buildpack.with_file_name("tools").display()));
    release::run(build.command(buildpack.join("bin/detect")).arg(build.at("build")));
    println!("{}", release::run(&mut compile));
    let program = build.at("build").join("target/release/blacksky");
    let mode = program.metadata().expect("the program is where the Procfile says").permissions().mode();
    assert_eq!(mode & 0o111, 0o111);
    let built = build.pack();
    assert_eq!(built.procfile["web"], "./target/release/blacksky run");
    let database = postgres::database().await;
    let release = release_phase(&built, &database).await;
    let app = App::start(slug_of(&built, "web", &database, None).await, 1).await;
    app.until_up().await;
    println!(
        "this repository, Rust buildpack: build {:.0?}, slug {:.1} MB, release {release:.0?}, boot → port {:.0?}",
        built.took,
        built.size as f64 / 1e6,
        app.dyno("web.1").started.elapsed()
    );
    let status = app.status().await.expect("a status through the router");
    assert_ne!(status["bots"]["main"]["state"], "waiting_for_database", "{status}");
    assert!(app.shut_down().await.iter().all(|end| end.asked && end.status.success()), "{}", app.logs());
}
