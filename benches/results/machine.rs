//! What the figures were taken on.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Date, machine and versions, as a list.
pub fn describe() -> String {
    let said = |program: &str, args: &[&str]| {
        let output =
            Command::new(program).args(args).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let or_not = |found: Option<String>| found.unwrap_or_else(|| "not known".to_owned());
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models = || processors.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
    let gib = kib.map(|kib: f64| format!("{:.0} GiB", kib / f64::from(1 << 20)));
    let postgres =
        said("sh", &["-c", "$(ls /usr/lib/postgresql/*/bin/postgres 2>/dev/null | tail -1) --version"])
            .or_else(|| said("postgres", &["--version"]));
    let pm2 = std::env::var_os("BENCH_PM2")
        .and_then(|program| fs::canonicalize(program).ok())
        .and_then(|program| fs::read_to_string(program.parent()?.parent()?.join("package.json")).ok())
        .and_then(|package| serde_json::from_str::<serde_json::Value>(&package).ok())
        .and_then(|package| package["version"].as_str().map(str::to_owned));
    format!(
        "- {}, {} at commit {}\n\
         - {} cores ({}), {}; {}\n\
         - disk: {}\n\
         - {}; {}; Node.js {}; pm2 {}; Baileys {}; whatsapp-rust {}\n",
        or_not(said("date", &["-u", "+%F"])),
        concat!("blacksky ", env!("CARGO_PKG_VERSION"), ", release build with the feature simulator,"),
        or_not(said("git", &["rev-parse", "--short", "HEAD"])),
        models().count(),
        models().next().map_or("model not known", |(_, model)| model.trim()),
        or_not(gib),
        or_not(said("uname", &["-sr"])),
        disk().unwrap_or_else(|| "not known".to_owned()),
        or_not(said("rustc", &["--version"])),
        or_not(postgres),
        or_not(said("node", &["--version"])),
        pm2.as_deref().unwrap_or("was not there"),
        or_not(pinned("tests/node/package.json", "\"baileys\": \"")),
        or_not(pinned("Cargo.toml", "whatsapp-rust = { version = \"=")),
    )
}

/// The version behind these words in a file of the repository.
fn pinned(file: &str, words: &str) -> Option<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).ok()?;
    let (version, _) = text.split_once(words)?.1.split_once('"')?;
    Some(version.to_owned())
}

/// Kind of the disk under the temporary folder, where all databases of the measurements are.
fn disk() -> Option<String> {
    let folder = std::env::temp_dir();
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let under = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (device, at, kind) = (words.next()?, words.next()?, words.next()?);
        folder.starts_with(at).then_some((at.len(), device, kind))
    });
    let (_, device, kind) = under.max()?;
    let name = device.rsplit('/').next()?;
    let turns = fs::read_to_string(format!("/sys/block/{name}/queue/rotational")).ok();
    let make = match turns.as_deref().map(str::trim) {
        Some("0") => "no rotating parts",
        Some(_) => "says it rotates",
        None => "make not known",
    };
    Some(format!("{kind} on {name} ({make})"))
}
