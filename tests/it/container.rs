//! `heroku.build = "container"` without a container engine.
//!
//! What a Dockerfile must be to run as nobody and without a shell is looked at always. With `BLACKSKY_DEBIAN=FOLDER`, made
//! by `debootstrap --variant=minbase bookworm FOLDER`, and as root, each instruction is done as an engine does it: the
//! first stage on that Debian, the last one on the files of the packages that distroless images consist of; then the
//! image is started as process 1 of a namespace under the image's account.
//!
//! `cargo build` is not run there but finds the program of `support::release`: building it is `deploy.rs`'s.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::deploy::{NATIVE, app, example, of_npm, with_packed_packages};
use crate::dyno_life::{FRIEND, PATIENCE, PHONE, TOKEN};
use crate::support::dyno::{link_of, status};
use crate::support::{http, postgres, qr, release, sim};

/// One instruction: its name and the rest of the line.
fn instructions(dockerfile: &str) -> Vec<(&str, &str)> {
    let lines = dockerfile.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').unwrap_or_else(|| panic!("{line}"))).collect()
}

/// The words of an exec form.
fn words(json: &str) -> Vec<String> {
    serde_json::from_str(json).unwrap_or_else(|_| panic!("{json} is not the exec form"))
}

fn container(toml: &str) -> tempfile::TempDir {
    let heroku = "[heroku]\nbuild = \"container\"\n";
    app(&format!("{heroku}{}", &toml[toml.find("[bots").expect("bots")..]), |_| {})
}

fn node_container() -> tempfile::TempDir {
    example("build = \"container\"", with_packed_packages)
}

#[test]
fn the_last_stage_has_no_shell_to_run_anything_with() {
    for folder in [container(NATIVE), node_container()] {
        let text = fs::read_to_string(folder.path().join("Dockerfile")).unwrap();
        let all = instructions(&text);
        let last = all.iter().rposition(|(name, _)| *name == "FROM").unwrap();
        assert_eq!(all.iter().filter(|(name, _)| *name == "FROM").count(), 2, "{text}");
        let (stage, before) = (&all[last..], &all[..last]);
        assert!(stage[0].1.starts_with("gcr.io/distroless/") && stage[0].1.ends_with(":nonroot"), "{text}");
        let value = |wanted: &str| stage.iter().find(|(name, _)| *name == wanted).map(|(_, rest)| *rest);
        assert!(value("RUN").is_none(), "{text}");
        assert_eq!(value("USER"), Some("65532:65532"));
        assert_eq!(words(value("ENTRYPOINT").unwrap()), ["/blacksky"]);
        assert_eq!(words(value("CMD").unwrap()), ["run"]);
        assert!(before.iter().any(|(name, _)| *name == "RUN"));
        // Heroku would start what is there through a shell.
        let heroku = fs::read_to_string(folder.path().join("heroku.yml")).unwrap();
        assert_eq!(heroku, "build:\n  docker:\n    web: Dockerfile\n");
        assert!(!folder.path().join("Procfile").exists());
    }
}

/// A stage: a folder that is its root, and what the instructions have set.
struct Stage {
    name: String,
    root: PathBuf,
    folder: String,
    env: Vec<(String, String)>,
    user: String,
    command: Vec<String>,
}

