//! `blacksky gen --target`: files for hosts other than Heroku, as a person makes them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::blacksky::Blacksky;

const FILE: &str = "[app]\nname = \"shop-bot\"\nrepository = \"https://github.com/example/shop-bot\"\n\
                    [heroku]\ndyno = \"standard-1x\"\nquantity = 2\n";

const NODE: &str = "[bots.main]\nkind = \"hosted\"\ncommand = [\"node\", \"index.js\"]\n";

fn folder(toml: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("blacksky.toml"), toml).expect("written");
    folder
}

fn made(folder: &Path, args: &[&str]) -> (i32, String, String) {
    let command = Blacksky::in_folder(folder).arg("gen");
    args.iter().fold(command, |command, arg| command.arg(*arg)).output()
}

fn read(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn the_files_of_all_hosts_live_side_by_side() {
    let folder = folder(FILE);
    let hosts = [
        ("heroku", "app.json"),
        ("docker", "compose.yaml"),
        ("railway", ".railway/railway.ts"),
        ("render", "render.yaml"),
        ("fly", "fly.toml"),
    ];
    for (host, own) in hosts {
        let (code, stdout, stderr) = made(folder.path(), &["--target", host]);
        assert_eq!((code, stderr.as_str()), (0, ""), "{host}");
        assert!(stdout.contains(&format!("wrote {own}\n")), "{host}: {stdout}");
        // What comes next is told with it.
        assert!(stdout.contains("\n\n# "), "{host}: {stdout}");
        assert!(folder.path().join(own).exists(), "{host}");
    }
    for (host, own) in hosts {
        let (code, stdout, stderr) = made(folder.path(), &["--target", host, "--check"]);
        assert_eq!((code, stderr.as_str()), (0, ""), "{host}: {stdout}");
        // One that was edited is kept, and the others are still known.
        let path = folder.path().join(own);
        let before = fs::read_to_string(&path).expect("it is there");
        fs::write(&path, before.replace("shop-bot", "another-bot")).expect("written");
        let (code, stdout, stderr) = made(folder.path(), &["--target", host, "--check"]);
        assert_eq!(code, 1, "{host}: {stdout}");
        let again =
            if host == "heroku" { "run blacksky gen\n".to_owned() } else { format!("--target {host}\n") };
        assert!(stdout.contains("-") && stderr.ends_with(&again), "{host}: {stderr}");
        let (code, _, stderr) = made(folder.path(), &["--target", host]);
        assert!(code == 1 && stderr.contains(own) && stderr.contains("--force"), "{host}: {stderr}");
        assert_eq!(made(folder.path(), &["--target", host, "--force"]).0, 0, "{host}");
        assert_eq!(fs::read_to_string(&path).expect("it is there"), before, "{host}");
    }
    // A change of the file reaches each of them.
    fs::write(folder.path().join("blacksky.toml"), FILE.replace("shop-bot", "other-bot")).expect("written");
    for (host, own) in hosts {
        let (code, _, stderr) = made(folder.path(), &["--target", host]);
        assert_eq!((code, stderr.as_str()), (0, ""), "{host}");
        assert!(read(folder.path(), own).contains("other-bot"), "{host}");
    }
    let (code, stdout, _) = made(folder.path(), &["--target", "fly", "--print"]);
    assert!(code == 0 && stdout.contains("# fly.toml\n") && stdout.contains("# Dockerfile\n"), "{stdout}");
    let (code, _, stderr) = made(folder.path(), &["--target", "herokku"]);
    assert!(code == 64 && stderr.contains("heroku, docker, railway, render, fly"), "{code}: {stderr}");
}

#[test]
fn a_bot_on_node_gets_the_program_by_npm() {
    for host in ["docker", "railway", "render", "fly"] {
        let folder = folder(NODE);
        fs::write(folder.path().join("package.json"), "{\"dependencies\": {\"baileys\": \"1\"}}")
            .expect("written");
        let (code, stdout, stderr) = made(folder.path(), &["--target", host]);
        assert_eq!((code, stderr.as_str()), (0, ""), "{host}");
        assert!(stdout.contains("\nnpm install\n"), "{host}: {stdout}");
        let package: Value = serde_json::from_str(&read(folder.path(), "package.json")).expect("JSON");
        assert!(package["dependencies"]["blacksky"].is_string(), "{host}: {package}");
        assert!(read(folder.path(), "Dockerfile").contains("nodejs22"), "{host}");
    }
    let folder = folder("[bots.main]\nkind = \"hosted\"\ncommand = [\"python3\", \"bot.py\"]\n");
    let (code, stdout, _) = made(folder.path(), &["--target", "docker"]);
    assert!(code == 0 && stdout.contains("needs a Dockerfile of your own"), "{stdout}");
    assert!(!folder.path().join("Dockerfile").exists());
}

/// Runs lines in a shell that stops at the first one that fails, with programs in place of the host's own.
fn run(lines: &str, folder: &Path, programs: &Path) -> String {
    let mut path = programs.as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").expect("PATH"));
    let output = Command::new("sh")
        .args(["-e", "-c", lines])
        .current_dir(folder)
        .env("PATH", path)
        .env("STATE", programs)
        .output()
        .expect("a shell");
    assert!(output.status.success(), "{lines}\n{}", String::from_utf8_lossy(&output.stderr));
    let calls = fs::read_to_string(programs.join("calls")).unwrap_or_default();
    // There may have been none.
    let _ = fs::remove_file(programs.join("calls"));
    calls
}

fn program(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\necho \"{name} $*\" >> \"$STATE/calls\"\n{text}\n"))
        .expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("permissions");
}

