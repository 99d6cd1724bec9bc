//! What other hosts read, as they read it.

use std::path::Path;

use serde_json::Value;

use super::known_keys::{Known, unknown};
use super::{Target, artifacts};
use crate::config::{Config, NoEnvironment};

fn config(toml: &str) -> Config {
    Config::parse(Path::new("blacksky.toml"), toml.into(), &NoEnvironment).expect("a good file").config
}

fn own_file(target: Target, toml: &str) -> String {
    let files = artifacts(&config(toml), target);
    files.into_iter().find(|file| file.path == target.own_file()).expect("its own file").text
}

/// Files that differ in what is written: process, number, memory, names, bots.
const FILES: [&str; 5] = [
    "",
    "[heroku]\nprocess = \"worker\"\nbuild = \"npm\"",
    "[app]\nname = \"Shop: the # \\\"bot\\\"\"\n[heroku]\ndyno = \"performance-l\"\nquantity = 3",
    "[bots.one]\n[bots.two]\nkind = \"hosted\"\ncommand = [\"node\", \"two.js\"]",
    "[bots.main]\nkind = \"hosted\"\ncommand = [\"python3\", \"bot.py\"]",
];

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// What is used of the compose specification (compose-spec.json of August 2026).
const COMPOSE: &Known = &[
    ("", &["name", "services", "volumes"]),
    (
        "services.*",
        &[
            "build",
            "depends_on",
            "environment",
            "healthcheck",
            "image",
            "init",
            "ports",
            "restart",
            "stop_grace_period",
            "volumes",
        ],
    ),
    ("services.*.environment.*", &[]),
    ("services.*.healthcheck", &["test", "interval", "timeout", "retries", "start_period", "start_interval"]),
    ("volumes.*", &[]),
];

#[test]
fn compose_yaml_holds_only_what_docker_knows() {
    for toml in FILES {
        let compose = yaml(&own_file(Target::Docker, toml));
        assert_eq!(unknown(&compose, COMPOSE), [""; 0], "{toml}");
        let blacksky = &compose["services"]["blacksky"];
        assert_eq!(blacksky["ports"].is_array(), !toml.contains("worker"), "{blacksky}");
        for (name, value) in blacksky["environment"].as_object().expect("variables") {
            assert!(value.is_string(), "{name}: {value}");
        }
        // A password that is missing stops compose with its name.
        for secret in ["BLACKSKY_SECRET_KEY", "BLACKSKY_ADMIN_TOKEN"] {
            assert_eq!(blacksky["environment"][secret], format!("${{{secret}:?is missing in .env}}"));
        }
        let volume = compose["services"]["database"]["volumes"][0].as_str().expect("a volume");
        let (name, _) = volume.split_once(':').expect("a name and a path");
        assert!(compose["volumes"].as_object().is_some_and(|all| all.contains_key(name)), "{volume}");
    }
}

/// Render's blueprint specification (render.com/docs/blueprint-spec of August 2026): a service of runtime docker,
/// and a database.
const RENDER: &Known = &[
    ("", &["services", "databases", "envVarGroups", "projects", "ungrouped", "previews", "version"]),
    (
        "services",
        &[
            "type",
            "name",
            "runtime",
            "region",
            "plan",
            "branch",
            "rootDir",
            "dockerfilePath",
            "dockerContext",
            "dockerCommand",
            "preDeployCommand",
            "autoDeployTrigger",
            "maxShutdownDelaySeconds",
            "healthCheckPath",
            "domains",
            "envVars",
            "buildFilter",
            "disk",
            "scaling",
            "numInstances",
            "registryCredential",
            "previews",
        ],
    ),
    (
        "services.envVars",
        &["key", "value", "generateValue", "sync", "fromDatabase", "fromService", "fromGroup"],
    ),
    ("services.envVars.fromDatabase", &["name", "property"]),
    (
        "databases",
        &[
            "name",
            "plan",
            "previewPlan",
            "previewDiskSizeGB",
            "postgresMajorVersion",
            "databaseName",
            "user",
            "region",
            "diskSizeGB",
            "storageAutoscalingEnabled",
            "readReplicas",
            "highAvailability",
            "ipAllowList",
        ],
    ),
];

