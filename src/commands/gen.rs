//! `blacksky gen`: Procfile and app.json from blacksky.toml.

use std::path::Path;

use crate::cli::{Cli, Gen};
use crate::config::NoEnvironment;
use crate::exit::{Exit, Failure};
use crate::r#gen;

use super::{load, output};

/// Writes, compares (`--check`: exit 1 with a diff) or prints the files. Config Vars are not read: the
/// files are the same on every machine.
pub fn run(cli: &Cli, args: &Gen) -> Result<Exit, Failure> {
    let loaded = load::load_with(cli, &NoEnvironment)?;
    let files = r#gen::artifacts(&loaded.config);
    let folder =
        cli.config.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if args.print {
        for file in files.iter().filter(|file| file.path != r#gen::DIGESTS) {
            output::print(&format!("# {}\n{}", file.path, file.text))?;
        }
    } else if args.check {
        let diffs = r#gen::check(folder, &files)?;
        if !diffs.is_empty() {
            output::print(diffs.join("\n").trim_end())?;
            return Err(anyhow::anyhow!(
                "the deploy files are not made from this blacksky.toml: run blacksky gen"
            )
            .into());
        }
        output::print("Procfile and app.json are up to date")?;
    } else {
        let report = r#gen::write(folder, &files, args.force)?;
        for path in report.written {
            output::print(&format!("wrote {path}"))?;
        }
        for path in report.same {
            output::print(&format!("same  {path}"))?;
        }
    }
    Ok(Exit::Ok)
}
