//! The passphrase of an export: from a variable, from standard input, or asked for at the terminal. Never
//! from the command line, which every process of the machine can read.

use std::io::{BufRead, IsTerminal, Read as _};

use anyhow::anyhow;
use console::Term;

use crate::config::{Environment, ProcessEnvironment, Secret};
use crate::exit::{Exit, Failure};

/// Shortest passphrase of a new export: whoever gets the file may guess for years.
const SHORTEST: usize = 12;
/// No line that is read is longer.
const LONGEST: u64 = 4096;

/// The passphrase of a new export; asked for twice at a terminal.
pub(super) fn choose(variable: Option<&str>) -> Result<Secret, Failure> {
    let passphrase = read(variable, "Passphrase for the export (at least 12 characters): ")?;
    if passphrase.expose().chars().count() < SHORTEST {
        return Err(usage(format!(
            "the passphrase is shorter than {SHORTEST} characters: choose a longer one"
        )));
    }
    if variable.is_none() && std::io::stdin().is_terminal() {
        let again = ask("The same again: ")?;
        if again.expose() != passphrase.expose() {
            return Err(usage("the two passphrases differ: nothing was written".to_owned()));
        }
    }
    Ok(passphrase)
}

/// The passphrase of an export that is there.
pub(super) fn know(variable: Option<&str>) -> Result<Secret, Failure> {
    let passphrase = read(variable, "Passphrase of the export: ")?;
    if passphrase.expose().is_empty() {
        return Err(usage("the passphrase is empty".to_owned()));
    }
    Ok(passphrase)
}

fn read(variable: Option<&str>, prompt: &str) -> Result<Secret, Failure> {
    if let Some(name) = variable {
        return match ProcessEnvironment.get(name).filter(|value| !value.is_empty()) {
            Some(value) => Ok(Secret::new(value)),
            // The name may be the passphrase, given in the wrong place.
            None => Err(usage("the variable that --passphrase-env names is not set or empty".to_owned())),
        };
    }
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return ask(prompt);
    }
    let mut line = String::new();
    stdin.lock().take(LONGEST).read_line(&mut line)?;
    let line = line.trim_end_matches(['\r', '\n']);
    if line.is_empty() {
        return Err(usage(
            "there is no passphrase: set a variable and name it with --passphrase-env, or give it on standard \
             input"
                .to_owned(),
        ));
    }
    Ok(Secret::new(line))
}

/// Asks at the terminal, without showing what is typed.
fn ask(prompt: &str) -> Result<Secret, Failure> {
    let terminal = [Term::stderr(), Term::stdout()].into_iter().find(Term::is_term);
    let terminal = terminal.ok_or_else(|| {
        usage("there is no terminal to ask at: name a variable with --passphrase-env".to_owned())
    })?;
    terminal.write_str(prompt)?;
    Ok(Secret::new(terminal.read_secure_line()?))
}

fn usage(problem: String) -> Failure {
    Failure::new(Exit::Usage, anyhow!(problem))
}