#[test]
fn the_lines_for_docker_make_secrets_once_and_hide_them_from_git() {
    let folder = folder("");
    fs::write(folder.path().join(".gitignore"), "target\n").expect("written");
    let (_, lines, _) = made(folder.path(), &["--target", "docker", "--commands"]);
    let programs = tempfile::tempdir().expect("a folder");
    program(programs.path(), "docker", "");
    assert_eq!(run(&lines, folder.path(), programs.path()), "docker compose up --build --detach\n");
    let secrets = read(folder.path(), ".env");
    let names: Vec<&str> =
        secrets.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    assert_eq!(names, ["BLACKSKY_SECRET_KEY", "BLACKSKY_ADMIN_TOKEN", "POSTGRES_PASSWORD"]);
    assert!(secrets.lines().all(|line| line.split_once('=').is_some_and(|(_, value)| value.len() >= 48)));
    let mode = fs::metadata(folder.path().join(".env")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o077, 0, "others can read it: {mode:o}");
    run(&lines, folder.path(), programs.path());
    assert_eq!(read(folder.path(), ".env"), secrets, "the sessions could not be read under another key");
    assert_eq!(read(folder.path(), ".gitignore"), "target\n.env\n");
    // Everything that compose.yaml wants of .env is there.
    assert_eq!(made(folder.path(), &["--target", "docker"]).0, 0);
    let compose = read(folder.path(), "compose.yaml");
    for wanted in compose.split("${").skip(1).filter_map(|rest| rest.split_once(":?")).map(|(name, _)| name) {
        assert!(names.contains(&wanted), "{wanted}");
    }
}

#[test]
fn the_lines_for_railway_and_fly_change_no_secret_the_second_time() {
    const RAILWAY: &str = r#"case "$1 $2" in
  "variable list") [ "$FAILS" ] && exit 1; cat "$STATE/variables" 2> /dev/null || true ;;
  "variable set") echo "$5" >> "$STATE/variables" ;;
esac"#;
    const FLY: &str = r#"case "$1 $2" in
  "secrets list") [ "$FAILS" ] && exit 1; cut -d= -f1 "$STATE/variables" 2> /dev/null || true ;;
  "secrets set") echo "$6" >> "$STATE/variables" ;;
esac"#;
    for (host, text) in [("railway", RAILWAY), ("fly", FLY)] {
        let folder = folder("");
        let (_, lines, _) = made(folder.path(), &["--target", host, "--commands"]);
        let programs = tempfile::tempdir().expect("a folder");
        program(programs.path(), host, text);
        program(programs.path(), "npm", "");
        let silent = format!("FAILS=1; export FAILS\n{lines}");
        assert!(
            !run(&silent, folder.path(), programs.path()).contains(" set "),
            "{host}: nobody told what is there"
        );
        let calls = run(&lines, folder.path(), programs.path());
        assert_eq!(calls.matches(" set ").count(), 2, "{host}: {calls}");
        let secrets = read(programs.path(), "variables");
        for (name, line) in ["BLACKSKY_SECRET_KEY=", "BLACKSKY_ADMIN_TOKEN="].into_iter().zip(secrets.lines())
        {
            assert!(line.starts_with(name) && line.len() >= name.len() + 48, "{host}: {line}");
        }
        let again = run(&lines, folder.path(), programs.path());
        assert!(!again.contains(" set "), "{host}: {again}");
        assert_eq!(read(programs.path(), "variables"), secrets, "{host}");
    }
}

