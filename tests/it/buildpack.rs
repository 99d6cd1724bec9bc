//! `bin/compile` when something is not as it should be.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::build::Build;
use crate::support::release::{self, output, run};

fn repository(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    release::commit(folder.path());
    folder
}

/// Compiles; what it printed, and whether it went well.
fn compile(build: &Build, path: Option<&Path>) -> (bool, String) {
    let buildpack = build.own_buildpack();
    let mut command = build.compile(&buildpack);
    if let Some(path) = path {
        command.env("PATH", path);
    }
    let output = output(&mut command);
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

const SMALL: [(&str, &str); 2] = [("blacksky.toml", "[bots.main]\n"), ("Procfile", "web: blacksky run\n")];

#[test]
fn what_is_not_right_ends_the_build_and_says_what_to_do() {
    let archive = fs::read(release::archive()).unwrap();
    let (sum, name) = (release::sha256(&archive), "blacksky.tar.gz");
    let other = "0".repeat(64);
    let address = release::serve(vec![
        (name.to_owned(), archive.clone()),
        ("cut/blacksky.tar.gz".to_owned(), archive[..archive.len() / 2].to_vec()),
    ]);
    let (good, cut, missing) =
        (format!("{address}{name}"), format!("{address}cut/{name}"), format!("{address}missing/{name}"));
    let app = repository(&SMALL);
    for (vars, words) in [
        (vec![], "Set the Config Var BLACKSKY_BUILDPACK_ARCHIVE"),
        // Without a checksum that is known beforehand nothing is taken from a plain connection.
        (vec![("BLACKSKY_BUILDPACK_ARCHIVE", good.as_str())], "Set BLACKSKY_BUILDPACK_SHA256"),
        (
            vec![
                ("BLACKSKY_BUILDPACK_ARCHIVE", good.as_str()),
                ("BLACKSKY_BUILDPACK_SHA256", other.as_str()),
            ],
            "is not the one that was released",
        ),
        (
            vec![("BLACKSKY_BUILDPACK_ARCHIVE", cut.as_str()), ("BLACKSKY_BUILDPACK_SHA256", sum.as_str())],
            "is not the one that was released",
        ),
        (
            vec![
                ("BLACKSKY_BUILDPACK_ARCHIVE", missing.as_str()),
                ("BLACKSKY_BUILDPACK_SHA256", sum.as_str()),
            ],
            "blacksky.tar.gz cannot be read",
        ),
        (
            vec![("BLACKSKY_BUILDPACK_ARCHIVE", good.as_str()), ("BLACKSKY_BUILDPACK_SHA256", "abc")],
            "A SHA-256 is 64 hex digits",
        ),
        (
            vec![
                ("BLACKSKY_BUILDPACK_ARCHIVE", good.as_str()),
                ("BLACKSKY_BUILDPACK_SHA256", sum.as_str()),
                ("BLACKSKY_LEASE_TTL", "forever"),
            ],
            "lease.ttl: \"forever\" is not a duration",
        ),
    ] {
        let build = Build::of(app.path(), &vars);
        let (good, log) = compile(&build, None);
        assert!(!good && log.contains(words), "{words}: {log}");
        assert!(log.contains(" !     "), "{log}");
        let left = fs::read_dir(build.at("tmp")).unwrap().count();
        assert_eq!(left, 0, "nothing is left in the temporary folder");
    }
}

#[test]
fn a_wrong_file_ends_the_build_with_its_line() {
    let archive = release::archive().to_str().unwrap();
    let sum = release::sha256(&fs::read(archive).unwrap());
    let address = release::serve(vec![("b.tar.gz".to_owned(), fs::read(archive).unwrap())]) + "b.tar.gz";
    let vars =
        [("BLACKSKY_BUILDPACK_ARCHIVE", address.as_str()), ("BLACKSKY_BUILDPACK_SHA256", sum.as_str())];
    let app = repository(&[("blacksky.toml", "[heroku]\ndyno = \"free\"\n")]);
    let (good, log) = compile(&Build::of(app.path(), &vars), None);
    assert!(!good && log.contains("blacksky.toml:2:8") && log.contains("are not good"), "{log}");

    let app = repository(&[("index.js", "")]);
    let build = Build::of(app.path(), &vars);
    let detect = output(build.command(build.own_buildpack().join("bin/detect")).arg(build.at("build")));
    assert_eq!(detect.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&detect.stderr).contains("run blacksky init"));
    let (good, log) = compile(&build, None);
    assert!(!good && log.contains("Run blacksky init"), "{log}");
}

#[test]
fn an_archive_in_the_app_is_taken_with_its_sums_and_a_second_build_finds_it_in_the_cache() {
    let archive = fs::read(release::archive()).unwrap();
    let app = repository(&SMALL);
    let name = release::archive().file_name().unwrap().to_str().unwrap();
    fs::create_dir(app.path().join("vendor")).unwrap();
    fs::write(app.path().join("vendor").join(name), &archive).unwrap();
    let sums = format!("{}  other.tar.gz\n{}  {name}\n", "0".repeat(64), release::sha256(&archive));
    fs::write(app.path().join("vendor/SHA256SUMS"), sums).unwrap();
    release::commit(app.path());
    let place = format!("vendor/{name}");
    let vars = [
        ("BLACKSKY_BUILDPACK_ARCHIVE", place.as_str()),
        // What a program of the app's owner must not see while it is built.
        ("PATH", "/nowhere"),
        ("LD_PRELOAD", "/nowhere.so"),
    ];
    let build = Build::of(app.path(), &vars);
    let (good, log) = compile(&build, None);
    assert!(good, "{log}");
    assert!(!log.contains("cache") && !log.contains("Warning"), "{log}");
    let profile = fs::read_to_string(build.at("build").join(".profile.d/blacksky.sh")).unwrap();
    assert_eq!(profile, "export PATH=\"$HOME/.heroku/blacksky/bin:$PATH\"\n");
    fs::write(build.at("build").join("Procfile"), "web: node index.js\n").unwrap();
    let (good, log) = compile(&build, None);
    assert!(
        good && log.contains("The archive is in the cache.") && log.contains("Warning: the Procfile"),
        "{log}"
    );

    let said = run(build.command(build.own_buildpack().join("bin/release")).arg(build.at("build")));
    assert_eq!(said, "---\ndefault_process_types:\n  web: blacksky run\n");
}

#[test]
fn shell_scripts_are_clean() {
    let scripts = ["bin/detect", "bin/compile", "bin/release", "npm/blacksky/bin/blacksky"]
        .into_iter()
        .chain(["scripts/test", "scripts/pack", "scripts/pack-npm", "scripts/release", "scripts/glibc"]);
    let scripts: Vec<_> = scripts.map(|name| release::root().join(name)).collect();
    for script in &scripts {
        let text = fs::read_to_string(script).unwrap();
        let strict = text.contains("\nset -euo pipefail\n")
            || text.starts_with("#!/bin/sh") && text.contains("\nset -eu\n");
        assert!(strict, "{} is not strict", script.display());
        let shell = if text.starts_with("#!/bin/sh") { "sh" } else { "bash" };
        run(Command::new(shell).arg("-n").arg(script));
    }
    // `scripts/test` installs it; elsewhere the syntax is all that is looked at.
    if let Ok(version) = Command::new("shellcheck").arg("--version").output() {
        assert!(version.status.success());
        run(Command::new("shellcheck").args(&scripts));
    }
}
