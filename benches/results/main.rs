//! Writes the table of `RESULTS.md` from what `scripts/bench` has gathered. It measures nothing itself.

mod figures;
mod machine;
mod table;

use std::path::Path;

use figures::Figures;

const BEGIN: &str = "<!-- written by scripts/bench: begin -->";
const END: &str = "<!-- written by scripts/bench: end -->";

fn main() {
    let Some(gathered) = std::env::var_os("BLACKSKY_FIGURES") else {
        println!("nothing to write: scripts/bench runs this after the measurements");
        return;
    };
    let text = std::fs::read_to_string(&gathered)
        .unwrap_or_else(|error| panic!("{}: {error}", Path::new(&gathered).display()));
    let figures = Figures::read(&text);
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/RESULTS.md");
    let old = std::fs::read_to_string(&results).expect("RESULTS.md");
    let (before, rest) = old.split_once(BEGIN).expect("RESULTS.md has the mark of the beginning");
    let (_, after) = rest.split_once(END).expect("RESULTS.md has the mark of the end");
    let written = format!("{BEGIN}\n\n{}\n{}\n{END}", machine::describe(), table::write(&figures));
    std::fs::write(&results, format!("{before}{written}{after}")).expect("RESULTS.md can be written");
    println!("{}", table::write(&figures));
    println!("written to {}", results.display());
}
