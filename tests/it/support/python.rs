//! Python programs of the tests, with locked packages in a folder of their own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python")
}

/// The interpreter that has the packages of `requirements.txt`; made once.
pub fn interpreter() -> PathBuf {
    static DONE: OnceLock<PathBuf> = OnceLock::new();
    DONE.get_or_init(|| {
        let place = folder().join(".venv");
        let python = place.join("bin/python");
        let locked = std::fs::read(folder().join("requirements.txt")).expect("the list of packages");
        let marker = place.join(".locked");
        if std::fs::read(&marker).is_ok_and(|installed| installed == locked) {
            return python;
        }
        let run = |program: &Path, args: &[&str]| {
            let output = Command::new(program).args(args).current_dir(folder()).stdin(Stdio::null()).output();
            match output {
                Ok(output) if output.status.success() => {}
                Ok(output) => {
                    panic!("{program:?} {args:?} failed:\n{}", String::from_utf8_lossy(&output.stderr))
                }
                Err(error) => panic!("{program:?} cannot be run ({error}): install Python 3 with venv"),
            }
        };
        run(Path::new("python3"), &["-m", "venv", "--clear", ".venv"]);
        run(
            &python,
            &["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"],
        );
        std::fs::write(marker, locked).expect("the folder can be written");
        python
    })
    .clone()
}

/// Runs a program of the folder on `input`: what it wrote, or why it failed.
pub fn run(program: &str, input: &str) -> Result<String, String> {
    let mut child = Command::new(interpreter())
        .arg(folder().join(program))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_owned();
    let writing = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    // One that ends before it has read all says why.
    let _ = writing.join().expect("no panic");
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).expect("text"))
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
