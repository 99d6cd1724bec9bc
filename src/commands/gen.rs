//! `blacksky gen`: what Heroku or another host reads, from blacksky.toml.

use std::path::Path;

use crate::cli::{Cli, Gen};
use crate::config::NoEnvironment;
use crate::exit::{Exit, Failure};
use crate::r#gen::{self, Artifact, Force};

use super::{load, output};

/// Writes, compares (`--check`: exit 1 with a diff) or prints the files. Config Vars are not read: the
/// files are the same on every machine.
pub fn run(cli: &Cli, args: &Gen) -> Result<Exit, Failure> {
    let loaded = load::load_with(cli, &NoEnvironment)?;
    let files = r#gen::artifacts(&loaded.config, args.target);
    let folder =
        cli.config.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if args.commands {
        output::print(&args.target.script(&loaded.config))?;
    } else if args.print {
        for file in files.iter().filter(|file| file.path != r#gen::DIGESTS) {
            let on_disk = match std::fs::read(folder.join(file.path)) {
                Ok(bytes) => Some(bytes),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                Err(error) => return Err(anyhow::Error::from(error).context(file.path).into()),
            };
            let bytes = r#gen::wanted(file, on_disk.as_deref())?;
            output::print(&format!("# {}\n{}", file.path, String::from_utf8_lossy(&bytes)))?;
        }
    } else if args.check {
        let diffs = r#gen::check(folder, &files)?;
        if !diffs.is_empty() {
            output::print(diffs.join("\n").trim_end())?;
            return Err(anyhow::anyhow!(
                "the deploy files are not made from this blacksky.toml: run {}",
                args.target.command()
            )
            .into());
        }
        output::print(&format!("{} are up to date", names(&files)))?;
    } else {
        let report = r#gen::write(folder, &files, if args.force { Force::Yes } else { Force::No })?;
        let is_new = report.written.contains(&args.target.own_file());
        for path in report.written {
            output::print(&format!("wrote {path}"))?;
        }
        for path in report.same {
            output::print(&format!("same  {path}"))?;
        }
        if is_new {
            output::print(&format!("\n{}", args.target.script(&loaded.config)))?;
        }
    }
    Ok(Exit::Ok)
}

/// "Procfile and app.json".
fn names(files: &[Artifact]) -> String {
    let names: Vec<&str> =
        files.iter().map(|file| file.path).filter(|path| *path != r#gen::DIGESTS).collect();
    names.join(" and ")
}
