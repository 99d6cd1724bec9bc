//! The archive and the npm packages as people install them.

use std::fs;
use std::process::Command;

use crate::support::release::{self, PLATFORM, TARGET, VERSION, output, run};

#[test]
fn packing_twice_gives_the_same_bytes() {
    let again = tempfile::tempdir().unwrap();
    let (first, second) =
        (fs::read(release::archive()).unwrap(), fs::read(release::pack(again.path())).unwrap());
    assert_eq!(release::sha256(&first), release::sha256(&second));

    let names = run(Command::new("tar").arg("-tzvf").arg(release::archive()));
    let inside = format!("blacksky-{VERSION}-{TARGET}");
    for (mode, name) in [
        ("-rwxr-xr-x 0/0", "blacksky"),
        ("-rw-r--r-- 0/0", "README.md"),
        ("-rw-r--r-- 0/0", "CHANGELOG.md"),
        ("-rw-r--r-- 0/0", "LICENSE"),
        ("-rw-r--r-- 0/0", "THIRD-PARTY.txt"),
        ("-rw-r--r-- 0/0", "completions/_blacksky"),
        ("-rw-r--r-- 0/0", "completions/blacksky.bash"),
        ("-rw-r--r-- 0/0", "completions/blacksky.fish"),
        ("-rw-r--r-- 0/0", "man/blacksky.1"),
        ("-rw-r--r-- 0/0", "man/blacksky-session-export.1"),
    ] {
        let found =
            names.lines().any(|line| line.starts_with(mode) && line.ends_with(&format!("{inside}/{name}")));
        assert!(found, "{mode} {name}: {names}");
    }
}

