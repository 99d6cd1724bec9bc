//! blacksky as people get it: the archive and the npm packages that the scripts of the repo pack.
//!
//! What is packed is the program of `BLACKSKY_PREBUILT`, else that of the tests without its symbols.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The target whose programs run here.
pub const TARGET: &str =
    if cfg!(target_arch = "aarch64") { "aarch64-unknown-linux-gnu" } else { "x86_64-unknown-linux-gnu" };

/// The platform in the name of its npm package.
pub const PLATFORM: &str = if cfg!(target_arch = "aarch64") { "linux-arm64" } else { "linux-x64" };

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a command to its end, which must be a good one.
pub fn run(command: &mut Command) -> String {
    let output = output(command);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}:\n{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// Runs a command to its end.
pub fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}"))
}

/// SHA-256 in hex.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where what is packed lies; each run of the tests packs anew.
fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("release");
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// The program.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| match std::env::var_os("BLACKSKY_PREBUILT") {
        Some(program) => program.into(),
        None => {
            let stripped = folder().join("blacksky");
            let _last_runs = std::fs::remove_file(&stripped);
            run(Command::new("strip").arg("-o").arg(&stripped).arg(env!("CARGO_BIN_EXE_blacksky")));
            stripped
        }
    })
}

/// Packs the program into a folder.
pub fn pack(into: &Path) -> PathBuf {
    let script = root().join("scripts/pack");
    let packed = run(Command::new(script)
        .args([TARGET])
        .args([program(), into])
        .env("SOURCE_DATE_EPOCH", "1700000000"));
    let archive = PathBuf::from(packed.trim());
    assert_eq!(archive, into.join(format!("blacksky-{VERSION}-{TARGET}.tar.gz")));
    archive
}

/// The archive.
pub fn archive() -> &'static Path {
    static ARCHIVE: OnceLock<PathBuf> = OnceLock::new();
    ARCHIVE.get_or_init(|| pack(&folder()))
}

/// The npm packages: `blacksky` and that of this platform.
pub fn npm_packages() -> &'static [PathBuf; 2] {
    static PACKAGES: OnceLock<[PathBuf; 2]> = OnceLock::new();
    PACKAGES.get_or_init(|| {
        let script = root().join("scripts/pack-npm");
        let packed = run(Command::new(script).args([&folder(), archive()]));
        let mut lines = packed.lines().map(PathBuf::from);
        let platform = lines.next().expect("the platform's package");
        [lines.next().expect("the package"), platform]
    })
}

/// Makes a repository of a folder, with all that is in it committed.
pub fn commit(folder: &Path) {
    let git = |args: &[&str]| {
        let who =
            ["-c", "user.name=A Person", "-c", "user.email=person@example.com", "-c", "commit.gpgsign=false"];
        run(Command::new("git").arg("-C").arg(folder).args(who).args(args));
    };
    git(&["init", "--quiet"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message", "The app"]);
}

/// Serves files on loopback for the rest of the run: name → bytes. The address ends with `/`.
pub fn serve(files: Vec<(String, Vec<u8>)>) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}/", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // A client that goes away is its own affair.
            let _ = stream.and_then(|stream| answer(stream, &files));
        }
    });
    address
}

fn answer(mut stream: std::net::TcpStream, files: &[(String, Vec<u8>)]) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let path = first.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
    match files.iter().find(|(name, _)| name == path) {
        Some((_, bytes)) => {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                bytes.len()
            )?;
            stream.write_all(bytes)
        }
        None => stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    }
}