/// Stands for Railway's package `railway/iac`: remembers what the file asks for.
const IAC: &str = r#"
const of = kind => (name, config) => ({
  kind, name, config,
  env: new Proxy({}, { get: (_, variable) => `${kind}.${name}.${variable}` }),
});
export const service = of("service");
export const postgres = of("postgres");
export const github = (repository, config) => ({ type: "github", repository, config });
export const preserve = () => ({ type: "preserve" });
export const project = (name, config) => ({ name, ...config });
export const defineRailway = make => make;
"#;

/// The keys that `service` and its parts know (npm package railway 3.11.0, `IntentServiceConfig`).
const SERVICE: [&str; 26] = [
    "source",
    "root",
    "rootDirectory",
    "build",
    "deploy",
    "run",
    "start",
    "startCommand",
    "preDeploy",
    "preDeployCommand",
    "healthcheck",
    "healthcheckPath",
    "healthcheckTimeout",
    "replicas",
    "regions",
    "networking",
    "domains",
    "tcp",
    "tcpProxies",
    "env",
    "variables",
    "volumeMounts",
    "configFile",
    "groupId",
    "clusterRole",
    "replicaConfig",
];
const BUILD: [&str; 5] = ["builder", "watchPatterns", "buildCommand", "buildEnvironment", "dockerfilePath"];
const DEPLOY: [&str; 12] = [
    "startCommand",
    "preDeployCommand",
    "numReplicas",
    "healthcheckPath",
    "healthcheckTimeout",
    "sleepApplication",
    "runtime",
    "restartPolicyType",
    "restartPolicyMaxRetries",
    "region",
    "overlapSeconds",
    "drainingSeconds",
];

/// What Railway's command line gets from the file: it runs it with Node.js.
fn railway(toml: &str) -> Value {
    let folder = folder(toml);
    assert_eq!(made(folder.path(), &["--target", "railway"]).0, 0);
    let package = folder.path().join("node_modules/railway");
    fs::create_dir_all(&package).expect("a folder");
    fs::write(package.join("package.json"), r#"{"name": "railway", "exports": {"./iac": "./iac.mjs"}}"#)
        .expect("written");
    fs::write(package.join("iac.mjs"), IAC).expect("written");
    // It has no types, so any Node.js runs it.
    let program = folder.path().join(".railway/railway.mjs");
    fs::copy(folder.path().join(".railway/railway.ts"), &program).expect("copied");
    let script = "const file = await import(process.argv[1]); console.log(JSON.stringify(file.default({})))";
    let output = Command::new("node").args(["--input-type=module", "-e", script]).arg(&program).output();
    let output = output.expect("Node.js");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn only(value: &Value, known: &[&str]) {
    for key in value.as_object().expect("an object").keys() {
        assert!(known.contains(&key.as_str()), "{key} in {value}");
    }
}

#[test]
fn railway_ts_runs_and_holds_only_what_railway_knows() {
    for (toml, is_web) in
        [(FILE, true), ("", true), (NODE, true), ("[heroku]\nprocess = \"worker\"\nbuild = \"npm\"\n", false)]
    {
        let project = railway(toml);
        let [database, bot] = &project["resources"].as_array().expect("resources")[..] else {
            panic!("{project}")
        };
        assert_eq!((&database["kind"], &bot["kind"]), (&"postgres".into(), &"service".into()));
        let config = &bot["config"];
        only(config, &SERVICE);
        only(&config["build"], &BUILD);
        only(&config["deploy"], &DEPLOY);
        assert_eq!(config["env"]["DATABASE_URL"], "postgres.Postgres.DATABASE_URL");
        assert_eq!(config["env"]["BLACKSKY_SECRET_KEY"]["type"], "preserve");
        assert_eq!(config["healthcheck"].is_string(), is_web, "{config}");
        assert!(config["deploy"]["drainingSeconds"].as_u64().is_some_and(|seconds| seconds > 30), "{config}");
    }
    let config = &railway(FILE)["resources"][1]["config"];
    assert_eq!(config["source"]["repository"], "example/shop-bot");
    assert_eq!(config["replicas"], 2);
}