#[test]
fn the_list_of_crates_is_that_of_the_program() {
    let list = || run(&mut Command::new(release::root().join("scripts/sbom")));
    let text = list();
    assert_eq!(text, list(), "the same bytes each time");
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&document["bomFormat"], &document["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
    assert_eq!(document["metadata"]["component"]["purl"], format!("pkg:cargo/blacksky@{VERSION}"));
    let components = document["components"].as_array().unwrap();
    let named = |name: &str| components.iter().find(|it| it["name"] == name);
    for it in components {
        assert!(it["licenses"][0]["expression"].is_string(), "{it}");
        assert_eq!(it["hashes"][0]["content"].as_str().map(str::len), Some(64), "{it}");
    }
    assert!(named("whatsapp-rust").is_some() && named("sqlx").is_some());
    assert!(named("proptest").is_none() && named("insta").is_none(), "crates of the tests are in no program");
    // What depends on what names only what is listed.
    let refs: Vec<&serde_json::Value> = components.iter().map(|it| &it["bom-ref"]).collect();
    for dependency in document["dependencies"].as_array().unwrap() {
        for on in dependency["dependsOn"].as_array().unwrap() {
            assert!(refs.contains(&on), "{on}");
        }
    }
}

#[test]
fn the_licences_are_those_of_the_crates_and_of_their_files() {
    let text = run(&mut Command::new(release::root().join("scripts/licenses")));
    assert!(text.contains("\ntokio 1.") && text.contains("Permission is hereby granted"), "{text}");
    assert!(!text.contains("\nproptest "), "crates of the tests are in no program");
    // What docs/decisions/0032-libsignal.md is about; once it is gone, that goes too.
    let apart = text.split("another licence is named").nth(1).expect("that part");
    let others: Vec<&str> = apart.lines().filter(|line| line.contains(", src/")).collect();
    assert!(!others.is_empty());
    for line in others {
        assert!(line.starts_with("AGPL-3.0-only: wacore-libsignal "), "{line}");
    }
}

#[test]
fn completions_are_scripts_of_their_shell_and_pages_are_pages() {
    let said = |args: &[&str]| run(Command::new(release::program()).args(args));
    let bash = said(&["completions", "bash"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("blacksky.bash");
    fs::write(&file, &bash).unwrap();
    // As a person who presses Tab after `blacksky che`.
    let completed = format!(
        "source {}; COMP_WORDS=(blacksky che); COMP_CWORD=1; _blacksky blacksky che blacksky; echo \"${{COMPREPLY[@]}}\"",
        file.display()
    );
    assert_eq!(run(Command::new("bash").args(["-c", &completed])), "check\n");
    assert!(said(&["completions", "zsh"]).starts_with("#compdef blacksky"));
    assert!(said(&["man"]).contains(".TH blacksky 1"));
    let refused = output(Command::new(release::program()).args(["completions", "cmd"]));
    assert_eq!(refused.status.code(), Some(64));
}

#[test]
fn the_packed_files_install_into_an_empty_folder() {
    let folder = tempfile::tempdir().unwrap();
    let npm = |args: &[&str]| {
        let mut command = Command::new("npm");
        command.current_dir(folder.path()).args(args).args(["--offline", "--no-audit", "--no-fund"]);
        // A package.json in a folder above would be taken for the project.
        command.arg("--prefix").arg(folder.path());
        command.env("npm_config_cache", folder.path().join("cache"));
        command
    };
    let files: Vec<&str> = release::npm_packages().iter().map(|file| file.to_str().unwrap()).collect();
    run(npm(&["install"]).args(&files));
    let version = format!("blacksky {VERSION}\n");
    let npx = |args: &[&str]| {
        let mut command = Command::new("npx");
        command.current_dir(folder.path()).arg("--no-install").arg("blacksky").args(args);
        command.env("npm_config_cache", folder.path().join("cache"));
        command
    };
    assert_eq!(run(&mut npx(&["--version"])), version);
    assert_eq!(run(Command::new(folder.path().join("node_modules/.bin/blacksky")).arg("--version")), version);
    // Arguments and exit codes pass through the script.
    assert_eq!(output(&mut npx(&["check", "--config", "not there.toml"])).status.code(), Some(78));

    // The program itself is the process: nothing stays between it and a signal.
    let program = folder.path().join(format!("node_modules/blacksky-{PLATFORM}/bin/blacksky"));
    let mut sim = Command::new(folder.path().join("node_modules/.bin/blacksky"))
        .args(["sim", "--port", "0"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(sim.stdout.as_mut().unwrap()), &mut line)
        .unwrap();
    let running = fs::read_link(format!("/proc/{}/exe", sim.id())).unwrap();
    sim.kill().unwrap();
    sim.wait().unwrap();
    assert_eq!(running, program.canonicalize().unwrap(), "{line}");

    // Without the platform's package it says so.
    fs::remove_dir_all(program.parent().unwrap().parent().unwrap()).unwrap();
    let refused = output(&mut npx(&["--version"]));
    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(69), "{stderr}");
    assert!(stderr.contains(&format!("blacksky-{PLATFORM} is not installed")), "{stderr}");
}

#[test]
fn the_packages_hold_the_program_and_nothing_else() {
    let [main, platform] = release::npm_packages();
    let list = |file| {
        let names = run(Command::new("tar").arg("-tzf").arg(file));
        let mut names: Vec<String> = names.lines().map(str::to_owned).collect();
        names.sort();
        names
    };
    let names = ["package/LICENSE", "package/README.md", "package/bin/blacksky", "package/package.json"];
    assert_eq!(list(main), names);
    // The licences of what is in the program are beside it.
    let [licence, readme, program, manifest] = names;
    assert_eq!(list(platform), [licence, readme, "package/THIRD-PARTY.txt", program, manifest]);
    let read = |file, name: &str| run(Command::new("tar").arg("-xzOf").arg(file).arg(name));
    let json =
        |file| -> serde_json::Value { serde_json::from_str(&read(file, "package/package.json")).unwrap() };
    let (main, platform) = (json(main), json(platform));
    assert_eq!(main["version"], VERSION);
    assert_eq!(main["optionalDependencies"], serde_json::json!({ format!("blacksky-{PLATFORM}"): VERSION }));
    assert_eq!(platform["name"], format!("blacksky-{PLATFORM}"));
    assert_eq!(platform["os"], serde_json::json!(["linux"]));
    for package in [main, platform] {
        assert!(package.get("scripts").is_none(), "installing runs nothing: {package}");
    }
}