impl Stage {
    fn from(image: &str, name: &str, debian: &Path, root: PathBuf) -> Self {
        let mut env = vec![("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())];
        if image.starts_with("gcr.io/distroless/") {
            of_packages(debian, &root, image.contains("nodejs"));
        } else {
            run(Command::new("cp").arg("-a").arg(debian).arg(&root));
            let _none = fs::remove_file(root.join("etc/resolv.conf"));
            fs::copy("/etc/resolv.conf", root.join("etc/resolv.conf")).expect("names resolve");
            if image.starts_with("node:") {
                node_into(&root);
                for (name, value) in of_npm() {
                    if name == "npm_config_cafile" {
                        let to = root.join(value.trim_start_matches('/'));
                        fs::create_dir_all(to.parent().expect("a parent")).expect("a folder");
                        fs::copy(&value, to).expect("certificates");
                    }
                    env.push((name.to_owned(), value));
                }
            } else {
                assert!(image.starts_with("rust:"), "{image}");
                cargo_into(&root);
            }
        }
        Self {
            name: name.to_owned(),
            root,
            folder: "/".to_owned(),
            env,
            user: "0:0".to_owned(),
            command: Vec::new(),
        }
    }

    /// The path of the host for one of the stage.
    fn at(&self, path: &str) -> PathBuf {
        let full = Path::new(&self.folder).join(path);
        self.root.join(full.strip_prefix("/").expect("absolute"))
    }

    /// A program in the stage as process 1, with the stage's account, folder and variables.
    fn inside(&self, program: &[String], env: &[(&str, String)]) -> Command {
        const ENTER: &str = r#"mount --bind /dev "$1/dev"; mount -t proc proc "$1/proc"
            exec env -i "${@:6}" nsenter --root="$1" --wd="$1$2" --setuid "$3" --setgid "$4" -- $5"#;
        let (user, group) = self.user.split_once(':').expect("user:group");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "bash", "-euc", ENTER, "enter"]);
        command.arg(&self.root).args([&self.folder, user, group]);
        assert!(program.iter().all(|word| !word.contains(' ')), "{program:?}");
        command.arg(program.join(" "));
        let own = self.env.iter().map(|(name, value)| format!("{name}={value}"));
        command.args(own).args(env.iter().map(|(name, value)| format!("{name}={value}")));
        command
    }
}

fn run(command: &mut Command) -> String {
    release::run(command)
}