#[test]
fn render_yaml_holds_only_what_render_knows() {
    for toml in FILES {
        let render = yaml(&own_file(Target::Render, toml));
        assert_eq!(unknown(&render, RENDER), [""; 0], "{toml}");
        let service = &render["services"][0];
        let kind = if toml.contains("worker") { "worker" } else { "web" };
        assert_eq!(service["type"], kind);
        assert_eq!(service["healthCheckPath"].is_string(), kind == "web", "only a web service is asked");
        let seconds = service["maxShutdownDelaySeconds"].as_u64().expect("a number");
        assert!((31..=300).contains(&seconds), "blacksky takes up to 30 s, and Render allows 300");
        let database = &service["envVars"][0]["fromDatabase"];
        assert_eq!(database["name"], render["databases"][0]["name"]);
        for variable in &service["envVars"].as_array().expect("variables")[1..] {
            assert_eq!(variable["generateValue"], true, "no secret stands in the file: {variable}");
        }
    }
}

/// flyctl's own structures (internal/appconfig of August 2026).
const FLY: &Known = &[
    (
        "",
        &[
            "app",
            "primary_region",
            "kill_signal",
            "kill_timeout",
            "swap_size_mb",
            "console_command",
            "experimental",
            "build",
            "deploy",
            "env",
            "processes",
            "mounts",
            "http_service",
            "services",
            "checks",
            "files",
            "host_dedication_id",
            "machine_config",
            "container",
            "machine_checks",
            "restart",
            "vm",
            "statics",
            "metrics",
        ],
    ),
    (
        "build",
        &[
            "builder",
            "args",
            "buildpacks",
            "image",
            "settings",
            "builtin",
            "dockerfile",
            "ignorefile",
            "build-target",
            "compose",
            "compression",
            "compression_level",
        ],
    ),
    (
        "deploy",
        &[
            "strategy",
            "max_unavailable",
            "wait_timeout",
            "release_command",
            "release_command_timeout",
            "release_command_vm",
            "seed_command",
        ],
    ),
    ("env.*", &[]),
    (
        "http_service",
        &[
            "internal_port",
            "force_https",
            "auto_stop_machines",
            "auto_start_machines",
            "min_machines_running",
            "processes",
            "concurrency",
            "tls_options",
            "http_options",
            "checks",
            "machine_checks",
        ],
    ),
    (
        "http_service.checks",
        &[
            "interval",
            "timeout",
            "grace_period",
            "method",
            "path",
            "protocol",
            "tls_skip_verify",
            "tls_server_name",
            "headers",
        ],
    ),
    (
        "checks.*",
        &[
            "port",
            "type",
            "interval",
            "timeout",
            "grace_period",
            "method",
            "path",
            "protocol",
            "tls_skip_verify",
            "tls_server_name",
            "headers",
            "processes",
        ],
    ),
    ("restart", &["policy", "retries", "processes"]),
    (
        "vm",
        &[
            "size",
            "memory",
            "cpu_kind",
            "cpus",
            "gpus",
            "gpu_kind",
            "kernel_args",
            "host_dedication_id",
            "persist_rootfs",
            "processes",
        ],
    ),
];

#[test]
fn fly_toml_holds_only_what_fly_knows() {
    for toml in FILES {
        let text = own_file(Target::Fly, toml);
        let fly: Value = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(unknown(&fly, FLY), [""; 0], "{toml}");
        // "bluegreen" waits for a check, and the proxy reaches the port that PORT names.
        let (checks, port) = match toml.contains("worker") {
            true => (&fly["checks"]["alive"], &fly["checks"]["alive"]["port"]),
            false => (&fly["http_service"]["checks"][0], &fly["http_service"]["internal_port"]),
        };
        assert_eq!(checks["path"], "/healthz");
        assert_eq!(fly["env"]["PORT"], port.to_string());
        assert_eq!(fly["http_service"].is_object(), !toml.contains("worker"));
        let timeout = fly["kill_timeout"].as_str().and_then(|text| text.strip_suffix('s'));
        let timeout: u64 = timeout.and_then(|number| number.parse().ok()).expect("seconds");
        assert!((31..=300).contains(&timeout), "blacksky takes up to 30 s, and Fly.io allows 300");
    }
}

#[test]
fn a_key_that_nobody_knows_is_found() {
    let wrong =
        serde_json::json!({ "app": "a", "http_service": { "internal_prt": 1, "checks": [{ "pth": "" }] } });
    assert_eq!(unknown(&wrong, FLY), ["http_service.internal_prt", "http_service.checks.pth"]);
    assert_eq!(
        unknown(&serde_json::json!({ "services": { "a": { "imge": 1 } } }), COMPOSE),
        ["services.*.imge"]
    );
}
