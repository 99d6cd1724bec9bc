//! The table of `benches/RESULTS.md`: a goal is only met by a figure that was gathered.

#[path = "../../benches/results/figures.rs"]
mod figures;
#[path = "../../benches/results/table.rs"]
mod table;

use figures::Figures;

fn gathered(figures: &[(&str, &str, &str, f64)]) -> String {
    let lines = figures.iter().map(|(row, of, stat, value)| {
        serde_json::json!({ "row": row, "of": of, "stat": stat, "value": value }).to_string()
    });
    table::write(&Figures::read(&lines.collect::<Vec<_>>().join("\n")))
}

fn row<'t>(table: &'t str, what: &str) -> &'t str {
    table.lines().find(|line| line.contains(what)).expect("the row")
}

#[test]
fn without_figures_no_goal_is_met() {
    let table = gathered(&[]);
    let goals: Vec<&str> = table.lines().filter(|line| line.contains("not measured")).collect();
    assert_eq!(goals.len(), 14, "{table}");
    assert!(!table.contains(" met ") && !table.contains("missed"), "{table}");
}

#[test]
fn a_goal_is_met_or_missed_by_what_was_seen() {
    const OF: &str = "SIGTERM, successor ready";
    let gap = |p99| {
        [("times", 200.0), ("median", 29.0), ("p99", p99), ("max", 300.0)]
            .map(|(stat, value)| ("hand-over", OF, stat, value))
    };
    let met = gathered(&gap(249.9));
    assert!(
        row(&met, "hand-over gap").contains("| p99 250 ms, median 29.0 ms, longest 300 ms of 200 | met |"),
        "{met}"
    );
    let missed = gathered(&gap(251.5));
    assert!(row(&missed, "hand-over gap").contains("| **missed** by 1.50 |"), "{missed}");
    // The later one of two counts.
    let again = gathered(&[gap(251.5), gap(34.0)].concat());
    assert!(row(&again, "hand-over gap").contains("| met |"), "{again}");
}

#[test]
fn few_files_say_nothing_about_ten_thousand() {
    let restore = |files| {
        ["only read", "only written", "restored"]
            .map(|stat| ("vault restore", "PostgreSQL", stat, 300.0))
            .into_iter()
            .chain([("vault restore", "PostgreSQL", "files", files)])
            .collect::<Vec<_>>()
    };
    assert!(row(&gathered(&restore(500.0)), "restore of 10,000").contains("| not measured |"));
    assert!(row(&gathered(&restore(10_000.0)), "restore of 10,000").contains("| met |"));
}

/// Rows that the table has are those that `RESULTS.md` shows.
#[test]
fn results_show_every_row() {
    let results =
        std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/RESULTS.md"))
            .expect("RESULTS.md");
    for line in gathered(&[]).lines() {
        let what = line.split(" | ").next().expect("a cell");
        assert!(results.contains(what), "{what} is not in RESULTS.md: run scripts/bench table");
    }
}