/// The files of packages, as distroless images are made: no shell, no package manager.
fn of_packages(debian: &Path, root: &Path, node: bool) {
    let names = ["base-files", "libc6", "libgcc-s1", "libstdc++6", "tzdata"];
    let listed = run(Command::new("dpkg").arg("--root").arg(debian).arg("-L").args(names));
    fs::create_dir_all(root).expect("a folder");
    for folder in ["dev", "proc", "tmp", "etc"] {
        fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("permissions");
    for (link, target) in [("lib", "usr/lib"), ("lib64", "usr/lib64")] {
        fs::create_dir_all(root.join(target)).expect("a folder");
        std::os::unix::fs::symlink(target, root.join(link)).expect("a link");
    }
    for path in listed.lines().filter(|line| line.starts_with('/')) {
        let from = debian.join(&path[1..]);
        if from.is_file() || from.is_symlink() {
            let parent = from.parent().expect("a parent").canonicalize().expect("it is there");
            let within = parent.strip_prefix(debian.canonicalize().expect("it is there")).expect("below");
            let to = root.join(within);
            fs::create_dir_all(&to).expect("a folder");
            run(Command::new("cp").arg("-a").arg(&from).arg(to));
        }
    }
    fs::write(root.join("etc/passwd"), "nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n")
        .expect("written");
    if node {
        fs::create_dir_all(root.join("nodejs/bin")).expect("a folder");
        let node = run(Command::new("node").args(["-p", "process.execPath"]));
        fs::copy(node.trim(), root.join("nodejs/bin/node")).expect("Node.js");
    }
    assert!(!root.join("bin/sh").exists() && !root.join("usr/bin/sh").exists());
}

/// Node.js and npm of this machine.
fn node_into(root: &Path) {
    let node = run(Command::new("node").args(["-p", "process.execPath"]));
    fs::copy(node.trim(), root.join("usr/local/bin/node")).expect("Node.js");
    let modules = run(Command::new("npm").args(["root", "--global"]));
    let to = root.join("usr/local/lib/node_modules");
    fs::create_dir_all(&to).expect("a folder");
    run(Command::new("cp").arg("-a").arg(Path::new(modules.trim()).join("npm")).arg(&to));
    std::os::unix::fs::symlink("../lib/node_modules/npm/bin/npm-cli.js", root.join("usr/local/bin/npm"))
        .expect("npm");
}

/// A `cargo` that takes the arguments of the Dockerfile and leaves the program that was built elsewhere.
fn cargo_into(root: &Path) {
    let bin = root.join("usr/local/bin");
    fs::copy(release::program(), bin.join("built-blacksky")).expect("the program");
    let script = "#!/bin/sh\n[ \"$*\" = 'build --release --locked --bin blacksky' ] || exit 1\n\
                  mkdir -p target/release && cp /usr/local/bin/built-blacksky target/release/blacksky\n";
    fs::write(bin.join("cargo"), script).expect("written");
    fs::set_permissions(bin.join("cargo"), fs::Permissions::from_mode(0o755)).expect("permissions");
}

/// The context as an engine sends it: without what .dockerignore names.
fn copy_context(context: &Path, to: &Path) {
    let ignored = fs::read_to_string(context.join(".dockerignore")).expect(".dockerignore");
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(context);
    for pattern in ignored.lines().filter(|line| !line.starts_with('#')) {
        match pattern.strip_prefix("**/") {
            Some(name) => tar.arg("--no-anchored").arg(format!("--exclude={name}")),
            None => tar.arg("--anchored").arg(format!("--exclude=./{pattern}")),
        };
    }
    let packed = to.join(".context.tar");
    run(tar.arg("-cf").arg(&packed).arg("."));
    run(Command::new("tar").arg("-C").arg(to).arg("-xf").arg(&packed));
    fs::remove_file(packed).expect("removed");
}

/// Does every instruction; the last stage.
fn build(context: &Path, debian: &Path, work: &Path) -> Stage {
    let dockerfile = fs::read_to_string(context.join("Dockerfile")).expect("the Dockerfile");
    let mut stages: Vec<Stage> = Vec::new();
    for (instruction, rest) in instructions(&dockerfile) {
        println!("{instruction} {rest}");
        if instruction == "FROM" {
            let (image, name) = rest.split_once(" AS ").unwrap_or((rest, ""));
            stages.push(Stage::from(image, name, debian, work.join(format!("stage{}", stages.len()))));
            continue;
        }
        let (stage, before) = stages.split_last_mut().expect("FROM comes first");
        match instruction {
            "WORKDIR" => {
                stage.folder = rest.to_owned();
                fs::create_dir_all(stage.at("")).expect("a folder");
            }
            "COPY" => match rest.strip_prefix("--from=") {
                Some(rest) => {
                    let [name, from, to] = rest.split(' ').collect::<Vec<_>>()[..] else { panic!("{rest}") };
                    let source = before.iter().find(|stage| stage.name == name).expect("a stage before");
                    run(Command::new("cp").arg("-a").arg(source.at(from).join(".")).arg(stage.at(to)));
                }
                None => {
                    assert_eq!(rest, ". .");
                    copy_context(context, &stage.at("."));
                }
            },
            "RUN" => {
                // The line has spaces, so it goes in as a file.
                fs::write(stage.at("/run.sh"), rest).expect("written");
                run(&mut stage.inside(&["sh", "-e", "/run.sh"].map(str::to_owned), &[]));
                fs::remove_file(stage.at("/run.sh")).expect("removed");
            }
            "ENV" => stage.env.extend(
                rest.split(' ')
                    .map(|pair| pair.split_once('=').expect("NAME=value"))
                    .map(|(n, v)| (n.to_owned(), v.to_owned())),
            ),
            "USER" => rest.clone_into(&mut stage.user),
            "ENTRYPOINT" | "CMD" => stage.command.extend(words(rest)),
            other => panic!("{other} is not known here"),
        }
    }
    stages.pop().expect("a stage")
}

/// Ends the container when dropped.
struct Container(Child);

impl Container {
    /// Process 1 of the namespace, by its number outside; none when it has ended.
    fn first(&self) -> Option<String> {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.0.id())).ok()?;
        children.split_whitespace().next().map(str::to_owned)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Another account's process does not end with its parent, whatever unshare was told.
        if let Some(first) = self.first() {
            let _ = Command::new("kill").args(["-KILL", &first]).status();
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until something holds; else the log of the container says why.
async fn until(what: &str, log: &Path, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        let log = || fs::read_to_string(log).unwrap_or_default();
        assert!(tokio::time::Instant::now() < deadline, "not within {PATIENCE:?}: {what}\n{}", log());
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

async fn lives(what: &str, context: &Path) {
    let Some(debian) = std::env::var_os("BLACKSKY_DEBIAN").map(PathBuf::from) else { return };
    let work = tempfile::tempdir().expect("a folder");
    fs::set_permissions(work.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
    // What must not get into an image.
    for secret in [".env", "sessions/creds.json", "sub/.env.local", "blacksky.db"] {
        fs::create_dir_all(context.join(secret).parent().expect("a parent")).expect("a folder");
        fs::write(context.join(secret), "hunter2").expect("written");
    }
    let begun = tokio::time::Instant::now();
    let image = build(context, &debian, work.path());
    let took = begun.elapsed();
    let found =
        Command::new("grep").args(["-rl", "hunter2", "--include=*"]).arg(image.root.join("app")).output();
    let found = String::from_utf8_lossy(&found.expect("grep").stdout).into_owned();
    assert!(!found.lines().any(|path| !path.contains("node_modules")), "secrets in the image: {found}");
    let size = run(Command::new("du").arg("-sm").arg(&image.root));

    let (sim, database) = (sim::simulator(), postgres::database().await);
    let phone = sim.handle();
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let env = [
        ("PORT", port.to_string()),
        ("DYNO", "web.1".to_owned()),
        ("DATABASE_URL", database),
        ("BLACKSKY_DATABASE_TLS", "disable".to_owned()),
        ("BLACKSKY_SECRET_KEY", "a secret key for the container".to_owned()),
        ("BLACKSKY_ADMIN_TOKEN", TOKEN.to_owned()),
    ];
    let command = [image.command.clone(), vec!["--link".to_owned(), sim.url()]].concat();
    let log = work.path().join("log");
    let out = fs::File::create(&log).expect("a file");
    let started = tokio::time::Instant::now();
    let child = image
        .inside(&command, &env)
        .stdin(Stdio::null())
        .stdout(out.try_clone().expect("a file"))
        .stderr(out)
        .spawn();
    let mut container = Container(child.expect("unshare starts"));
    let url = format!("http://127.0.0.1:{port}/");
    until("it answers", &log, async || status(&format!("{url}status")).await.is_some()).await;
    let port_bound = started.elapsed();
    let mut payload = String::new();
    until("a QR", &log, async || {
        let page = http::client().get(&url).bearer_auth(TOKEN).send().await;
        let Ok(page) = page else { return false };
        payload = qr::on_page(&page.text().await.unwrap_or_default()).unwrap_or_default();
        !payload.is_empty()
    })
    .await;
    phone.scan(&payload, PHONE).expect("the QR can be scanned");
    until("the link is open", &log, async || link_of(status(&format!("{url}status")).await) == "open").await;
    phone.send_text(FRIEND, PHONE, "!ping").expect("sent");
    until("an answer", &log, async || {
        phone.received().iter().any(|got| got.to == FRIEND && got.text.is_some())
    })
    .await;

    // Process 1 of the namespace is the program, under the image's account.
    let first = container.first().expect("its process");
    let inside = fs::read_to_string(format!("/proc/{first}/status")).expect("its status");
    assert!(inside.contains("Name:\tblacksky") && inside.contains("Uid:\t65532\t65532"), "{inside}");
    assert!(inside.lines().any(|line| line.starts_with("NSpid:") && line.ends_with("\t1")), "{inside}");
    run(Command::new("kill").args(["-TERM", &first]));
    let end =
        tokio::task::spawn_blocking(move || container.0.wait().expect("it ends")).await.expect("it ends");
    assert!(end.success(), "{end:?}:\n{}", fs::read_to_string(&log).unwrap_or_default());
    println!(
        "{what}: image steps {took:.1?}, image {} MB, start → answer {port_bound:.0?}, ends 0 on SIGTERM",
        size.split('\t').next().unwrap_or_default()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_native_bot_in_a_container() {
    let folder = container(NATIVE);
    lives("native bot, container", folder.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_bot_in_a_container() {
    let folder = node_container();
    lives("example bot, container", folder.path()).await;
}
